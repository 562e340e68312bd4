"""Records to every program on this machine that connects to a Unix socket."""

import contextlib
import os
import socket
import stat
from pathlib import Path
from typing import Final

from edge.contract.logrecord import LogRecord
from edge.errors import SinkError
from edge.files import open_to_group
from edge.sinks.json_lines import LineOutlet

_MOST_READERS: Final = 16


class UnixSocketSink:
    """Sends each record as a JSON line to all who are connected: ``nc -U /run/edgeemo/records``.

    New readers are let in with each record, so no thread is needed. A reader that does not keep up
    is disconnected, and sees that; it may connect again.
    """

    def __init__(self, path: Path) -> None:
        """Listen (mode 0660: user and group may connect).

        Raises:
            SinkError: the path is taken, or cannot be made.
        """
        self._path = path
        self._readers: dict[socket.socket, LineOutlet] = {}
        clear_socket(path)
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._server.bind(str(path))
            open_to_group(path)
            self._server.listen(_MOST_READERS)
            self._server.setblocking(False)
        except OSError as error:
            self._server.close()
            told = error.strerror or error  # a path that is too long has no number
            raise SinkError(f"{path}: no socket can be made there ({told})") from error

    def write(self, record: LogRecord) -> None:
        """Send one record to all who are there.

        Raises:
            SinkError: the sink is closed.
        """
        if self._server.fileno() < 0:
            raise SinkError(f"{self._path}: is closed")
        self._let_in()
        for reader, outlet in list(self._readers.items()):
            try:
                keeps_up = outlet.offer(record)
            except OSError:  # it left
                keeps_up = False
            if not keeps_up:
                reader.close()
                del self._readers[reader]

    def close(self) -> None:
        """Finish the last lines, hang up and remove the socket; harmless when repeated."""
        if self._server.fileno() < 0:
            return
        for reader, outlet in self._readers.items():
            with contextlib.suppress(OSError):
                outlet.finish()
            reader.close()
        self._readers.clear()
        self._server.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):  # nobody waits
            while True:
                reader, _ = self._server.accept()
                if len(self._readers) >= _MOST_READERS:
                    reader.close()
                    continue
                reader.setblocking(False)
                self._readers[reader] = LineOutlet(reader.fileno(), reader.send)


def clear_socket(path: Path) -> None:
    """Remove a socket that a killed run left behind; refuse to touch anything else."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise SinkError(f"{path}: is there and is no socket; remove it or name another path")
    except OSError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108
        except OSError as error:
            raise SinkError(f"{path}: cannot be used ({error.strerror})") from error
        else:
            raise SinkError(f"{path}: another process listens there; name another path")
