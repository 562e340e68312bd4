"""Ports of a device and of this machine, joined through the device's ssh connection.

Both ends are on the loopback: nobody else on either network gets in.
"""

import contextlib
import socket
import threading
from typing import Any, Final

from deploy.errors import DeployError
from edge.text import one_line

_HERE: Final = "127.0.0.1"
_BLOCK: Final = 1 << 16


def lead_here(transport: Any, port: int) -> None:
    """Let who connects to a port on the device reach the same port on this machine.

    Args:
        transport: paramiko's, connected.
        port: free on the device.

    Raises:
        DeployError: the device refuses: its port is taken, or its sshd forwards none.
    """

    def arrived(channel: Any, _origin: object, asked: tuple[str, int]) -> None:
        # There is one handler a connection, the last one given, for all of its ports.
        threading.Thread(target=_join_here, args=(channel, asked[1]), daemon=True).start()

    try:
        transport.request_port_forward(_HERE, port, arrived)
    except Exception as error:  # paramiko has a dozen of its own
        raise DeployError(
            f"its port {port} cannot be led here ({one_line(str(error))}); see AllowTcpForwarding "
            "of its sshd_config, and whether the port is free"
        ) from error


def lead_there(transport: Any, port: int) -> socket.socket:
    """Let who connects to a port on this machine reach the same port on the device.

    Returns:
        What listens here; close it to end that.

    Raises:
        DeployError: the port is taken here.
    """
    try:
        listener = socket.create_server((_HERE, port))
    except OSError as error:
        raise DeployError(f"port {port} of this machine is taken ({error.strerror})") from error

    def accept() -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                connection, origin = listener.accept()
                _join_there(transport, connection, origin, port)

    threading.Thread(target=accept, daemon=True).start()
    return listener


def _join_here(channel: Any, port: int) -> None:
    try:
        connection = socket.create_connection((_HERE, port))
    except OSError:  # nobody listens here yet: whoever connects tries again
        channel.close()
        return
    _join(channel, connection)


def _join_there(transport: Any, connection: socket.socket, origin: Any, port: int) -> None:
    try:
        channel = transport.open_channel("direct-tcpip", (_HERE, port), origin)
    except Exception:  # nobody listens there yet, or the connection is lost
        connection.close()
        return
    _join(channel, connection)


def _join(channel: Any, connection: socket.socket) -> None:
    """Pass on what either side sends, until one of them ends."""
    for source, sink in ((channel, connection), (connection, channel)):
        threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _pass_on(source: Any, sink: Any) -> None:
    with contextlib.suppress(Exception):  # either side may be gone: the other learns it here
        while data := source.recv(_BLOCK):
            sink.sendall(data)
    for side in (source, sink):
        with contextlib.suppress(Exception):
            side.close()
