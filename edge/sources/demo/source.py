"""The demo: real faces that move through the picture, with their true boxes known in every frame.

Made from the astronaut photo (``edge.assets.store.ASTRONAUT``) and a choreography; deterministic to
the last bit, so it serves demonstrations, tests and benchmarks alike.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.assets.store import ASTRONAUT, asset_path
from edge.errors import AssetError
from edge.records import Frame
from edge.sources.demo.choreography import FACE_CENTRE, SOLO, Choreography, Keyframe, surprise_at
from edge.system.diagnostics import silenced

EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
"""When the demo was "captured": fixed, so that two runs give equal records."""

_MARGIN: Final = 64
"""Pixels added above the photo, whose upper edge is close to the hair."""
_RADII: Final = np.array((150.0, 178.0))
_CAMEO_OFFSET: Final = np.array((0.0, 22.0))
"""The cameo's centre lies below the face's, to show the shoulders."""
_FADE: Final = 0.35
_OPAQUE: Final = 1 - _FADE / 2
"""Within this share of its radii the cameo hides more than half of what is behind it."""
_MOODS: Final = 8
"""So many steps lead from the smile to surprise."""
_STRIP: Final = 48
"""Rows that are made at once: what start-up needs in between counts in the peak of memory."""
_BACKDROP_BGR: Final = ((190.0, 196.0, 205.0), (146.0, 153.0, 163.0))
"""The wall's colour at the top and at the bottom; close to the photo's own backdrop."""


class DemoSource:
    """A frame source that renders the demo clip; it does not wait between frames.

    Args:
        frames: how many to give; the choreography lasts 12 s and repeats.
        fps: frames per second of ``Frame.t_s``.
        size_hw: the picture's height and width in pixels.
        photo: the astronaut photo, when it is not to be looked up among the assets.
        ways: of each face through the picture. Faces are numbered from 0, and each is nearer than
            those before it. ``edge.testing.scenes`` has some for several.
        moods: the faces do not smile all the time, but are surprised when
            ``choreography.SURPRISES`` says.

    Raises:
        AssetError: the photo cannot be had.
        ValueError: ``frames``, ``fps`` or ``size_hw`` is not positive.
    """

    def __init__(
        self,
        frames: int = 300,
        fps: float = 25.0,
        size_hw: tuple[int, int] = (480, 640),
        photo: Path | None = None,
        ways: Sequence[Sequence[Keyframe]] = (SOLO,),
        *,
        moods: bool = False,
    ) -> None:
        if frames < 1 or fps <= 0 or min(size_hw) < 1:
            raise ValueError(f"frames, fps, size must be positive: {frames}, {fps}, {size_hw}")
        self.frames = frames
        self.fps: float = fps
        self.size_hw = size_hw
        self.ways = tuple(Choreography(way, size_hw) for way in ways)
        self.moods = moods
        smiling = load_photo(photo or asset_path(ASTRONAUT))
        cameo, self._to_photo = cut_cameo(smiling)
        self._cameos = [cameo]
        if moods:
            from edge.sources.demo.expression import Surprise

            surprise = Surprise(smiling)
            shares = (mood / _MOODS for mood in range(1, _MOODS + 1))
            self._cameos += [cut_cameo(surprise.photo(share))[0] for share in shares]
        self.backdrop = _backdrop(size_hw)
        self._next = 0

    @property
    def dropped(self) -> int:
        """None: every frame is given."""
        return 0

    def read(self) -> Frame | None:
        """Return the next frame, or None after the last."""
        index = self._next
        if index >= self.frames:
            return None
        self._next += 1
        return Frame(self.render(index), index, index / self.fps, self.time_of(index))

    def close(self) -> None:
        """End the clip."""
        self._next = self.frames

    def time_of(self, frame_index: int) -> datetime:
        """Return when a frame was "captured"."""
        return EPOCH + timedelta(seconds=frame_index / self.fps)

    def motion(self, frame_index: int, face: int = 0) -> NDArray[np.float64]:
        """Return the ``(2, 3)`` similarity from photo to picture coordinates."""
        return self.ways[face].motion(frame_index / self.fps)

    def ground_truth(self, frame_index: int, face: int = 0) -> NDArray[np.float32] | None:
        """Return a face's true ``box_xyxy``, float32 ``(4,)``, unclipped; None while outside."""
        if self.visible_fraction(frame_index, face) == 0:
            return None
        return self.ways[face].box(frame_index / self.fps)

    def surprise(self, frame_index: int) -> float:
        """Return how surprised the faces are: 0 (they smile) to 1."""
        return surprise_at(frame_index / self.fps) if self.moods else 0.0

    def visible_fraction(self, frame_index: int, face: int = 0) -> float:
        """Return the share of the face's box that lies in the picture, in [0, 1]."""
        return self.ways[face].visible_fraction(frame_index / self.fps)

    def exposed_fraction(self, frame_index: int, face: int = 0) -> float:
        """Return the share of a face's box that lies in the picture and behind no other, in [0, 1].

        Sampled at 20 x 20 places.
        """
        t_s = frame_index / self.fps
        x1, y1, x2, y2 = self.ways[face].box(t_s).astype(float)
        steps = (np.arange(20) + 0.5) / 20
        x, y = np.meshgrid(x1 + steps * (x2 - x1), y1 + steps * (y2 - y1))
        exposed = (x >= 0) & (x < self.size_hw[1]) & (y >= 0) & (y < self.size_hw[0])
        for nearer in self.ways[face + 1 :]:
            exposed &= ~_covered(np.stack((x, y), axis=-1), nearer.motion(t_s))
        return float(exposed.mean())

    def render(self, frame_index: int) -> NDArray[np.uint8]:
        """Return the picture of a frame, BGR uint8 ``(H, W, 3)``."""
        picture = self.backdrop.copy()
        cameo = self._cameos[round(_MOODS * self.surprise(frame_index))]
        for face in self.ways:
            paste(picture, cameo, face.motion(frame_index / self.fps) @ self._to_photo)
        return picture


def load_photo(path: Path) -> NDArray[np.uint8]:
    """Return the photo as BGR.

    Raises:
        AssetError: it is not the photo of 512 x 512 pixels.
    """
    with silenced():  # libpng's remark about the photo's colour profile
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if photo is None or photo.shape != (512, 512, 3):
        found = "not a picture" if photo is None else f"a picture of shape {photo.shape}"
        raise AssetError(f"{path}: {found}; expected the 512x512 photo {ASTRONAUT.name}")
    return np.asarray(photo, np.uint8)


def cut_cameo(photo: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut head and shoulders out with a soft oval edge.

    Returns:
        the cameo, BGRA uint8 with colours already multiplied by alpha (so that resampling does not
        bleed), and the ``(3, 3)`` transform from its coordinates to the photo's.
    """
    extended = cv2.copyMakeBorder(photo, _MARGIN, 0, 0, 0, cv2.BORDER_REPLICATE)
    centre = FACE_CENTRE + _CAMEO_OFFSET + (0, _MARGIN)
    x1, y1 = np.floor(centre - _RADII).astype(int)
    x2, y2 = np.ceil(centre + _RADII).astype(int)
    cameo = np.empty((y2 - y1, x2 - x1, 4), np.uint8)
    columns = np.arange(x1, x2) + 0.5
    for top in range(y1, y2, _STRIP):
        bottom = min(top + _STRIP, y2)
        rows = np.arange(top, bottom)[:, np.newaxis] + 0.5
        alpha = _opacity(columns, rows, centre)[:, :, np.newaxis]
        strip = cameo[top - y1 : bottom - y1]
        np.rint(extended[top:bottom, x1:x2] * alpha, out=strip[:, :, :3], casting="unsafe")
        np.rint(255 * alpha, out=strip[:, :, 3:], casting="unsafe")
    to_photo = np.array(((1.0, 0.0, x1), (0.0, 1.0, y1 - _MARGIN), (0.0, 0.0, 1.0)))
    return cameo, to_photo


def _covered(places: NDArray[np.float64], motion: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which places ``(..., 2)`` of the picture a cameo under ``motion`` hides."""
    in_photo = (places - motion[:, 2]) @ np.linalg.inv(motion[:, :2]).T
    offset = (in_photo - FACE_CENTRE - _CAMEO_OFFSET) / _RADII
    return np.asarray(np.hypot(offset[..., 0], offset[..., 1]) < _OPAQUE)


def _opacity(
    columns: NDArray[np.float64], rows: NDArray[np.float64], centre: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Return how opaque the cameo is at these places: 1 within an oval, fading to 0 outside."""
    distance = np.hypot((columns - centre[0]) / _RADII[0], (rows - centre[1]) / _RADII[1])
    opaque = np.clip((1 - distance) / _FADE, 0, 1)
    return np.asarray(opaque * opaque * (3 - 2 * opaque), np.float32)


def _backdrop(size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a wall that is lit from above."""
    height, width = size_hw
    down = np.linspace(0, 1, height)[:, np.newaxis]
    across = np.linspace(-1, 1, width)[np.newaxis, :]
    vignette = 1 - 0.12 * across * across
    wall = np.empty((height, width, 3), np.uint8)
    for channel, (top, bottom) in enumerate(zip(*_BACKDROP_BGR, strict=True)):
        shade = top + (bottom - top) * down
        for row in range(0, height, _STRIP):
            rows = slice(row, row + _STRIP)
            np.rint(shade[rows] * vignette, out=wall[rows, :, channel], casting="unsafe")
    return wall


def paste(
    picture: NDArray[np.uint8], cameo: NDArray[np.uint8], matrix: NDArray[np.float64]
) -> None:
    """Blend the cameo into ``picture`` in place; ``matrix`` maps its coordinates there."""
    height, width = cameo.shape[:2]
    corners = np.array(((0, 0), (width, 0), (0, height), (width, height))) @ matrix[:, :2].T
    corners += matrix[:, 2]
    limit = picture.shape[1], picture.shape[0]
    x1, y1 = np.clip(np.floor(corners.min(axis=0)), 0, limit).astype(int)
    x2, y2 = np.clip(np.ceil(corners.max(axis=0)), 0, limit).astype(int)
    if x1 == x2 or y1 == y2:
        return
    shifted = matrix - np.array(((0, 0, x1), (0, 0, y1)))
    shifted[:, 2] += shifted[:, :2] @ (0.5, 0.5) - 0.5  # OpenCV counts from pixel centres
    # Scales stay above 1/2, where bilinear sampling reads every pixel: no aliasing.
    warped = cv2.warpAffine(cameo, shifted, (x2 - x1, y2 - y1), flags=cv2.INTER_LINEAR)
    region = picture[y1:y2, x1:x2]
    veil = cv2.cvtColor(cv2.bitwise_not(warped[:, :, 3]), cv2.COLOR_GRAY2BGR)
    cv2.multiply(region, veil, dst=veil, scale=1 / 255)
    colours = cv2.cvtColor(warped, cv2.COLOR_BGRA2BGR)
    del warped
    cv2.add(veil, colours, dst=veil)
    region[:] = veil
