"""`edgeemo capture`: guided pictures of people who agree to it; and forgetting them."""

import logging
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError
from edgeemo.cli.extras import require

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from edge.calibration.still import Still
    from edge.capture.folder import CaptureFolder
    from edge.capture.session import Choice, Wanted
    from edge.view.session import Place

_log = logging.getLogger(__name__)
_LABELS = ",".join(label for label in EMOTIONS if label != "contempt")


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(capture)


def capture(
    out: Annotated[
        Path, typer.Option(help="The folder of pictures; an existing one is continued.")
    ],
    subject: Annotated[
        str | None, typer.Option(help="Who the pictures show; a pseudonym is enough.")
    ] = None,
    source: Annotated[str, typer.Option(help="A source as for `edgeemo run`.")] = "0",
    labels: Annotated[
        str,
        typer.Option(help="Expressions to ask for, separated by commas; also classes of your own."),
    ] = _LABELS,
    count: Annotated[int, typer.Option(min=1, max=1000, help="Pictures per expression.")] = 5,
    frames: Annotated[
        bool, typer.Option("--frames", help="Keep whole frames instead of face crops.")
    ] = False,
    page: Annotated[
        bool, typer.Option("--page", help="Ask on a page in a browser, not in the terminal.")
    ] = False,
    bind: Annotated[
        str, typer.Option(help="With --page: the address to listen at; the page asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --page: its port.")] = 8765,
    token_file: Annotated[
        Path | None, typer.Option(help="With --page: holds the token; made if there is none.")
    ] = None,
    forget: Annotated[
        str | None,
        typer.Option(metavar="SUBJECT", help="Delete a person's pictures and manifest entries."),
    ] = None,
) -> None:
    """Take labelled pictures of a consenting person.

    Nothing is kept before the person has typed consent. `calibrate` and `train` take the folder.
    """
    from edge.capture.folder import CaptureFolder, check_subject

    folder = CaptureFolder(out)
    if forget is not None:
        if subject is not None:
            raise ConfigError("--forget and --subject: give one of them")
        _forget(folder, check_subject(forget))
        return
    if subject is None:
        raise ConfigError("nobody was named; give --subject NAME, or --forget NAME")
    check_subject(subject)
    from edge.capture.session import Wanted
    from edge.runtime.build import shown_source

    wanted = Wanted(subject, _labels(labels), count, shown_source(source), frames)
    with ExitStack() as stack:
        if page:
            require("capture --page", "starlette", "uvicorn")
            from edge.view.session import ViewRequest, place

            view = ViewRequest(address=bind, port=port, token_file=token_file, frames=True)
            kept = _capture_on_page(folder, wanted, source, place(view, stack), stack)
        else:
            kept = _capture(folder, wanted, source, stack)
    pictures = "1 picture" if kept == 1 else f"{kept} pictures"
    print(f"kept {pictures} of {subject} in {out}")


def _labels(text: str) -> tuple[str, ...]:
    from edge.contract.labels import label_of
    from edge.errors import LabelError

    try:
        return tuple(dict.fromkeys(label_of(name) for name in text.split(",")))
    except LabelError as error:
        raise ConfigError(f"--labels {text}: {error}") from error


def _capture(folder: "CaptureFolder", wanted: "Wanted", spec: str, stack: ExitStack) -> int:
    from edge.capture.session import capture
    from edge.config import SourceConfig
    from edge.sources.select import open_source

    look = _looking(stack)
    source = open_source(SourceConfig(spec))
    stack.callback(source.close)
    return capture(folder, wanted, source, look, _Terminal())


def _capture_on_page(
    folder: "CaptureFolder", wanted: "Wanted", spec: str, place: "Place", stack: ExitStack
) -> int:
    from edge.capture.session import capture
    from edge.config import SourceConfig
    from edge.sources.select import open_source
    from edge.view.capture import CapturePage, capture_site
    from edge.view.server import PageServer

    look = _looking(stack)
    spec = "demo:live" if spec == "demo" else spec
    source = open_source(SourceConfig(spec, realtime=True))
    stack.callback(source.close)
    about = {
        "subject": wanted.subject,
        "labels": wanted.labels,
        "count": wanted.count,
        "out": str(folder.path),
    }
    page = CapturePage(source, about)
    stack.enter_context(PageServer(capture_site(page, place.access), page, place.sock))
    _log.info("capture at %s", place.link)
    return capture(folder, wanted, page.source, look, page)


def _looking(stack: ExitStack) -> "Callable[[NDArray[np.uint8]], Still | None]":
    """Open what looks for a face in a picture."""
    from edge.calibration.still import Stills
    from edge.config import Config
    from edge.runtime.build import compose_pipeline

    stills = Stills(partial(compose_pipeline, Config()))
    stack.callback(stills.close)
    return stills.look


def _forget(folder: "CaptureFolder", subject: str) -> None:
    from edge.errors import CaptureError, not_there

    if not folder.path.is_dir():
        what = f"{folder.path}: no such folder; nothing of {subject} is there"
        raise not_there(CaptureError(what))
    deleted = folder.forget(subject)
    count = "1 picture" if deleted == 1 else f"{deleted} pictures"
    print(f"deleted {count} of {subject}; a scan of {folder.path} finds none any more")
    for made in folder.derived():
        if subject in made.people:
            print(
                f"made from them, and still there unless you removed it: {made.what} {made.path} "
                f"({made.fingerprint[:12]}, {made.time})"
            )


class _Terminal:
    """The terminal's side of a session; a ``Dialogue``."""

    def consent(self, text: str, agreement: str) -> str:
        print(text)
        return self._asked(f'Type "{agreement}" to go on: ') or ""

    def ready(self, label: str, number: int, of: int) -> bool:
        answer = self._asked(f"{label}, {number} of {of}: Enter when you are ready, q to end: ")
        return answer is not None and answer.strip().lower() != "q"

    def count(self, seconds: int) -> None:
        print(f"  {seconds} ...", flush=True)

    def seen(self, still: "Still | None") -> "Choice":
        if still is None:
            print("  no face was seen; look into the camera")
            return "again"
        width = still.face.box_xyxy[2] - still.face.box_xyxy[0]
        print(f"  a face of {width:.0f} pixels, quality {still.quality.replace('_', ' ')}")
        answer = self._asked("  Enter to keep it, a again, s skip, q end: ")
        choices: dict[str, Choice] = {"": "keep", "a": "again", "s": "skip", "q": "quit"}
        return "quit" if answer is None else choices.get(answer.strip().lower()[:1], "again")

    def _asked(self, prompt: str) -> str | None:
        """Return a line of the standard input; None at its end."""
        print(prompt, end="", flush=True)
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
