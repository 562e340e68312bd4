"""Records to the log directory and, beside it, to sinks that may fail without harm."""

import logging
import time
from collections.abc import Mapping
from typing import Final

from edge.contract.logrecord import LogRecord
from edge.errors import SinkError
from edge.protocols import CountingSink, Sink
from edge.text import one_line

_log = logging.getLogger(__name__)

_COMPLAINT_INTERVAL_S: Final = 60.0


class MultiSink:
    """Writes to the log first; what another sink refuses is counted and told once a minute."""

    def __init__(self, log: CountingSink, others: Mapping[str, Sink]) -> None:
        self._main = log
        self._others = others
        self._refused = dict.fromkeys(others, 0)
        self._complained_s = -_COMPLAINT_INTERVAL_S

    @property
    def dropped(self) -> int:
        """Records that the log lost; those that only another sink missed do not count."""
        return self._main.dropped

    def write(self, record: LogRecord) -> None:
        """Write one record everywhere.

        Raises:
            SinkError: the log is closed.
        """
        try:
            self._main.write(record)
        finally:
            for name, sink in self._others.items():
                try:
                    sink.write(record)
                except Exception as error:  # a defect of one harms neither the log nor the run
                    self._refused[name] += 1
                    self._complain(error)

    def close(self) -> None:
        """Close everything; harmless when repeated."""
        for name, sink in self._others.items():
            try:
                sink.close()
            except Exception as error:  # the log is still to be brought to the disk
                _log.warning("%s: not closed: %s", name, _told(error))
        self._main.close()
        for name, count in self._refused.items():
            if count:
                _log.warning("%s: %d records were not taken", name, count)
        self._refused.clear()

    def _complain(self, error: Exception) -> None:
        now_s = time.monotonic()
        if now_s - self._complained_s >= _COMPLAINT_INTERVAL_S:
            _log.warning("a record was not taken: %s", _told(error))
            self._complained_s = now_s


def _told(error: Exception) -> str:
    kind = "" if isinstance(error, SinkError) else f"{type(error).__name__}: "
    return one_line(f"{kind}{error}")


class NullSink:
    """Takes every record and keeps none."""

    dropped = 0
    """None is lost that should have been kept."""

    def write(self, record: LogRecord) -> None:
        """Forget ``record``."""

    def close(self) -> None:
        """Do nothing."""
