"""Child processes that do not outlive this one.

Whoever is next may take the lock as soon as this process is dead; a pip that still writes into the
same folders must be dead, too.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)


def run_child(
    command: Sequence[str | Path], timeout_s: float, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a command without input, as ``subprocess.run`` does.

    Raises:
        CalledProcessError, TimeoutExpired: as there.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it has died meanwhile
            os.kill(os.getpid(), signal.SIGKILL)

    return subprocess.run(  # noqa: PLW1510 - the caller says whether to check
        command,
        stdin=subprocess.DEVNULL,
        timeout=timeout_s,
        preexec_fn=die_with_parent,
        **options,
    )
