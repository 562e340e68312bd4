"""The way to a device: pyinfra's connectors, over ssh or on this machine itself.

The user's ssh configuration, keys and agent are used as they are. Commands are lists of words,
quoted here and nowhere else; files go to a folder of the user's own, named by their hashes.
"""

import io
import logging
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Self

from deploy.errors import DeployError
from deploy.ssh.stream import TIMEOUT_S, Output, local_stream, ssh_stream, within
from deploy.ssh.targets import Target
from deploy.ssh.tunnels import lead_here, lead_there
from edge.errors import MissingExtraError
from edge.text import one_line

_CONNECT_TIMEOUT_S: Final = 15
_LOGIN_TIMEOUT_S: Final = 90
_TRANSFER_TIMEOUT_S: Final = 60
_DESCRIPTORS: Final = 65_536
_SLOWEST: Final = 16 << 10
"""Bytes a second that a device must take."""
_KEEPALIVE_S: Final = 5
_SILENCE_S: Final = 30
"""After so long without any sign from the device the connection counts as lost."""


def use_gevent() -> None:
    """Let pyinfra's way of waiting hold for the whole process; called before all else.

    Raises:
        MissingExtraError: pyinfra is not installed.
    """
    try:
        from gevent import monkey
    except ImportError as error:
        raise MissingExtraError(
            "pyinfra is not installed; `pip install 'edgeemo[deploy]'`"
        ) from error
    # Signals stay Python's own, so that Ctrl-C ends a push as it ends everything.
    monkey.patch_all(signal=False)
    _raise_descriptor_limit()
    logger = logging.getLogger("pyinfra")
    logger.addHandler(logging.NullHandler())
    logger.propagate = False  # what matters is in the errors, once and in our words
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    logging.getLogger("paramiko").propagate = False


def _raise_descriptor_limit() -> None:
    """Ask for descriptors for many devices: each takes about four, and 1,024 are common."""
    if sys.platform == "win32":
        return  # has no such limit
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    if resource.getrlimit(resource.RLIMIT_NOFILE)[0] < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class Device:
    """One connected device, to be used in a ``with`` block."""

    def __init__(
        self,
        target: Target,
        *,
        ssh_config: Path | None,
        accept_new: bool,
        sudo_password: str | None = None,
    ) -> None:
        self._target = target
        self._sudo_password = sudo_password
        self._is_password_good = False
        self._ssh_config = ssh_config
        self._accept_new = accept_new
        self._host: Any = None
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            DeployError: unreachable, unknown or changed host key, or no key is accepted.
        """
        from pyinfra.api import Config, Inventory, State
        from pyinfra.api.exceptions import ConnectError

        name = self._target.host
        data = {} if self._target.is_local else self._ssh_data()
        inventory = Inventory(([(name, data)], {}))
        state = State(inventory, Config(CONNECT_TIMEOUT=_CONNECT_TIMEOUT_S))
        self._host = inventory.get_host(name)
        try:
            with within(_LOGIN_TIMEOUT_S):
                self._host.connect(show_errors=False, raise_exceptions=True)
        except ConnectError as error:
            raise DeployError(_explain(str(error), self._target)) from error
        except Exception as error:  # a key file that cannot be read, a proxy that ends, ...
            raise DeployError(f"cannot be connected ({_one_line(error)})") from error
        state.activate_host(self._host)
        self._watch_connection()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        for listener in self._listeners:
            listener.close()
        client = getattr(self._host.connector, "client", None)
        if client is not None:
            client.close()

    def may_sudo(self) -> bool:
        """Tell whether commands can be run as root by the password that was given.

        Raises:
            DeployError: the device does not accept it.
        """
        if self._sudo_password is None:
            return False
        if not self._is_password_good:
            try:
                self.run(["true"], sudo=True)
            except DeployError as error:
                raise DeployError(f"sudo did not accept the password ({error})") from error
            self._is_password_good = True
        return True

    def run(
        self,
        words: Sequence[str],
        *,
        stdin: str = "",
        sudo: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> str:
        """Run a command and return what it printed.

        Args:
            words: the command; every word is quoted.
            stdin: text for it.
            sudo: run it as root; with a password it gets no ``stdin``.
            timeout_s: give up after so long, and a second more for each kilobyte that has come.

        Raises:
            DeployError: it failed (its last line on stderr), prints over a megabyte, took too
                long, or the connection was lost.
        """
        with self.stream(words, stdin=stdin, sudo=sudo, timeout_s=timeout_s) as output:
            return output.rest().decode("utf-8", "replace")

    def stream(
        self, words: Sequence[str], *, stdin: str, sudo: bool = False, timeout_s: float = TIMEOUT_S
    ) -> AbstractContextManager[Output]:
        """Run a command and read, inside the block, what it prints.

        Args:
            words: the command; every word is quoted.
            stdin: text for it, at most what a pipe holds (64 kB).
            sudo: run it as root; with a password it gets no ``stdin``.
            timeout_s: give up after so long, and a second more for each kilobyte that has come.

        Raises:
            DeployError: it failed (its last line on stderr), took too long, or the connection was
                lost.
        """
        command = list(words)
        if sudo and self._sudo_password is not None:
            # In no process list and no file. What need not be asked for would be the command's.
            nothing = ["sh", "-c", 'exec "$@" </dev/null', "sh"]
            command = ["sudo", "-k", "-S", "-p", "", "--", *nothing, *words]
            stdin = f"{self._sudo_password}\n"
        elif sudo:
            command = ["sudo", "-n", "--", *words]
        if self._target.is_local:
            return local_stream(command, stdin.encode(), timeout_s)
        return ssh_stream(self._host.connector.client, command, stdin.encode(), timeout_s)

    def join_ports(self, leading_here: Sequence[int], leading_there: Sequence[int]) -> None:
        """Join ports of the device's loopback with the same ones of this machine's.

        Args:
            leading_here: ports on the device that reach this machine.
            leading_there: ports on this machine that reach the device.

        Raises:
            DeployError: one is taken, or the device forwards none.
        """
        transport = self._host.connector.client.get_transport()
        for port in leading_here:
            lead_here(transport, port)
        self._listeners += [lead_there(transport, port) for port in leading_there]

    def put(self, content: bytes, path: str) -> None:
        """Send a file; it appears under its name when it is whole.

        Raises:
            DeployError: the disk is full, or the connection was lost.
        """
        partial = f"{path}.part"
        try:
            if not self._target.is_local:
                sftp = self._host.connector.get_file_transfer_connection()
                sftp.get_channel().settimeout(_TRANSFER_TIMEOUT_S)
            with within(_TRANSFER_TIMEOUT_S + len(content) / _SLOWEST):
                sent = self._host.put_file(io.BytesIO(content), partial)
        except Exception as error:
            # sftp has no word for a full disk but "Failure".
            raise DeployError(
                f"a file could not be sent ({_one_line(error)}); see whether the disk is full"
            ) from error
        if not sent:
            raise DeployError("a file could not be sent; see whether the disk is full")
        self.run(["mv", "--", partial, path])

    def _ssh_data(self) -> dict[str, Any]:
        from pyinfra.connectors.sshuserclient.client import get_ssh_config

        path = str(self._ssh_config) if self._ssh_config else None
        config = get_ssh_config(path)
        known = config.lookup(self._target.host) if config else {}
        # What the user's configuration says holds, except that nobody is there to be asked.
        policy = known.get("stricthostkeychecking", "ask")
        if policy in {"ask", "yes"}:
            policy = "accept-new" if self._accept_new else "yes"
        data: dict[str, Any] = {
            "ssh_hostname": self._target.host,
            "ssh_strict_host_key_checking": policy,
        }
        if path:
            data["ssh_config_file"] = path
        if self._target.user:
            data["ssh_user"] = self._target.user
        if self._target.port is not None:
            data["ssh_port"] = self._target.port
        return data

    def _watch_connection(self) -> None:
        """Notice a network that is gone: a quarter of an hour would be TCP's own patience."""
        client = getattr(self._host.connector, "client", None)
        if client is None:
            return
        transport = client.get_transport()
        transport.set_keepalive(_KEEPALIVE_S)
        # Linux alone can be told; a ProxyCommand's connection is its own affair.
        if sys.platform == "linux" and isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENCE_S * 1000
            )


def _explain(message: str, target: Target) -> str:
    """Turn pyinfra's words into what happened and what to do."""
    if "host key error" in message:
        return (
            "its host key has changed; if that is expected, `ssh-keygen -R HOST` forgets the old "
            "one; nothing was sent"
        )
    if "No host key" in message:
        return (
            f"its host key is not known; `ssh {target.host}` once and compare it, or give "
            "--accept-new; nothing was sent"
        )
    if "Authentication" in message:
        return "none of your ssh keys is accepted; see whether `ssh` itself gets in"
    return f"cannot be reached ({_one_line(message)})"


def _one_line(error: object) -> str:
    return one_line(str(error)) or type(error).__name__
