"""The command ``edgeemo``: run the plain `run` line at once, anything else by way of Typer."""

import gc
import io
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import takewhile
from typing import Final, NoReturn

from edge.errors import EdgeEmoError
from edge.system.diagnostics import hidden, is_debugging, quieten_libraries, set_up_logging
from edge.text import one_line

_LONGEST_MESSAGE: Final = 10_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; errors of ours become one line and their exit code."""
    quieten_libraries()
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files may be no UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        _dispatch(words)
    except EdgeEmoError as error:
        if is_debugging():
            raise
        _fail(*map(str, error.args), code=error.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as in `edgeemo ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except KeyboardInterrupt:  # before the service minds signals; Typer does the same
        _fail("aborted", code=1)
    except Exception as error:
        if is_debugging():
            raise
        _fail_unforeseen(error, words)
    finally:
        gc.enable()


def entry() -> NoReturn:
    """Be the process: ``main``, then leave without taking the interpreter down.

    All that must be finished has been: files, videos and models are closed by then. What remains
    is 30 ms of freeing memory object by object, and the danger that native code of a camera's
    thread, left behind because it hangs, runs into an interpreter that is gone.
    """
    code: int | None = 0
    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            raise
        code = stop.code
    logging.shutdown()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:  # nobody reads any more
        code = code or 1
    os._exit(code or 0)


def _dispatch(words: list[str]) -> None:
    if words[:1] == ["run"]:
        # Starting up makes next to no garbage; the service collects again from its first frame on.
        gc.disable()
    # msgspec prefers it to typing's own, for Pythons older than ours.
    with hidden("typing_extensions"):
        from edgeemo.cli.plain_run import read_plain, watched
    request = read_plain(words)
    if request is None:
        from edgeemo.cli.app import app

        app(words)
        return
    set_up_logging(debug=False)
    from edge.service.session import run_session

    with ExitStack() as stack:
        run_session(request, stack, watched)


def _fail_unforeseen(error: Exception, words: list[str]) -> NoReturn:
    if isinstance(error, OSError) and error.filename is not None:
        place = os.fsdecode(error.filename)
        remedy = "check that it is there, that this account may use it, and the disk"
        _fail(f"{place}: {error.strerror}; {remedy}", code=1)
    if isinstance(error, ModuleNotFoundError):
        from edgeemo.cli.extras import needed

        if told := needed(_command(words), error.name or ""):
            _fail(told, code=2)
    name = type(error).__name__
    _fail(f"unexpected {name}: {error}; this is a bug, `edgeemo --debug ...` shows where", code=1)


def _command(words: list[str]) -> str:
    """Return the command's name, of one word, or of two as in `logs summary`."""
    from edgeemo.cli.app import app

    groups = {group.name for group in app.registered_groups}
    typed = list(takewhile(str.isalpha, words))
    return " ".join(typed[: 2 if typed[:1] and typed[0] in groups else 1])


def _fail(*problems: str, code: int) -> NoReturn:
    for problem in problems:  # a file's own words may be in it
        print(f"edgeemo: error: {one_line(problem, _LONGEST_MESSAGE)}", file=sys.stderr)
    sys.exit(code)
