"""Tracks: stable ids through motion, gaps and crossings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import TrackerConfig
from edge.records import Face
from edge.sources.demo.source import DemoSource
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import make_face
from edge.testing.scenes import WAYS

FPS = 25


def face(x: float, y: float = 100.0, size: float = 80.0) -> Face:
    return make_face((x, y, x + size, y + size))


def tracker(max_gap_s: float = 1.0, confirm_hits: int = 1, max_jump: float = 1.5) -> FaceTracker:
    return FaceTracker(TrackerConfig(max_gap_s, confirm_hits, max_jump))


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
        tracks, ended = subject.update([face(100)], float(i), starts_new_clip=True)
        assert ids_of(tracks) == [i + 1]
        assert [track.track_id for track in ended] == ([i] if i else [])


def test_close_ends_what_was_reported():
    """Closing names the confirmed tracks and no others."""
    subject = tracker(confirm_hits=2)
    subject.update([face(0)], 0.0)
    subject.update([face(0), face(400)], 0.1)
    assert [track.track_id for track in subject.close()] == [1]
    assert subject.close() == []


def turned(box_face: Face, degrees: float) -> Face:
    """Return the face tilted about its centre."""
    centre = (box_face.box_xyxy[:2] + box_face.box_xyxy[2:]) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    points = box_face.points.copy()
    points[:, :2] = (points[:, :2] - centre) @ np.array(((cos, sin), (-sin, cos))) + centre
    return Face.from_points(points.astype(np.float32))


def owners(tracks) -> dict[int, int]:
    return {id(track.face): track.track_id for track in tracks}


@pytest.mark.parametrize("fps", [5, 10, 15, 30])
@pytest.mark.parametrize("jitter", [0.0, 2.0])
def test_faces_that_cross_on_one_line_keep_their_ids(fps, jitter):
    """Two faces meet head-on, the farther one is hidden meanwhile, and both go on as themselves."""
    rng = np.random.default_rng(fps)
    subject, first, last = tracker(confirm_hits=2), {}, {}
    for i in range(4 * fps):
        x = 60 + 120 * i / fps + rng.normal(0, jitter)
        front, back = face(x), face(600 - x + rng.normal(0, jitter), 104.0, 72.0)
        is_hidden = abs(front.box_xyxy[0] - back.box_xyxy[0]) < 40
        tracks, _ = subject.update([front] if is_hidden else [back, front], i / fps)
        owner = owners(tracks)
        if len(owner) == 2:
            last = {"front": owner[id(front)], "back": owner[id(back)]}
            first = first or last
    assert last == first
    assert len(set(first.values())) == 2


def test_a_mesh_that_slips_onto_the_face_in_front_does_not_turn_its_track_around():
    """The hidden face's last meshes lie half on the other one; it still comes out on its way."""
    subject = tracker()
    for i in range(30):
        t_s = i / 15
        front, back = face(150.0 + 8 * i), face(390.0 - 8 * i, 102.0)
        slipping = face(front.box_xyxy[0] + 30.0, 101.0)  # pulled along by the one in front
        gap = back.box_xyxy[0] - front.box_xyxy[0]
        seen = [front, back] if abs(gap) > 60 else [front, slipping] if gap > 30 else [front]
        owner = owners(subject.update(seen, t_s)[0])
        if i == 0:
            first = owner[id(front)], owner[id(back)]
    assert (owner[id(front)], owner[id(back)]) == first


def test_tilt_and_form_tell_faces_apart_that_met_and_were_lost():
    """After both were hidden in one place, the tilted head is the tilted head."""
    subject = tracker()
    for i in range(10):
        upright, tilted = face(100.0 + 5 * i), turned(face(200.0 - 5 * i), 30)
        first = owners(subject.update([upright, tilted], i / 10)[0])
    names = first[id(upright)], first[id(tilted)]
    # Half a second later they are where either could be.
    upright, tilted = face(150.0, 60.0), turned(face(150.0, 140.0), 30)
    owner = owners(subject.update([tilted, upright], 1.4)[0])
    assert (owner[id(upright)], owner[id(tilted)]) == names


def test_a_face_that_turns_back_at_the_edge_is_the_same_face():
    """Out and in again on the same side within the gap, against the prediction, keeps the id."""
    subject = tracker(max_gap_s=1.0)
    for i in range(10):
        subject.update([face(500.0 + 12 * i)], i / 15)
    tracks, _ = subject.update([face(590.0)], 9 / 15 + 0.8)
    assert ids_of(tracks) == [1]


@pytest.mark.parametrize("fps", [5, 10, 30])
@pytest.mark.parametrize("faces", [2, 4])
def test_ids_hold_through_the_demo_scenes(faces, fps):
    """Crossings, passings and a short absence, every face seen exactly where it is: no switch."""
    demo = DemoSource(frames=12 * fps, fps=fps, ways=WAYS[faces])
    subject = tracker(max_gap_s=1.5, confirm_hits=2)
    names: dict[int, set[int]] = {i: set() for i in range(faces)}
    for index in range(demo.frames):
        shown = [i for i in range(faces) if demo.exposed_fraction(index, i) >= 0.5]
        seen = {i: make_face(demo.ground_truth(index, i)) for i in shown}
        tracks, _ = subject.update(list(seen.values())[:: (-1) ** index], index / fps)
        owner = owners(tracks)
        for i, found in seen.items():
            names[i] |= {owner[id(found)]} if id(found) in owner else set()
    assert all(len(ids) == 1 for ids in names.values())
    assert set().union(*names.values()) == set(range(1, faces + 1))


def test_an_unconfirmed_face_does_not_take_a_known_tracks_place():
    """A ghost seen once beside a face cannot lead to a second id for it."""
    subject = tracker(confirm_hits=2)
    subject.update([face(100)], 0.0)
    subject.update([face(100)], 0.1)
    subject.update([face(100), face(150)], 0.2)
    tracks, _ = subject.update([face(130)], 0.3)
    assert ids_of(tracks) == [1]


def test_many_frames_leave_nothing_behind():
    """Faces that come and go for long leave no more tracks than are open."""
    subject, rng = tracker(confirm_hits=1), np.random.default_rng(0)
    for i in range(3000):
        subject.update([face(*rng.uniform(0, 4000, 2)) for _ in range(rng.integers(0, 4))], i / 10)
    assert subject.open_tracks < 60
    assert subject.update([], 1e6)[0] == []
    assert subject.open_tracks == 0


@given(
    st.lists(
        st.lists(
            st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4), st.floats(0.01, 1e4)),
            max_size=5,
        ),
        max_size=12,
    ),
    st.floats(0.01, 3),
)
def test_whatever_comes_ids_are_unique_and_rise(clips, step_s):
    """Each face has at most one id, each id at most one face, and ids are never used again."""
    subject, known, ended = tracker(), 0, set()
    for i, boxes in enumerate(clips):
        faces = [face(x, y, size) for x, y, size in boxes]
        tracks, gone = subject.update(faces, i * step_s)
        ended |= {track.track_id for track in gone}
        ids = ids_of(tracks)
        assert len(set(ids)) == len(ids) == len(faces)
        assert not ended & set(ids)
        assert max(ids, default=0) <= known + len(faces)
        known = max([known, *ids])
