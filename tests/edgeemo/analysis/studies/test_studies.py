"""Studies: sessions, segments between markers, tables, and agreement with people."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree as ET

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from edge.contract.labels import EMOTIONS
from edge.contract.logfiles import FILE_NAME, DirectoryLock, closed_name
from edge.contract.logrecord import EVENTS, LogRecord, encode_record
from edge.errors import ConfigError, LogError, SinkError
from edge.logs.forget import forget_participant
from edge.logs.table import line_for_people
from edgeemo.analysis.database import Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.log import open_log
from edgeemo.analysis.report import write_report
from edgeemo.analysis.studies.affect import VALENCE_AROUSAL, valence_arousal
from edgeemo.analysis.studies.agreement import NO_FACE, agreement
from edgeemo.analysis.studies.annotations import bids, elan
from edgeemo.analysis.studies.picture import agreement_picture
from edgeemo.analysis.studies.sessions import (
    About,
    Done,
    Mark,
    Segment,
    Session,
    chosen,
    segments,
    sessions,
)
from edgeemo.analysis.studies.tables import KEYS, long_rows, measures_of, wide_rows, written
from edgeemo.analysis.studies.truth import Seen, moved, read_truth
from edgeemo.analysis.summary import summarise
from edgeemo.analysis.summary_table import remarks
from edgeemo.cli.app import app

START = datetime(2026, 1, 1, 10, 0, tzinfo=UTC)
HOSTILE = "=a\n\"'><script>alert(1)</script>&amp;'); DROP TABLE records;-- \x1b[31m\x00[bold]\u202e"


class Writer:
    """Makes the records of one session."""

    def __init__(self, session: str = "4be0", seq: int = 0, zero_s: float = 0.0) -> None:
        self.lines: list[bytes] = []
        self._session, self.seq, self._zero_s = session, seq, zero_s

    def add(self, kind: str, t_s: float, **fields: object) -> None:
        """Add a record of ``t_s`` seconds after the start."""
        time = (START + timedelta(seconds=t_s)).isoformat(timespec="milliseconds")
        header = {
            "kind": kind, "time": time.replace("+00:00", "Z"), "seq": self.seq, "device": "pi-1",
            "monotonic_s": 0.0 if kind == "service_started" else t_s + self._zero_s,
            "session": self._session,
        }  # fmt: skip
        self.lines.append(encode_record(msgspec.convert(header | fields, LogRecord)))
        self.seq += 1

    def start(self, source: str = "film.mp4", **study: object) -> None:
        """Add what a session begins with."""
        self.add(
            "service_started", 0.0, version="0", source=source, model="m", model_sha256="0",
            mesher="litert", runtime="r", labels=list(EMOTIONS), **study,
        )  # fmt: skip

    def emotion(self, t_s: float, label: str, track: int = 1, confidence: float = 0.8) -> None:
        """Add an emotion record whose scores are those of its label, and neutral's."""
        scores = {"neutral": 1.0} if label == "neutral" else {"neutral": 0.2, label: 0.8}
        self.add(
            "emotion", t_s, track=track, label=label, confidence=confidence, scores=scores,
            box=[1, 2, 3, 4], head_pose=None, frame=round(t_s * 10), latency_ms=10.0, file=None,
        )  # fmt: skip

    def event(self, t_s: float, event: str, duration_s: float = 0.2, track: int = 1) -> None:
        """Add an event."""
        head = event in {"nod", "shake"}
        self.add(
            "event", t_s, track=track, event=event, duration_s=duration_s, frame=round(t_s * 10),
            intensity=None if head else 0.7, degrees=11.0 if head else None,
        )  # fmt: skip

    def mark(self, t_s: float, text: str, phase: str = "point") -> None:
        """Add a marker."""
        self.add("marker", t_s, marker=text, phase=phase)

    def end(self, t_s: float, track: int = 1, duration_s: float | None = None) -> None:
        """Add the end of a track."""
        self.add("track_ended", t_s, track=track, duration_s=duration_s or t_s, shares={})


def example() -> Writer:
    """Return 20 s of one face in two tasks: happy from 4 to 8 s, two blinks, a smile and a nod."""
    log = Writer()
    log.start(study="smiles", participant="p07", condition="calm")
    log.emotion(0, "neutral")
    log.mark(1, "task A", "start")
    log.emotion(4, "happiness")
    log.event(2, "blink")
    log.event(4, "smile", 4.0)
    log.emotion(8, "neutral")
    log.mark(10, "task A", "end")
    log.mark(10, "task B", "start")
    log.event(12, "blink")
    log.event(14, "nod", 1.0)
    log.mark(18, "=note")
    log.end(20)
    return log


def write(directory: Path, *logs: Writer, packed: bool = False) -> Path:
    directory.mkdir(parents=True)
    lines = [line for log in logs for line in log.lines]
    if packed:
        name = f"{closed_name(1, START.timestamp())}.gz"
        (directory / name).write_bytes(gzip.compress(b"".join(lines[:5])))
        lines = lines[5:]
    (directory / FILE_NAME).write_bytes(b"".join(lines))
    return directory


def read(root: Path) -> list[Session]:
    with Logs(root) as logs:
        return sessions(logs)


@pytest.fixture
def session(tmp_path: Path) -> Session:
    (one,) = read(write(tmp_path / "log", example()))
    return one


def test_a_session_is_read_whole(session):
    """Who, what was shown and done and when, and the markers: as they were written."""
    about = session.about
    assert (about.study, about.participant, about.condition) == ("smiles", "p07", "calm")
    assert [(one.start_s, one.end_s, one.label) for one in session.shown] == [
        (0, 4, "neutral"), (4, 8, "happiness"), (8, 20, "neutral")
    ]  # fmt: skip
    assert [(one.start_s, one.event) for one in session.done] == [
        (2, "blink"), (4, "smile"), (12, "blink"), (14, "nod")
    ]  # fmt: skip
    assert [mark.text for mark in session.marks] == ["task A", "task A", "task B", "=note"]
    assert session.end_s == 20


def test_events_do_not_cut_what_a_face_showed(tmp_path):
    """An event's record between two emotions changes no duration, in the summary either."""
    plain, eventful = Writer("a"), Writer("b")
    for log in (plain, eventful):
        log.emotion(0, "neutral")
        log.emotion(5, "happiness")
    eventful.event(1, "blink")
    eventful.event(0.5, "smile", 4)
    for log in (plain, eventful):
        log.end(10)
    found = read(write(tmp_path / "log", plain, eventful))
    spans = [[(one.start_s, one.end_s) for one in session.shown] for session in found]
    assert spans == [[(0, 5), (5, 10)]] * 2
    with Logs(tmp_path / "log") as logs:
        (all_,) = summarise(logs, "total").groups
    assert all_.seconds == {"neutral": 10.0, "happiness": 10.0}


@pytest.mark.parametrize("kind", ["marker", "camera_lost"])
def test_what_came_before_the_first_frame_moves_nothing(tmp_path, kind):
    """A camera that was away at first, or an early marker, has no time on the frames' clock."""
    log = Writer(zero_s=500.0)
    log.start(source="0")
    early = {"marker": {"marker": "a", "phase": "start"}, "camera_lost": {"reason": "away"}}[kind]
    log.add(kind, -500.0, **early)
    log.emotion(3, "happiness")
    log.mark(4, "a", "end")
    log.end(5)
    (one,) = read(write(tmp_path / "log", log))
    assert one.about.zero_s == pytest.approx(500)
    assert one.shown[0].start_s == pytest.approx(3)
    assert [mark.at_s for mark in one.marks] == pytest.approx([0, 4][kind != "marker" :])


@pytest.mark.parametrize(("source", "zero_s"), [("0", 500.0), ("film.mp4", 0.0)])
def test_times_count_from_the_beginning(tmp_path, source, zero_s):
    """A camera's clock began with the machine; its session begins with its first record."""
    log = Writer(zero_s=zero_s)
    log.start(source)
    log.emotion(3, "neutral")
    log.end(5)
    (one,) = read(write(tmp_path / "log", log))
    assert (one.shown[0].start_s, one.end_s) == (pytest.approx(3), pytest.approx(5))


def test_a_session_is_chosen_by_its_id(tmp_path):
    """One needs no name; several do, and are listed; what is not there is told."""
    one, two = Writer("aa11"), Writer("aa22")
    for log in (one, two):
        log.start()
    found = read(write(tmp_path / "log", one, two))
    assert chosen(found[:1], None).about.session == "aa11"
    assert chosen(found, "aa2").about.session == "aa22"
    for wanted in (None, "aa", "b"):
        with pytest.raises(ConfigError, match=r"aa11.*aa22"):
            chosen(found, wanted)


@pytest.mark.parametrize(
    ("marks", "cut"),
    [
        ([(1, "a", "start"), (5, "a", "end")], [("a", 1, 5)]),
        ([(1, "a", "start")], [("a", 1, 9)]),
        ([(5, "a", "end")], []),
        ([(1, "a", "point"), (4, "b", "point")], [("a", 1, 4), ("b", 4, 9)]),
        ([(1, "a", "start"), (2, "b", "start"), (3, "a", "end"), (4, "b", "end")],
         [("a", 1, 3), ("b", 2, 4)]),
        ([(1, "a", "start"), (2, "a", "start"), (3, "a", "end")], [("a", 1, 3)]),
        ([(1, "a", "start"), (2, "a", "end"), (3, "a", "start"), (4, "a", "end")],
         [("a", 1, 2), ("a", 3, 4)]),
        ([], []),
    ],
)  # fmt: skip
def test_markers_cut_segments(marks, cut):
    """Starts and ends enclose, moments divide, and what has no partner is nobody's."""
    found = segments([Mark(float(at), text, phase) for at, text, phase in marks], 9.0)
    assert found == [Segment(name, float(start), float(end)) for name, start, end in cut]


def test_a_summary_is_cut_by_markers(tmp_path):
    """Seconds and records of each segment are those within it; a log without markers says so."""
    root = write(tmp_path / "log", example())
    with Logs(root) as logs:
        groups = summarise(logs, "segment").groups
    seconds = {group.key[2]: group.seconds for group in groups}
    assert seconds == {
        "task A": {"neutral": 5.0, "happiness": 4.0},
        "task B": {"neutral": 10.0},
        "=note": {"neutral": 2.0},
    }
    assert {group.tracks for group in groups} == {1}
    plain = Writer()
    plain.emotion(0, "neutral")
    with Logs(write(tmp_path / "plain", plain)) as logs, pytest.raises(LogError, match="markers"):
        summarise(logs, "segment")


def test_the_api_has_events_markers_and_segments(tmp_path):
    """`open_log` gives what the commands do: records, a summary by segment, the wide table."""
    root = write(tmp_path / "log", example())
    (session,) = read(root)
    with open_log(root) as log:
        assert log.events().select("event").fetchall() == [(one.event,) for one in session.done]
        assert log.markers().select("marker").fetchall() == [(one.text,) for one in session.marks]
        names = log.summary("segment").select("segment").fetchall()
        assert sorted(names) == [("=note",), ("task A",), ("task B",)]
        wide = log.segments().select("segment, track, blink_count, valence").fetchall()
    expected = [(row["segment"], row["track"], row["blink_count"], row["valence"])
                for row in wide_rows([session])]  # fmt: skip
    assert wide == expected


def test_a_wide_table_has_a_row_for_each_face_in_each_segment(session):
    """Shares, counts and derived dimensions of each task are those of what was written."""
    rows = {row["segment"]: row for row in wide_rows([session])}
    assert set(rows) == {"task A", "task B", "=note"}
    a, b = rows["task A"], rows["task B"]
    assert (a["face_s"], b["face_s"]) == (9, 10)
    assert (a["share_happiness"], b["share_happiness"]) == (pytest.approx(4 / 9), 0)
    assert (a["blink_count"], a["smile_s"], a["nod_count"]) == (1, 4, 0)
    assert (b["blink_count"], b["smile_s"], b["nod_count"]) == (1, 0, 1)
    assert a["blink_per_min"] == pytest.approx(60 / 9)
    assert a["valence"] == pytest.approx(4 / 9 * 0.8 * 0.81)
    assert b["valence"] == 0
    assert a["participant"] == "p07"


def test_a_long_table_is_the_wide_one_turned(session):
    """Each figure of the wide table has a row; whoever pivots the long one gets the wide one."""
    wide = {(row["segment"], row["track"]): row for row in wide_rows([session])}
    long = list(long_rows([session]))
    assert {key: row[key] for row in long for key in KEYS if key == "study"} == {"study": "smiles"}
    for row in long:
        assert wide[row["segment"], row["track"]][row["measure"]] == row["value"]
    told = sum(value is not None for row in wide.values() for key, value in row.items()
               if key in measures_of([session]))  # fmt: skip
    assert len(long) == told > 20


def test_without_events_none_is_counted_as_none(tmp_path):
    """A log without events says nothing about them: empty cells, not zeros."""
    log = Writer()
    log.emotion(0, "neutral")
    log.end(5)
    (row,) = wide_rows(read(write(tmp_path / "log", log)))
    assert {row[f"{event}_count"] for event in EVENTS} == {None}


def test_text_stays_text_in_every_table(tmp_path):
    """Hostile markers and codes: one cell each, no formula, no control character in XML or TSV."""
    log = Writer()
    log.start(study=HOSTILE, participant=HOSTILE)
    log.emotion(0, "neutral")
    log.mark(1, HOSTILE, "start")
    log.mark(2, HOSTILE)
    log.end(5)
    (one,) = read(write(tmp_path / "log", log))
    table = written((*KEYS, *measures_of([one])), wide_rows([one]), ",")
    rows = list(csv.DictReader(io.StringIO(table)))
    assert {row["study"] for row in rows} == {f"'{HOSTILE}"}
    document = ET.fromstring(elan(one))
    values = [value.text for value in document.iter("ANNOTATION_VALUE")]
    assert all(value.isprintable() for value in values)
    events, about = bids(one)
    assert all(len(line.split("\t")) == 6 for line in events.splitlines())
    assert json.loads(about)
    picture = agreement_picture(one, [Seen(0, 1, "neutral")], HOSTILE)
    assert ET.fromstring(picture).tag.endswith("svg")
    assert "<script" not in picture


def test_elan_takes_it_and_gives_it_back(session, tmp_path):
    """What is written as .eaf is read as truth: the same stretches, with which the log agrees."""
    (tmp_path / "own.eaf").write_bytes(elan(session))
    document = ET.parse(tmp_path / "own.eaf").getroot()
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE"))
             for slot in document.iter("TIME_SLOT")}  # fmt: skip
    tiers = {tier.get("TIER_ID") for tier in document.iter("TIER")}
    assert tiers == {"emotion #1", "blink #1", "smile #1", "nod #1", "segment task A",
                     "segment task B", "segment =note", "markers"}  # fmt: skip
    for tier in document.iter("TIER"):
        ends = [0]
        for one in tier.iter("ALIGNABLE_ANNOTATION"):
            start, end = (slots[one.get(f"TIME_SLOT_REF{n}")] for n in (1, 2))
            assert ends[-1] <= start < end
            ends.append(end)
    truth = read_truth(tmp_path / "own.eaf")
    result = agreement(session, truth, 0.1)
    assert result.emotions.accuracy == result.emotions.kappa == 1
    assert result.emotions.covered == 1
    assert {one.f1 for one in result.events.values()} == {1}
    assert set(result.events) == {"blink", "smile", "nod", "all"}


def test_bids_events_are_as_the_specification_says(session):
    """Onset and duration come first, in seconds; rows by onset; n/a for what is not known."""
    table, about = bids(session)
    rows = list(csv.DictReader(io.StringIO(table), delimiter="\t"))
    assert list(rows[0])[:3] == ["onset", "duration", "trial_type"]
    onsets = [float(row["onset"]) for row in rows]
    assert onsets == sorted(onsets)
    assert all(value for row in rows for value in row.values())
    nod = next(row for row in rows if row["trial_type"] == "nod")
    assert (nod["onset"], nod["duration"], nod["value"], nod["unit"]) == (
        "14.0", "1.0", "11.0", "degrees"
    )  # fmt: skip
    assert set(json.loads(about)) == set(rows[0])


@pytest.mark.parametrize("label", [label for label in EMOTIONS if label != "contempt"])
def test_a_sure_emotion_has_its_own_place(label):
    """Valence and arousal of one label are its coordinates."""
    assert valence_arousal({label: 1.0}) == (*VALENCE_AROUSAL[label], 1.0)


@given(st.dictionaries(st.sampled_from(EMOTIONS), st.floats(0, 1), max_size=8))
def test_derived_dimensions_lie_between_their_emotions(scores):
    """Never beyond the extremes of what has a score, and none where nothing has a place."""
    placed = {label for label, score in scores.items() if score > 0 and label != "contempt"}
    place = valence_arousal(scores)
    assert (place is None) == (sum(scores[label] for label in placed) <= 0)
    if place is not None:
        for axis in (0, 1):
            values = [VALENCE_AROUSAL[label][axis] for label in placed]
            assert min(values) - 1e-6 <= place[axis] <= max(values) + 1e-6
        assert 0 < place[2] <= 1


def test_agreement_is_what_counting_by_hand_gives(session):
    """Accuracy, kappa, delay, confusion and event figures of a small case are those of its sums."""
    truth = [
        Seen(0, 5, "neutral"), Seen(5, 8, "happiness"), Seen(8, 18, "neutral"),
        Seen(18, 22, "sadness"),
        Seen(2.1, 2.3, "blink"), Seen(7, 7.2, "blink"), Seen(12, 12.2, "blink"),
    ]  # fmt: skip
    result = agreement(session, truth, 0.25)
    emotions = result.emotions
    assert (emotions.stretches, emotions.seconds, emotions.missed) == (4, 22, 1)
    assert emotions.covered == pytest.approx(20 / 22)
    assert emotions.accuracy == pytest.approx((4 + 3 + 10) / 20)
    chance = (15 * 16 + 3 * 4 + 2 * 0) / 20**2
    assert emotions.kappa == pytest.approx((17 / 20 - chance) / (1 - chance))
    assert emotions.delay_s == 0
    confusion = dict(zip(emotions.labels, emotions.confusion["neutral"], strict=True))
    assert confusion == {"neutral": 14, "happiness": 1, "sadness": 0, "uncertain": 0, NO_FACE: 0}
    assert emotions.confusion["sadness"][-1] == 2
    low, high = emotions.accuracy_interval
    assert low <= emotions.accuracy <= high
    blinks = result.events["blink"]
    assert (blinks.people, blinks.log, blinks.both) == (3, 2, 2)
    assert (blinks.precision, blinks.recall) == (1, pytest.approx(2 / 3))
    assert blinks.f1 == pytest.approx(0.8)
    assert blinks.delay_s == pytest.approx(-0.05)
    assert list(result.events) == ["blink"]  # of what people did not look for, nothing is said


def test_events_pair_up_once_and_the_nearest_first():
    """Two of the log's near one of people's are one pair and one too many."""
    done = [Done(1, at, at + 0.2, "blink", 0.5, None, True) for at in (1.0, 1.3)]
    session = Session(About("d", "s"), [], done, [])
    result = agreement(session, [Seen(1.25, 1.4, "blink")], 0.5).events["blink"]
    assert (result.both, result.log, result.delay_s) == (1, 2, pytest.approx(0.05))


def test_a_named_track_is_compared_with_that_track(tmp_path):
    """Where people name a face, the other faces' labels and events do not count."""
    log = Writer()
    for track, label in ((1, "neutral"), (2, "happiness")):
        log.emotion(0, label, track)
        log.event(1, "blink", track=track)
    log.event(5, "blink", track=2)
    log.end(10, 1)
    log.end(10, 2)
    (one,) = read(write(tmp_path / "log", log))
    truth = [Seen(0, 10, "happiness", 2), Seen(1, 1.2, "blink", 2), Seen(5, 5.2, "blink", 2)]
    result = agreement(one, truth, 0.3)
    assert result.emotions.accuracy == 1
    assert (result.events["blink"].f1, result.events["blink"].log) == (1, 2)
    assert result.faces == 2


def test_disagreement_is_seen(session):
    """Labels that are shuffled agree no better than chance, and moved events not at all."""
    rng = np.random.default_rng(1)
    truth = [
        Seen(float(at), float(at + 1), str(rng.choice(["neutral", "happiness"])))
        for at in range(20)
    ]
    assert abs(agreement(session, truth, 0.2).emotions.kappa) < 0.4
    blinks = moved([Seen(2, 2.2, "blink"), Seen(12, 12.2, "blink")], 3)
    assert agreement(session, blinks, 0.5).events["blink"].f1 == 0


TABLES = {
    "comma.csv": "start,end,label,track\n1.5,2,Happy,3\n",
    "semicolon.csv": "start;end;label;track\n1,5;2;happiness;3\n",
    "tab.tsv": "onset\tduration\ttrial_type\ttrack\n1.5\t0.5\thappiness\t3\n",
    "clock.csv": "Start,End,Label,Track\n0:01.5,0:00:02,happy,3\n",
    "bom.csv": "\ufeffstart_s,end_s,label,track\n1.5,2,joy,3\n",
    "spreadsheet.csv": "start,end,label,track\n,,,\n1.5,2,joy,3\n , , ,\n",
    "ours.tsv": "onset\tduration\ttrial_type\ttrack\n0\tn/a\tmarker: joy\tn/a\n"
    "0\t1\tsegment: joy\tn/a\n1.5\t0.5\thappiness\t3\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_as_people_have_them(tmp_path, name):
    """Commas, semicolons with decimal commas, tabs, clocks, other names: one meaning."""
    (tmp_path / name).write_text(TABLES[name], "utf-8")
    assert read_truth(tmp_path / name) == [Seen(1.5, 2.0, "happiness", 3)]


@pytest.mark.parametrize(
    ("tier", "value", "label"),
    [
        ("emotion #3", "Happy", "happiness"),
        ("blink #3", "", "blink"),  # as people annotate: a tier a movement, without a value
        ("eyes closed #3", "long", "eyes_closed"),
        ("words #3", "smile", "smile"),
        ("words #3", "hello", None),
        ("segment happiness", "happiness", None),  # a marker's text, in what is exported here
        ("markers", "blink", None),
    ],
)
def test_an_annotation_has_its_own_label_or_its_tiers(tmp_path, tier, value, label):
    """In ELAN people label annotations, or tiers; markers that were exported are neither."""
    (tmp_path / "a.eaf").write_text(
        f'''<ANNOTATION_DOCUMENT><TIME_ORDER><TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="1500"/>
        <TIME_SLOT TIME_SLOT_ID="b" TIME_VALUE="2000"/></TIME_ORDER>
        <TIER TIER_ID="{tier}"><ANNOTATION>
        <ALIGNABLE_ANNOTATION TIME_SLOT_REF1="a" TIME_SLOT_REF2="b">
        <ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
        <TIER TIER_ID="last"><ANNOTATION>
        <ALIGNABLE_ANNOTATION TIME_SLOT_REF1="b" TIME_SLOT_REF2="b">
        <ANNOTATION_VALUE>fear</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
        </ANNOTATION_DOCUMENT>'''
    )
    *found, last = read_truth(tmp_path / "a.eaf")
    assert found == ([Seen(1.5, 2.0, label, 3)] if label else [])
    assert last == Seen(2.0, 2.0, "fear")


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"1,2,happy\n", "line 1: has no label and start"),
        ("a.csv", b"start,end,label\nx,2,happy\n", "line 2: start 'x'"),
        ("a.csv", b"start,end,label\n2,1,happy\n", "before it starts"),
        ("a.csv", b"start,end,label\n1,2,bored\n", "unknown label 'bored'"),
        ("a.csv", b"start,end,label\n1,2,\x1b[31m" + b"x" * 500 + b"\n", "unknown label '\\x1b"),
        ("a.csv", b"start,label\n1,happy\n", "no end and no duration"),
        ("a.csv", b"end,label\n1,happy\n", "has no start"),
        ("a.csv", b"start,end,label,track\n1,2,happy,-1\n", "track '-1'"),
        ("a.csv", b"start,end,label\n1e999,2,happy\n", "start '1e999'"),
        ("a.csv", b"start,end,label\nnan,2,happy\n", "start 'nan'"),
        ("a.csv", b"start,end,label\n", "no labelled stretch"),
        ("a.csv", b"", "no labelled stretch"),
        ("a.csv", b"\xff\xfe1", "not UTF-8"),
        ("a.eaf", b"no xml", "no ELAN file"),
        ("a.eaf", b"<html/>", "<'html'>"),
        ("a.eaf", b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "entities"),
        ("a.eaf", b"<ANNOTATION_DOCUMENT/>", "no labelled stretch"),
    ],
)
def test_a_truth_that_is_none_is_refused_in_one_line(tmp_path, name, content, told):
    """Whatever is wrong, the file, the line and what was expected are told, printable."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_truth(tmp_path / name)
    assert told in str(refused.value)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 600


@pytest.mark.parametrize("packed", [False, True])
def test_a_participant_is_forgotten_and_nothing_else(tmp_path, packed):
    """The code goes from plain and compressed files; every other record is as it was."""
    other = Writer("9999", seq=50)
    other.start(participant="p08")
    root = write(tmp_path / "log", example(), other, packed=packed)
    before = {path.name: path.stat().st_mode for path in root.iterdir()}
    with Logs(root) as logs:
        kept = logs.rows("SELECT * EXCLUDE participant FROM records ORDER BY session, seq")
    assert forget_participant(root, "p07").sessions == 1
    assert {one.about.participant for one in read(root)} == {None, "p08"}
    content = b"".join(
        gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()
        for p in root.iterdir()
    )
    assert b"p07" not in content
    assert b"p08" in content
    with Logs(root) as logs:
        assert logs.rows("SELECT * EXCLUDE participant FROM records ORDER BY session, seq") == kept
    after = {path.name: path.stat().st_mode for path in root.iterdir()
             if path.name != "edgeemo.lock"}  # fmt: skip
    assert after == before
    assert forget_participant(root, "p07").sessions == 0


def test_a_log_that_is_being_written_is_not_changed(tmp_path):
    """While an edgeemo holds the lock, nothing is forgotten, and it says who holds it."""
    root = write(tmp_path / "log", example())
    lock = DirectoryLock(root)
    lock.acquire()
    with pytest.raises(SinkError, match="another edgeemo"):
        forget_participant(root, "p07")
    lock.release()
    assert read(root)[0].about.participant == "p07"


def test_kinds_of_later_versions_are_counted_apart(tmp_path):
    """A record of a kind that is not known here is neither damage nor a loss; damage is damage."""
    log = example()
    line = json.loads(log.lines[-1])
    later = {key: line[key] for key in ("schema", "time", "monotonic_s", "session", "device")}
    log.lines.append(
        json.dumps({**later, "kind": "gaze", "seq": log.seq, "x": [1]}).encode() + b"\n"
    )
    log.lines.append(b'{"kind":"gaze","x":1}\n')
    log.lines.append(b"\x00\xffno json\n")
    log.lines.append(json.dumps({**later, "kind": "Gaze!", "seq": 99}).encode() + b"\n")
    root = write(tmp_path / "log", log)
    with Logs(root) as logs:
        found = summarise(logs, "total")
    assert (found.unknown, found.unreadable) == (1, 3)
    assert found.groups[0].lost == 0
    assert found.groups[0].seconds == {"neutral": 16.0, "happiness": 4.0}
    assert any("does not know" in line for line in remarks(found, 1))
    rows = [line_for_people(line) for line in log.lines[-4:]]
    assert "gaze" in rows[0]
    assert "this version does not know" in rows[0]
    assert all("not a record" in row for row in rows[1:])


@pytest.mark.parametrize(("kind", "count"), [("event", 4), ("marker", 4)])
def test_events_and_markers_are_exported_as_records(tmp_path, kind, count):
    """`logs export --kind` has them, with their columns."""
    root = write(tmp_path / "log", example())
    with Logs(root) as logs:
        assert export(logs, kind, "csv", tmp_path / "out.csv") == count
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert {"event": "blink", "marker": "task A"}[kind] in rows[0].values()


def test_the_report_shows_events_and_markers(tmp_path):
    """Strokes below the row, a line for each marker, both in tables; hostile text stays text."""
    log = example()
    log.mark(19, HOSTILE)
    root = write(tmp_path / "log", log)
    with Logs(root) as logs:
        write_report(logs, tmp_path / "r.html", "log")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert page.count('class="done"') == 4
    assert page.count('class="mark"') == 5
    assert "What faces did" in page
    assert "task A starts" in page
    assert "<script" not in page
    plain = Writer()
    plain.emotion(0, "neutral")
    plain.end(5)
    with Logs(write(tmp_path / "plain", plain)) as logs:
        write_report(logs, tmp_path / "p.html", "log")
    assert "What faces did" not in (tmp_path / "p.html").read_text("utf-8")


def run(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_commands(tmp_path):
    """agree, forget and export --as: what they print and write, and what they refuse."""
    root = write(tmp_path / "log", example())
    truth = tmp_path / "truth.csv"
    truth.write_text("start,end,label\n0,4,neutral\n4,8,happiness\n2,2.2,blink\n12,12.2,blink\n")
    code, text = run("logs", "summary", root, "--by", "segment")
    assert (code, "task A" in text, "task B" in text) == (0, True, True)
    code, text = run("logs", "agree", root, "--truth", truth, "--picture", tmp_path / "both.svg",
                     "--json", tmp_path / "agree.json")  # fmt: skip
    assert code == 0
    assert "kappa" in text
    assert ET.parse(tmp_path / "both.svg").getroot().tag.endswith("svg")
    assert json.loads((tmp_path / "agree.json").read_text())["events"]["blink"]["f1"] == 1
    for form, name in (("long", "a.csv"), ("wide", "b.tsv"), ("elan", "c.eaf"), ("bids", "d.tsv")):
        code, text = run("logs", "export", root, "--as", form, "-o", tmp_path / name)
        assert (code, str(tmp_path / name) in text) == (0, True)
    assert json.loads((tmp_path / "d.json").read_text())
    chosen = tmp_path / "chosen.csv"
    for session, found in (("4be0", True), ("another", False)):
        assert run("logs", "export", root, "-o", chosen, "--session", session)[0] == 0
        assert (len(chosen.read_text().splitlines()) > 1) is found
    for words, told in (
        (("export", root, "--as", "elan", "-o", tmp_path / "x.csv"), ".eaf"),
        (("export", root, "--as", "wide", "-o", tmp_path / "x.csv", "--since", "1h"), "whole"),
        (("agree", root, "--truth", truth, "--picture", tmp_path / "x.png"), ".svg"),
        (("agree", root, "--truth", tmp_path / "none.csv"), "cannot be read"),
        (("mark", "x", "--start", "--end"), "exclude"),
        (
            (
                "export",
                root,
                "--as",
                "wide",
                "-o",
                tmp_path / "x.csv",
                "--session",
                "4",
                "--session",
                "5",
            ),
            "one session, not 2",
        ),
        (("mark", "x" * 300), "300 characters"),
    ):
        with pytest.raises(ConfigError, match=told):
            run("logs", *words)
    with pytest.raises(LogError, match="no running edgeemo"):
        run("logs", "mark", "x", "--log-dir", root)
    assert "forgotten in 1 session" in run("logs", "forget", root, "--participant", "p07")[1]
    assert "no session of p07" in run("logs", "forget", root, "--participant", "p07")[1]
