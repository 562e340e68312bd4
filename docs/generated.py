"""The reference's generated pages: the command, the configuration and the log, from the code.

MkDocs calls ``on_files`` (``mkdocs.yml``, hooks); the pages exist in the built site only.
"""

import inspect
import re
import tomllib
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec
import typer.main
from mkdocs.structure.files import File, Files

from edge.config import Config
from edge.contract import logrecord
from edgeemo.cli.app import app

EXAMPLE = Path("systemd/edgeemo.example.toml")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages."""
    pages = {"cli": cli_page, "config": config_page, "log": log_page}
    for name, page in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=page()))
    return files


def cli_page() -> str:
    """Every command with its arguments and options, as `--help` has them."""
    root = typer.main.get_command(app)
    lines = [
        "# The command",
        "",
        "Generated from the commands themselves; `-h` shows the same.",
        "",
    ]
    for names, command in _commands(root, ()):
        lines += _command(names, command)
    return "\n".join(lines)


def _commands(command: click.Command, names: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    if not hasattr(command, "commands"):
        return [(names, command)]
    inside = sorted(command.commands.items())
    return [one for name, sub in inside if not sub.hidden for one in _commands(sub, (*names, name))]


def _command(names: tuple[str, ...], command: click.Command) -> list[str]:
    title = " ".join(("edgeemo", *names))
    lines = [f"## {title}", "", inspect.cleandoc(command.help or ""), ""]
    rows = [_parameter(one) for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        lines += ["| argument or option | default | what it is |", "|---|---|---|", *rows, ""]
    return lines


def _parameter(one: Any) -> str:
    is_option = one.param_type_name == "option"
    name = (
        ", ".join(f"`{flag}`" for flag in (*one.opts, *one.secondary_opts))
        if is_option
        else f"`{one.name.upper()}`"
    )
    default = one.default
    shown = (
        "" if default is None or callable(default) or default in (False, (), []) else f"`{default}`"
    )
    told = (one.help or "").replace("|", "\\|").replace("\n", " ")
    return f"| {name} | {'required' if one.required else shown} | {told} |"


def config_page() -> str:
    """Every table and key of the configuration, with its default."""
    lines = [
        "# The configuration",
        "",
        "TOML, given by `--config`; every table and key may be left out. Generated from the code;",
        "`edgeemo config example` prints a file with all of it.",
        "",
    ]
    for section in msgspec.structs.fields(Config):
        kind = section.type
        lines += [f"## [{section.name}]", "", _first(kind), ""]
        told = _attributes(kind)
        lines += ["| key | default | what it is |", "|---|---|---|"]
        for field in msgspec.structs.fields(kind):
            default = "unset" if field.default is None else _toml(field.default)
            lines.append(f"| `{field.name}` | `{default}` | {told.get(field.name, '')} |")
        lines.append("")
    tomllib.loads(EXAMPLE.read_text("utf-8"))  # the page says that there is one
    return "\n".join(lines)


def log_page() -> str:
    """Every kind of record and its fields."""
    lines = [
        "# The log's records",
        "",
        "One JSON object a line. Generated from the record classes, like",
        "[log-schema.json](../log-schema.json), the JSON Schema of a line.",
        "",
        "## In every record",
        "",
        *_fields(logrecord.Header),
    ]
    header = {field.name for field in msgspec.structs.fields(logrecord.Header)}
    for kind in logrecord.LogRecord.__args__:
        tag = msgspec.inspect.type_info(kind).tag
        lines += [f"## {tag}", "", _first(kind), "", *_fields(kind, without=header)]
    return "\n".join(lines)


def _fields(kind: Any, without: set[str] | frozenset[str] = frozenset()) -> list[str]:
    told = _attributes(kind)
    hints = get_type_hints(kind)
    rows = [
        f"| `{field.name}` | {_kind(hints[field.name])} | {told.get(field.name, '')} |"
        for field in msgspec.structs.fields(kind)
        if field.name not in without
    ]
    return ["| field | type | what it is |", "|---|---|---|", *rows, ""] if rows else []


def _kind(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) and not hasattr(hint, "__args__") else str(hint)
    text = re.sub(r"\b(?:edge\.contract\.logrecord|typing|msgspec)\.", "", text)
    return f"`{text}`".replace("|", "\\|")


def _first(kind: Any) -> str:
    """The docstring up to its attributes."""
    first = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:")[0].replace("``", "`")
    return re.sub(r"^`\[\w+\]`: ", "", first)


def _attributes(kind: Any) -> dict[str, str]:
    """What the docstring says about each attribute; several may share a line."""
    section = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    told: dict[str, str] = {}
    for entry in re.split(r"\n(?=    \w)", section):
        names, _, text = entry.strip().partition(": ")
        plain = " ".join(text.split()).replace("``", "`").replace("|", "\\|")
        told |= {name.strip(): plain for name in names.split(",")}
    return told


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    return str(list(value)) if isinstance(value, tuple) else str(value)
