"""The sink of a run that shall leave nothing behind."""

from edge.contract.logrecord import LogRecord


class NullSink:
    """Takes every record and keeps none."""

    dropped = 0
    """None is lost that should have been kept."""

    def write(self, record: LogRecord) -> None:
        """Forget ``record``."""

    def close(self) -> None:
        """Do nothing."""
