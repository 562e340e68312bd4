"""Records to systemd's journal, with a field of its own for each of theirs.

The journal's native protocol (systemd.io, "Native Journal Protocol"): one datagram an entry, each
field a line ``NAME=value``, or, for values that hold newlines, the name, a newline, the length as
64 bits little-endian, the value and a newline.
"""

import socket
import struct
from pathlib import Path
from typing import Final

import msgspec

from edge.contract.logrecord import CameraLost, LogRecord
from edge.errors import SinkError
from edge.logs.table import describe

JOURNAL: Final = Path("/run/systemd/journal/socket")
_INFO, _WARNING = 6, 4


class JournalSink:
    """Sends each record as an entry: ``journalctl -t edgeemo EDGEEMO_KIND=emotion -o json``."""

    def __init__(self, path: Path = JOURNAL) -> None:
        """Connect.

        Raises:
            SinkError: no journal runs here.
        """
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._path = path
        if not path.is_socket():
            self._socket.close()
            raise SinkError(f"{path}: no journal runs on this machine; leave journald out of [log]")

    def write(self, record: LogRecord) -> None:
        """Send one record.

        Raises:
            SinkError: the journal does not take it at once.
        """
        try:
            # By name each time: a journal that was restarted is found again.
            self._socket.sendto(entry(record), str(self._path))
        except OSError as error:
            raise SinkError(f"the journal does not take records ({error.strerror})") from error

    def close(self) -> None:
        """Disconnect; harmless when repeated."""
        self._socket.close()


def entry(record: LogRecord) -> bytes:
    """Return a record as an entry of the journal."""
    about, detail = describe(record)
    fields: dict[str, object] = {
        "MESSAGE": f"{about}: {' '.join(detail.split())}",
        "PRIORITY": _WARNING if isinstance(record, CameraLost) else _INFO,
        "SYSLOG_IDENTIFIER": "edgeemo",
    }
    for name, value in msgspec.to_builtins(record).items():
        if value is not None:
            fields[f"EDGEEMO_{name.upper()}"] = value
    return b"".join(_field(name, value) for name, value in fields.items())


def _field(name: str, value: object) -> bytes:
    is_plain = isinstance(value, str | int | float)
    data = str(value).encode("utf-8", "replace") if is_plain else msgspec.json.encode(value)
    if b"\n" not in data:
        return b"%s=%s\n" % (name.encode("ascii"), data)
    return b"%s\n%s%s\n" % (name.encode("ascii"), struct.pack("<Q", len(data)), data)
