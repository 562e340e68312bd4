"""The reader of plain `edgeemo run` lines, held against Typer's reading of the same lines."""

from pathlib import Path

import msgspec
import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.runtime.request import RunRequest
from edgeemo.cli.app import app
from edgeemo.cli.plain_run import FLAGS, READERS, read_plain

RUN = typer.main.get_command(app).commands["run"]

WORDS = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
VALUES = {
    "--max-frames": st.one_of(st.integers(-2, 2000).map(str), WORDS),
    "--mesher": st.sampled_from(["auto", "litert", "mediapipe", "Litert", "other"]),
    "--emit": st.sampled_from(["change", "frame", "never"]),
}


def _by_typer(words: list[str]) -> dict[str, object]:
    params = RUN.make_context("run", list(words)).params
    return {name: _plain(value) for name, value in params.items()}


def _plain(value: object) -> object:
    """Typer turns a path into a Path after the parser has given its text."""
    return str(Path(value)) if isinstance(value, Path | str) else value


def _by_us(request: RunRequest) -> dict[str, object]:
    return {name: _plain(value) for name, value in msgspec.structs.asdict(request).items()}


def test_every_option_of_run_is_known() -> None:
    """The reader knows each option that Typer offers for `run`, and no other."""
    offered = {option for param in RUN.params for option in param.opts}
    assert offered - {"--help"} == set(READERS) | FLAGS
    assert {param.name for param in RUN.params} - {"help"} == set(RunRequest.__struct_fields__)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--source demo",
        "--source=demo --max-frames=5 --mesher litert --emit frame",
        "--config /etc/edgeemo.toml --log-dir logs --model bundle/",
        "--source rtsp://user:a=b@host/path --display --save-video o.mp4 --snapshot=o.png",
        "--source 0 --max-frames 1000000",
    ],
)
def test_plain_lines_are_read_as_typer_reads_them(line: str) -> None:
    """What a service or a person writes is taken, and means the same."""
    words = line.split()
    request = read_plain(["run", *words])
    assert request is not None
    assert _by_us(request) == _by_typer(words)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "doctor",
        "--debug run",
        "--version",
        "run --help",
        "run --sourc demo",
        "run demo",
        "run --source",
        "run --source=",
        "run --source -1",
        "run --source demo --source 0",
        "run --display=yes",
        "run --max-frames 0",
        "run --max-frames five",
        "run --max-frames 1_0",
        "run --mesher magic",
        "run --emit never",
        "run -- --source demo",
    ],
)
def test_what_leaves_a_doubt_is_typers(line: str) -> None:
    """Help, mistakes and other commands are not answered by the reader."""
    assert read_plain(line.split()) is None


@settings(deadline=None)
@given(st.data())
def test_what_is_taken_means_the_same(data: st.DataObject) -> None:
    """Whatever line is taken, Typer reads it the same way and does not refuse it."""
    words: list[str] = []
    for option in data.draw(st.lists(st.sampled_from([*READERS, *FLAGS]), max_size=5)):
        if option in FLAGS:
            words.append(option)
            continue
        value = data.draw(VALUES.get(option, WORDS))
        words += [f"{option}={value}"] if data.draw(st.booleans()) else [option, value]
    request = read_plain(["run", *words])
    if request is not None:
        assert _by_us(request) == _by_typer(words)
