"""A reader of plain `run` lines that needs no Typer.

Typer and what it loads are a seventh of the start-up and 6 MB. A service's command line is always
the same plain one, so it is read here; help, mistakes and every other command are Typer's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from edge.config import Emit, MesherKind, Reach
from edge.runtime.request import RunRequest

if TYPE_CHECKING:
    from contextlib import ExitStack

    from edge.runtime.build import Runtime
    from edge.service.daemon import Listener

_MOST_DIGITS: Final = 18


def read_plain(words: Sequence[str]) -> RunRequest | None:
    """Read the words after `edgeemo`; None where they leave the smallest doubt.

    Taken are `run` and its options, spelled out, each once, with a value that fits.
    """
    if not words or words[0] != "run":
        return None
    given: dict[str, Any] = {}
    rest = iter(words[1:])
    for word in rest:
        name, is_joined, value = word.partition("=")
        read = READERS.get(name)
        if name in given or (read is None and word not in FLAGS):
            return None
        if read is None:
            given[name] = True
            continue
        text = value if is_joined else next(rest, "")
        if not text or text.startswith("-") or (result := read(text)) is None:
            return None
        given[name] = result
    return RunRequest(**{_field(name): value for name, value in given.items()})


def watched(parts: "Runtime", stack: "ExitStack") -> "tuple[Runtime, Sequence[Listener]]":
    """Let opened parts be watched where the configuration has a socket; see ``session.Attach``.

    Raises:
        SinkError: the socket cannot be made.
    """
    from edge.runtime.build import live_path

    path = live_path(parts.config.live)
    if path is None:
        return parts, ()
    from edge.view.live_socket import open_live_socket

    return open_live_socket(path, parts, stack)


def _field(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _count(text: str) -> int | None:
    """Return a number from 1 on, written as most do."""
    is_plain = text.isascii() and text.isdecimal() and not text.startswith("0")
    is_plain = is_plain and len(text) <= _MOST_DIGITS
    return int(text) if is_plain else None


def _number(text: str) -> float | None:
    """Return a number of at least 0, written as most do."""
    whole, _, rest = text.partition(".")
    return float(text) if f"{whole}{rest}".isascii() and f"{whole}{rest}".isdecimal() else None


def _one_of(choices: Any) -> Callable[[str], str | None]:
    known = get_args(choices)
    return lambda text: text if text in known else None


READERS: Final[dict[str, Callable[[str], Any]]] = {
    "--source": str,
    "--model": Path,
    "--config": Path,
    "--log-dir": Path,
    "--max-frames": _count,
    "--mesher": _one_of(MesherKind),
    "--emit": _one_of(Emit),
    "--save-video": Path,
    "--snapshot": Path,
    "--every-n": _count,
    "--idle-fps": _number,
    "--tau": _number,
    "--reach": _one_of(Reach),
}
"""The options with a value; each reader returns None for what Typer shall judge."""
FLAGS: Final = frozenset({"--display", "--realtime"})
