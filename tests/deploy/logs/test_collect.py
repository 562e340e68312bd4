"""What is collected is what the device has, each record once, whatever happens in between."""

import gzip
import io
import json
import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from deploy.device import logs as program
from deploy.errors import DeployError
from deploy.logs.collect import check_log_dir, collect, collecting, folder_of
from deploy.ssh.stream import Output
from deploy.ssh.targets import Target, parse_target
from edge.config import LogConfig
from edge.contract import logfiles
from edge.contract.logfiles import FILE_NAME, closed_files, closed_name, log_files
from edge.sinks.jsonl.tidy import tidy
from edgeemo.cli.fleet import run_on

BOX = Target("box")
NOON_S = 20_000.5 * 86_400
ROOM = 1 << 40


class Here:
    """A device in this process: the same program answers, without a connection between.

    Attributes:
        room: bytes that come through before the connection is cut.
    """

    def __init__(self, room: int = ROOM) -> None:
        self.room = room

    @contextmanager
    def connect(self, _: Target):
        """Be the device, and the options that lead to it."""
        yield self

    @contextmanager
    def stream(self, words: list[str], *, stdin: str, sudo: bool):
        """Run the device's program."""
        assert words[:3] == ["python3", "-I", "-"]
        assert stdin == Path(program.__file__).read_text("utf-8")
        assert not sudo
        data = io.BytesIO(self.answer(*words[3:]))
        data.truncate(self.room)
        try:
            yield Output(data)
        except EOFError as error:
            raise DeployError("cut") from error
        finally:
            self.room -= data.tell()

    def answer(self, verb: str, folder: str, wanted: str = "[]") -> bytes:
        """Return all that the program prints."""
        if verb == "list":
            return json.dumps(program.listing(folder)).encode() + b"\n"
        out = io.BytesIO()
        program.send(folder, json.loads(wanted), out)
        return out.getvalue()


class Log:
    """A log directory that is written by hand."""

    def __init__(self, directory: Path, begin: int = 0) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.current = directory / FILE_NAME
        self.seq = begin

    def write(self, count: int, *, torn: bool = False) -> "Log":
        """Append records, the last one only half if ``torn``."""
        with self.current.open("ab") as file:
            for _ in range(count):
                file.write(json.dumps({"seq": self.seq, "fill": "x" * 90}).encode() + b"\n")
                self.seq += 1
            if torn:
                file.write(b'{"seq":')
        return self

    def mend(self) -> None:
        """Cut a torn line off, as the next start does."""
        if self.current.exists():
            data = self.current.read_bytes()
            self.current.write_bytes(data[: data.rfind(b"\n") + 1])

    def close(self) -> "Log":
        """Close the file, as rotation does."""
        self.mend()
        if self.current.exists() and self.current.stat().st_size:
            number = max((file.number for file in closed_files(self.directory)), default=0) + 1
            self.current.rename(self.directory / closed_name(number, NOON_S + number))
        return self

    def compress(self, **policy: float) -> "Log":
        """Compress closed files, and remove old ones."""
        tidy(self.directory, LogConfig(min_free_mb=0, **policy), None)
        return self


def numbers(*directories: Path) -> list[int]:
    """Return the numbers of all records, which must be whole lines, in the order of the files."""
    found = []
    for path in (path for directory in directories for path in log_files(directory)):
        data = path.read_bytes()
        text = gzip.decompress(data) if path.suffix == ".gz" else data
        assert text.endswith(b"\n") or not text
        found += [json.loads(line)["seq"] for line in text.splitlines()]
    return found


def take(log: Log, root: Path, device: Here | None = None):
    return collect(BOX, device or Here(), str(log.directory), root)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(1, 30)),
        st.tuples(st.just("torn"), st.integers(0, 3)),
        st.tuples(st.sampled_from(["close", "compress", "remove", "collect"]), st.none()),
        st.tuples(st.just("cut"), st.integers(0, 6000)),
    ),
    max_size=25,
)


@given(steps)
def test_every_record_is_here_once_whatever_happens(history):
    """Rotation, compression, removal and cut connections between and within collects lose nothing.

    At any time the copy has whole lines only, in order and once, and all that it ever had.
    """
    with tempfile.TemporaryDirectory() as folder:
        log, copy = Log(Path(folder) / "log"), Path(folder) / "out" / "box"
        had: list[int] = []
        for step, size in [*history, ("collect", None)]:
            if step in {"write", "torn"}:
                log.mend()
                log.write(size, torn=step == "torn")
            elif step == "close":
                log.close()
            elif step in {"compress", "remove"}:
                log.compress(keep_mb=1e-6 if step == "remove" else 1 << 40)
            else:
                cut = step == "cut"
                try:
                    take(log, copy.parent, Here(size if cut else ROOM))
                except DeployError:
                    assert cut
                else:
                    log.mend()
                    assert set(numbers(log.directory)) <= set(numbers(copy))
            here = numbers(copy) if copy.exists() else []
            assert here == sorted(set(here))
            assert set(had) <= set(here)
            had = here
        assert not [path for path in copy.iterdir() if path.name.endswith(".part")]
        assert [path.name for path in copy.parent.iterdir()] == ["box"]


def test_only_what_is_new_travels(tmp_path):
    """A file is taken once, although it was closed and compressed since; the rest is continued."""
    log = Log(tmp_path / "log").write(100)
    take(log, tmp_path / "out")
    log.write(10).close().compress()
    log.write(5)
    device = Here()
    outcome = take(log, tmp_path / "out", device)
    assert outcome.status == "done"
    assert "1 closed file" in outcome.detail
    assert ROOM - device.room < 15 * 120 + 1500  # 15 records and what is said about them
    assert numbers(tmp_path / "out" / "box") == list(range(115))
    names = sorted(path.name for path in (tmp_path / "out" / "box").iterdir())
    assert names == [f"{closed_name(1, NOON_S + 1)}.gz", FILE_NAME]
    assert take(log, tmp_path / "out").status == "unchanged"


def test_a_cut_file_goes_on_where_it_was_cut(tmp_path):
    """What has come of a big file is kept beside, and is not sent again."""
    log = Log(tmp_path / "log").write(5000).close()
    size = closed_files(log.directory)[0].path.stat().st_size
    with pytest.raises(DeployError):
        take(log, tmp_path / "out", Here(size))
    copy = tmp_path / "out" / "box"
    assert numbers(copy) == []
    device = Here()
    take(log, tmp_path / "out", device)
    assert ROOM - device.room < size / 2
    assert numbers(copy) == list(range(5000))


def test_what_a_power_cut_took_from_the_device_is_taken_from_the_copy(tmp_path):
    """The numbers are given again to other records; a copy with both would be no copy."""
    log = Log(tmp_path / "log").write(20)
    take(log, tmp_path / "out")
    lines = log.current.read_bytes().splitlines(keepends=True)
    log.current.write_bytes(b"".join(lines[:15]))
    log.seq = 15
    log.write(2)
    take(log, tmp_path / "out")
    assert numbers(tmp_path / "out" / "box") == list(range(17))


@pytest.mark.parametrize("closed", [0, 3])
def test_a_log_that_began_anew_hides_nothing(tmp_path, closed):
    """After an exchanged card the old copy stays beside the new one, and is told of."""
    for life in range(2):
        log = Log(tmp_path / f"log{life}", begin=1000 * life)
        for _ in range(closed - life):
            log.write(10).close()
        log.write(10)
        outcome = take(log, tmp_path / "out")
    assert "started over: what was here is in box~1" in outcome.detail
    assert len(numbers(tmp_path / "out" / "box~1")) == 10 * (closed + 1)
    assert numbers(tmp_path / "out" / "box") == numbers(log.directory)


def _life(log: Log, closed: int) -> Log:
    for _ in range(closed):
        log.write(10).close()
    return log.compress().write(10)


@pytest.mark.parametrize(("closed", "closed_away"), [(3, 0), (0, 0), (3, 2), (0, 2), (1, 4)])
def test_a_log_that_comes_back_goes_on_in_its_copy(tmp_path, closed, closed_away):
    """Its disk was away for a boot, and a new log began at 0: every record is here once."""
    log, away = Log(tmp_path / "log"), Log(tmp_path / "away", begin=5000)
    out = tmp_path / "out"
    take(_life(log, closed), out)
    assert "what was here is in box~1" in take(_life(away, closed_away), out).detail
    log.write(5)
    device = Here()
    outcome = take(log, out, device)
    assert ROOM - device.room < 15 * 120 + 3000  # what is here does not travel again
    assert "box~" in outcome.detail
    everything = sorted(numbers(*(path for path in out.iterdir())))
    assert everything == sorted([*numbers(log.directory), *numbers(away.directory)])
    assert numbers(out / "box") == numbers(log.directory)
    assert len(list(out.iterdir())) == 2


class Cut(BaseException):
    """The end of a process in the middle of its work."""


class Scissors:
    """Ends a process at its n-th change of the disk; all later ones, as in cleaning up, fail."""

    NAMES = ("rename", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "fsync")

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left = ROOM
        for name in self.NAMES:
            monkeypatch.setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, change):
        def guarded(*arguments, **options):
            self.left -= 1
            if self.left < 0:
                raise Cut
            return change(*arguments, **options)

        return guarded


def test_a_collect_that_is_cut_at_any_step_is_made_up_for(tmp_path, monkeypatch):
    """After each possible cut the next collect has every record once, and whole lines only."""
    scissors = Scissors(monkeypatch)
    number, was_cut = 0, True
    while was_cut:
        root = tmp_path / str(number)
        log, away, out = Log(root / "log"), Log(root / "away", begin=5000), root / "out"
        was_cut = False
        _life(log, 2)
        for turn, source in enumerate((log, log, away, log)):
            if turn == 1:
                log.write(7).close().compress().write(3)
            elif turn == 2:
                _life(away, 1)
            scissors.left = number
            try:
                take(source, out)
            except Cut:
                was_cut = True
            scissors.left = ROOM
            here = numbers(*out.iterdir()) if out.exists() else []
            assert len(here) == len(set(here))
            take(source, out)
            wanted = {*numbers(log.directory), *(numbers(away.directory) if turn > 1 else [])}
            here = numbers(*out.iterdir())
            assert sorted(here) == sorted(wanted), (number, turn)
        number += 1
    assert number > 10


def test_a_file_that_was_removed_before_it_was_whole_here_keeps_its_place(tmp_path):
    """Retention on the device takes nothing from the copy, and order stays."""
    log = Log(tmp_path / "log").write(10)
    take(log, tmp_path / "out")
    for _ in range(3):
        log.write(10).close()
    log.compress(keep_mb=1e-6).write(5)
    take(log, tmp_path / "out")
    assert numbers(tmp_path / "out" / "box") == [*range(10), *numbers(log.directory)]
    assert not (tmp_path / "out" / "box~1").exists()


def test_the_copy_is_as_private_as_the_log(tmp_path):
    """Files 0640 and folders 0750 at most."""
    log = Log(tmp_path / "log").write(10).close().write(10)
    take(log, tmp_path / "out")
    copy = tmp_path / "out" / "box"
    assert copy.stat().st_mode & 0o027 == 0
    assert all(path.stat().st_mode & 0o137 == 0 for path in copy.iterdir())


def test_the_device_gives_log_files_only(tmp_path):
    """No link, FIFO, folder or foreign name in a log directory makes it read anything else."""
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    log = tmp_path / "log"
    log.mkdir()
    (log / FILE_NAME).symlink_to(secret)
    (log / f"{closed_name(1, NOON_S)}.gz").symlink_to(secret)
    (log / "edgeemo.toml").write_text("secret\n")
    (log / closed_name(2, NOON_S)).mkdir()
    os.mkfifo(log / closed_name(3, NOON_S))
    assert program.listing(str(log)) == {"files": []}
    out = io.BytesIO()
    program.send(str(log), [[FILE_NAME, None, 0]], out)
    assert b"secret" not in out.getvalue()


class Hostile(Here):
    """A device that answers what it likes."""

    def __init__(self, files: object, answer: bytes = b"") -> None:
        super().__init__()
        self._files = files
        self._answer = answer

    def answer(self, verb: str, folder: str, wanted: str = "[]") -> bytes:
        """Answer with what was given."""
        assert folder == "/log"
        if verb == "list":
            return json.dumps({"files": self._files}).encode() + b"\n"
        return self._answer * len(json.loads(wanted))


FIRST = "0" * 64
GOOD_NAME = closed_name(1, NOON_S)
EVIL = b'{"found":true}\n\x00\x00\x00\x04evil\x00\x00\x00\x00'


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", f"../{GOOD_NAME}", f"{GOOD_NAME}/../../evil", "..", "", "a\nb",
     "$(id)", f"{GOOD_NAME}\n", f"{GOOD_NAME}.part", "edgeemo.lock", ".collect.lock"],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    """What is no log file's name is not even asked for."""
    device = Hostile([{"name": name, "size": 4, "first": FIRST}], EVIL)
    out = tmp_path / "out"
    assert collect(BOX, device, "/log", out).status == "unchanged"
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*")] == [
        Path("out"), Path("out/box")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (EVIL + b'{"size":4,"sha256":"%s"}\n' % (b"0" * 64), "did not arrive"),
        (EVIL + b'{"size":4,"sha256":"../x"}\n', "makes no sense"),
        (EVIL + b"\xff\n", "makes no sense"),
        (EVIL + b'{"size":4,"sha256":"\xff"}\n', "makes no sense"),
        (b'{"found":true,"x":' + b"[" * 100_000 + b"\n", "makes no sense"),
        (b'{"found":true}\n\xff\xff\xff\xff', "more than its file has"),
        (b'{"found":true}\n' + b"\x00\x00\x00\x04evil" * 2000, "more than its file has"),
        (b'{"found":true}\n\x00', "cut"),
        (b"", "cut"),
        (b'{"found":false}\n', "did not arrive"),
    ],
)
def test_a_lying_device_is_told_and_leaves_nothing(tmp_path, answer, told):
    """Wrong sums, endless files and nonsense are one clear error, and no file appears."""
    device = Hostile([{"name": GOOD_NAME, "size": 4, "first": FIRST}], answer)
    with pytest.raises(DeployError, match=told):
        collect(BOX, device, "/log", tmp_path / "out")
    assert log_files(tmp_path / "out" / "box") == []


def test_a_listing_that_makes_no_sense_is_told(tmp_path):
    """Whatever a device says instead of a list."""
    for files in ("x", [1], [{"name": GOOD_NAME, "size": -1, "first": None}]):
        with pytest.raises(DeployError, match="makes no sense"):
            collect(BOX, Hostile(files), "/log", tmp_path / "out")


def test_the_program_knows_the_names_of_the_contract():
    """The device's program stands by itself; its idea of a log file is the one of who writes it."""
    assert re.compile(program.CLOSED) == logfiles.CLOSED
    assert program.CURRENT == FILE_NAME


@pytest.mark.parametrize(
    ("target", "folder"),
    [("pi", "pi"), ("me@pi-3.lab:2222", "pi-3.lab-2222"), ("[fe80::1]", "fe80--1"),
     ("@local", "@local")],
)  # fmt: skip
def test_a_device_has_a_folder(target, folder):
    """Named by how it is reached, so that it is the same one next time."""
    assert folder_of(parse_target(target)) == folder


def test_a_folder_is_for_one_collect(tmp_path):
    """A second one at the same time is refused, and so is a device that is named twice."""
    with (
        collecting(tmp_path, [BOX]),
        pytest.raises(DeployError, match="another collect"),
        collecting(tmp_path, [BOX]),
    ):
        pass
    with (
        pytest.raises(DeployError, match="named twice"),
        collecting(tmp_path, [BOX, Target("box", "root")]),
    ):
        pass
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(DeployError, match="cannot be written"),
        collecting(tmp_path / "file", [BOX]),
    ):
        pass


@pytest.mark.parametrize("text", ["log", "~/log", "/log\n", ""])
def test_the_devices_directory_is_an_absolute_path(text):
    """A relative one would mean another place for every user."""
    with pytest.raises(DeployError, match="absolute"):
        check_log_dir(text)


def test_what_a_device_says_does_not_act_upon_the_terminal(capsys):
    """A device's last words are shown on one line, with every control character written out."""

    def fail(_: Target) -> None:
        raise DeployError("\x1b]0;owned\x07\x1b[2J\rbox: done\u202e\n")

    with pytest.raises(typer.Exit):
        run_on([BOX], fail, "1", 0)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    assert line.startswith("box: failed: \\x1b]0;owned\\x07")
