"""Counts lost records, and tells of them without flooding the journal."""

import logging
import time
from pathlib import Path
from typing import Final

from edge.errors import SinkError

_log = logging.getLogger(__name__)

_INTERVAL_S: Final = 10.0


class Losses:
    """What the disk refused; ``dropped`` in its methods is the count that a reader is told.

    Attributes:
        count: records refused since the start.
    """

    def __init__(self, path: Path) -> None:
        self.count = 0
        self._path = path
        self._told = 0
        self._is_open = False
        self._spoke_s = -_INTERVAL_S

    def add(self, error: OSError | SinkError) -> None:
        """Count a refused record; the first of an outage is told, but never many in a row."""
        self.count += 1
        if not self._is_open and self._may_speak():
            reason = error.strerror if isinstance(error, OSError) else error
            _log.error("%s: records are being lost: %s", self._path, reason)
            self._is_open = True

    def over(self, dropped: int) -> None:
        """Note that a record was taken, after ``dropped`` were lost since the start."""
        if dropped > self._told and (self._is_open or self._may_speak()):
            lost = dropped - self._told
            _log.warning("%s: records are written again; %d were lost", self._path, lost)
            self._told, self._is_open = dropped, False

    def end(self, dropped: int) -> None:
        """Tell how many were lost since that was last told."""
        if dropped > self._told:
            _log.warning("%s: %d records were lost", self._path, dropped - self._told)
            self._told = dropped

    def _may_speak(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._spoke_s < _INTERVAL_S:
            return False
        self._spoke_s = now_s
        return True
