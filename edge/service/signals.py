"""Which signal means what to a running service."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from edge.service.daemon import Service

_log = logging.getLogger(__name__)


@contextmanager
def handle_signals(service: Service) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the service cleanly inside the block, and SIGHUP renew it.

    The first signal asks; a second one of SIGINT interrupts at once, for a camera that hangs.
    To a process with a terminal SIGHUP means that the terminal is gone: there it ends the run.
    """

    def stop(number: int, _: FrameType | None) -> None:
        service.stop("signal")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _log.info("stopping on %s", signal.Signals(number).name)

    def renew(_: int, __: FrameType | None) -> None:
        service.reload()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGINT: stop,
        signal.SIGTERM: stop,
    }
    if hasattr(signal, "SIGHUP"):  # not on Windows
        handlers[signal.SIGHUP] = stop if _has_terminal() else renew
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Tell whether a terminal controls this process, as it does not control a service."""
    with suppress(OSError):
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
        return True
    return False
