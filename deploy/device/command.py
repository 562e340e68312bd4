"""The agent's command line: install, activate, resume, watch, rollback, remove."""

import argparse
import os
import sys
from pathlib import Path

from .activate import activate, note_failure, prune, resume, rollback, watch
from .install import UnfitError, install
from .layout import DeviceError, Layout
from .remove import remove

_PATIENCE_S = {"install": 600.0, "activate": 20.0, "resume": 20.0, "rollback": 5.0, "remove": 5.0}
"""How long another call's end is waited for: that of a push which was cut may still be building."""


def main() -> int:
    """Run one verb; a failure is one line on stderr and exit code 1."""
    os.umask(0o022)
    options = _parser().parse_args()
    layout = Layout(options.prefix)
    try:
        if options.verb == "watch":  # takes the lock by itself, and waits for it
            watch(layout)
            return 0
        with layout.lock(_PATIENCE_S[options.verb]):
            print(_answer(layout, options))  # noqa: T201 - this is the answer
    except DeviceError as error:
        print(" ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return 1
    except OSError as error:
        print(f"{options.verb}: {error.strerror}: {error.filename}", file=sys.stderr)  # noqa: T201
        return 1
    return 0


def _answer(layout: Layout, options: argparse.Namespace) -> str:
    if options.verb == "install":
        try:
            return install(layout, options.digest, options.staging)
        except UnfitError as error:
            note_failure(layout, options.digest[:16], str(error))
            prune(layout)
            raise
    if options.verb == "activate":
        activate(layout, options.release, options.window, options.service)
        return str(options.release)
    if options.verb == "rollback":
        return rollback(layout, options.window)
    if options.verb == "resume":
        resume(layout)
        return ""
    return "\n".join(remove(layout, purge=options.purge))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="agent.pyz", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb in ("install", "activate", "resume", "watch", "rollback", "remove"):
        one = verbs.add_parser(verb)
        one.add_argument("--prefix", type=Path, required=True)
        if verb == "install":
            one.add_argument("--digest", required=True)
            one.add_argument("--staging", type=Path, required=True)
        if verb == "activate":
            one.add_argument("--release", required=True)
            one.add_argument("--service", choices=("systemd", "none"), required=True)
        if verb in {"activate", "rollback"}:
            one.add_argument("--window", type=float, default=60.0)
        if verb == "remove":
            one.add_argument("--purge", action="store_true")
    return parser
