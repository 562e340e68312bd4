"""Logs as Parquet beside the raw files: questions over months are answered in seconds.

The raw files stay the truth. A store can be removed and made anew at any time; ``docs/logs.md``
documents its layout for other readers.
"""

from edgeemo.analysis.store.stored import open_logs
from edgeemo.analysis.store.update import Update, update

__all__ = ["Update", "open_logs", "update"]
