"""`edgeemo deploy status` of many devices: a table, those in trouble first."""

from collections.abc import Sequence
from typing import Any, Final

from deploy.operations.trouble import Answer, by_trouble
from edge.text import one_line
from edgeemo.cli.options import show

_HEADINGS: Final = (
    "device", "release", "edgeemo", "model", "service", "free", "system", "trouble",
)  # fmt: skip
_LONGEST: Final = 160


def show_table(answers: Sequence[Answer]) -> None:
    """Print one line a device, and how many are in trouble."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in _HEADINGS:
        is_last = heading == _HEADINGS[-1]
        table.add_column(heading, no_wrap=not is_last, overflow="fold")
    judged = by_trouble(answers)
    for answer, troubles in judged:
        # Text, for what a device says must not be taken for rich's own markup.
        table.add_row(*(Text(one_line(cell, _LONGEST)) for cell in _cells(answer, troubles)))
    show(table)
    ill = sum(bool(troubles) for _, troubles in judged)
    print(f"{ill} of {len(judged)} {'is' if ill == 1 else 'are'} in trouble")


def _cells(answer: Answer, troubles: Sequence[str]) -> Sequence[str]:
    said = "; ".join(troubles)
    if "error" in answer:
        return (answer["target"], *[""] * (len(_HEADINGS) - 2), said)
    service: Any = answer["service"]
    return (
        answer["target"], answer["current"] or "none", answer["version"] or "",
        answer["model"] or "", service.get("SubState", "none"), f"{answer['free_mb']:,} MB",
        f"{answer['os'].replace(' GNU/Linux', '')}, Python {answer['python']}", said,
    )  # fmt: skip
