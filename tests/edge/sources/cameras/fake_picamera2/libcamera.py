"""What the ribbon camera's process touches of libcamera's Python module."""

# ruff: noqa: D101 - it is libcamera's interface
from enum import Enum
from types import SimpleNamespace


class StreamRole(Enum):
    Raw = 0


class Transform:
    def __init__(self, hflip=False, vflip=False, transpose=False) -> None:
        self.hflip, self.vflip, self.transpose = bool(hflip), bool(vflip), bool(transpose)


FrameMetadata = SimpleNamespace(Status=Enum("Status", ["Success", "Error", "Cancelled"]))
