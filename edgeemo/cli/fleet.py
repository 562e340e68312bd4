"""What the commands that go to devices share; ``deploy`` is imported inside."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
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
Inventory = Annotated[
    Path | None,
    typer.Option(
        help="A file of targets: one a line, or groups as Ansible's INI or YAML has them."
    ),
]
Groups = Annotated[
    list[str] | None,
    typer.Option("--group", help="Only this group of the inventory; may be given again."),
]
SshConfig = Annotated[
    Path | None,
    typer.Option(
        help="ssh configuration to use instead of ~/.ssh/config.", exists=True, dir_okay=False
    ),
]
AcceptNew = Annotated[bool, typer.Option("--accept-new", help="Accept unknown ssh host keys.")]
Batch = Annotated[
    str, typer.Option(help="Devices at a time: a number, or a percentage such as 10%.")
]
AskSudo = Annotated[
    bool,
    typer.Option("--ask-sudo-password", help="Ask once for the devices' sudo password."),
]
_LONGEST_LINE: Final = 1 << 16


def show_line(text: str, indent: str = "") -> None:
    """Show what a device said, or what is made of it: it must not act upon the terminal."""
    print(f"{indent}{one_line(text, _LONGEST_LINE)}", flush=True)


def sudo_password(*, ask: bool) -> str | None:
    """Ask for the password of sudo, or read it from a pipe; it is kept in memory only."""
    if not ask:
        return None
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    return getpass("sudo password on the devices: ")


def targets_of(
    words: list[str] | None, inventory: Path | None, groups: list[str] | None = None
) -> "list[Target]":
    """Return the devices that a command line and an inventory name."""
    from deploy.ssh.inventory import read_targets

    return read_targets(words or [], inventory, groups or [])


@contextmanager
def _pausing() -> Iterator[Callable[[], bool]]:
    """Let the first Ctrl-C inside the block only pause; the next one ends at once."""
    asked: list[int] = []
    before = signal.getsignal(signal.SIGINT)

    def pause(number: int, _frame: object) -> None:
        asked.append(number)
        signal.signal(signal.SIGINT, before)
        print("pausing: the devices at work are finished first; Ctrl-C ends at once", flush=True)

    signal.signal(signal.SIGINT, pause)
    try:
        yield lambda: bool(asked)
    finally:
        signal.signal(signal.SIGINT, before)


def run_on(
    targets: "list[Target]",
    work: "Callable[[Target], Outcome]",
    batch: str,
    max_fail: int,
    report: "Callable[[Outcome], object] | None" = None,
    *,
    left: str = "",
) -> None:
    """Do the work on every device, a line for each.

    Args:
        targets: the devices.
        work: what is done to each.
        batch: how many at a time, or which share.
        max_fail: no further batch once more than so many have failed.
        report: shows a device's outcome, instead of that line.
        left: is said at the end where not all is well.

    Raises:
        typer.Exit: with 1, when not all is well.
    """
    from deploy.operations.fleet import batch_size, run_fleet

    size = batch_size(batch, len(targets))
    shown = report or (lambda one: show_line(f"{one.target}: {one.status}: {one.detail}"))
    # Where all are at work at once, there is nothing to pause.
    with _pausing() if size < len(targets) else nullcontext(lambda: False) as is_paused:
        outcomes = run_fleet(
            targets, work, batch=size, max_fail=max_fail, report=shown, is_paused=is_paused
        )
    if len(outcomes) > 1 and report is None:
        counts = {one.status: sum(o.status == one.status for o in outcomes) for one in outcomes}
        print("; ".join(f"{count} {status}" for status, count in counts.items()))
    if not all(outcome.is_good for outcome in outcomes):
        if left:
            print(left)
        raise typer.Exit(1)
