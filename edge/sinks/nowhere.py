"""The sink of a run that shall leave nothing behind."""

from typing import Final

from edge.contract.logrecord import LogRecord


class Nowhere:
    """Takes every record and keeps none.

    Attributes:
        path: there is none.
        recovered_bytes: nothing was there to recover.
    """

    path: Final = None
    recovered_bytes: Final = 0

    def write(self, record: LogRecord) -> None:
        """Forget ``record``."""

    def close(self) -> None:
        """Do nothing."""
