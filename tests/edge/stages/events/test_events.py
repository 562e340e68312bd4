"""What faces do becomes events: named, timed, and none that was not seen."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import Config, EventsConfig, LogConfig, MesherConfig
from edge.contract.logrecord import EVENTS
from edge.contract.mesh_features import BLENDSHAPES
from edge.protocols import FrameSource
from edge.records import Face, FaceEvent, Frame, HeadPose
from edge.runtime.build import compose_pipeline
from edge.service.reporter import Reporter
from edge.sources.demo.events import ACTS, LOOP_S, EventsDemo, acts_until, pose_at
from edge.stages.events import EventDetector
from edge.stages.events.detector import GAP_S
from edge.stages.eyes import eye_openness
from edge.stages.mesh.litert import LitertMesher
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import (
    FakeClassifier,
    FakeMesher,
    FakeSource,
    make_face,
    make_frame,
    make_pipeline,
)

ALL = EventsConfig(detect=("all",))
BOX = (200.0, 100.0, 400.0, 340.0)
OPEN = eye_openness(make_face(BOX).points)[0]
LIDS = ((160, 144), (158, 153), (385, 380), (387, 373))
RATES = (5.0, 10.0, 15.0, 24.0, 30.0, 60.0)


def face(
    aspect: float = 1.0,
    pose: tuple[float, float] = (0.0, 0.0),
    box: Sequence[float] = BOX,
    right: float | None = None,
    **shapes: float,
) -> Face:
    """Return a face: the eyes' height as a share of open ones, yaw and pitch, and coefficients."""
    made = make_face(box)
    points = made.points.copy()
    for number, (upper, lower) in enumerate(LIDS):
        share = aspect if right is None or number >= 2 else right
        middle = (points[upper] + points[lower]) / 2
        points[[upper, lower]] = middle + share * (points[[upper, lower]] - middle)
    values = np.zeros(len(BLENDSHAPES), np.float32)
    blink = min(max(1.1 - aspect, 0.0), 1.0)
    for name, value in {"eyeBlinkLeft": blink, "eyeBlinkRight": blink, **shapes}.items():
        values[BLENDSHAPES.index(name)] = value
    return Face(points, made.box_xyxy, values, HeadPose(pose[0], pose[1], 0.0))


def times(fps: float, length_s: float, shift_s: float = 0.0) -> list[float]:
    return [shift_s + index / fps for index in range(round(length_s * fps) + 1)]


def seen(
    moments: Iterable[float],
    script: Callable[[float], Face | None],
    config: EventsConfig = ALL,
) -> list[FaceEvent]:
    """Return what a detector makes of one track's faces at these times; None: it is not seen."""
    detector, found = EventDetector(config), []
    for index, t_s in enumerate(moments):
        shown = script(t_s)
        if shown is not None:
            frame = make_frame(index)
            frame = Frame(frame.image, index, t_s, frame.captured_at)
            found += detector.update(1, shown, frame)
    return sorted([*found, *detector.forget(1)], key=lambda event: event.start_s)


def during(*spans: tuple[float, float]) -> Callable[[float], bool]:
    return lambda t_s: any(start <= t_s < end for start, end in spans)


def shape_of(name: str, value: float) -> dict[str, float]:
    kinds = {
        "smile": ("mouthSmileLeft", "mouthSmileRight"),
        "brow_raise": ("browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
        "brow_furrow": ("browDownLeft", "browDownRight"),
        "mouth_open": ("jawOpen",),
    }
    return dict.fromkeys(kinds[name], value)


@pytest.mark.parametrize("fps", RATES)
def test_a_blink_is_seen_at_every_rate_that_shows_it(fps):
    """Three blinks of 220 ms are three blinks from 5 to 60 frames a second, each where it was."""
    closed = during((1.0, 1.22), (3.0, 3.22), (4.0, 4.22))
    found = seen(times(fps, 6), lambda t_s: face(0.3 if closed(t_s) else 1.0))
    assert [event.name for event in found] == ["blink"] * 3
    for event, start_s in zip(found, (1.0, 3.0, 4.0), strict=True):
        assert start_s - 1 / fps - 1e-6 <= event.start_s <= start_s + 1e-6
        assert event.end_s - event.start_s <= 0.22 + 2 / fps + 1e-6
        assert event.intensity == pytest.approx(0.7, abs=0.05)
        assert event.complete


@pytest.mark.slow
@given(st.lists(st.floats(1 / 60, 0.15), min_size=150, max_size=200))
def test_a_blink_is_seen_whatever_the_frames_intervals(intervals):
    """In a film of a varying rate, too, no blink is missed, and none is there twice."""
    moments = list(itertools.accumulate(intervals))
    blinks = [(start, start + 0.22) for start in np.arange(1.0, moments[-1] - 1, 1.5)]
    closed = during(*blinks)
    found = seen(moments, lambda t_s: face(0.3 if closed(t_s) else 1.0))
    assert [event.name for event in found] == ["blink"] * len(blinks)
    for event, (start_s, end_s) in zip(found, blinks, strict=True):
        assert event.start_s <= start_s <= event.end_s
        assert event.start_s <= end_s <= event.end_s + 1e-6


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("name", ["smile", "brow_raise", "brow_furrow", "mouth_open"])
def test_a_movement_that_lasts_is_one_event(fps, name):
    """A coefficient that is high for a second, and flickers at the threshold, is one event."""

    def script(t_s: float) -> Face:
        value = 0.9 if 1.4 <= t_s < 1.8 else 0.45 if 1.0 <= t_s < 2.4 else 0.05
        return face(**shape_of(name, value))

    config = msgspec.structs.replace(ALL, smile=0.4, brow_raise=0.4, brow_furrow=0.4)
    (event,) = seen(times(fps, 4), script, config)
    assert (event.name, event.complete) == (name, True)
    assert event.start_s == pytest.approx(1.0, abs=1 / fps + 1e-6)
    assert event.end_s == pytest.approx(2.4, abs=1 / fps + 1e-6)
    assert event.intensity == pytest.approx(0.9)


@pytest.mark.parametrize("fps", [15.0, 30.0, 60.0])
def test_what_is_too_short_is_no_event(fps):
    """A smile, a raised brow and an open mouth of 0.1 s are none."""
    high = during((1.0, 1.1))
    for name in ("smile", "brow_raise", "brow_furrow", "mouth_open"):
        assert not seen(times(fps, 3), lambda t_s, n=name: face(**shape_of(n, 0.9 * high(t_s)))), (
            name
        )


@pytest.mark.parametrize("fps", [10.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize(("name", "axis", "degrees"), [("nod", 1, 8.0), ("shake", 0, 12.0)])
def test_the_head_nods_and_shakes(fps, name, axis, degrees):
    """Two swings back and forth are one nod or shake; where it moved, and how far."""

    def script(t_s: float) -> Face:
        angle = degrees * math.sin(2 * math.pi * 1.5 * (t_s - 1)) if 1 <= t_s <= 3 else 0.0
        return face(pose=(angle, -3.0) if axis == 0 else (-3.0, angle))

    (event,) = seen(times(fps, 5), script)
    assert event.name == name
    assert event.start_s == pytest.approx(1.0, abs=0.4)
    assert event.end_s == pytest.approx(3.0, abs=0.25)
    assert event.degrees == pytest.approx(2 * degrees, rel=0.25)
    assert event.intensity is None


@pytest.mark.parametrize(
    "script",
    [
        lambda t_s: (0.0, -12.0 * min(max(t_s - 1, 0), 1)),  # looks down, and stays
        lambda t_s: (20.0 * during((1.0, 3.0))(t_s), 0.0),  # looks to a side and back
        lambda t_s: (0.0, 12.0 * math.sin(2 * math.pi * 0.2 * t_s)),  # sways slowly
        lambda t_s: (3.0 * math.sin(9 * t_s), 2.0 * math.sin(11 * t_s)),  # trembles
        lambda t_s: (9.0 * math.sin(9 * t_s), 7.0 * math.sin(9 * t_s)) if t_s < 1 else (0.0, 0.0),
    ],
)
def test_other_ways_of_the_head_are_no_nod(script):
    """What is slow, small, held, or mostly the other way is no nod; a single turn is no shake."""
    found = seen(times(30, 8), lambda t_s: face(pose=script(t_s)))
    assert "nod" not in {event.name for event in found}
    assert all(event.name != "shake" or event.start_s < 1 for event in found)


def swung(t_s: float, degrees: float, per_radian: float, axis: int, drift: float = 0.0) -> Face:
    """Return a face that turns to and fro, and with it travels so many heights a radian."""
    angle = degrees * math.sin(2 * math.pi * 1.5 * (t_s - 1)) if 1 <= t_s <= 3 else 0.0
    height = BOX[3] - BOX[1]
    way = (per_radian * math.radians(angle) + drift * t_s) * height
    x, y = (way, 0.0) if axis == 0 else (0.0, way)
    box = (BOX[0] + x, BOX[1] + y, BOX[2] + x, BOX[3] + y)
    return face(pose=(angle, 0.0) if axis == 0 else (0.0, angle), box=box)


TURNS = [("nod", 1, 8.0), ("shake", 0, 12.0)]


@pytest.mark.parametrize("fps", [10.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize(("name", "axis", "degrees"), TURNS)
@pytest.mark.parametrize("distance", [2.5, -2.5, 4.0, -8.0])
def test_a_camera_that_sways_is_no_nod(fps, name, axis, degrees, distance):
    """A hand-held camera sees a face turn by moving; the face goes far with it, as no head does."""
    found = seen(times(fps, 5), lambda t_s: swung(t_s, degrees, distance, axis))
    assert name not in {event.name for event in found}


@pytest.mark.parametrize("fps", [10.0, 15.0, 30.0, 60.0])
@pytest.mark.parametrize(("name", "axis", "degrees"), TURNS)
@pytest.mark.parametrize(("neck", "drift"), [(0.8, 0.0), (-0.8, 0.0), (0.8, 0.7), (0.3, -1.5)])
def test_a_head_on_its_neck_nods_wherever_it_goes(fps, name, axis, degrees, neck, drift):
    """The face moves as far as the neck is long, and its owner may walk through the picture."""
    found = seen(times(fps, 5), lambda t_s: swung(t_s, degrees, neck, axis, drift))
    assert [event.name for event in found if event.name in {"nod", "shake"}] == [name]


@pytest.mark.parametrize("pose", [(40.0, 0.0), (-40.0, 0.0), (0.0, 30.0), (0.0, -30.0)])
def test_looking_away_and_back(pose):
    """A head that is turned far looks away until it is turned back."""
    away = during((1.0, 3.0))
    found = seen(times(25, 5), lambda t_s: face(pose=pose if away(t_s) else (5.0, 5.0)))
    (event,) = [one for one in found if one.name == "look_away"]
    assert (event.start_s, event.end_s) == (
        pytest.approx(1.0, abs=0.05),
        pytest.approx(3, abs=0.05),
    )


def test_nods_do_not_overlap():
    """Nods that follow each other, too slowly to be one, end before the next begins."""

    def script(t_s: float) -> Face:
        return face(pose=(0.0, 9.0 * math.sin(2 * math.pi * 0.9 * t_s) if t_s < 6 else 0.0))

    found = [event for event in seen(times(30, 8), script) if event.name == "nod"]
    assert len(found) >= 1
    for one, other in itertools.pairwise(found):
        assert one.end_s <= other.start_s


def test_eyes_that_stay_closed_are_no_blink():
    """Eyes shut for 0.4 s have blinked; for 2 s, they were closed, which is one event."""
    for length_s, name in ((0.4, "blink"), (2.0, "eyes_closed"), (90.0, "eyes_closed")):
        closed = during((2.0, 2.0 + length_s))
        (event,) = seen(
            times(20, length_s + 4), lambda t_s, shut=closed: face(0.25 if shut(t_s) else 1.0)
        )
        assert event.name == name
        assert event.end_s - event.start_s == pytest.approx(length_s, abs=0.11)


@pytest.mark.parametrize("openness", [0.55, 0.7, 1.0, 1.4])
def test_eyes_of_any_size_blink(openness):
    """Eyes that are narrow or wide when open blink like others, and are not closed when open."""
    closed = during((3.0, 3.2), (6.0, 6.2))
    found = seen(times(30, 8), lambda t_s: face(openness * (0.35 if closed(t_s) else 1.0),
                 eyeBlinkLeft=0.6 * closed(t_s), eyeBlinkRight=0.6 * closed(t_s)))  # fmt: skip
    assert [(event.name, round(event.start_s, 1)) for event in found] == [
        ("blink", pytest.approx(3.0, abs=0.1)), ("blink", pytest.approx(6.0, abs=0.1)),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        lambda t_s: face(1.0, right=0.3 if during((2.0, 2.2))(t_s) else 1.0),  # a wink
        lambda t_s: face(0.8 if during((2.0, 2.2))(t_s) else 1.0),  # half a blink
        lambda t_s: face(0.5 if during((2.0, 2.2))(t_s) else 1.0, eyeBlinkLeft=0.1,
                         eyeBlinkRight=0.1),  # narrow, and the coefficients know of no blink
        lambda t_s: face(max(0.6, 1 - t_s / 8), eyeBlinkLeft=0.1, eyeBlinkRight=0.1),  # tired
    ],
    ids=["wink", "half", "unconfirmed", "narrowing"],
)  # fmt: skip
def test_what_is_like_a_blink_is_none(script):
    """One eye, half-way, without the coefficients' consent, or slowly: no event."""
    assert seen(times(30, 8), script) == []


def test_nothing_crosses_a_time_in_which_the_face_was_not_seen():
    """A smile before a gap and after it are two; the first ended where it was last seen."""
    config = EventsConfig(detect=("smile", "eyes_closed", "blink"))

    def script(t_s: float) -> Face | None:
        if 2.0 < t_s < 3.0:
            return None
        return face(0.3 if 1.9 <= t_s <= 3.2 else 1.0, **shape_of("smile", 0.8))

    first, second = seen(times(20, 5), script, config)
    assert (first.name, first.end_s, first.complete) == ("smile", pytest.approx(2.0), False)
    assert (second.name, second.start_s) == ("smile", pytest.approx(3.0))
    gap = GAP_S - 0.1
    short = seen(times(20, 5), lambda t_s: None if 2 < t_s < 2 + gap else script(1.0), config)
    assert [(event.name, event.start_s) for event in short] == [("smile", 0.0)]


@pytest.mark.parametrize(
    ("box", "told"),
    [
        ((540.0, 100.0, 740.0, 340.0), []),  # beyond the right edge: no part is whole
        ((200.0, 300.0, 400.0, 540.0), ["blink"]),  # the mouth is below the picture
        ((200.0, -90.0, 400.0, 150.0), ["smile"]),  # eyes and brows are above it
    ],
)
def test_of_a_partial_face_only_what_is_in_the_picture_is_read(box, told):
    """The mesh guesses what lies outside: no event is made of a guess."""
    closed, smiling = during((2.0, 2.2)), during((3.0, 4.0))
    found = seen(
        times(25, 6),
        lambda t_s: face(
            0.3 if closed(t_s) else 1.0, box=box, **shape_of("smile", 0.9 * smiling(t_s))
        ),
    )
    assert [event.name for event in found] == told


def test_a_face_that_is_turned_far_is_not_read():
    """Beyond 45 degrees no blink is told; at 35 the nearer eye alone is read."""
    closed = during((2.0, 2.2))

    def blinks(yaw_deg: float, **eyes: bool) -> list[str]:
        script = lambda t_s: face(  # noqa: E731
            0.3 if closed(t_s) and eyes.get("left", True) else 1.0,
            right=0.3 if closed(t_s) and eyes.get("right", True) else 1.0,
            pose=(yaw_deg, 0.0), eyeBlinkLeft=0.6 * closed(t_s), eyeBlinkRight=0.6 * closed(t_s),
        )  # fmt: skip
        return [e.name for e in seen(times(25, 5), script) if e.name != "look_away"]

    assert blinks(50.0) == []
    assert blinks(35.0, left=False) == ["blink"]
    assert blinks(-35.0, right=False) == ["blink"]
    assert blinks(-35.0, left=False) == []


@pytest.mark.parametrize(
    ("height", "pitch_deg", "told"),
    [
        (240, 0.0, ["blink", "eyes_closed"]),
        (60, 0.0, ["blink", "eyes_closed"]),
        (35, 0.0, []),  # its eyes are five pixels wide
        (240, -22.0, ["blink"]),  # over a phone
    ],
)
def test_closed_eyes_must_be_seen(height, pitch_deg, told):
    """Of a small face the lids are guessed, and of a bowed one they are lowered."""
    shut = during((1.0, 1.2), (3.0, 5.0))
    box = (200.0, 100.0, 200.0 + height * 5 / 6, 100.0 + height)
    found = seen(times(25, 7), lambda t_s: face(0.3 if shut(t_s) else 1.0, (0.0, pitch_deg), box))
    assert [event.name for event in found] == told


def test_a_track_that_ends_takes_its_events_along():
    """Through pipeline and reporter: an unfinished smile ends before its track does, as cut off.

    A second face that smiles on meanwhile is another one's business.
    """
    boxes = (BOX, (20.0, 100.0, 180.0, 300.0))

    def script(frame: Frame) -> list[Face]:
        smile = shape_of("smile", 0.8 if frame.t_s >= 1 else 0.0)
        gone = 2.0 < frame.t_s < 5.0
        return [face(box=box, **smile) for box in boxes[gone:]]

    config = Config(events=EventsConfig(detect=("smile",)))
    pipeline = pipeline_with(FakeMesher(script), config)
    records = written(pipeline, [make_frame(index) for index in range(170)])
    done = [(r.kind, r.track, r.get("complete")) for r in map(Plain, records) if "track" in r.fields
            and r.kind in {"event", "track_ended"}]  # fmt: skip
    assert done[:2] == [("event", 1, False), ("track_ended", 1, None)]
    assert sorted(done[2:]) == [
        ("event", 2, False), ("event", 3, False), ("track_ended", 2, None), ("track_ended", 3, None)
    ]  # fmt: skip
    first = next(r for r in records if type(r).__name__ == "FaceEvent")
    assert first.monotonic_s == pytest.approx(1.0)
    assert first.duration_s == pytest.approx(1.0, abs=0.05)


class Plain:
    """A record as its fields."""

    def __init__(self, record: msgspec.Struct) -> None:
        self.fields = msgspec.to_builtins(record)

    def __getattr__(self, name: str) -> object:
        return self.fields[name]

    def get(self, name: str) -> object:
        """Return a field, or None where the record has none."""
        return self.fields.get(name)


def pipeline_with(mesher: FakeMesher, config: Config):

    detector = EventDetector(config.events) if config.events.names else None
    return make_pipeline(mesher, tracker=FaceTracker(), events=detector)


def written(pipeline, frames: list[Frame]) -> list:
    reporter = Reporter("s", "d", LogConfig())
    records = [record for frame in frames for record in reporter.frame(pipeline.process(frame))]
    return [*records, *reporter.finish(pipeline.finish())]


def test_a_clock_step_does_not_reorder_or_stretch():
    """Lengths are those of the frames' own clock, whatever the wall clock does in between."""
    frames = [make_frame(index) for index in range(100)]
    stepped = [
        Frame(f.image, f.index, f.t_s, f.captured_at.replace(year=1999)) if f.t_s > 1.5 else f
        for f in frames
    ]
    script = lambda frame: [face(**shape_of("smile", 0.8 * (1 <= frame.t_s < 2)))]  # noqa: E731
    config = Config(events=EventsConfig(detect=("smile",)))
    (event,) = [
        record for record in written(pipeline_with(FakeMesher(script), config), stepped)
        if type(record).__name__ == "FaceEvent"
    ]  # fmt: skip
    assert (event.monotonic_s, event.duration_s) == (1.0, pytest.approx(1.0))
    assert event.time.startswith("2024-")


def test_without_events_nothing_is_computed():
    """Off is the default: no stage, no coefficients asked of the mesher, no record."""
    assert Config().events.names == ()
    classifier = FakeClassifier([[0, 1, 0, 0, 0, 0, 0, 0]])
    pipeline = compose_pipeline(Config(), classifier)
    result = pipeline.process(EventsDemo(frames=1).read())
    assert "events" not in result.stage_ms
    assert result.ongoing == {}
    pipeline.close()
    for detect, asks in (((), False), (("nod", "look_away"), False), (("blink",), True)):
        config = Config(events=EventsConfig(detect=detect), log=LogConfig(emit="frame"))
        pipeline = compose_pipeline(config, classifier)
        demo = EventsDemo(frames=3)
        (found,) = [pipeline.process(demo.read()) for _ in range(demo.frames)][-1].faces
        assert (found.track.face.blendshapes is not None) == asks
        pipeline.close()


def matched(found: list[FaceEvent], truth: list, tolerance_s: float) -> int:
    """Return how many events and truths pair up: of one name, with starts that near."""
    left = list(found)
    count = 0
    for act in truth:
        near = [
            e for e in left if e.name == act.name and abs(e.start_s - act.start_s) <= tolerance_s
        ]
        if near:
            left.remove(min(near, key=lambda e: abs(e.start_s - act.start_s)))
            count += 1
    return count


def meshed(source: FrameSource, config: EventsConfig = ALL) -> list[FaceEvent]:
    """Return the events of a film, from its pixels, by the default mesher and tracker."""
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1, blendshapes=True))
    tracker, detector, found = FaceTracker(), EventDetector(config), []
    while (frame := source.read()) is not None:
        tracks, ended = tracker.update(mesher.detect(frame), frame.t_s)
        for track in tracks:
            found += detector.update(track.track_id, track.face, frame)
        for track in ended:
            found += detector.forget(track.track_id)
    for track in tracker.close():
        found += detector.forget(track.track_id)
    mesher.close()
    return found


@pytest.mark.slow
@pytest.mark.parametrize("fps", [15.0, 30.0])
def test_what_the_demo_does_is_what_is_seen(fps):
    """From the pixels: F1 of at least 0.98; at 30 frames a second blinks begin within 40 ms."""
    found = meshed(EventsDemo(frames=round(LOOP_S * fps), fps=fps))
    truth = acts_until(LOOP_S)
    assert len(truth) == len(ACTS)
    pairs = matched(found, truth, 0.35)
    f1 = 2 * pairs / (len(found) + len(truth))
    assert f1 >= 0.98, [(e.name, e.start_s, e.end_s) for e in found]
    if fps == 30:
        blinks = [act for act in truth if act.name == "blink"]
        assert matched([e for e in found if e.name == "blink"], blinks, 0.04) == len(blinks)


@pytest.mark.slow
def test_a_still_face_in_a_noisy_picture_does_nothing():
    """15 s (ten minutes in `make soak`) of a still face with a sensor's noise of 8: no event."""
    length_s = 60 * float(os.environ.get("EDGEEMO_STILL_MINUTES", "0.25"))
    fps, rng = 15.0, np.random.default_rng(8)
    still = EventsDemo(frames=1).render(0).astype(np.float32)

    class Noisy(FakeSource):
        def __init__(self) -> None:
            super().__init__([])
            self._index = 0

        def read(self) -> Frame | None:
            self._index += 1
            if self._index > length_s * fps:
                return None
            noisy = still + rng.standard_normal(still.shape, np.float32) * 8
            return make_frame(self._index, np.clip(noisy, 0, 255).astype(np.uint8), fps)

    assert meshed(Noisy()) == []


def test_the_demo_rests_between_its_acts():
    """Poses are whole: nothing moves but during an act, and the loop has no seam."""
    for t_s in np.arange(0.025, LOOP_S, 0.05).tolist():
        busy = any(act.start_s < t_s < act.end_s for act in ACTS)
        assert (pose_at(t_s) != pose_at(0.0)) <= busy
        assert pose_at(t_s) == pose_at(t_s + LOOP_S) or busy
    assert {act.name for act in ACTS} <= set(EVENTS)
    assert all(one.end_s < other.start_s or one.name == "smile"
               for one, other in itertools.pairwise(ACTS))  # fmt: skip
