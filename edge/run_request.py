"""What `edgeemo run` was asked for, and a reader of plain lines that needs no Typer.

Typer and what it loads are a seventh of the start-up and 6 MB. A service's command line is always
the same plain one, so it is read here; help, mistakes and every other command are Typer's.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, get_args

import msgspec

from edge.config import Config, Emit, MesherKind, Reach, load_config, override

_MOST_DIGITS: Final = 18


class RunRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `edgeemo run`; None is for what was not given."""

    source: str | None = None
    model: Path | None = None
    config: Path | None = None
    log_dir: Path | None = None
    max_frames: int | None = None
    mesher: MesherKind | None = None
    emit: Emit | None = None
    display: bool = False
    save_video: Path | None = None
    snapshot: Path | None = None
    every_n: int | None = None
    idle_fps: float | None = None
    tau: float | None = None
    reach: Reach | None = None
    realtime: bool = False

    def settings(self) -> Config:
        """Return the configuration: that of the file, or the default, with what was asked for.

        Raises:
            ConfigError: the file cannot be read, or holds something wrong.
        """
        config = load_config(self.config) if self.config else Config()
        return override(
            config,
            source=override(
                config.source,
                spec=self.source,
                every_n=self.every_n,
                realtime=self.realtime or None,
            ),
            model=override(config.model, bundle=self.model and str(self.model), tau=self.tau),
            log=override(config.log, dir=self.log_dir and str(self.log_dir), emit=self.emit),
            mesher=override(
                config.mesher, kind=self.mesher, idle_fps=self.idle_fps, reach=self.reach
            ),
        )


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
