"""Telling which face is which over time."""

import math
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.config import TrackerConfig
from edge.contract.align import LEFT_EYE, MOUTH, RIGHT_EYE
from edge.records import EndedTrack, Face, FaceTrack, intersection_over_union

SPEED_MEMORY_S: Final = 1.0
"""A face that is not seen keeps its speed for about so long: people stop and turn."""
UNREST: Final = 12.0
"""How much speed changes by itself: its variance grows by so many face widths^2/s^2 a second."""
PLACE_NOISE: Final = 0.05
"""Standard deviation of a seen face's centre, in face widths."""
FIRST_SPEED: Final = 3.0
"""Standard deviation of the speed of a face that was seen only once, in face widths a second."""


class Motion(msgspec.Struct):
    """A Kalman filter for one face's centre; a mutable value.

    Both axes have the same noise, and so one covariance. Speed fades with ``SPEED_MEMORY_S``
    (Singer, "Estimating optimal tracking filter performance for manned maneuvering targets", IEEE
    Transactions on Aerospace and Electronic Systems 1970, with the speed in place of the
    acceleration). All that is noise is in widths of the face, since a near face moves more pixels.

    Attributes:
        x: the centre, in pixels.
        y: the same.
        vx: the speed, in pixels a second.
        vy: the same.
        place: variance of the centre on each axis, in face widths^2.
        both: covariance of centre and speed.
        speed: variance of the speed.
    """

    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    place: float = PLACE_NOISE**2
    both: float = 0.0
    speed: float = FIRST_SPEED**2

    def after(self, elapsed_s: float) -> "Motion":
        """Return what is to be expected ``elapsed_s`` seconds later."""
        keep = math.exp(-elapsed_s / SPEED_MEMORY_S)
        way = SPEED_MEMORY_S * (1 - keep)
        return Motion(
            self.x + way * self.vx,
            self.y + way * self.vy,
            keep * self.vx,
            keep * self.vy,
            self.place + 2 * way * self.both + way**2 * self.speed + UNREST * elapsed_s**3 / 3,
            keep * (self.both + way * self.speed) + UNREST * elapsed_s**2 / 2,
            keep**2 * self.speed + UNREST * elapsed_s,
        )

    def seen_at(self, x: float, y: float, noise: float = PLACE_NOISE) -> "Motion":
        """Return what is known once the face was seen at ``(x, y)``, as exactly as ``noise``."""
        total = self.place + noise**2
        pull, push = self.place / total, self.both / total
        dx, dy = x - self.x, y - self.y
        return Motion(
            self.x + pull * dx,
            self.y + pull * dy,
            self.vx + push * dx,
            self.vy + push * dy,
            (1 - pull) * self.place,
            (1 - pull) * self.both,
            self.speed - push * self.both,
        )


_LOOK_POINTS: Final = [*RIGHT_EYE, *LEFT_EYE, *MOUTH, 1, 10, 152, 234, 454]
"""Mesh points that say how a face is held and formed: eyes, mouth, nose, forehead, chin, cheeks."""
_LEEWAY: Final = 0.15
"""What a prediction may always be wrong by, in face widths: people start and stop at once."""
_SIZE_NOISE: Final = 0.15
"""Standard deviation of the logarithm of a face's size between two looks."""
_LOOK_NOISE: Final = 0.06
"""The same of its form: mean distance of points in face widths."""
_NOISE_GROWTH: Final = 4.0
"""By how much the variance of both grows in a second: faces come nearer, turn and tilt."""
_MAX_SIZE_RATIO: Final = 2.5
_CROWD_NOISE: Final = 6.0
"""By how much a face's place is less exact where it wholly overlaps another one's."""


class _Sighting(msgspec.Struct, frozen=True, eq=False):
    """What matching needs of a face."""

    face: Face
    box: tuple[float, float, float, float]
    x: float
    y: float
    size: float
    look: NDArray[np.float64]

    @classmethod
    def of(cls, face: Face) -> "_Sighting":
        x1, y1, x2, y2 = face.box_xyxy.tolist()
        x, y, size = (x1 + x2) / 2, (y1 + y2) / 2, max(x2 - x1, y2 - y1, 1.0)
        look = (face.points[_LOOK_POINTS, :2] - (x, y)) / size
        return cls(face, (x1, y1, x2, y2), x, y, size, look)


class _Track(msgspec.Struct, eq=False):
    """A track's mutable state; leaves the tracker as frozen ``FaceTrack`` and ``EndedTrack``."""

    last: _Sighting
    started_s: float
    seen_s: float
    motion: Motion
    expected: Motion
    hits: int = 1
    track_id: int | None = None

    def dissimilarity(self, face: _Sighting, t_s: float, max_jump: float) -> float:
        """Return how badly a face fits: its negative log-likelihood, doubled; infinity for never.

        Squares and not distances: of two faces that move on in one line, the sums of distances are
        the same whichever is which.
        """
        gap_s = t_s - self.seen_s
        size = max(face.size, self.last.size)
        # It went on, or it stopped where it was last seen.
        off = math.hypot(face.x - self.expected.x, face.y - self.expected.y) / size
        moved = math.hypot(face.x - self.last.x, face.y - self.last.y) / size
        growth = math.log(face.size / self.last.size)
        if min(off, moved) > max_jump * (1 + gap_s) or abs(growth) > math.log(_MAX_SIZE_RATIO):
            return math.inf
        spread = self.expected.place + PLACE_NOISE**2 + _LEEWAY**2
        change = face.look - self.last.look
        doubt = 1 + _NOISE_GROWTH * gap_s
        return (
            off**2 / spread
            + 2 * math.log(spread)
            + growth**2 / (_SIZE_NOISE**2 * doubt)
            + float((change * change).sum()) / (len(_LOOK_POINTS) * _LOOK_NOISE**2 * doubt)
        )

    def advance(self, face: _Sighting, t_s: float, crowding: float) -> None:
        """Take the face that was found to be this one; ``crowding`` makes its place inexact."""
        noise = PLACE_NOISE * (1 + _CROWD_NOISE * crowding)
        self.motion = _scaled(self.expected, self.last.size / face.size).seen_at(
            face.x, face.y, noise
        )
        self.last, self.seen_s = face, t_s
        self.hits += 1


class FaceTracker:
    """Assigns stable ids to faces: confirm before naming, coast, expire.

    A Kalman filter (``Motion``) predicts where each face is, also while it is hidden.
    The pairing of tracks and faces is the likeliest of all by place, size, tilt and form, with
    known tracks served before those that are not yet confirmed. Distances and not overlaps, since
    at 5 frames/s a moving face does not overlap itself; in face widths, since a near face moves
    more pixels. While two faces overlap, their places are taken as inexact: a mesh that slips from
    a hidden face onto the one in front of it must not turn the hidden one's speed around.

    Nobody is recognised: a face that stays away for longer than ``max_gap_s`` is a new one.
    """

    def __init__(self, config: TrackerConfig = TrackerConfig()) -> None:  # noqa: B008 - frozen
        self._config = config
        self._tracks: list[_Track] = []
        self._last_id = 0

    def update(
        self, faces: Sequence[Face], t_s: float, *, starts_new_clip: bool = False
    ) -> tuple[list[FaceTrack], list[EndedTrack]]:
        """Take the faces of the next frame; an empty sequence still lets time pass.

        Args:
            faces: in any order.
            t_s: the frame's time, not before the last one.
            starts_new_clip: the frame does not continue the last one: every track ends, and the
                faces of this one are reported at once, as there will be no second look at them.

        Returns:
            The confirmed tracks seen in this frame by id, and the reported tracks that ended.
        """
        gone = self._end(
            [t for t in self._tracks if starts_new_clip or t_s - t.seen_s > self._config.max_gap_s]
        )
        for track in self._tracks:
            track.expected = track.motion.after(t_s - track.seen_s)
        sightings = [_Sighting.of(face) for face in faces]
        new = self._follow(sightings, t_s)
        self._tracks += [_start(face, t_s) for face in new]
        return self._report(t_s, 1 if starts_new_clip else self._config.confirm_hits), gone

    @property
    def open_tracks(self) -> int:
        """Faces that are followed at the moment, those that were not reported yet included."""
        return len(self._tracks)

    def close(self) -> list[EndedTrack]:
        """End every track, at the end of the source."""
        return self._end(list(self._tracks))

    def _end(self, over: list[_Track]) -> list[EndedTrack]:
        self._tracks = [track for track in self._tracks if track not in over]
        return [
            EndedTrack(track.track_id, track.started_s, track.seen_s)
            for track in over
            if track.track_id is not None
        ]

    def _follow(self, faces: list[_Sighting], t_s: float) -> list[_Sighting]:
        """Give the tracks their faces; return the faces that are nobody's."""
        named = [track for track in self._tracks if track.track_id is not None]
        others = [track for track in self._tracks if track.track_id is None]
        for tracks in (named, others):
            cost = np.array(
                [
                    [t.dissimilarity(face, t_s, self._config.max_jump) for face in faces]
                    for t in tracks
                ]
            ).reshape(len(tracks), len(faces))
            pairs = assign(cost)
            crowding = {j: self._crowding(tracks[i], faces, j) for i, j in pairs}
            for i, j in pairs:
                tracks[i].advance(faces[j], t_s, crowding[j])
            faces = [face for j, face in enumerate(faces) if j not in crowding]
        return faces

    def _crowding(self, track: _Track, faces: list[_Sighting], own: int) -> float:
        """Return how much a track's face overlaps another track, or another face, in [0, 1]."""
        box = faces[own].box
        others = [_box(other) for other in self._tracks if other is not track]
        others += [face.box for j, face in enumerate(faces) if j != own]
        return max((intersection_over_union(box, other) for other in others), default=0.0)

    def _report(self, t_s: float, confirm_hits: int) -> list[FaceTrack]:
        reported = []
        for track in self._tracks:
            is_new = track.track_id is None and track.hits >= confirm_hits
            if is_new:
                self._last_id += 1
                track.track_id = self._last_id
            if track.track_id is not None and track.seen_s == t_s:
                reported.append(FaceTrack(track.track_id, track.last.face, track.started_s, is_new))
        return sorted(reported, key=lambda track: track.track_id)


def _start(face: _Sighting, t_s: float) -> _Track:
    motion = Motion(face.x, face.y)
    return _Track(face, t_s, t_s, motion, motion)


def _scaled(motion: Motion, factor: float) -> Motion:
    """Return the motion with its noise in widths of a face of another size."""
    share = factor**2
    return Motion(
        motion.x, motion.y, motion.vx, motion.vy,
        motion.place * share, motion.both * share, motion.speed * share,
    )  # fmt: skip


def _box(track: _Track) -> tuple[float, float, float, float]:
    """Return where a track's face is expected, at its last size."""
    x1, y1, x2, y2 = track.last.box
    dx, dy = track.expected.x - track.last.x, track.expected.y - track.last.y
    return x1 + dx, y1 + dy, x2 + dx, y2 + dy


def assign(cost: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pair rows with columns: as many pairs as are allowed, of the least total cost.

    The Hungarian method with shortest augmenting paths and potentials, O(n^2 m); Jonker and
    Volgenant, "A shortest augmenting path algorithm for dense and sparse linear assignment
    problems", Computing 1987. In plain Python, since a handful of faces is a few dozen steps.

    Args:
        cost: ``(n, m)``; infinity forbids a pair.

    Returns:
        The pairs ``(row, column)`` in the order of the rows. The same costs give the same pairs.
    """
    if cost.size == 0:
        return []
    if cost.size == 1:  # one face, one track: nearly always
        return [(0, 0)] if np.isfinite(cost[0, 0]) else []
    if cost.shape[0] > cost.shape[1]:
        return sorted((row, column) for column, row in assign(cost.T))
    allowed = np.isfinite(cost)
    # Dearer than any pairing of allowed pairs, so that a forbidden one is the last resort.
    spread = float(np.ptp(cost[allowed])) if allowed.any() else 0.0
    floor = float(cost[allowed].min()) if allowed.any() else 0.0
    priced = np.where(allowed, cost - floor, (spread + 1.0) * (cost.shape[0] + 1))
    return [(row, column) for row, column in _solve(priced.tolist()) if allowed[row, column]]


def _solve(cost: list[list[float]]) -> list[tuple[int, int]]:
    """Pair every row; there are no more rows than columns, and all costs are finite."""
    rows, columns = len(cost), len(cost[0])
    row_price, column_price = [0.0] * rows, [0.0] * (columns + 1)
    owner = [-1] * (columns + 1)  # of each column; the last one is where a new row starts
    for row in range(rows):
        owner[columns] = row
        path = _cheapest_path(cost, row_price, column_price, owner)
        for column, before in path:
            owner[column] = owner[before]
        owner[columns] = -1
    return sorted((owner[column], column) for column in range(columns) if owner[column] >= 0)


def _cheapest_path(
    cost: list[list[float]], row_price: list[float], column_price: list[float], owner: list[int]
) -> list[tuple[int, int]]:
    """Find the cheapest way from the new row to a free column, and raise the prices on it.

    Returns:
        pairs of a column and the column that its new owner leaves, from the free one back.
    """
    columns = len(column_price) - 1
    best, came_from = [np.inf] * columns, [columns] * columns
    reached = [columns]
    open_columns = list(range(columns))
    here = columns
    while owner[here] >= 0:
        row = owner[here]
        for column in open_columns:
            price = cost[row][column] - row_price[row] - column_price[column]
            if price < best[column]:
                best[column], came_from[column] = price, here
        nearest = min(open_columns, key=best.__getitem__)
        step = best[nearest]
        for column in reached:
            row_price[owner[column]] += step
            column_price[column] -= step
        for column in open_columns:
            best[column] -= step
        open_columns.remove(nearest)
        reached.append(nearest)
        here = nearest
    path = []
    while here != columns:
        path.append((here, came_from[here]))
        here = came_from[here]
    return path
