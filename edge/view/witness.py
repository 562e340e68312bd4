"""Between the service and its sink: the page hears of what no frame's result tells."""

from edge.contract.logrecord import CameraLost, FaceEvent, Health, LogRecord, Marker
from edge.protocols import CountingSink
from edge.view.hub import Hub


class Witness:
    """Passes every record on, and tells the hub of cameras, the heat's limit, events, markers."""

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
        elif isinstance(record, FaceEvent):
            end_s = record.monotonic_s + record.duration_s
            self._hub.note("event", record.monotonic_s, end_s, record.event.replace("_", " "))
        elif isinstance(record, Marker):
            which = "" if record.phase == "point" else f" {record.phase}s"
            at_s = record.monotonic_s
            self._hub.note("marker", at_s, at_s, f"{record.marker}{which}")
        self._sink.write(record)

    def close(self) -> None:
        """Close the sink."""
        self._sink.close()
