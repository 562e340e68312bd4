"""Between the service and its sink: the page hears of a lost camera and of a hot board."""

from edge.contract.logrecord import CameraLost, Health, LogRecord
from edge.protocols import CountingSink
from edge.view.hub import Hub


class Witness:
    """Passes every record on, and tells the hub of a lost camera and of the heat's limit."""

    def __init__(self, sink: CountingSink, hub: Hub) -> None:
        self._sink = sink
        self._hub = hub

    @property
    def dropped(self) -> int:
        """Records that the sink lost."""
        return self._sink.dropped

    def write(self, record: LogRecord) -> None:
        """Pass one record on.

        Raises:
            SinkError: the sink refused it; the hub was told all the same.
        """
        if isinstance(record, CameraLost):
            self._hub.lose(record.reason)
        elif isinstance(record, Health):
            self._hub.hold(record.fps_limit)
        self._sink.write(record)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()
