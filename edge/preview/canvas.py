"""Drawing that looks alike at every picture size: anti-aliased, translucent, kept in the picture.

Coordinates are continuous pixels (origin: top-left corner of the top-left pixel); OpenCV's, which
count from pixel centres and are whole, are met by fixed-point numbers.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.records import bounding_box

Color = tuple[int, int, int]
"""BGR, 0 to 255."""

_Painter = Callable[[NDArray[np.uint8], int, int], None]
"""Draws on a region of the picture whose top-left corner is given."""

_SHIFT: Final = 4
"""Fractional bits of OpenCV's fixed-point coordinates."""
_FONT: Final = cv2.FONT_HERSHEY_SIMPLEX
_SEPARATOR: Final = "   "


class Canvas:
    """A picture to draw on, in place.

    Args:
        picture: BGR uint8, writable.

    Attributes:
        picture: the same array.
        unit: the length that looks like one pixel of a 480-pixel picture.
        line_height: distance of two lines of text.
    """

    def __init__(self, picture: NDArray[np.uint8]) -> None:
        self.picture = picture
        self.height, self.width = picture.shape[:2]
        self.unit = max(0.75, min(self.height, self.width) / 480)
        self.line_height = 16 * self.unit
        self._font_scale = 0.42 * self.unit
        self._stroke = max(1, round(self.unit))

    def text_width(self, text: str) -> float:
        """Return how wide ``text`` will be."""
        return float(cv2.getTextSize(text, _FONT, self._font_scale, self._stroke)[0][0])

    def text(self, text: str, left_middle: tuple[float, float], color: Color) -> None:
        """Write ``text`` from ``left_middle`` on, its lower-case letters centred on that height."""
        x, y = left_middle
        baseline = y + 4.2 * self.unit
        cv2.putText(
            self.picture,
            text,
            (round(x), round(baseline)),
            _FONT,
            self._font_scale,
            color,
            self._stroke,
            cv2.LINE_AA,
        )

    def panel(self, box: Sequence[float], color: Color, opacity: float) -> None:
        """Fill a box with rounded corners."""
        self._blend(box, opacity, _filler(box, color, 5 * self.unit))

    def lines(
        self,
        lines: Sequence[NDArray[np.float64]],
        color: Color,
        opacity: float,
        *,
        closed: bool,
        stroke: float = 1.0,
    ) -> None:
        """Draw lines through points ``(n, 2)``, ``stroke`` units wide."""
        points = np.concatenate(lines)
        thickness = max(1, round(stroke * self.unit))

        def paint(layer: NDArray[np.uint8], dx: int, dy: int) -> None:
            fixed = [_fixed(line - (dx, dy)) for line in lines]
            cv2.polylines(layer, fixed, closed, color, thickness, cv2.LINE_AA, _SHIFT)

        self._blend(_around(points, 3 * self.unit), opacity, paint)

    def dots(self, points: NDArray[np.float64], color: Color, opacity: float) -> None:
        """Draw a small dot at each of ``points`` ``(n, 2)``."""
        radius = round(0.8 * self.unit * (1 << _SHIFT))

        def paint(layer: NDArray[np.uint8], dx: int, dy: int) -> None:
            for x, y in _fixed(points - (dx, dy)).tolist():
                cv2.circle(layer, (x, y), radius, color, -1, cv2.LINE_AA, _SHIFT)

        self._blend(_around(points, 2 * self.unit), opacity, paint)

    def brackets(self, box: Sequence[float], color: Color) -> None:
        """Draw the corners of a box, with a dark edge that keeps them visible on any ground."""
        x1, y1, x2, y2 = box
        arm = 0.2 * min(x2 - x1, y2 - y1)
        corners = [
            np.array(((x + sx * arm, y), (x, y), (x, y + sy * arm)))
            for x, sx in ((x1, 1), (x2, -1))
            for y, sy in ((y1, 1), (y2, -1))
        ]
        fixed = [_fixed(corner) for corner in corners]
        for shade, stroke in (((20, 20, 20), 4 * self.unit), (color, 2 * self.unit)):
            cv2.polylines(
                self.picture, fixed, False, shade, max(1, round(stroke)), cv2.LINE_AA, _SHIFT
            )

    def tag(
        self, text: str, bottom_left: tuple[float, float], color: Color, background: Color
    ) -> None:
        """Write ``text`` on a filled label above a point, moved where needed to stay in sight."""
        width, height = self.text_width(text) + 12 * self.unit, 1.2 * self.line_height
        x = self._inside(bottom_left[0], width, self.width)
        y = self._inside(bottom_left[1] - height - 3 * self.unit, height, self.height)
        self.panel((x, y, x + width, y + height), background, opacity=0.92)
        self.text(text, (x + 6 * self.unit, y + height / 2), color)

    def bar(
        self, start: tuple[float, float, float], share: float, color: Color, ground: Color
    ) -> None:
        """Draw a horizontal gauge: ``start`` is its left end, middle height and full length."""
        x, y, length = start
        half = 3 * self.unit
        gauge = (x, y - half, x + length, y + half)
        self._blend(gauge, 1.0, _filler(gauge, ground))
        filled = x + float(np.clip(share, 0, 1)) * length
        # Cut off where the share ends, so that short ones keep their true length.
        self._blend((x, y - half, filled, y + half), 1.0, _filler(gauge, color))

    def footer(self, parts: Sequence[str], color: Color, background: Color) -> None:
        """Write as many of ``parts`` as fit on a strip at the bottom left."""
        room = self.width - 24 * self.unit
        text = ""
        for part in parts:
            longer = f"{text}{_SEPARATOR}{part}" if text else part
            if self.text_width(longer) > room:
                break
            text = longer
        if not text or self.height < 3 * self.line_height:
            return
        gap, height = 6 * self.unit, 1.2 * self.line_height
        y2 = self.height - gap
        box = (gap, y2 - height, gap + self.text_width(text) + 12 * self.unit, y2)
        self.panel(box, background, opacity=0.6)
        self.text(text, (box[0] + 6 * self.unit, y2 - height / 2), color)

    def beside(self, box: Sequence[float], size: tuple[float, float]) -> tuple[float, float] | None:
        """Return the top-left corner of a panel of ``size`` beside ``box``; None: no room at all.

        To the right if it fits, else to the left, else on top of the box's right part.
        """
        width, height = size
        if width > self.width or height > self.height:
            return None
        gap = 8 * self.unit
        right, left = box[2] + gap, box[0] - gap - width
        x = right if right + width <= self.width or left < 0 else left
        return self._inside(x, width, self.width), self._inside(box[1], height, self.height)

    def _inside(self, start: float, length: float, limit: int) -> float:
        return float(max(0.0, min(start, limit - length)))

    def _blend(self, box: Sequence[float], opacity: float, paint: _Painter) -> None:
        """Let ``paint`` draw on a copy of the region and mix it in; it is given the offset."""
        limit = (self.width, self.height)
        x1, y1 = np.clip(np.floor(box[:2]), 0, limit).astype(int).tolist()
        x2, y2 = np.clip(np.ceil(box[2:]), 0, limit).astype(int).tolist()
        if x1 >= x2 or y1 >= y2:
            return
        region = self.picture[y1:y2, x1:x2]
        layer = region.copy()
        paint(layer, x1, y1)
        region[:] = cv2.addWeighted(layer, opacity, region, 1 - opacity, 0)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.asarray(np.rint((points - 0.5) * (1 << _SHIFT)), np.int32)


def _around(points: NDArray[np.float64], margin: float) -> list[float]:
    x1, y1, x2, y2 = bounding_box(points)
    return [x1 - margin, y1 - margin, x2 + margin, y2 + margin]


def _filler(box: Sequence[float], color: Color, radius: float = math.inf) -> _Painter:
    """Return what fills a box with round corners: a polygon of four quarter circles."""
    x1, y1, x2, y2 = box
    radius = min(radius, (x2 - x1) / 2, (y2 - y1) / 2)
    turn = np.radians(np.arange(0, 91, 15))
    arc = radius * np.column_stack((np.cos(turn), np.sin(turn)))
    corners = (
        np.array((x2 - radius, y2 - radius)) + arc,
        np.array((x1 + radius, y2 - radius)) + arc[::-1] * (-1, 1),
        np.array((x1 + radius, y1 + radius)) - arc,
        np.array((x2 - radius, y1 + radius)) + arc[::-1] * (1, -1),
    )
    outline = np.concatenate(corners)

    def paint(layer: NDArray[np.uint8], dx: int, dy: int) -> None:
        cv2.fillPoly(layer, [_fixed(outline - (dx, dy))], color, cv2.LINE_AA, _SHIFT)

    return paint
