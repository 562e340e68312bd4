"""A finding, and how all of them are shown."""

from typing import Literal

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

Status = Literal["ok", "warning", "failure"]


class Check(msgspec.Struct, frozen=True):
    """One line of the report; ``remedy`` is empty when all is well."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def show(checks: list[Check], *, as_json: bool) -> None:
    """Print the report as a table or as JSON."""
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(checks), indent=2).decode())  # noqa: T201
        return
    colors = {"ok": "green", "warning": "yellow", "failure": "red"}
    table = Table(box=None, pad_edge=False)
    for heading in ("check", "", "found", "remedy"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        told = map(escape, (check.name, check.detail, check.remedy))
        name, detail, remedy = told
        table.add_row(name, f"[{colors[check.status]}]{check.status}[/]", detail, remedy)
    Console().print(table)
