"""Configuration: typed, complete in its complaints."""

import os
import re
from pathlib import Path
from typing import get_args, get_type_hints

import msgspec
import pytest

from edge.config import Config, load_config, override, span
from edge.errors import ConfigError


def write(tmp_path, text: str):
    path = tmp_path / "edgeemo.toml"
    path.write_text(text)
    return path


def test_an_empty_file_is_the_default(tmp_path):
    """Every table and key may be left out."""
    assert load_config(write(tmp_path, "")) == Config()


def test_values_arrive(tmp_path):
    """What the file says is what the struct holds."""
    config = load_config(write(tmp_path, '[source]\nspec = "demo"\n[log]\ninterval_s = 3.5\n'))
    assert (config.source.spec, config.log.interval_s) == ("demo", 3.5)


def test_all_problems_are_told_at_once(tmp_path):
    """One run of the checker is enough to mend the file."""
    path = write(
        tmp_path,
        '[source]\nfps = -1\nspeck = "demo"\n[log]\nemit = "always"\n[moon]\nphase = 1\n'
        "[tracker]\nconfirm_hits = 0.5\n",
    )
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    for part in ("source.fps", "source.speck", "log.emit", "[moon]", "tracker.confirm_hits"):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"[source", "not TOML"), (b"\xff\xfe", "not TOML"), (None, "cannot be read")],
)
def test_unreadable_files_are_one_clear_error(tmp_path, content, message):
    """Broken syntax, broken text and a missing file are all ConfigError with exit code 2."""
    path = tmp_path / "edgeemo.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_config(path)
    assert caught.value.exit_code == 2


def test_overrides_leave_the_rest_alone():
    """An option that was not given changes nothing, one that was is checked."""
    config = Config()
    assert override(config.source, spec=None) == config.source
    assert override(config.source, spec="demo").spec == "demo"
    with pytest.raises(ConfigError):
        override(config.source, fps=-3)


def numbers() -> list[tuple[str, str, str]]:
    """Return section, key and annotation of every field that holds a number."""
    found = []
    for section in msgspec.structs.fields(Config):
        for key, kind in get_type_hints(section.type, include_extras=True).items():
            if {int, float} & set(_types(kind)):
                found.append((section.name, key, kind))
    return found


def _types(kind: object) -> list[object]:
    return [kind, *(inner for part in get_args(kind) for inner in _types(part))]


@pytest.mark.parametrize(("section", "key", "kind"), numbers())
def test_every_number_has_bounds_which_the_example_states(tmp_path, section, key, kind):
    """Nothing is too large, or no number; the file says what goes, and so does the message."""
    bounds = span(kind)
    assert bounds is not None
    example = Path("systemd/edgeemo.example.toml").read_text("utf-8")
    (table,) = re.findall(rf"^\[{section}\].*?(?=^\[|\Z)", example, re.MULTILINE | re.DOTALL)
    (line,) = re.findall(rf"^(?:# )?{key} = .*$", table, re.MULTILINE)
    assert bounds in line
    for value in ("nan", "inf", "-inf", "-1", "1e300", "3000000000", "true", '"5"'):
        wrong = f"[{value}]" if key == "steps_fps" else value
        path = write(tmp_path, f"[{section}]\n{key} = {wrong}\n")
        with pytest.raises(ConfigError, match=rf"{section}\.{key}: expected .* from {bounds}, got"):
            load_config(path)


HOSTILE = {
    "nested arrays": "x = " + "[" * 4900,
    "nested tables": "x = " + "{a=" * 1500,
    "a long dotted key": ".".join("a" * 2400) + " = 1",
    "a long table name": "[" + ".".join("a" * 2400) + "]\nb = 1",
    "a deep value where a number goes": "[model]\nthreads." + ".".join("a" * 2400) + " = 1",
    "a number of thousands of digits": "[model]\nthreads = " + "9" * 4900,
    "a path of 5,000 characters": '[model]\nbundle = "' + "x" * 5000 + '"',
    "a path of 4,900 characters": '[model]\nbundle = "' + "x" * 4900 + '"',
    "a null character": '[model]\nbundle = "a\\u0000b"',
    "an escape": '[log]\ndevice = "\\u001b[2J"',
    "a line break": '[log]\nalso = ["fifo:a\\nb"]',
    "many sinks": "[log]\nalso = [" + '"stdout",' * 17 + "]",
    "many unknown keys": "\n".join(f"k{i} = 1" for i in range(4000)),
    "100 MB": "#" * 100_000_000,
    "a key that a terminal would obey": '"\\u001b[2J" = 1',
    "no UTF-8": b"\xff\xfe",
    "null bytes": b"\0" * 1000,
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_whatever_a_file_holds_is_one_short_error(tmp_path, content):
    """No file of a configuration takes the reader down, or all of its time or memory."""
    path = tmp_path / "edgeemo.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    told = str(caught.value)
    assert told.isprintable()
    assert len(told) < 5000


def _fifo(path: Path) -> Path:
    os.mkfifo(path)
    return path


def _circle(path: Path) -> Path:
    path.symlink_to(path)
    return path


PLACES = {
    "a directory": ".",
    "a pipe": _fifo,
    "a device without end": "/dev/zero",
    "a terminal": "/dev/tty",
    "below a file": "/dev/null/edgeemo.toml",
    "a name of 5,000 characters": "x" * 5000,
    "a path of 10,000 characters": "x/" * 5000,
    "a null character": "a\0b",
    "a link to itself": _circle,
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_whatever_lies_there_is_one_error(tmp_path, place):
    """Only a regular file is read, and nobody waits for a writer."""
    path = tmp_path / place if isinstance(place, str) else place(tmp_path / "made")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(path)
