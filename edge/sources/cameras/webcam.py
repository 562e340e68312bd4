"""Webcams of macOS and Windows: by number, through whatever OpenCV has for the system."""

import cv2

from edge.errors import CameraError
from edge.media.opencv_errors import quieten
from edge.sources.cameras.opencv import Live
from edge.system.diagnostics import silenced


class Webcam(Live):
    """A camera by its number; frames are stamped on arrival.

    Args:
        number: counts cameras from 0, in the system's order.
        size_hw: wanted height and width in pixels.
        fps: wanted frames per second.

    Raises:
        CameraError: it cannot be opened.
    """

    def __init__(self, number: int, size_hw: tuple[int, int], fps: float) -> None:
        quieten()
        try:
            with silenced():
                capture = cv2.VideoCapture(number)
        except cv2.error as error:
            raise CameraError(f"camera {number}: OpenCV failed ({error.err})") from error
        if not capture.isOpened():
            raise CameraError(
                f"camera {number}: cannot be opened; is it plugged in, not in use, and allowed to "
                "this program by the system's privacy settings? `--source demo` needs none"
            )
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, size_hw[0])
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, size_hw[1])
        capture.set(cv2.CAP_PROP_FPS, fps)
        super().__init__(f"camera {number}", capture)
