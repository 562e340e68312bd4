"""The command line as one meets it first: help, completion, names, refusals in whole lines."""

import importlib.util
import io
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest

from deploy.release.device_wheel import build_edge_wheel
from edge.config import Config, load_config
from edge.contract.bundle import PACKAGED, bundle_path
from edge.errors import ConfigError
from edgeemo.analysis.export import Format, format_of
from edgeemo.cli.app import app
from edgeemo.cli.extras import EXTRAS
from edgeemo.cli.main import main

GROUPS = ("", "logs", "data", "runs", "deploy", "config")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Run the command; return its exit code, output and errors."""
    code = 0
    try:
        main(words)
    except SystemExit as stop:
        code = int(stop.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("group", GROUPS)
def test_no_summary_is_cut_off(
    group: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 80 columns every command's summary is a whole sentence, and -h is --help."""
    monkeypatch.setenv("COLUMNS", "80")
    words = group.split()
    code, out, _ = said(capsys, *words, "-h")
    assert (code, out) == said(capsys, *words, "--help")[:2]
    summaries = out.partition("Commands:\n")[2].splitlines()
    assert summaries
    for line in summaries:
        assert line.endswith("."), line
        assert not line.endswith("..."), line
        assert len(line) <= 80


def test_run_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    """What most people want stands at the top."""
    _, out, _ = said(capsys, "-h")
    assert out.partition("Commands:\n")[2].split()[0] == "run"


@pytest.mark.parametrize("command", ["run", "logs tail", "deploy push"])
def test_short_help_of_commands(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """-h works at every level."""
    code, out, _ = said(capsys, *command.split(), "-h")
    assert (code, out[:6]) == (0, "Usage:")


def test_the_shell_completes() -> None:
    """Typer's completion offers commands, options and choices."""
    for typed, offered in (("ev", "evaluate"), ("run --emi", "--emit"), ("run --emit f", "frame")):
        line = f"edgeemo {typed}"
        done = subprocess.run(
            [sys.executable, "-c", "import sys; sys.argv[0] = 'edgeemo'; "
             "from edgeemo.cli.main import entry; entry()"],
            env={**os.environ, "_EDGEEMO_COMPLETE": "complete_bash", "COMP_WORDS": line,
                 "COMP_CWORD": str(len(line.split()) - 1)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert offered in done.stdout.split()


def test_the_example_configuration_is_printed(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """What is printed is the shipped file, and a configuration."""
    code, out, _ = said(capsys, "config", "example")
    assert code == 0
    assert out == Path("systemd/edgeemo.example.toml").read_text("utf-8")
    assert tomllib.loads(out)
    (tmp_path / "c.toml").write_text(out)
    assert load_config(tmp_path / "c.toml") == Config()


@pytest.mark.parametrize(
    ("table", "line", "expected"),
    [
        ("log", 'emit = "always"', """emit: expected "change" or "frame", got 'always'"""),
        ("log", 'fsync = "no"', """fsync: expected "always", "interval" or "never", got 'no'"""),
        ("log", 'details = ["nose"]', """details: expected a list of "eyes", "blendshapes" or """
         """"mesh", got ['nose']"""),
        ("mesher", 'kind = "dlib"', """kind: expected "auto", "litert" or "mediapipe", got """
         "'dlib'"),
        ("mesher", "kind = 3", 'kind: expected "auto", "litert" or "mediapipe", got 3'),
        ("mesher", "min_presence = 2", "min_presence: expected a number from 0 to 1, got 2"),
        ("mesher", "blendshapes = 1", "blendshapes: expected true or false, got 1"),
        ("mesher", "max_faces = 0.5", "max_faces: expected a whole number from 1 to 100, got 0.5"),
        ("source", "realtime = 'yes'", "realtime: expected true or false, got 'yes'"),
    ],
)  # fmt: skip
def test_a_wrong_setting_says_what_it_takes(
    tmp_path: Path, table: str, line: str, expected: str
) -> None:
    """Choices and bounds are spelled out; no type of a programming language, no pattern."""
    path = tmp_path / "c.toml"
    path.write_text(f"[{table}]\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(caught.value) == f"{path}: {table}.{expected}"


@pytest.mark.parametrize("section", msgspec.structs.fields(Config), ids=lambda field: field.name)
def test_no_setting_is_explained_by_a_type_or_a_pattern(
    tmp_path: Path, section: msgspec.structs.FieldInfo
) -> None:
    """Whatever key is given a table, the answer is in words."""
    keys = [field.name for field in msgspec.structs.fields(section.type)]
    path = tmp_path / "c.toml"
    path.write_text("".join(f"[{section.name}.{key}]\n" for key in keys))
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert len(caught.value.args) == len(keys)
    for problem in caught.value.args:
        assert ": expected " in problem
        assert not re.search(r"`|regex|\^|enum|None|array|Expected", problem), problem


def test_each_problem_of_a_configuration_has_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three slips are three lines, each with the file in front."""
    path = tmp_path / "c.toml"
    path.write_text('[source]\nfps = 0\nspeck = "demo"\n[moon]\n')
    code, _, err = said(capsys, "doctor", "--config", str(path))
    lines = err.splitlines()
    assert (code, len(lines)) == (2, 3)
    assert all(line.startswith(f"edgeemo: error: {path}: ") for line in lines)


@pytest.mark.parametrize(
    ("name", "asked", "form"),
    [
        ("a.csv", None, "csv"),
        ("A.CSV", "csv", "csv"),
        ("a.parquet", None, "parquet"),
        ("a.jsonl", None, "json"),
        ("a.json", "json", "json"),
        ("a", None, "csv"),
        ("a.txt", "csv", "csv"),
        ("a.xlsx", None, r"a.xlsx: no .xlsx is written; expected a name that ends in .csv"),
        ("a.xlsx", "csv", "no .xlsx is written"),
        ("a.ods", None, "no .ods is written"),
        ("a.csv.gz", "csv", "no .gz is written"),
        ("a.txt", None, "no .txt is written"),
        ("a.parquet", "csv", "--format csv: the name says parquet"),
    ],
)
def test_a_files_name_says_what_is_exported(name: str, asked: Format | None, form: str) -> None:
    """A name that promises another format than is written is refused, not believed or ignored."""
    if form in {"csv", "parquet", "json"}:
        assert format_of(Path(name), asked) == form
        return
    with pytest.raises(ConfigError, match=form):
        format_of(Path(name), asked)


@pytest.mark.parametrize("line", ["logs export -o x.xlsx", "logs report -o x.pdf"])
def test_a_foreign_name_is_bad_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is refused before any log is read, with the names that can be written."""
    code, _, err = said(capsys, *line.split())
    assert code == 2
    assert "expected a name that ends in" in err


def test_default_is_the_packaged_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The word, or nothing; but a folder of one's own that is called so goes first."""
    monkeypatch.chdir(tmp_path)
    assert bundle_path(None) == bundle_path(Path("default")) == PACKAGED
    assert bundle_path(Path("other")) == Path("other")
    (tmp_path / "default").mkdir()
    assert bundle_path(Path("default")) == Path("default")


def test_a_run_takes_the_word_default(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--model default` and `bundle = "default"` are the packaged model, from any directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.toml").write_text('[model]\nbundle = "default"\n')
    for words in (["--model", "default"], ["--config", "c.toml"]):
        line = ["run", "--source", "demo", "--max-frames", "2", "--log-dir", "logs", *words]
        code, out, _ = said(capsys, *line)
        assert code == 0
        assert "frame limit" in out


@pytest.mark.parametrize(
    "source",
    [
        "nowhere.mp4",
        "no/such/folder/",
        "empty",
        "text.mp4",
        "/dev/video97",
        "ftp://host/film",
        "moon",
    ],
)
def test_a_source_that_can_not_be_opened_leaves_no_log(
    tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is tried before the log is made: a slip of the pen leaves no folder behind."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("no film")
    code, _, err = said(capsys, "run", "--source", source, "--log-dir", "logs")
    assert code in {1, 2}
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    "output",
    ["--save-video a.gif", "--save-video no/a.mp4", "--snapshot a.txt", "--snapshot no/a.png"],
)
def test_an_output_that_can_not_be_written_leaves_no_log(
    tmp_path: Path, output: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run shall write is looked at before the source is opened and the log made."""
    monkeypatch.chdir(tmp_path)
    code, _, err = said(capsys, "run", "--source", "demo", "--log-dir", "logs", *output.split())
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "logs").exists()


def test_all_commands_are_registered_once() -> None:
    """Nothing is offered twice, and nothing that this installation has is hidden."""
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    names += [group.name for group in app.registered_groups]
    assert len(names) == len(set(names))
    assert not any(command.hidden for command in app.registered_commands)


WITHOUT = """
import sys
for name in {missing!r}:
    sys.modules[name] = None  # as if it were not installed
from edgeemo.cli.main import main
main({words!r})
"""


def run_without(missing: tuple[str, ...], *words: str) -> subprocess.CompletedProcess[str]:
    code = WITHOUT.format(missing=missing, words=list(words))
    environment = {**os.environ, "COLUMNS": "80"}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )


def test_extras_are_those_of_the_project() -> None:
    """What a message tells to install can be installed."""
    project = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]
    assert set(EXTRAS) <= set(project["optional-dependencies"])


ON_A_DEVICE = """
import os, sys
sys.path = [path for path in sys.path if not os.path.isdir(f"{{path}}/host_training")]
sys.path.insert(0, {wheel!r})
from edgeemo.cli.main import main
main({words!r})
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with what a device gets, unpacked."""
    folder = tmp_path_factory.mktemp("device")
    zipfile.ZipFile(io.BytesIO(build_edge_wheel()[1])).extractall(folder)
    return folder


def run_on_a_device(wheel: Path, *words: str) -> subprocess.CompletedProcess[str]:
    code = ON_A_DEVICE.format(wheel=str(wheel), words=list(words))
    return subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )


def test_a_device_lists_what_it_can_do(wheel: Path) -> None:
    """A device's wheel has no command of the workstation, and lists none; the others stay."""
    assert listed(run_on_a_device(wheel, "--help")) == {
        "run", "doctor", "view", "bench", "logs", "config", "capture", "calibrate",
    }  # fmt: skip
    assert listed(run_on_a_device(wheel, "logs", "--help")) == {"tail", "mark", "forget"}


def listed(done: subprocess.CompletedProcess[str]) -> set[str]:
    lines = done.stdout.partition("Commands:\n")[2].splitlines()
    return {line.split()[0] for line in lines}


@pytest.mark.parametrize(
    "line", ["train --data x --out y", "inspect default", "deploy push a@b --dry-run", "data -h",
             "logs collect a@b --out c", "logs summary", "logs export x -o y.csv"],
)  # fmt: skip
def test_a_device_says_where_a_command_runs(line: str, wheel: Path) -> None:
    """Who types a workstation's command on a device is told so, in one line."""
    done = run_on_a_device(wheel, *line.split())
    assert done.returncode == 2
    [told] = done.stderr.splitlines()
    assert "is a workstation's command" in told


WITH_HOST = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None,
    reason="two extras: `make test` runs these where the other one is installed",
)


@pytest.mark.parametrize(
    ("line", "missing", "extra"),
    [
        ("evaluate default --data {faces}", "sklearn", "host"),
        ("evaluate default --data {faces} --report {faces}/r", "matplotlib", "host"),
        ("evaluate {faces}/run.keras --data {faces}", "tensorflow", "host"),
        ("train --data {faces} --out {faces}/run", "sklearn", "host"),
        ("train --data {faces} --out {faces}/run", "tensorflow", "host"),
        pytest.param(
            "train --data {faces} --out {faces}/run --set engine=torch",
            "torch",
            "torch",
            marks=WITH_HOST,
        ),
        ("convert {faces} --data {faces} --out {faces}/b", "keras", "host"),
        pytest.param(
            "convert {faces} --data {faces} --out {faces}/b --keep-float x",
            "ai_edge_quantizer",
            "quantize",
            marks=WITH_HOST,
        ),
        ("run --source demo --mesher mediapipe", "mediapipe", "mediapipe"),
        ("logs summary {faces}", "duckdb", "analysis"),
        ("deploy status nobody@127.0.0.1:1", "gevent", "deploy"),
        ("view --source demo", "uvicorn", "view"),
    ],
)
def test_a_command_names_the_extra_that_it_lacks(
    line: str, missing: str, extra: str, tmp_path: Path
) -> None:
    """A library that is not installed is no bug: one line names the extra that brings it."""
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "a.png"), np.full((48, 48, 3), 90, np.uint8))
    done = run_without((missing,), *line.format(faces=tmp_path).split())
    assert (done.returncode, done.stdout) == (2, "")  # before any data is read
    [told] = done.stderr.splitlines()
    assert f"pip install 'edgeemo[{extra}]'" in told
