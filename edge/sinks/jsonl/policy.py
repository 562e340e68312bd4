"""How a log directory is kept."""

from typing import Literal

import msgspec


class FilePolicy(msgspec.Struct, frozen=True):
    """How records get to the disk and when they leave it; see ``edge.config.LogConfig``.

    Attributes:
        fsync: ``always``, ``interval`` (once a second) or ``never``.
        rotate_bytes: a file is closed before it grows beyond this.
        compress: closed files are compressed by gzip.
        keep_bytes: the oldest closed files go when all files together take more.
        keep_s: closed files go when their last record is older; 0 keeps them.
        min_free_bytes: the oldest closed files go while the disk has less free.
    """

    fsync: Literal["always", "interval", "never"] = "interval"
    rotate_bytes: int = 16_000_000
    compress: bool = True
    keep_bytes: int = 1_000_000_000
    keep_s: float = 0.0
    min_free_bytes: int = 0
