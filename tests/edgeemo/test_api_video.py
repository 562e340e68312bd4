"""Films and cameras through the API: the frames of `edgeemo run`, and a source that is closed."""

import csv
import json
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path

import cv2
import numpy as np
import pytest

import edgeemo
from edge.contract.align import FER48
from edge.records import EmotionEstimate
from edge.runtime.request import RunRequest
from edge.service.session import run_session

HEADER = {"schema", "seq", "session", "device"}


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "edgeemo.jsonl").read_text().splitlines()]


def as_logged(frames) -> list[dict]:
    return [face.to_dict() | {"latency_ms": 0} for frame in frames for face in frame]


def test_the_api_says_what_the_log_of_a_run_says(analyzer, film, tmp_path):
    """``to_dict`` of each face is the emotion record of `edgeemo run --emit frame`."""
    request = RunRequest(source=str(film), log_dir=tmp_path, emit="frame")
    with ExitStack() as stack:
        run_session(request, stack)
    logged = [
        {key: value for key, value in record.items() if key not in HEADER} | {"latency_ms": 0}
        for record in records(tmp_path)
        if record["kind"] == "emotion"
    ]
    assert len(logged) > 10
    assert as_logged(analyzer.video(film)) == logged


def test_a_film_can_be_logged_while_it_is_analyzed(analyzer, film, tmp_path):
    """``log_dir`` writes the same records as the faces that are given out, and an end."""
    frames = list(analyzer.video(film, log_dir=tmp_path, max_frames=6))
    assert [frame.index for frame in frames] == list(range(6))
    written = records(tmp_path)
    emotions = [record for record in written if record["kind"] == "emotion"]
    assert len(emotions) == sum(map(len, frames)) > 0
    assert written[-1]["kind"] == "service_stopped"
    assert written[-1]["reason"] == "frame limit"


def leave_by_break(frames):
    for _ in frames:
        break


def fail_in_a_loop(frames):
    for frame in frames:
        raise ZeroDivisionError(frame.index)


def leave_by_error(frames):
    with pytest.raises(ZeroDivisionError):
        fail_in_a_loop(frames)


def leave_by_close(frames):
    next(frames)
    frames.close()
    frames.close()


def leave_by_with(frames):
    with frames:
        next(frames)


@pytest.mark.parametrize("leave", [leave_by_break, leave_by_error, leave_by_close, leave_by_with])
def test_however_a_loop_is_left_the_source_and_the_log_are_closed(analyzer, film, tmp_path, leave):
    """After break, an error, ``close()`` and a with block the log has its end."""
    leave(analyzer.video(film, log_dir=tmp_path))
    last = records(tmp_path)[-1]
    assert (last["kind"], last["reason"]) == ("service_stopped", "closed")


def test_closing_the_analyzer_closes_its_films(film, tmp_path):
    """A film that is still open ends with its analyzer; asking it for more ends the loop."""
    with edgeemo.Analyzer() as analyzer:
        frames = analyzer.video(film, log_dir=tmp_path)
        next(frames)
    assert records(tmp_path)[-1]["reason"] == "closed"
    assert list(frames) == []


SCRIPT = """
    import sys
    import edgeemo

    frames = edgeemo.Analyzer().video("demo:live", log_dir=sys.argv[1])
    for frame in frames:
        print(frame.index, flush=True)
        {then}
"""


@pytest.mark.parametrize("then", ["pass", "break"])
def test_ctrl_c_and_the_end_of_the_process_close_camera_and_log(tmp_path, then):
    """A live source in a variable: interrupted in the loop, or left open at the program's end."""
    code = textwrap.dedent(SCRIPT.format(then=then))
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip()
        if then == "pass":
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert ("KeyboardInterrupt" in errors) == (then == "pass")
    last = records(tmp_path)[-1]
    assert last["kind"] == "service_stopped"
    assert "Interrupt" in last["reason"] or last["reason"] == "closed"


def test_two_films_at_a_time_do_not_disturb_each_other(analyzer, film):
    """Frames of two sources, taken in turn, are those of each by itself."""
    alone = as_logged(analyzer.video(film))
    one, two = analyzer.video(film), analyzer.video(film, max_frames=9)
    mixed = [(first, next(two, None)) for first in one]
    assert as_logged(first for first, _ in mixed) == alone
    assert as_logged(second for _, second in mixed if second) == alone[: len(alone) - 7]


def test_a_folder_names_its_pictures(analyzer, pixels, tmp_path):
    """Each frame of a folder says which file it is from."""
    cv2.imwrite(str(tmp_path / "one.png"), pixels)
    (frame,) = analyzer.video(tmp_path)
    assert frame.file == str(tmp_path / "one.png")
    assert [face.label for face in frame] == ["happiness"]


@pytest.mark.parametrize(
    ("source", "error"),
    [("nowhere.mp4", edgeemo.CameraError), ("perhaps", edgeemo.ConfigError),
     ("ftp://a/b", edgeemo.ConfigError), (Path("no/such/film.mp4"), edgeemo.CameraError)],
)  # fmt: skip
def test_what_cannot_be_opened_is_told_at_once(analyzer, source, error):
    """``video()`` itself refuses, not the first frame."""
    with pytest.raises(error):
        analyzer.video(source)


@pytest.mark.parametrize("count", [0, -1, 2.5, "3", True])
@pytest.mark.parametrize("name", ["max_frames", "every_n"])
def test_a_count_that_is_none_is_refused(analyzer, film, name, count):
    """``video()`` itself refuses it, in one line."""
    with pytest.raises(edgeemo.ConfigError, match=rf"{name}: expected .*whole number.*got"):
        analyzer.video(film, **{name: count})


def test_a_table_has_a_row_for_each_face(analyzer, film, tmp_path):
    """The columns of a table and of a CSV file are the faces' values."""
    faces = [face for frame in analyzer.video(film) for face in frame]
    table = analyzer.video(film).to_table()
    assert len(table) == len(faces)
    assert set(table.columns["file"]) == {str(film)}
    assert table.columns["label"] == [face.label for face in faces]
    assert table.columns["track"] == [face.track_id for face in faces]
    assert table.columns["x1"] == [face.to_dict()["box"][0] for face in faces]
    assert table.columns["score_happiness"] == [
        face.to_dict()["scores"]["happiness"] for face in faces
    ]
    count = analyzer.video(film).to_csv(tmp_path / "film.csv")
    with (tmp_path / "film.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert count == len(rows) == len(faces)
    assert list(rows[0]) == list(table.columns)
    assert [float(row["confidence"]) for row in rows] == table.columns["confidence"]
    assert rows[0]["time"].endswith("Z")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_table_becomes_a_frame_of_each_library(analyzer, film, library, monkeypatch):
    """pandas, Polars and Arrow get the same columns with their types, also without one row."""
    module = pytest.importorskip(library)
    if library == "polars":  # which is taken where pandas is not
        monkeypatch.setitem(sys.modules, "pandas", None)
    for table in (analyzer.video(film).to_table(), edgeemo.Table(analyzer.labels)):
        made = table.to_arrow() if library == "pyarrow" else table.to_dataframe()
        names = made.column_names if library == "pyarrow" else list(made.columns)
        assert names == list(table.columns)
        assert len(made) == len(table)
        kind = made.schema.field("time").type if library == "pyarrow" else made["time"].dtype
        assert "utc" in str(kind).lower()
    assert module


def test_without_the_libraries_the_remedy_is_told(analyzer, film, monkeypatch):
    """Each conversion names what to install."""
    for name in ("pandas", "polars", "pyarrow", "supervision"):
        monkeypatch.setitem(sys.modules, name, None)
    frame = next(analyzer.video(film))
    table = edgeemo.Table()
    for call, word in (
        (table.to_dataframe, "pip install pandas"),
        (table.to_arrow, "pip install pyarrow"),
        (frame.detections, "pip install supervision"),
    ):
        with pytest.raises(edgeemo.MissingExtraError, match=word):
            call()


def test_supervision_takes_the_faces(analyzer, film):
    """Boxes, confidences, classes and track ids of a frame, and of one face."""
    pytest.importorskip("supervision")
    *_, frame = analyzer.video(film)
    found, one = frame.detections(), frame.faces[0].to_supervision()
    np.testing.assert_array_equal(found.xyxy, one.xyxy)
    assert found.tracker_id.tolist() == [frame.faces[0].track_id]
    assert found.data["class_name"].tolist() == [frame.faces[0].label]


class Brightness:
    """A classifier that everyone can write: how bright the middle of the crop is."""

    template = FER48
    labels = ("dark", "bright")

    def __init__(self) -> None:
        self.closed = 0

    def classify(self, crop, face):
        share = float(crop[12:36, 12:36].mean()) / 255
        return EmotionEstimate(self.labels, np.array([1 - share, share], np.float32))

    def close(self):
        self.closed += 1


def test_an_own_classifier_takes_the_models_place(film, photo, tmp_path):
    """Pictures, films, logs and tables show its labels; it is closed once, with the analyzer."""
    own = Brightness()
    with edgeemo.Analyzer(own) as analyzer:
        (face,) = analyzer.image(photo)
        assert set(face.scores) == {"dark", "bright"}
        table = analyzer.video(film, log_dir=tmp_path).to_table()
        assert table.columns["score_bright"][0] > 0
        assert own.closed == 0
    assert own.closed == 1
    assert records(tmp_path)[0]["model"] == "Brightness"
    assert records(tmp_path)[0]["labels"] == ["dark", "bright"]
