"""Telling which face is which over time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.records import EndedTrack, Face, FaceTrack


@dataclass(slots=True, eq=False)
class _Track:
    """A track's mutable state; leaves the tracker as frozen ``FaceTrack`` and ``EndedTrack``."""

    face: Face
    started_s: float
    seen_s: float
    center: NDArray[np.float64]
    size: float
    velocity: NDArray[np.float64]
    hits: int = 1
    track_id: int | None = None

    def predicted(self, t_s: float) -> NDArray[np.float64]:
        """Return where the face should be at ``t_s``, moving on for a short while only.

        A face that vanished seldom keeps its speed, so the prediction coasts for 0.2 s at most.
        """
        return self.center + self.velocity * min(t_s - self.seen_s, 0.2)


class FaceTracker:
    """Assigns stable ids to faces: confirm before naming, coast, expire.

    Faces are matched by the distance between predicted and seen centre in face widths, the nearest
    pair first. Distance and not overlap, since at 5 frames/s a moving face does not overlap itself;
    in face widths, since a near face moves more pixels. The allowed distance grows with the time
    that a face was not seen.
    """

    def __init__(self, max_gap_s: float, confirm_hits: int, max_jump: float) -> None:
        self._max_gap_s = max_gap_s
        self._confirm_hits = confirm_hits
        self._max_jump = max_jump
        self._tracks: list[_Track] = []
        self._last_id = 0

    def update(
        self, faces: Sequence[Face], t_s: float, *, cut: bool = False
    ) -> tuple[list[FaceTrack], list[EndedTrack]]:
        """Take the faces of the next frame; an empty sequence still lets time pass.

        Args:
            faces: in any order.
            t_s: the frame's time, not before the last one.
            cut: the frame does not continue the last one: every track ends, and the faces of this
                one are reported at once, as there will be no second look at them.

        Returns:
            The confirmed tracks seen in this frame by id, and the reported tracks that ended.
        """
        gone = self._end([t for t in self._tracks if cut or t_s - t.seen_s > self._max_gap_s])
        for track, face in self._match(faces, t_s):
            _advance(track, face, t_s)
        known = {id(track.face) for track in self._tracks}
        self._tracks += [_start(face, t_s) for face in faces if id(face) not in known]
        return self._report(t_s, 1 if cut else self._confirm_hits), gone

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

    def _match(self, faces: Sequence[Face], t_s: float) -> list[tuple[_Track, Face]]:
        pairs = sorted(
            (
                (self._distance(track, face, t_s), i, j)
                for i, track in enumerate(self._tracks)
                for j, face in enumerate(faces)
            ),
        )
        used_tracks: set[int] = set()
        used_faces: set[int] = set()
        matches = []
        for distance, i, j in pairs:
            if distance > 1 or i in used_tracks or j in used_faces:
                continue
            used_tracks.add(i)
            used_faces.add(j)
            matches.append((self._tracks[i], faces[j]))
        return matches

    def _distance(self, track: _Track, face: Face, t_s: float) -> float:
        """Return the distance as a share of what is allowed; over 1 the two can not be one."""
        center, size = _center_size(face)
        shift = float(np.linalg.norm(center - track.predicted(t_s)))
        scale_ratio = max(size, track.size) / min(size, track.size)
        reach = self._max_jump * (1 + (t_s - track.seen_s)) * max(size, track.size)
        return shift / reach if scale_ratio < 2.5 else np.inf

    def _report(self, t_s: float, confirm_hits: int) -> list[FaceTrack]:
        reported = []
        for track in self._tracks:
            is_new = track.track_id is None and track.hits >= confirm_hits
            if is_new:
                self._last_id += 1
                track.track_id = self._last_id
            if track.track_id is not None and track.seen_s == t_s:
                reported.append(FaceTrack(track.track_id, track.face, track.started_s, is_new))
        return sorted(reported, key=lambda track: track.track_id)


def _center_size(face: Face) -> tuple[NDArray[np.float64], float]:
    x1, y1, x2, y2 = face.box_xyxy.astype(np.float64)
    return np.array(((x1 + x2) / 2, (y1 + y2) / 2)), max(x2 - x1, y2 - y1, 1.0)


def _start(face: Face, t_s: float) -> _Track:
    center, size = _center_size(face)
    return _Track(face, t_s, t_s, center, size, np.zeros(2))


def _advance(track: _Track, face: Face, t_s: float) -> None:
    center, size = _center_size(face)
    elapsed = t_s - track.seen_s
    if elapsed > 0:
        measured = (center - track.center) / elapsed
        track.velocity = measured if track.hits == 1 else (track.velocity + measured) / 2
    track.face, track.center, track.size, track.seen_s = face, center, size, t_s
    track.hits += 1
