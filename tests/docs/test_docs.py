"""The documents cannot drift: what they show is run, loaded or validated here."""

import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import jsonschema
import msgspec
import pytest

from edge.config import Config, load_config

pytestmark = pytest.mark.slow

README = Path("README.md").read_text("utf-8")
EXAMPLE = Path("systemd/edgeemo.example.toml")


@cache
def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "edgeemo", *command, "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={"COLUMNS": "200", "PATH": ""},
    )
    return done.stdout


def commands_of(*group: str) -> dict[str, str]:
    """Return the sub-commands of a group and the first line of their help."""
    section = help_of(*group).partition("Commands")[2]
    rows = re.findall(r"^[\s│]*([a-z][a-z-]*)\s{2,}(\S.*?)[\s│]*$", section, re.MULTILINE)
    return dict(rows)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_is_in_the_readme_and_has_help():
    """Nothing is offered that is not explained, and nothing explained that is not offered."""
    offered = commands_of()
    assert set(offered) >= {
        "run",
        "doctor",
        "train",
        "evaluate",
        "convert",
        "inspect",
        "data",
        "logs",
    }
    assert all(offered.values())
    shown = set(re.findall(r"^\$ edgeemo ([a-z]+)", "".join(blocks("console")), re.MULTILINE))
    assert shown == set(offered)


def test_options_in_the_readme_exist():
    """Every option of every command line shown is one of that command's."""
    for line in re.findall(r"^\$ edgeemo (.*?)(?:#.*)?$", "".join(blocks("console")), re.MULTILINE):
        words = line.split()
        command = words[:2] if words[0] in ("data", "deploy", "logs", "runs") else words[:1]
        known = help_of(*command)
        for option in re.findall(r"--[a-z0-9-]+", line):
            assert option in known, f"edgeemo {line}"


def test_the_config_in_the_readme_loads(tmp_path):
    """The TOML that the README shows is accepted."""
    (text,) = blocks("toml")
    (tmp_path / "c.toml").write_text(text)
    assert load_config(tmp_path / "c.toml").log.dir == "/var/log/edgeemo"


def test_the_log_lines_in_the_readme_validate():
    """The records that the README shows are records of the published schema."""
    schema = json.loads(Path("docs/log-schema.json").read_text("utf-8"))
    lines = "".join(blocks("json")).splitlines()
    assert len(lines) >= 3
    for line in lines:
        jsonschema.Draft202012Validator(schema).validate(json.loads(line))


def test_the_example_config_shows_every_key_with_its_default():
    """systemd/edgeemo.example.toml is complete and says what the code does."""
    assert load_config(EXAMPLE) == Config()
    shown = tomllib.loads(re.sub(r"^# (\w+ = )", r"\1", EXAMPLE.read_text("utf-8"), flags=re.M))
    for section in msgspec.structs.fields(Config):
        keys = {field.name for field in msgspec.structs.fields(section.type)}
        assert set(shown[section.name]) == keys


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "docs/decisions.md",
        *sorted(Path("docs/decisions").glob("*.md")),
    ],
    ids=str,
)
def test_files_that_documents_name_exist(document):
    """Links and paths in backticks lead somewhere."""
    text = Path(document).read_text("utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    quoted = re.findall(r"`((?:edge|host_training|converters|deploy|systemd|tests|docs|benchmarks)/"
                        r"[\w./-]+)`", text)  # fmt: skip
    for path in {*(Path(document).parent / link for link in links), *map(Path, quoted)}:
        assert path.exists(), f"{document}: {path}"


def test_the_tree_in_the_readme_is_the_house():
    """Every folder that it shows is there, and every package is shown."""
    section = Path("README.md").read_text("utf-8").split("## Where things are")[1]
    shown: dict[str, set[str]] = {}
    for line in section.split("```")[1].strip().splitlines():
        names = re.findall(r"(\w+)/(?= |$)", line)
        if line[0].isalpha():
            shown |= {name: set() for name in names if Path(name).is_dir()}
            top = names[0]
        shown[top] |= set(names) - {top}
    for top in ("edgeemo", "edge", "host_training", "converters", "deploy"):
        packages = {path.parent.name for path in Path(top).glob("*/__init__.py")}
        assert shown[top] == packages, top
    assert {"systemd", "docs", "benchmarks", "examples", "tests"} <= set(shown)
