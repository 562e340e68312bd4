"""One definition of a face's time: the run that sees it, `track_ended` and the queries agree."""

import csv
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.config import LogConfig
from edge.contract.labels import EMOTIONS
from edge.contract.logfiles import FILE_NAME
from edge.contract.logrecord import LogRecord, TrackEnded, TrackStarted, encode_record
from edge.records import EmotionState, EndedTrack, FaceResult, FaceTrack, Frame, FrameResult
from edge.service.reporter import Reporter
from edge.testing.fakes import make_face
from edgeemo.analysis.database import Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.report import write_report
from edgeemo.analysis.summary import Summaries, summarise
from edgeemo.analysis.time_range import Span

START = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = np.zeros((8, 8, 3), np.uint8)
FACE = make_face((1, 1, 6, 6))
SCORES = np.full(len(EMOTIONS), 1 / len(EMOTIONS), np.float32)

scenes = st.lists(
    st.tuples(
        st.floats(0.01, 0.7).map(lambda s: round(s, 3)),  # seconds since the frame before
        st.dictionaries(st.integers(1, 3), st.sampled_from([*EMOTIONS[:3], "uncertain"])),
    ),
    min_size=1,
    max_size=30,
)
"""Frames: what each face in it shows. A face that is not in three frames in a row has left."""


def records_of(
    scene: list[tuple[float, dict[int, str]]], *, per_frame: bool
) -> Iterator[LogRecord]:
    """Give the reporter the frames of a scene, with tracks that begin and end as a tracker's do."""
    reporter = Reporter(
        "session",
        "device",
        LogConfig(emit="frame" if per_frame else "change", interval_s=1.0, health_interval_s=5.0),
    )
    ids, began, seen, absent, last_id = {}, {}, {}, Counter(), 0
    t_s = 0.0
    for index, (elapsed_s, faces) in enumerate(scene):
        t_s = round(t_s + elapsed_s, 4)
        gone = [place for place in ids if place not in faces and absent[place] >= 2]
        ended = tuple(EndedTrack(ids.pop(p), began.pop(p), seen.pop(p)) for p in sorted(gone))
        results = []
        for place, label in sorted(faces.items()):
            if place not in ids:
                last_id += 1
                ids[place], began[place] = last_id, t_s
            seen[place], absent[place] = t_s, 0
            track = FaceTrack(ids[place], FACE, began[place], is_new=began[place] == t_s)
            state = EmotionState(EMOTIONS, SCORES, label, 0.5, changed=False, since_s=0.0)
            results.append(FaceResult(track, None, state))
        absent.update(place for place in ids if place not in faces)
        frame = Frame(IMAGE, index, t_s, START + timedelta(seconds=t_s))
        yield from reporter.frame(FrameResult(frame, tuple(results), ended))
    left = tuple(EndedTrack(ids[place], began[place], seen[place]) for place in sorted(ids))
    yield from reporter.finish(left)


def summaries_of(records: list[LogRecord], by: str) -> Summaries:
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), records)
        with Logs(Path(folder)) as logs:
            return summarise(logs, by)


def write(folder: Path, records: list[LogRecord]) -> Path:
    (folder / FILE_NAME).write_bytes(b"".join(map(encode_record, records)))
    return folder


@given(scenes, st.booleans())
def test_the_summary_has_the_shares_that_the_run_counted(scene, per_frame):
    """Each track's shares, from its emotions alone, are those of its own `track_ended`."""
    records = list(records_of(scene, per_frame=per_frame))
    ended = {str(r.track): r.shares for r in records if isinstance(r, TrackEnded)}
    summaries = summaries_of(records, "track").groups if ended else []
    shown = {}
    for group in summaries:
        total = sum(group.weights.values())
        shown[group.key[2]] = {label: w / total for label, w in group.weights.items()}
    assert shown.keys() == ended.keys()
    for track, shares in ended.items():
        counted = {label: share for label, share in shares.items() if share}
        assert shown[track] == pytest.approx(counted, abs=2e-3)


def test_a_face_that_has_left_shows_nothing_any_more(tmp_path):
    """What a run needs to give a track up, up to 1.5 s, is no time of its last emotion."""
    scene = [(0.1, {1: "neutral"})] * 11 + [(0.1, {1: "surprise"})] * 10 + [(0.7, {})] * 2
    records = list(records_of(scene, per_frame=False))
    (total,) = summaries_of(records, "total").groups
    assert total.seconds == pytest.approx({"neutral": 1.1, "surprise": 0.9}, abs=1e-6)
    with Logs(write(tmp_path, records)) as logs:
        export(logs, "emotion", "csv", tmp_path / "out.csv")
        write_report(logs, tmp_path / "report.html", "a log")
    seconds = Counter()
    for row in csv.DictReader((tmp_path / "out.csv").read_text().splitlines()):
        seconds[row["label"]] += float(row["held_s"] or 0)
    assert seconds == pytest.approx(total.seconds)
    assert "neutral: 55.0%" in (tmp_path / "report.html").read_text("utf-8")


@given(scenes, st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_the_parts_of_a_log_are_the_whole(scene, first, second, per_frame):
    """Cut anywhere, what each face showed in each part adds up to what it showed in all."""
    records = list(records_of(scene, per_frame=per_frame))
    length_s = sum(elapsed_s for elapsed_s, _ in scene)
    cuts = [START + timedelta(seconds=length_s * share) for share in sorted((first, second))]
    with tempfile.TemporaryDirectory() as folder:
        root = write(Path(folder), records)

        def seconds(*spans: Span) -> Counter[tuple[str, str]]:
            found: Counter[tuple[str, str]] = Counter()
            for span in spans:
                with Logs(root, span) as logs:
                    for group in summarise(logs, "track").groups:
                        for label, held_s in group.seconds.items():
                            found[group.key[2], label] += held_s
            return found

        early, middle, late = Span(None, cuts[0]), Span(*cuts), Span(cuts[1], None)
        parts = seconds(early, late) + (seconds(middle) if cuts[0] < cuts[1] else Counter())
        assert dict(parts) == pytest.approx(dict(seconds(Span())), abs=2e-5)


@pytest.mark.parametrize(
    ("since_s", "until_s", "seconds"),
    [
        (None, None, {"neutral": 1.0, "surprise": 1.0}),
        (0.5, None, {"surprise": 1.0, "neutral": 0.5}),
        (1.5, None, {"surprise": 0.5}),
        (None, 1.5, {"neutral": 1.0, "surprise": 0.5}),
        (0.25, 0.75, {"neutral": 0.5}),
        (2.5, None, {}),
    ],
)
def test_a_part_begins_with_what_a_face_shows(tmp_path, since_s, until_s, seconds):
    """A track that runs counts from there, with the label that it has; its records stay its own."""
    scene = [(0.1, {1: "neutral"})] * 10 + [(0.1, {1: "surprise"})] * 11 + [(0.4, {})] * 3
    told = list(records_of([(0.1, {}), *scene], per_frame=False))
    begin_s = next(r.monotonic_s for r in told if isinstance(r, TrackStarted))
    begin = START + timedelta(seconds=begin_s)
    span = Span(*(None if s is None else begin + timedelta(seconds=s) for s in (since_s, until_s)))
    with Logs(write(tmp_path, told), span) as logs:
        groups = summarise(logs, "total").groups
        write_report(logs, tmp_path / "report.html", "a log")
    if not seconds:
        assert groups == []
        return
    (total,) = groups
    assert total.seconds == pytest.approx(seconds, abs=1e-3)
    chosen = [
        r
        for r in told
        if (since_s is None or r.monotonic_s >= begin_s + since_s)
        and (until_s is None or r.monotonic_s < begin_s + until_s)
    ]
    assert total.records == len(chosen)


def older(record: LogRecord) -> LogRecord:
    """Return a record as version 0.1 wrote it: `track_ended` dated when it was given up."""
    if not isinstance(record, TrackEnded):
        return record
    return record.__class__(
        **{name: getattr(record, name) for name in record.__struct_fields__}
        | {"monotonic_s": record.monotonic_s + 1.5}
    )


def test_a_log_of_an_older_version_is_read_as_well(tmp_path):
    """There the duration tells when the face was last seen."""
    scene = [(0.1, {1: "neutral"})] * 11 + [(0.1, {1: "surprise"})] * 10 + [(0.7, {})] * 3
    records = [older(record) for record in records_of(scene, per_frame=False)]
    (total,) = summaries_of(records, "total").groups
    assert total.seconds == pytest.approx({"neutral": 1.1, "surprise": 0.9}, abs=2e-3)


@pytest.mark.parametrize("age", [lambda record: record, older])
def test_of_pictures_each_face_counts(tmp_path, age):
    """Four of five faces are 80 %, the last one like the others, in summary and report."""
    reporter = Reporter("session", "device", LogConfig(interval_s=1.0, health_interval_s=5.0))
    records = []
    labels = ["happiness", "happiness", "neutral", "happiness", "happiness"]
    for index, label in enumerate(labels):
        frame = Frame(IMAGE, index, index * 1.0, START, starts_new_clip=True, name=f"{index}.png")
        state = EmotionState(EMOTIONS, SCORES, label, 0.5, changed=True, since_s=0.0)
        face = FaceResult(FaceTrack(index + 1, FACE, index * 1.0, is_new=True), None, state)
        ended = (EndedTrack(index, index - 1.0, index - 1.0),) if index else ()
        records += map(age, reporter.frame(FrameResult(frame, (face,), ended)))
    records += map(age, reporter.finish((EndedTrack(5, 4.0, 4.0),)))
    assert reporter.faces == {"happiness": 4, "neutral": 1}
    (total,) = summaries_of(records, "total").groups
    assert (total.seconds, total.faces) == ({}, {"happiness": 4, "neutral": 1})
    with Logs(write(tmp_path, records)) as logs:
        write_report(logs, tmp_path / "report.html", "pictures")
    assert "happiness: 80.0%, 4 faces" in (tmp_path / "report.html").read_text("utf-8")
