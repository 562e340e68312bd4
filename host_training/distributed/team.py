"""Meeting the other workers of a cluster, and staying in touch with them."""

import contextlib
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, NoReturn, Self

from edge.errors import ConfigError
from host_training.distributed.channel import Beat, Channel, End, Hello, Message, Parcel
from host_training.distributed.cluster import Cluster, split_address
from host_training.distributed.watch import LIMIT_S, Watch
from host_training.errors import TrainingError

MEET_S: Final = 600.0
"""How long the workers of a run wait for each other at its start."""
_HELLO_S: Final = 10.0
_RETRY_S: Final = 0.2
_BEAT_S: Final = 1.0
_LOOK_S: Final = 0.25
_LEAVE_S: Final = 2.0
"""How long a thread that waits in TensorFlow has to come back before the process is ended."""
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")

Say = Callable[[str], None]


class Team:
    """The other workers, for as long as the ``with`` block lasts; see ``Workers``.

    The chief listens on its own port of the cluster until all have come, and leaves it to
    TensorFlow then: no port beside those of ``TF_CONFIG`` is needed.

    Args:
        cluster: who takes part.
        say: is told whom this process waits for.
    """

    def __init__(self, cluster: Cluster, say: Say) -> None:
        self.index, self.count = cluster.index, len(cluster.addresses)
        self._cluster = cluster
        self._channels = _join(cluster, say)
        self._parcels: dict[int, queue.SimpleQueue[bytes]] = {
            peer: queue.SimpleQueue() for peer in self._channels
        }
        names = {peer: cluster.name(peer) for peer in (self.index, *self._channels)}
        self._watch = Watch(names, self.index, time.monotonic())
        self._lock = threading.Lock()
        self._step, self._is_stepping, self._has_stepped = 0, False, False
        self._failure: str | None = None
        self._has_failed, self._is_told = threading.Event(), threading.Event()
        self._is_leaving = threading.Event()
        self._gone = {peer: threading.Event() for peer in self._channels}
        for work in (self._beat, self._look, *map(self._listener, self._channels)):
            threading.Thread(target=work, daemon=True).start()

    @property
    def is_chief(self) -> bool:
        """Tell whether this process writes the run."""
        return self._cluster.is_chief

    def name(self, index: int) -> str:
        """Return what a worker is called in messages."""
        return self._cluster.name(index)

    def from_chief(self, make: Callable[[], bytes]) -> bytes:
        """Return what the chief makes; ``make`` is called there alone.

        Raises:
            TrainingError: a worker is missing, which is named.
        """
        if not self.is_chief:
            self._meet()
            return self._receive(0)
        content = make()
        self._meet()
        for peer in self._channels:
            self._send(peer, content)
        return content

    def gather(self, part: bytes) -> list[bytes]:
        """Return every worker's part, in their order.

        Raises:
            TrainingError: a worker is missing, which is named.
        """
        self._meet()
        if not self.is_chief:
            self._send(0, part)
            return [self._receive(0) for _ in range(self.count)]
        parts = [part, *(self._receive(peer) for peer in self._channels)]
        for peer in self._channels:
            for own in parts:
                self._send(peer, own)
        return parts

    def before_step(self) -> None:
        """Note that this process is ready for the next step.

        Raises:
            TrainingError: a worker is missing, which is named.
        """
        # The first step of a process builds its graph: nobody knows how long that takes.
        self._meet(is_stepping=self._has_stepped)
        self._has_stepped = True

    def after_steps(self) -> None:
        """Note that this process does other work now."""
        with self._lock:
            self._is_stepping = False

    def lost(self, error: Exception) -> TrainingError:
        """Return why a step could not be taken together, once somebody has found out."""
        if not self._has_failed.wait(LIMIT_S + _BEAT_S):
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            return TrainingError(
                f"the workers cannot reach each other ({reason}); check that the ports of "
                "TF_CONFIG are open between all of them"
            )
        return self._failed()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell the others that this process is done, or why it stops.

        Who is done waits until all are: TensorFlow's own services are part of each process.

        Raises:
            TrainingError: this one is done, and another one is missing, which is named.
        """
        reason = self._failure
        if error is not None and reason is None:
            what = str(error) or type(error).__name__
            reason = f"{self.name(self.index)} has stopped: {what}"
        self._tell_others(reason)
        while reason is None and not all(gone.is_set() for gone in self._gone.values()):
            if self._has_failed.wait(_LOOK_S):
                break
        self._is_leaving.set()
        self._is_told.set()
        for channel in self._channels.values():
            channel.close()
        if error is None and self._has_failed.is_set():
            raise self._failed()

    def _meet(self, *, is_stepping: bool = False) -> None:
        """Count one more meeting of all workers."""
        if self._has_failed.is_set():
            raise self._failed()
        with self._lock:
            self._step += 1
            self._is_stepping = is_stepping

    def _send(self, peer: int, content: bytes) -> None:
        try:
            self._channels[peer].send(Parcel(content))
        except OSError as error:
            raise self.lost(error) from error

    def _receive(self, peer: int) -> bytes:
        while True:
            try:
                return self._parcels[peer].get(timeout=_LOOK_S)
            except queue.Empty:
                if self._has_failed.is_set():
                    raise self._failed() from None

    def _failed(self) -> TrainingError:
        self._is_told.set()
        return TrainingError(self._failure or "a worker is missing")

    def _beat(self) -> None:
        while not self._is_leaving.wait(_BEAT_S):
            with self._lock:
                beat = Beat(self._step, self._is_stepping)
                self._note(self.index, beat)
            for channel in self._channels.values():
                with contextlib.suppress(OSError):
                    channel.send(beat, wait_s=0)

    def _note(self, index: int, beat: Beat) -> None:
        self._watch.heard(index, beat.step, is_stepping=beat.is_stepping, now_s=time.monotonic())

    def _look(self) -> None:
        """Watch the others; end the process where nobody else can."""
        while not self._is_leaving.wait(_LOOK_S):
            with self._lock:
                verdict = self._watch.verdict(time.monotonic())
            if verdict is not None:
                self._fail(verdict)
            if self._has_failed.is_set():
                self._tell_others(self._failure)
                if not self._is_told.wait(_LEAVE_S):
                    self._end_process()
                return

    def _tell_others(self, reason: str | None) -> None:
        for channel in self._channels.values():
            with contextlib.suppress(OSError):
                channel.send(End(reason), wait_s=_BEAT_S)

    def _end_process(self) -> NoReturn:
        """The main thread waits in a collective operation, for a worker that will not come."""
        print(f"edgeemo: error: {self._failure}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)

    def _fail(self, reason: str) -> None:
        with self._lock:
            if self._failure is None:
                self._failure = (
                    f"{reason}; the epochs that are done are safe: start all workers again, with "
                    "--resume"
                )
            self._has_failed.set()

    def _listener(self, peer: int) -> Callable[[], None]:
        def listen() -> None:
            channel = self._channels[peer]
            try:
                while True:
                    match channel.receive():
                        case Beat() as beat:
                            with self._lock:
                                self._note(peer, beat)
                        case Parcel(content):
                            self._parcels[peer].put(content)
                        case End(reason):
                            self._ended(peer, reason)
                            return
            except OSError:
                if not self._is_leaving.is_set():
                    self._fail(f"{self.name(peer)} has died: its connection is closed")
            finally:
                self._gone[peer].set()

        return listen

    def _ended(self, peer: int, reason: str | None) -> None:
        if reason is not None:
            with self._lock:
                self._failure = self._failure or reason
            self._has_failed.set()
        else:
            with self._lock:
                self._watch.leave(peer)


def _join(cluster: Cluster, say: Say) -> dict[int, Channel]:
    """Return a channel to each other worker, for the chief; to the chief, for the others."""
    deadline_s = time.monotonic() + MEET_S
    if cluster.is_chief:
        return _welcome(cluster, say, deadline_s)
    return {0: _arrive(cluster, say, deadline_s)}


def _welcome(cluster: Cluster, say: Say, deadline_s: float) -> dict[int, Channel]:
    host, port = split_address(cluster.addresses[0])
    channels: dict[int, Channel] = {}
    with _listening(host if host in _LOOPBACK else "", port, cluster) as listener:
        missing = set(range(1, len(cluster.addresses)))
        while missing:
            say(f"waiting for {', '.join(map(cluster.name, sorted(missing)))}")
            listener.settimeout(max(0.0, deadline_s - time.monotonic()))
            try:
                connection, _ = listener.accept()
            except TimeoutError as error:
                names = ", ".join(map(cluster.name, sorted(missing)))
                raise TrainingError(
                    f"{names}: did not come within {MEET_S:.0f} s; start every worker of TF_CONFIG"
                ) from error
            if (came := _introduced(connection, cluster, missing)) is not None:
                index, channels[index] = came
                missing.remove(index)
    for channel in channels.values():
        with contextlib.suppress(OSError):  # who has gone meanwhile is found out at once
            channel.send(Parcel(b""))
    return dict(sorted(channels.items()))


def _listening(host: str, port: int, cluster: Cluster) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=len(cluster.addresses))
    except OSError as error:
        raise ConfigError(
            f"TF_CONFIG: the chief's port {port} cannot be opened ({error.strerror}); free it, or "
            "give another one to all workers"
        ) from error


def _introduced(
    connection: socket.socket, cluster: Cluster, missing: set[int]
) -> tuple[int, Channel] | None:
    """Return a worker that was missing; None, and the connection closed, for anybody else.

    Raises:
        TrainingError: who was to start it says that it could not.
    """
    channel = Channel(connection)
    try:
        channel.limit(_HELLO_S)
        hello = channel.receive()
        channel.limit(None)
        if isinstance(hello, End):
            raise TrainingError(hello.reason or "a worker could not be started")
        if not isinstance(hello, Hello):
            raise ConnectionError("no worker")
        if hello.addresses != cluster.addresses:
            channel.send(End(f"TF_CONFIG: {cluster.name(0)} has another list of workers"))
        elif hello.index not in missing:
            channel.send(End(f"TF_CONFIG: {cluster.name(hello.index)} is here already"))
        else:
            return hello.index, channel
    except OSError:
        pass
    channel.close()
    return None


def _arrive(cluster: Cluster, say: Say, deadline_s: float) -> Channel:
    """Connect to the chief, and wait until all have come."""
    has_said = False
    while True:
        try:
            channel, answer = _greet(cluster, deadline_s)
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise TrainingError(
                    f"{cluster.name(0)}: the chief cannot be reached ({error}); start it, and "
                    "check that its port is open"
                ) from error
            if not has_said:
                say(f"waiting for the chief, {cluster.name(0)}")
            has_said = True
            time.sleep(_RETRY_S)
            continue
        channel.limit(None)
        if isinstance(answer, End):
            raise ConfigError(answer.reason or "the chief has ended")
        return channel


def _greet(cluster: Cluster, deadline_s: float) -> tuple[Channel, Message]:
    """Return a channel to the chief, and its answer once all have come."""
    connection = socket.create_connection(split_address(cluster.addresses[0]), timeout=_HELLO_S)
    channel = Channel(connection)
    try:
        channel.send(Hello(cluster.index, cluster.addresses))
        channel.limit(max(1.0, deadline_s - time.monotonic()))
        return channel, channel.receive()
    except OSError:
        channel.close()
        raise
