"""What goes wrong beside the pipeline: counted, logged now and then, and never passed on to it."""

import logging
import time
from typing import Final

from edge.text import one_line

_log = logging.getLogger(__name__)
_PAUSE_S: Final = 60.0
"""Whoever can connect can cause any number of faults; the journal is told of one a minute."""


class Faults:
    """Counts the faults of one page.

    Attributes:
        count: how many there were.
    """

    def __init__(self) -> None:
        self.count = 0
        self._quiet_until_s = 0.0

    def note(self, what: object) -> None:
        """Take note of a fault; safe in any thread, and raises nothing."""
        self.count += 1
        now_s = time.monotonic()
        if now_s >= self._quiet_until_s:
            self._quiet_until_s = now_s + _PAUSE_S
            _log.warning(
                "live page: %s (fault %d; the run goes on)", one_line(str(what)), self.count
            )
