"""Bring devices' log files here: only what is new, verified, and only whole files."""

import json
import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from deploy.errors import DeployError
from deploy.logs.log_copy import Hash, LogCopy, RemoteFile, Wanted
from deploy.operations.push import Options, Outcome
from deploy.ssh.stream import Output
from deploy.ssh.targets import LOCAL, Target
from deploy.ssh.transport import Device
from edge.contract.logfiles import FILE_NAME, parse_closed
from edge.files import lock_alone, open_regular

_ROUNDS: Final = 5
"""Files may be closed, compressed and removed while they are asked for; each round looks anew."""
_AT_ONCE: Final = 500
"""Files asked for by one command, whose words have a limit."""
_LONGEST_BLOCK: Final = 1 << 20
_EXPANSION: Final = 1040
"""More than deflate can compress (1032:1): what is sent beyond is no content of the file."""
_GROWTH: Final = 64 << 20
"""How much may be written to a file between its listing and its reading."""

_Answer = TypeVar("_Answer")
_Result = Literal["taken", "gone", "closed", "spoilt"]
"""What became of a file: here; removed there; no longer the one being written; sent wrongly."""


class _Listing(msgspec.Struct):
    files: list[RemoteFile] = []
    problem: Literal["", "denied", "missing"] = ""


class _Found(msgspec.Struct):
    found: bool


class _Sum(msgspec.Struct):
    size: Annotated[int, msgspec.Meta(ge=0)]
    sha256: Hash


def folder_of(target: Target) -> str:
    """Return the name of a device's folder; none leads elsewhere, see ``deploy.ssh.targets``."""
    if target.is_local:
        return LOCAL
    port = "" if target.port is None else f"-{target.port}"
    return target.host.replace(":", "-") + port


def check_log_dir(text: str) -> str:
    """Return a directory on the devices.

    Raises:
        DeployError: it is not absolute.
    """
    if not PurePosixPath(text).is_absolute() or not text.isprintable():
        raise DeployError(f"--log-dir {text!r}: expected an absolute path on the devices")
    return text


@contextmanager
def collecting(root: Path, targets: Sequence[Target]) -> Iterator[None]:
    """Have the folder of all devices to oneself inside the block.

    Raises:
        DeployError: it cannot be made, another collect is at work there, or two targets would
            share a folder in it.
    """
    names = [folder_of(target) for target in targets]
    if twice := {name for name in names if names.count(name) > 1}:
        raise DeployError(f"{min(twice)}: named twice; give each device once")
    try:
        root.mkdir(0o750, parents=True, exist_ok=True)
        lock = os.fdopen(open_regular(root / ".collect.lock", os.O_RDWR | os.O_CREAT), "rb+")
    except OSError as error:
        raise DeployError(f"{root}: cannot be written ({error.strerror})") from error
    with lock:
        try:
            lock_alone(lock.fileno())
        except OSError as error:
            raise DeployError(f"{root}: another collect is at work there") from error
        yield


def collect(target: Target, options: Options, log_dir: str, root: Path) -> Outcome:
    """Bring what is new in one device's log to ``root/<device>/``.

    Raises:
        DeployError: it cannot be read there or written here; what has come stays, whole files
            only, and the next call goes on.
    """
    copy = LogCopy(root / folder_of(target))
    with options.connect(target) as device:
        reader = _Reader(device, log_dir, copy)
        try:
            aside = _rounds(reader, copy)
        except OSError as error:
            raise DeployError(f"{root}: cannot be written ({error.strerror})") from error
    told = "".join(
        f"; the device's log started over: what was here is in {path.name}" for path in aside
    )
    if not reader.received and not reader.files:
        return Outcome(str(target), "unchanged", f"nothing new{told}")
    files = f"{reader.files} closed file{'' if reader.files == 1 else 's'}"
    return Outcome(str(target), "done", f"{reader.received:,} bytes, {files}{told}")


def _rounds(reader: "_Reader", copy: LogCopy) -> list[Path]:
    """Take files until all that were there at the first look are here."""
    aside: list[Path] = []
    for attempt in range(_ROUNDS):
        remote = reader.files_there()
        aside += copy.settle(remote)
        wanted = copy.missing(remote)
        _check_room(copy, sum(max(0, one.remote.size - one.offset) for one in wanted))
        results = reader.take(wanted)
        # A file that was being written at the first look and was gone has been closed by the
        # second one, which has it among the closed files. Without this a log that is closed every
        # second would never be done.
        if set(results) <= ({"taken"} if attempt == 0 else {"taken", "closed"}):
            return aside
    raise DeployError(
        f"the files did not arrive as they are there in {_ROUNDS} attempts; try again"
    )


def _check_room(copy: LogCopy, need: int) -> None:
    if need > copy.room:
        raise DeployError(
            f"its log has {need:,} bytes that are not here, and there is room for {copy.room:,}; "
            "free some space here, or see what the device lists"
        )


class _Reader:
    """Asks a device for its files.

    Attributes:
        received: bytes that came.
        files: closed files that are whole now.
    """

    def __init__(self, device: Device, log_dir: str, copy: LogCopy) -> None:
        self._device = device
        self._log_dir = log_dir
        self._copy = copy
        self._program = resources.files("deploy.device").joinpath("logs.py").read_text("utf-8")
        self._sudo = False
        self.received = 0
        self.files = 0

    def files_there(self) -> list[RemoteFile]:
        """Return the log files, each once; names that are none are left out."""
        answer = self._listing()
        if answer.problem == "denied" and not self._sudo:
            self._sudo = True
            try:
                answer = self._listing()
            except DeployError as error:
                raise DeployError(
                    f"{self._log_dir}: may not be read ({error}); join the group edgeemo there "
                    "(`sudo usermod -aG edgeemo USER`), or allow sudo without a password"
                ) from error
        if answer.problem:
            expected = "give the device's own log.dir as --log-dir"
            raise DeployError(f"{self._log_dir}: {answer.problem} on the device; {expected}")
        files: dict[object, RemoteFile] = {}
        for file in sorted(answer.files, key=lambda file: file.name):  # plain before compressed
            if file.name == FILE_NAME or parse_closed(file.name):
                files.setdefault(file.number, file)
        return list(files.values())

    def take(self, wanted: Sequence[Wanted]) -> list[_Result]:
        """Receive files.

        The one that is being written here comes first, and must be done before the device's own
        takes its name.
        """
        groups = [[one for one in wanted if one.continues]]
        rest = [one for one in wanted if not one.continues]
        groups += [rest[start : start + _AT_ONCE] for start in range(0, len(rest), _AT_ONCE)]
        results: list[_Result] = []
        for group in groups:
            results += self._take_some(group) if group else []
            if group and group[0].continues and results != ["taken"]:
                break
        return results

    def _take_some(self, wanted: Sequence[Wanted]) -> list[_Result]:
        asked = json.dumps([[one.name, one.remote.first, one.offset] for one in wanted])
        words = self._words("send", asked)
        with self._device.stream(words, stdin=self._program, sudo=self._sudo) as output:
            return [self._receive(one, output) for one in wanted]

    def _receive(self, wanted: Wanted, output: Output) -> _Result:
        is_closed = wanted.remote.number is not None
        if not _decoded(output.line(), _Found).found:
            return "gone" if is_closed or wanted.continues else "closed"
        self._copy.begin(wanted)
        # A closed file does not grow, but it may be sent as it was before its compression.
        limit = wanted.remote.size * _EXPANSION + (0 if is_closed else _GROWTH)
        limit = min(limit, self._copy.room)
        with wanted.part.open("ab") as part:
            for block in _blocks(output, limit):
                part.write(block)
                self.received += len(block)
        total = _decoded(output.line(), _Sum)
        if not self._copy.keep(wanted, total.size, total.sha256):
            return "spoilt"
        self.files += is_closed
        return "taken"

    def _listing(self) -> _Listing:
        with self._device.stream(
            self._words("list"), stdin=self._program, sudo=self._sudo
        ) as output:
            return _decoded(output.line(), _Listing)

    def _words(self, verb: str, *rest: str) -> list[str]:
        return ["python3", "-I", "-", verb, self._log_dir, *rest]


def _blocks(output: Output, limit: int) -> Iterator[bytes]:
    while length := struct.unpack(">I", output.read(4))[0]:
        limit -= length
        if length > _LONGEST_BLOCK or limit < 0:
            raise DeployError(
                "the device sends more than its file has, or than there is room for; "
                "nothing of it was kept"
            )
        yield output.read(length)


def _decoded(line: bytes, form: type[_Answer]) -> _Answer:
    try:
        return msgspec.json.decode(line, type=form)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DeployError(f"the device gave an answer that makes no sense ({error})") from error
