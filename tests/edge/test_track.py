"""Tracks: stable ids through motion, gaps and crossings."""

import pytest

from edge.records import Face
from edge.stages.track import FaceTracker
from edge.testing import make_face

FPS = 25


def face(x: float, y: float = 100.0, size: float = 80.0) -> Face:
    return make_face((x, y, x + size, y + size))


def tracker(max_gap_s: float = 1.0, confirm_hits: int = 1, max_jump: float = 1.5) -> FaceTracker:
    return FaceTracker(max_gap_s, confirm_hits, max_jump)


def ids_of(tracks) -> list[int]:
    return [track.track_id for track in tracks]


def test_a_moving_face_keeps_its_id():
    """A face that moves by a tenth of its width a frame stays one track."""
    subject = tracker()
    seen = {
        track.track_id for i in range(100) for track in subject.update([face(8.0 * i)], i / FPS)[0]
    }
    assert seen == {1}


def test_a_face_is_named_only_after_it_was_confirmed():
    """A detection that does not come back is never reported."""
    subject = tracker(confirm_hits=2)
    assert subject.update([face(0)], 0.0) == ([], [])
    tracks, ended = subject.update([], 2.0)
    assert (tracks, ended) == ([], [])
    subject.update([face(300)], 2.1)
    tracks, _ = subject.update([face(300)], 2.2)
    assert ids_of(tracks) == [1]
    assert tracks[0].is_new
    assert tracks[0].started_s == 2.1


@pytest.mark.parametrize(
    ("gap_s", "expected"), [(0.5, 1), (0.99, 1), (1.2, 2)], ids=["short", "at the edge", "long"]
)
def test_a_gap_is_bridged_up_to_its_limit(gap_s, expected):
    """The same place within ``max_gap_s`` is the same face, afterwards a new one."""
    subject = tracker()
    subject.update([face(100)], 0.0)
    tracks, ended = subject.update([face(100)], gap_s)
    assert ids_of(tracks) == [expected]
    assert [track.track_id for track in ended] == ([1] if expected == 2 else [])


def test_time_passes_without_faces():
    """Empty frames end a track, which tells when it was last seen."""
    subject = tracker()
    subject.update([face(100)], 0.0)
    subject.update([face(100)], 0.4)
    assert subject.update([], 1.0) == ([], [])
    _, ended = subject.update([], 1.5)
    assert [(track.track_id, track.started_s, track.last_seen_s) for track in ended] == [
        (1, 0.0, 0.4)
    ]


def test_faces_that_pass_each_other_keep_their_ids():
    """Two faces that cross at different heights are told apart by their motion."""
    subject = tracker()
    for i in range(60):
        left, right = face(10.0 * i, 100.0), face(600 - 10.0 * i, 130.0)
        faces = [left, right] if i % 2 else [right, left]
        tracks, _ = subject.update(faces, i / FPS)
        owner = {id(track.face): track.track_id for track in tracks}
        if i == 0:
            first = (owner[id(left)], owner[id(right)])
        assert (owner[id(left)], owner[id(right)]) == first


def test_a_face_far_away_is_another_face():
    """A jump of many widths within one frame starts a new track."""
    subject = tracker()
    subject.update([face(0)], 0.0)
    tracks, _ = subject.update([face(500)], 0.04)
    assert ids_of(tracks) == [2]


def test_a_cut_starts_afresh_and_reports_at_once():
    """Unrelated stills never share a track, and wait for no confirmation."""
    subject = tracker(confirm_hits=3)
    for i in range(3):
        tracks, ended = subject.update([face(100)], float(i), cut=True)
        assert ids_of(tracks) == [i + 1]
        assert [track.track_id for track in ended] == ([i] if i else [])


def test_close_ends_what_was_reported():
    """Closing names the confirmed tracks and no others."""
    subject = tracker(confirm_hits=2)
    subject.update([face(0)], 0.0)
    subject.update([face(0), face(400)], 0.1)
    assert [track.track_id for track in subject.close()] == [1]
    assert subject.close() == []
