"""What the commands that go to devices share; ``deploy`` is imported inside."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge.text import one_line

if TYPE_CHECKING:
    from deploy.operations.push import Outcome
    from deploy.ssh.targets import Target

Targets = Annotated[
    list[str] | None, typer.Argument(help="user@host[:port], or @local for this machine.")
]
Inventory = Annotated[Path | None, typer.Option(help="A file with one target a line.")]
SshConfig = Annotated[Path | None, typer.Option(help="Instead of ~/.ssh/config.")]
AcceptNew = Annotated[
    bool, typer.Option("--accept-new", help="Accept ssh host keys that are not known yet.")
]
Batch = Annotated[str, typer.Option(help="Devices at a time: a number, or a share like 10%.")]
_LONGEST_LINE: Final = 1 << 16


def show_line(text: str) -> None:
    """Show what a device said, or what is made of it: it must not act upon the terminal."""
    print(one_line(text, _LONGEST_LINE), flush=True)


def targets_of(words: list[str] | None, inventory: Path | None) -> "list[Target]":
    """Return the devices that a command line and an inventory name."""
    from deploy.ssh.targets import read_targets

    return read_targets(words or [], inventory)


def run_on(
    targets: "list[Target]",
    work: "Callable[[Target], Outcome]",
    batch: str,
    max_fail: int,
    report: "Callable[[Outcome], object] | None" = None,
) -> None:
    """Do the work on every device, a line for each.

    Raises:
        typer.Exit: with 1, when not all is well.
    """
    from deploy.operations.fleet import batch_size, run_fleet

    size = batch_size(batch, len(targets))
    shown = report or (lambda one: show_line(f"{one.target}: {one.status}: {one.detail}"))
    outcomes = run_fleet(targets, work, batch=size, max_fail=max_fail, report=shown)
    if len(outcomes) > 1 and report is None:
        counts = {one.status: sum(o.status == one.status for o in outcomes) for one in outcomes}
        print("; ".join(f"{count} {status}" for status, count in counts.items()))
    if not all(outcome.is_good for outcome in outcomes):
        raise typer.Exit(1)
