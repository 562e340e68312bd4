"""A window on the screen, where OpenCV was built with windows."""

import os
import sys
from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.errors import ConfigError

_ESCAPE: Final = 27
_MARKERS: Final = frozenset("123456789")
_REMEDY: Final = "use --save-video FILE instead"


class Window:
    """Shows pictures; ``q``, Esc or the window's own button closes it.

    Args:
        title: of the window.
        mark: is called with the digit when 1 to 9 is pressed.

    Raises:
        ConfigError: this OpenCV has no windows, or there is no screen.
    """

    def __init__(self, title: str, mark: Callable[[str], None] = lambda _: None) -> None:
        # Asked first: without a screen, Qt ends the whole process instead of reporting it.
        require_screen()
        self._title = title
        self._mark = mark
        try:
            cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
        except cv2.error as error:
            raise ConfigError(f"--display: no window can be opened ({error.err}); {_REMEDY}") from (
                error
            )
        self._open = True

    def show(self, picture: NDArray[np.uint8]) -> bool:
        """Show a picture, BGR uint8; return False once the viewer has closed the window."""
        if not self._open:
            return False
        cv2.imshow(self._title, picture)
        key = cv2.waitKey(1) & 0xFF
        if chr(key) in _MARKERS:
            self._mark(chr(key))
        gone = cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) < 1
        if gone or key in {_ESCAPE, ord("q")}:
            self.close()
        return self._open

    def close(self) -> None:
        """Close the window; harmless when repeated."""
        if self._open:
            self._open = False
            cv2.destroyAllWindows()


def has_windows() -> bool:
    """Tell whether this OpenCV was built with windows (the headless wheels are not)."""
    for line in cv2.getBuildInformation().splitlines():
        name, _, value = line.strip().partition(":")
        if name == "GUI":
            return value.strip() != "NONE"
    return False


def require_screen() -> None:
    """Make sure that a window can be shown.

    Raises:
        ConfigError: this OpenCV has no windows, or there is no screen.
    """
    if not has_windows():
        raise ConfigError(
            f"--display: the headless OpenCV that is installed has no windows; {_REMEDY}"
        )
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        raise ConfigError(f"--display: there is no screen (DISPLAY is not set); {_REMEDY}")
