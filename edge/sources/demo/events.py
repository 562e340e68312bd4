"""The demo's face with things to do: it blinks, smiles, raises its brows, nods and shakes its head.

Each at known times, made by moving the photo's own pixels as ``demo.expression`` does: the
truth that events are measured against, and a source for whoever wants to try them.
"""

import math
from pathlib import Path
from typing import Final

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.assets.store import ASTRONAUT, asset_path
from edge.contract.logrecord import EventName
from edge.sources.demo.choreography import FACE_CENTRE, FACE_OUTLINE, SOLO, Choreography, Keyframe
from edge.sources.demo.expression import (
    BROWS,
    INNER_LOWER,
    INNER_UPPER,
    LOWER_LIDS,
    OUTER_LOWER,
    OUTER_UPPER,
    REACH,
    STILL,
    UPPER_LIDS,
    displacement,
)
from edge.sources.demo.source import DemoSource, cut_cameo, load_photo, paste

_Field = NDArray[np.float32]


class Act(msgspec.Struct, frozen=True):
    """Something that the face does.

    Attributes:
        name: the event that it is.
        start_s, end_s: from the first movement to the last, in seconds of the loop.
    """

    name: EventName
    start_s: float
    end_s: float


ACTS: Final = (
    Act("blink", 1.0, 1.24),
    Act("blink", 2.2, 2.4),
    Act("blink", 3.1, 3.4),
    Act("smile", 4.0, 6.6),
    Act("blink", 5.2, 5.44),
    Act("brow_raise", 7.5, 8.7),
    Act("nod", 9.6, 10.9),
    Act("blink", 11.9, 12.1),
    Act("eyes_closed", 12.9, 14.3),
    Act("shake", 15.2, 17.2),
    Act("blink", 18.2, 18.44),
    Act("blink", 18.9, 19.14),
)
"""What the face does, in the order of the beginnings."""
LOOP_S: Final = 20.0

_RAMP_S: Final = {"smile": 0.4, "brow_raise": 0.25, "eyes_closed": 0.12}
"""How long these take to come, and to go. A blink closes in 40 % of its time and opens in 50 %."""
_NOD_DEG: Final = 15.0
_NODS: Final = 2
_SHAKE_DEG: Final = 26.0
_SHAKES: Final = 3

_X: Final = slice(130, 322)
_Y: Final = slice(10, 240)
"""The part of the photo in which anything moves."""
_HEAD: Final = np.array((62.0, 80.0, 62.0))
"""Half axes of the ellipsoid that stands for the head: across, down, and towards the viewer."""
_SEAM: Final = 0.4
"""Closed lids leave so many pixels between them."""
_LASHES: Final = 1.0
"""The eye shows so far beyond the points of the mesh."""
_BELOW_BROWS: Final = 3.5
_RAISED_BROWS: Final = (0.0, -6.0)
_RAISED_LIDS: Final = (0.0, -0.8)
_CORNERS: Final = (((195.3, 100.6), (213.6, 103.6)), ((236.4, 104.9), (255.3, 103.8)))
"""Of the eyes, in the photo."""


class EventsDemo(DemoSource):
    """A frame source like the demo, with a face that stays where it is and does ``ACTS``, for ever.

    Args:
        frames: how many to give.
        fps: frames per second of ``Frame.t_s``.
        size_hw: the picture's height and width in pixels.
        photo: the astronaut photo, when it is not to be looked up among the assets.

    Raises:
        AssetError: the photo cannot be had.
        ValueError: ``frames``, ``fps`` or ``size_hw`` is not positive.
    """

    def __init__(
        self,
        frames: int = 600,
        fps: float = 30.0,
        size_hw: tuple[int, int] = (480, 640),
        photo: Path | None = None,
    ) -> None:
        super().__init__(frames, fps, size_hw, photo)
        first = SOLO[0]
        still = (first, Keyframe(LOOP_S, first.x, first.y, first.scale, first.roll_deg))
        self.ways = (Choreography(still, size_hw),)
        self._face = _ActingFace(load_photo(photo or asset_path(ASTRONAUT)))
        self._now: Pose | None = None

    def render(self, frame_index: int) -> NDArray[np.uint8]:
        """Return the picture of a frame, BGR uint8 ``(H, W, 3)``."""
        pose = pose_at(frame_index / self.fps)
        if pose != self._now:
            self._cameos = [cut_cameo(self._face.photo(pose))[0]]
            self._now = pose
        picture = self.backdrop.copy()
        paste(picture, self._cameos[0], self.motion(frame_index) @ self._to_photo)
        return picture


def acts_until(end_s: float) -> list[Act]:
    """Return what a clip of this length shows from beginning to end."""
    loops = range(math.ceil(end_s / LOOP_S))
    shifted = (
        Act(act.name, act.start_s + loop * LOOP_S, act.end_s + loop * LOOP_S)
        for loop in loops
        for act in ACTS
    )
    return [act for act in shifted if act.end_s <= end_s]


class Pose(msgspec.Struct, frozen=True):
    """What the face looks like: shares of movements from 0 to 1, and angles."""

    shut: float = 0.0
    smile: float = 0.0
    brows: float = 0.0
    yaw_deg: float = 0.0
    pitch_deg: float = 0.0


def pose_at(t_s: float) -> Pose:
    """Return what the face looks like at a time."""
    t_s %= LOOP_S
    shares: dict[str, float] = {}
    for act in ACTS:
        if act.start_s < t_s < act.end_s:
            done, length_s = t_s - act.start_s, act.end_s - act.start_s
            shares[act.name] = share_of(act.name, done, length_s)
    return Pose(
        shut=max(shares.get("blink", 0.0), shares.get("eyes_closed", 0.0)),
        smile=shares.get("smile", 0.0),
        brows=shares.get("brow_raise", 0.0),
        yaw_deg=_SHAKE_DEG * shares.get("shake", 0.0),
        pitch_deg=-_NOD_DEG * shares.get("nod", 0.0),
    )


def share_of(name: str, done_s: float, length_s: float) -> float:
    """Return how far an act has got: from 0 to 1 and back, of a nod or shake from -1 to 1."""
    if name in {"nod", "shake"}:
        cycles = _NODS if name == "nod" else _SHAKES
        return math.sin(2 * math.pi * cycles * done_s / length_s)
    rise_s, fall_s = _RAMP_S.get(name, 0.4 * length_s), _RAMP_S.get(name, 0.5 * length_s)
    share = min(done_s / rise_s, (length_s - done_s) / fall_s, 1.0)
    return share * share * (3 - 2 * share)


class _ActingFace:
    """Makes the photo's face look as a pose has it.

    Args:
        photo: the astronaut photo, BGR uint8 ``(512, 512, 3)``.
    """

    def __init__(self, photo: NDArray[np.uint8]) -> None:
        self._photo = photo
        size = photo.shape[1], photo.shape[0]
        self._serious = displacement(*_serious(), size)[_Y, _X]
        self._brows = displacement(*_raised_brows(), size)[_Y, _X]
        columns, rows = np.arange(photo.shape[1])[_X], np.arange(photo.shape[0])[_Y]
        self.grid = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float32)
        self._lids = [_lids(eye, self.grid[0, :, 0]) for eye in (0, 1)]

    def photo(self, pose: Pose) -> NDArray[np.uint8]:
        """Return the photo with this pose, BGR uint8."""
        moved = (1 - np.float32(pose.smile)) * self._serious
        if pose.brows:
            moved += np.float32(pose.brows) * self._brows
        if pose.shut:
            moved[..., 1] += self.shut_field(pose.shut)
        place = self.grid
        if pose.yaw_deg or pose.pitch_deg:
            place = place + _turned(place, pose.yaw_deg, pose.pitch_deg)
            inside = place - (_X.start, _Y.start)
            moved = cv2.remap(
                moved, inside.astype(np.float32), None, cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_CONSTANT,
            )  # fmt: skip
        picture = self._photo.copy()
        picture[_Y, _X] = cv2.remap(
            self._photo, (place + moved).astype(np.float32), None, cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return picture

    def shut_field(self, share: float) -> _Field:
        """Return how far below each pixel is what shut eyes show there; float32 ``(h, w)``.

        In each column the upper lid comes down over the eye, and the skin above it stretches.
        """
        y = self.grid[..., 1]
        down = np.zeros_like(y)
        for brow, upper, lower in self._lids:
            gap = lower - upper
            lid = upper + share * np.maximum(gap - _SEAM, 0)
            above = (y > brow) & (y <= lid) & (gap > _SEAM)
            eye = (y > lid) & (y <= lower) & (gap > _SEAM)
            stretched = brow + (y - brow) * (upper - brow) / np.maximum(lid - brow, 1e-3) - y
            squeezed = upper + (y - lid) * gap / np.maximum(lower - lid, 1e-3) - y
            down += np.where(above, stretched, 0) + np.where(eye, squeezed, 0)
        return np.asarray(down, np.float32)


def _lids(eye: int, columns: NDArray[np.float32]) -> tuple[_Field, _Field, _Field]:
    """Return the rows of an eye's brow, upper and lower lid in each column; level outside it."""
    corners, half = np.array(_CORNERS[eye]), slice(3 * eye, 3 * eye + 3)
    brow = BROWS[5 * eye : 5 * eye + 5]
    lines = (
        brow + np.array((0.0, _BELOW_BROWS)),
        np.concatenate((corners, UPPER_LIDS[half])),
        np.concatenate((corners, LOWER_LIDS[half])),
    )
    rows = []
    for line in lines:
        ordered = line[np.argsort(line[:, 0])]
        rows.append(np.interp(columns, ordered[:, 0], ordered[:, 1]).astype(np.float32))
    outside = (columns < corners[:, 0].min()) | (columns > corners[:, 0].max())
    rows[1] -= _LASHES
    rows[2] += _LASHES
    rows[2][outside] = rows[1][outside]
    return rows[0], rows[1], rows[2]


def _turned(place: _Field, yaw_deg: float, pitch_deg: float) -> _Field:
    """Return where the pixels of a turned head come from, relative to where they are."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    x, y = np.moveaxis(place - FACE_CENTRE, 2, 0)
    depth = -_HEAD[2] * np.sqrt(np.maximum(1 - (x / _HEAD[0]) ** 2 - (y / _HEAD[1]) ** 2, 0))
    moved = np.stack(
        (
            x * math.cos(yaw) + depth * math.sin(yaw) - x,
            y * math.cos(pitch) - depth * math.sin(pitch) - y,
        ),
        axis=-1,
    )
    fade = np.clip((1 - np.hypot(x / REACH[0], y / REACH[1])) / 0.35, 0, 1)
    return np.asarray(moved * fade[..., np.newaxis], np.float32)


def _raised_brows() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    still = np.concatenate((_rest(), _lips()))
    source = np.concatenate((still, LOWER_LIDS, UPPER_LIDS, BROWS))
    lids, brows = UPPER_LIDS + _RAISED_LIDS, BROWS + _RAISED_BROWS
    return source, np.concatenate((still, LOWER_LIDS, lids, brows))


def _serious() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the places that make the smile go, and where they go: lips closed and level."""
    still = np.concatenate((_rest(), LOWER_LIDS, UPPER_LIDS, BROWS))
    middle = np.array((223.3, 146.5))

    def level(line: NDArray[np.float64], half_width: float, height: float) -> NDArray[np.float64]:
        """Return a lip's edge when it is level; ``height`` is how far its middle is below."""
        x = line[:, 0]
        across = 2 * (x - x[0]) / (x[-1] - x[0]) - 1
        down = height * (1 - np.abs(across) ** 2.2) + 0.8 * across**2
        return np.asarray(middle + np.stack((half_width * across, down), axis=1))

    closed = np.concatenate(
        (
            level(INNER_UPPER, 16.0, -0.25),
            level(INNER_LOWER, 16.0, 0.25)[1:-1],
            level(OUTER_UPPER, 17.8, -4.0),
            level(OUTER_LOWER, 17.8, 5.5)[1:-1],
        )
    )
    return np.concatenate((still, _lips())), np.concatenate((still, closed))


def _lips() -> NDArray[np.float64]:
    return np.concatenate((INNER_UPPER, INNER_LOWER[1:-1], OUTER_UPPER, OUTER_LOWER[1:-1]))


def _rest() -> NDArray[np.float64]:
    """Return places that stay: those beyond the reach, the outline, and the nose."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    frame = FACE_CENTRE + REACH * np.stack((np.cos(angles), np.sin(angles)), axis=1)
    return np.concatenate((frame, FACE_OUTLINE, STILL))
