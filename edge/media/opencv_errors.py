"""What every use of OpenCV's video input and output needs: silence, and BGR pictures."""

import math
import os
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.media.pictures import read_header
from edge.system.diagnostics import silenced

MOST_PIXELS: Final = 64_000_000
"""Of a film: a few times as many bytes are needed to decode it."""
_AV_LOG_QUIET: Final = "-8"
_LOG_LEVEL_SILENT: Final = 0


def quieten() -> None:
    """Keep OpenCV's and FFmpeg's own messages off stderr, where they would fill the journal.

    Our errors say the same in one line. Whoever debugs sets ``OPENCV_LOG_LEVEL`` or
    ``OPENCV_FFMPEG_LOGLEVEL``, which are left alone. FFmpeg's is read at the first use only.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    if "OPENCV_LOG_LEVEL" not in os.environ:
        # OpenCV 4 has it at the top, OpenCV 5 in a module.
        set_level = getattr(cv2, "setLogLevel", None)
        if set_level is None:
            set_level = cv2.utils.logging.setLogLevel  # type: ignore[attr-defined,unused-ignore]
        set_level(_LOG_LEVEL_SILENT)


def decoded(data: bytes) -> NDArray[np.uint8] | None:
    """Return the picture in a film's JPEG, upright; None for none, or a damaged or a huge one."""
    header = read_header(data)
    if header is None or not header.is_whole or math.prod(header.size_hw) > MOST_PIXELS:
        return None
    try:
        with silenced():  # libjpeg prints its own complaints
            image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if image is None else to_bgr(image)
    except (cv2.error, ValueError):
        return None


def to_bgr(image: NDArray[np.unsignedinteger[Any]]) -> NDArray[np.uint8]:
    """Return a picture as BGR uint8 ``(H, W, 3)``, whatever the backend gave.

    Args:
        image: ``(H, W)`` or ``(H, W, 1)`` grey, ``(H, W, 3)`` BGR or ``(H, W, 4)`` BGRA; uint8, or
            uint16 using its whole range.

    Raises:
        ValueError: another shape or type.
    """
    if image.dtype == np.uint16:
        image = (image // 256).astype(np.uint8)
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.dtype != np.uint8 or image.ndim not in {2, 3} or channels not in {1, 3, 4}:
        raise ValueError(
            f"expected uint8 grey, BGR or BGRA pixels, got {image.dtype} {image.shape}"
        )
    if channels == 1:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
    if channels == 4:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
    return np.asarray(image, np.uint8)
