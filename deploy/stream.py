"""What a command on a device prints, as bytes and while it prints."""

import shlex
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final, cast

from deploy.errors import DeployError

_TIMEOUT_S: Final = 60
_LONGEST_LINE: Final = 16 << 20


class Output:
    """Reads exactly what is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, count: int) -> bytes:
        """Return ``count`` bytes.

        Raises:
            EOFError: the command ended before.
            DeployError: nothing came for a minute, or the connection was lost.
        """
        data = self._call(lambda: self._file.read(count))
        if len(data) < count:
            raise EOFError
        return data

    def line(self) -> bytes:
        """Return a line.

        Raises:
            EOFError: the command ended before.
            DeployError: nothing came for a minute, or the connection was lost.
        """
        data = self._call(lambda: self._file.readline(_LONGEST_LINE))
        if not data.endswith(b"\n"):
            raise EOFError
        return data

    def _call(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except TimeoutError as error:
            raise DeployError(f"nothing came for {_TIMEOUT_S} s") from error
        except Exception as error:  # paramiko and sockets have a dozen of their own
            raise DeployError(f"the connection was lost ({error})") from error


@contextmanager
def ssh_stream(client: Any, words: Sequence[str], stdin: bytes) -> Iterator[Output]:
    """Run a command through a connected paramiko client; see ``deploy.transport.Device.stream``."""
    try:
        into, text, errors = client.exec_command(shlex.join(words), timeout=_TIMEOUT_S)
        channel = text.channel
        out = channel.makefile("rb")  # for the other one decodes lines
        into.write(stdin)
        channel.shutdown_write()
    except Exception as error:
        raise DeployError(f"the connection was lost ({error})") from error

    def ending() -> tuple[int, bytes]:
        channel.status_event.wait(_TIMEOUT_S)
        return channel.exit_status, errors.read()

    try:
        with _told(ending):
            yield Output(out)
    finally:
        channel.close()


@contextmanager
def local_stream(words: Sequence[str], stdin: bytes) -> Iterator[Output]:
    """Run a command on this machine; see ``deploy.transport.Device.stream``."""
    with tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            raise DeployError(f"{words[0]} can not be run ({error.strerror})") from error
        into, out = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)

        def ending() -> tuple[int, bytes]:
            code = process.wait(_TIMEOUT_S)
            errors.seek(0)
            return code, errors.read()

        with process:
            try:
                into.write(stdin)
                into.close()
                with _told(ending):
                    yield Output(out)
            finally:
                process.kill()  # where it was not read to the end


@contextmanager
def _told(ending: Callable[[], tuple[int, bytes]]) -> Iterator[None]:
    """Give the reason when a command fails or ends too early: its last line on stderr."""
    early: EOFError | None = None
    try:
        yield
    except EOFError as error:
        early = error
    code, said = ending()
    if early is not None or code != 0:
        lines = [line for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
        reason = lines[-1] if lines else f"the command or its connection was ended ({code})"
        raise DeployError(reason) from early
