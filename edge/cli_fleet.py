"""What the commands that go to devices share; ``deploy`` is imported inside."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from deploy.push import Outcome
    from deploy.targets import Target

Targets = Annotated[
    list[str] | None, typer.Argument(help="user@host[:port], or @local for this machine.")
]
Inventory = Annotated[Path | None, typer.Option(help="A file with one target a line.")]
SshConfig = Annotated[Path | None, typer.Option(help="Instead of ~/.ssh/config.")]
AcceptNew = Annotated[
    bool, typer.Option("--accept-new", help="Accept ssh host keys that are not known yet.")
]
Batch = Annotated[str, typer.Option(help="Devices at a time: a number, or a share like 10%.")]
_LONGEST_DETAIL: Final = 1 << 16


def targets_of(words: list[str] | None, inventory: Path | None) -> "list[Target]":
    """Return the devices that a command line and an inventory name."""
    from deploy.targets import read_targets

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
    from deploy.fleet import batch_size, run_fleet
    from edge.logs.plain import plain

    size = batch_size(batch, len(targets))
    shown = report or (lambda one: print(f"{one.target}: {one.status}: {one.detail}", flush=True))

    def show(outcome: "Outcome") -> None:
        """Show what a device said, which must not act upon the terminal."""
        shown(replace(outcome, detail=plain(outcome.detail, _LONGEST_DETAIL)))

    outcomes = run_fleet(targets, work, batch=size, max_fail=max_fail, report=show)
    if len(outcomes) > 1 and report is None:
        counts = {one.status: sum(o.status == one.status for o in outcomes) for one in outcomes}
        print("; ".join(f"{count} {status}" for status, count in counts.items()))
    if not all(outcome.is_good for outcome in outcomes):
        raise typer.Exit(1)
