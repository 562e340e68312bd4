"""Capturing pictures of a person, and forgetting them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.calibration.pictures import labelled_files
from edge.calibration.still import Still, Stills
from edge.capture.folder import CaptureFolder, Derived, Taken, check_subject, note_derived
from edge.capture.session import AGREEMENT, Choice, Wanted, capture
from edge.config import Config
from edge.errors import CaptureError, ConfigError
from edge.runtime.build import compose_pipeline
from edge.sources.demo.source import DemoSource
from edgeemo.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def stills() -> Iterator[Stills]:
    opened = Stills(partial(compose_pipeline, Config()))
    yield opened
    opened.close()


class _Scripted:
    """A dialogue that answers as it was told to."""

    def __init__(self, typed: str = AGREEMENT, choices: tuple[Choice, ...] = ()) -> None:
        self.typed, self.choices, self.told = typed, list(choices), list[object]()

    def consent(self, text: str, agreement: str) -> str:
        assert agreement == AGREEMENT
        self.told.append(text)
        return self.typed

    def ready(self, label: str, number: int, of: int) -> bool:
        self.told.append((label, number, of))
        return True

    def count(self, seconds: int) -> None:
        self.told.append(seconds)

    def seen(self, still: Still | None) -> Choice:
        assert still is not None
        return self.choices.pop(0) if self.choices else "keep"


def line(subject: str, number: int, label: str = "happiness") -> Taken:
    return Taken(
        path=f"{label}/{subject}-0123abcd-{number:04d}.png",
        label=label,
        subject=subject,
        time="2026-11-30T12:00:00Z",
        session="0123abcd",
        camera="demo",
        quality="ok",
        consent="...",
        consent_time="2026-11-30T12:00:00Z",
    )


def test_a_session_keeps_what_was_kept_and_calibrate_reads_it(
    tmp_path: Path, stills: Stills
) -> None:
    """Faces cut out, private files, a line each with consent, camera and quality."""
    folder, dialogue = CaptureFolder(tmp_path / "mine"), _Scripted(choices=("again", "keep"))
    wanted = Wanted("anna", ("happiness", "engaged"), 1, "demo")
    assert capture(folder, wanted, DemoSource(frames=300), stills.look, dialogue) == 2
    lines = folder.taken()
    assert [taken.label for taken in lines] == ["happiness", "engaged"]
    assert ("happiness", 1, 1) in dialogue.told
    assert 3 in dialogue.told
    for taken in lines:
        path = folder.path / taken.path
        assert path.stat().st_mode & 0o777 == 0o600
        height, width = cv2.imread(str(path)).shape[:2]
        assert 100 < height < 400
        assert width < 400
        assert taken.subject == "anna"
        assert "deletes them all" in taken.consent
        assert (taken.camera, taken.quality) == ("demo", "ok")
        assert stills.look(cv2.imread(str(path))) is not None
    assert (folder.path / "manifest.jsonl").stat().st_mode & 0o777 == 0o600
    read = labelled_files(folder.path, {})
    assert [(file.label, file.person) for file in read] == [
        ("happiness", "anna"),
        ("engaged", "anna"),
    ]


def test_whole_frames_are_kept_when_asked_for(tmp_path: Path, stills: Stills) -> None:
    """``--frames``."""
    folder = CaptureFolder(tmp_path / "mine")
    wanted = Wanted("ben", ("surprise",), 1, "demo", whole_frames=True)
    capture(folder, wanted, DemoSource(frames=90), stills.look, _Scripted())
    (taken,) = folder.taken()
    assert cv2.imread(str(folder.path / taken.path)).shape == (480, 640, 3)


@pytest.mark.parametrize("typed", ["", "yes", "I do not agree", "agree"])
def test_without_consent_no_frame_is_read_and_nothing_is_kept(
    tmp_path: Path, stills: Stills, typed: str
) -> None:
    """Not even the folder is made."""
    source = DemoSource(frames=5)
    with pytest.raises(CaptureError, match="did not agree"):
        capture(
            CaptureFolder(tmp_path / "mine"),
            Wanted("anna", ("happiness",), 1, "demo"),
            source,
            stills.look,
            _Scripted(typed),
        )
    first = source.read()
    assert first is not None
    assert first.index == 0
    assert not (tmp_path / "mine").exists()


def test_a_source_that_ends_is_told(
    tmp_path: Path, stills: Stills, caplog: pytest.LogCaptureFixture
) -> None:
    """A film may be shorter than the session; what was kept until then stays."""
    wanted = Wanted("anna", ("happiness",), 50, "demo")
    folder = CaptureFolder(tmp_path / "mine")
    kept = capture(folder, wanted, DemoSource(frames=300), stills.look, _Scripted())
    assert 0 < kept == len(folder.taken()) < 50
    assert "the source has ended" in caplog.text


def test_forgetting_leaves_nothing_of_a_person_and_everything_of_others(tmp_path: Path) -> None:
    """Pictures with and without a line, half-written ones too; what was made is named."""
    folder = CaptureFolder(tmp_path / "mine")
    with folder.opened() as lines:
        for number, subject in enumerate(("anna", "ann", "anna", "anna_b")):
            folder.keep(np.zeros((8, 8, 3), np.uint8), line(subject, number), lines)
        folder.keep(np.zeros((8, 8, 3), np.uint8), line("anna", 9, "fear"), lines)
    (folder.path / "happiness" / "anna-deadbeef-0001.png").write_bytes(b"x")
    (folder.path / "happiness" / ".anna-deadbeef-0002.png.part").write_bytes(b"x")
    made = Derived(what="bundle", path="b", fingerprint="f" * 64, people=("anna",), time="t")
    note_derived(folder.path, made)
    assert folder.forget("anna") >= 3
    assert not list(folder.path.rglob("*anna-*"))
    assert [taken.subject for taken in folder.taken()] == ["ann", "anna_b"]
    assert len(list(folder.path.rglob("*.png"))) == 2
    assert not (folder.path / "fear").exists()
    assert folder.derived() == [made]
    assert folder.forget("anna") == 0


WRITER = """
import sys, itertools, numpy as np
sys.path.insert(0, "tests/edge/capture")
from pathlib import Path
from test_capture import line
from edge.capture.folder import CaptureFolder
folder = CaptureFolder(Path(sys.argv[1]))
image = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
with folder.opened() as lines:
    print("open", flush=True)
    for number in itertools.count(len(lines)):
        folder.keep(image, line("anna", number), lines)
"""


def test_a_killed_capture_leaves_whole_pictures_and_a_whole_manifest(tmp_path: Path) -> None:
    """At any moment: every line's picture is there and decodes; the next start tidies up."""
    out = tmp_path / "mine"
    kept = 0
    for turn in range(int(os.environ.get("EDGEEMO_KILLS", "4"))):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(out)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        time.sleep(0.05 + 0.037 * turn)  # when it dies, not how long it takes
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        lines = CaptureFolder(out).taken()
        assert len(lines) >= kept
        kept = len(lines)
        for taken in lines:
            assert cv2.imread(str(out / taken.path)).shape == (200, 200, 3)
        with CaptureFolder(out).opened():
            pictures = {str(path.relative_to(out)) for path in out.rglob("*.png*")}
        assert pictures == {taken.path for taken in lines}


def test_a_foreign_folder_and_a_second_writer_are_refused(tmp_path: Path) -> None:
    """Nothing is mixed with other files, and two sessions do not write over each other."""
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(CaptureError, match="choose another"), CaptureFolder(tmp_path).opened():
        pass
    folder = CaptureFolder(tmp_path / "mine")
    with (
        folder.opened(),
        pytest.raises(CaptureError, match="another process"),
        CaptureFolder(tmp_path / "mine").opened(),
    ):
        pass


@pytest.mark.parametrize("subject", ["", "Anna", "../x", "a-b", "a b", "a" * 40])
def test_names_that_files_cannot_carry_are_refused(subject: str) -> None:
    """A hyphen too: it ends the name in a file's name."""
    with pytest.raises(ConfigError):
        check_subject(subject)


def run(monkeypatch: pytest.MonkeyPatch, typed: str, *words: object) -> int:
    import io

    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_command_asks_counts_down_and_forgets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the terminal, from consent to the last picture deleted."""
    out = tmp_path / "mine"
    words = ("capture", "--source", "demo", "--out", out, "--subject", "anna", "--count", 1)
    assert run(monkeypatch, "no\n", *words) == 1
    assert not out.exists()
    typed = f"{AGREEMENT}\n\n\n\n\n"
    assert run(monkeypatch, typed, *words, "--labels", "happy,surprise") == 0
    shown = capsys.readouterr().out
    assert "happiness, 1 of 1" in shown
    assert "3 ..." in shown
    assert "kept 2 pictures of anna" in shown
    first = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])
    assert first["path"].startswith("happiness/anna-")
    assert run(monkeypatch, "", "capture", "--forget", "anna", "--out", out) == 0
    assert "deleted 2 pictures of anna" in capsys.readouterr().out
    assert not list(out.rglob("*.png"))


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--subject", "a", "--forget", "a"),
        ("--subject", "A!"),
        ("--subject", "a", "--labels", "hapy"),
    ],
)
def test_wrong_usage_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    """Exit code 2, before anything is opened."""
    assert run(monkeypatch, "", "capture", "--out", tmp_path / "mine", *words) == 2
    assert not (tmp_path / "mine").exists()
