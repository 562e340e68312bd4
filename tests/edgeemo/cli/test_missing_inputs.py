"""A file or folder that is named and is not there: one rule, whatever the command."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgeemo.cli.main import main

EVERYWHERE = [
    "run --source no.mp4",
    "run --source no/",
    "run --source demo --model no",
    "run --source demo --config no.toml",
    "bench --source no.mp4",
    "bench --model no",
    "capture --source no.mp4 --out new --subject s",
    "capture --out no --forget s",
    "calibrate no --data here --out new",
    "calibrate default --data no --out new",
    "logs tail no",
    "logs mark x --log-dir no",
    "logs forget no --participant p",
]
VIEW = ["view --source no.mp4", "view --model no"]
ANALYSIS = [
    "analyze no.mp4 -o new.csv",
    "logs summary no",
    "logs report no -o new.html",
    "logs export no -o new.csv",
    "logs agree no --truth here/t.csv",
    "logs sessions no",
    "logs fleet no",
    "logs store no",
]
HOST = [
    "train --data no --out new",
    "data audit no",
    "data audit no.csv",
    "data prepare no --out new",
    "data export no --out new",
    "runs list no",
    "runs compare no no",
    "evaluate no --data here",
    "evaluate no.keras --data here",
    "evaluate default --data no",
    "convert no.keras --int8 --data no --out new",
    "convert no --int8 --data here --out new",
    "inspect no",
]


def lines(module: str, commands: list[str]) -> list:
    lacking = not find_spec(module)
    return [
        pytest.param(line, marks=pytest.mark.skipif(lacking, reason=f"{module} is not installed"))
        for line in commands
    ]


OUTPUTS = [
    *lines("duckdb", ["logs export here -o no/x.csv", "logs report here -o no/x.html"]),
    *lines("duckdb", ["logs summary here --json no/x.json", "logs sessions here --json no/x.json"]),
    *lines("duckdb", ["logs agree here --truth here/t.csv --picture no/x.svg"]),
    *lines("duckdb", ["analyze here -o no/x.csv"]),
    *lines("tensorflow", ["evaluate default --data here --json no/x.json"]),
    *lines("tensorflow", ["runs compare here here --png no/x.png", "inspect default --json no/x"]),
    *lines("tensorflow", ["data audit here --json no/x.json", "data export here --out no/x.json"]),
    "bench --json no/x.json",
    "calibrate default --data here --out new --json no/x.json",
    "run --source demo --save-video no/x.mp4",
    "run --source demo --snapshot no/x.png",
]


@pytest.fixture
def refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """Run a command line that is wrong usage; return the one line that it says."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "t.csv").write_text("start,end,label\n0,1,smile\n")

    def run(line: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main(line.split())
        assert ended.value.code == 2
        (told,) = capsys.readouterr().err.splitlines()
        assert [path.name for path in tmp_path.iterdir()] == ["here"], "something was begun"
        return told

    return run


@pytest.mark.parametrize(
    "line",
    [
        *EVERYWHERE,
        *lines("uvicorn", VIEW),
        *lines("duckdb", ANALYSIS),
        *lines("tensorflow", HOST),
    ],
)
def test_what_is_not_there_is_wrong_usage(refused: Callable[[str], str], line: str) -> None:
    """One line that names it, exit code 2, and nothing was begun."""
    told = refused(line)
    assert "no" in told.removeprefix("edgeemo: error: ").split(":")[0].split("/")[0].split(".")[0]


@pytest.mark.parametrize("line", OUTPUTS)
def test_a_place_that_is_not_there_is_refused_before_anything_is_done(
    refused: Callable[[str], str], line: str
) -> None:
    """A result of hours is not lost because its folder was misspelt."""
    told = refused(line)
    assert "no/x" in told
    assert "there is no " in told
