"""`edgeemo logs store`: its answers are those of the raw files, whatever befell them."""

import gzip
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.contract.logfiles import FILE_NAME, STORE_NAME, closed_name, log_directories
from edge.contract.logrecord import LogRecord, encode_record
from edge.errors import LogError
from edgeemo.analysis.database import Choice, Logs
from edgeemo.analysis.export import export
from edgeemo.analysis.report import write_report
from edgeemo.analysis.store import open_logs, transaction, update
from edgeemo.analysis.store.layout import stored_columns
from edgeemo.analysis.store.stored import StoredLogs
from edgeemo.analysis.summary import Summaries, summarise
from edgeemo.analysis.time_range import Span

START = datetime(2026, 1, 4, 22, 58, tzinfo=UTC)  # a Sunday, two minutes before eleven
HEADER = {"schema": 1}
BYS = ("total", "hour", "track", "device", "session", "file", "weekday", "quality")
LABELS = ("neutral", "happiness", "fear", "uncertain")


class Device:
    """Writes a log as a device does, and as damaged cards and wrong clocks make of it."""

    def __init__(self, folder: Path, chance: random.Random, name: str = "pi") -> None:
        self.folder, self.chance, self.name = folder, chance, name
        self.seq = self.track = self.files = 0
        self.t_s = 0.0
        self.offset = timedelta()
        self.faces: dict[int, float] = {}
        self.begin()

    def begin(self) -> None:
        """Start a session."""
        self.session = f"{self.chance.getrandbits(40):010x}"
        self.track, self.faces = 0, {}
        self.add(
            "service_started", version="0.2", source="demo", model="m", model_sha256="0" * 64,
            mesher="litert", runtime="r", labels=[],
        )  # fmt: skip

    def add(self, kind: str, **fields: object) -> None:
        """Append a record."""
        time = (START + timedelta(seconds=self.t_s) + self.offset).isoformat(
            timespec="milliseconds"
        )
        head = {
            "kind": kind, "time": time.replace("+00:00", "Z"), "monotonic_s": round(self.t_s, 4),
            "seq": self.seq, "session": self.session, "device": self.name,
        }  # fmt: skip
        self.seq += 1
        self.write(encode_record(msgspec.convert(HEADER | head | fields, LogRecord)))

    def write(self, data: bytes) -> None:
        """Append bytes to the file that is being written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / FILE_NAME).open("ab") as file:
            file.write(data)

    def frame(self) -> None:
        """Let time pass; faces come, show something, and leave."""
        chance = self.chance
        self.t_s += chance.choice((0.1, 0.0333, 7.7, 40.0, 1900.0))
        if chance.random() < 0.4:
            self.track += 1
            self.faces[self.track] = self.t_s
            self.add("track_started", track=self.track, box=[0, 0, 1, 1], frame=0)
        for track in list(self.faces):
            self.emotion(track)
            if chance.random() < 0.3:
                stayed_s = round(self.t_s - self.faces.pop(track), 3)
                self.add("track_ended", track=track, duration_s=stayed_s, shares={})
        if chance.random() < 0.3:
            self.add(
                "health", fps=chance.choice((5.0, 9.5)), stage_ms={}, frames=1, dropped_frames=0,
                dropped_records=0, rss_mb=1.0, temperature_c=None, throttled=None,
            )  # fmt: skip
        if chance.random() < 0.1:
            self.seq += chance.randint(1, 3)  # lost

    def emotion(self, track: int) -> None:
        """Append what a face shows."""
        label = self.chance.choice(LABELS)
        sure = round(self.chance.random(), 3) if label != "uncertain" else 0.0
        quality = "too_dark" if label == "uncertain" and self.chance.random() < 0.5 else "ok"
        self.add(
            "emotion", track=track, label=label, confidence=sure, scores={"fear": sure},
            box=[0, 0, 1, 1], head_pose=None, frame=1, latency_ms=round(self.chance.random(), 2),
            quality=quality, file=self.chance.choice((None, "a.png", "b.png")),
        )  # fmt: skip

    def closed(self) -> list[Path]:
        """Return the closed files."""
        return sorted(self.folder.glob("edgeemo-0*"))

    def current(self) -> list[bytes]:
        """Return the lines of the file that is being written."""
        path = self.folder / FILE_NAME
        return path.read_bytes().splitlines(keepends=True) if path.exists() else []

    def close(self, *, compress: bool) -> None:
        """Close the file that is being written."""
        current = self.folder / FILE_NAME
        if not current.exists():
            return
        self.files += 1
        closed = current.rename(self.folder / closed_name(self.files, START.timestamp()))
        if compress:
            pack(closed)


def pack(path: Path) -> None:
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()


def frames(device: Device, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 6)):
        device.frame()


def rotation(device: Device, chance: random.Random) -> None:
    device.close(compress=chance.random() < 0.5)


def compression(device: Device, chance: random.Random) -> None:
    for path in device.closed():
        if path.suffix != ".gz":
            pack(path)


def power_cut(device: Device, chance: random.Random) -> None:
    device.t_s += 10
    device.begin()


def another_name(device: Device, chance: random.Random) -> None:
    device.name = chance.choice(("pi", "renamed", "other/../\u202e*[a]\n"))


def wrong_clock(device: Device, chance: random.Random) -> None:
    device.offset = timedelta(hours=chance.choice((0, -30, -1, 24 * 400)))


def bad_lines(device: Device, chance: random.Random) -> None:
    device.write(b'no json\n{"kind":"emo\n')


def copy_beside(device: Device, chance: random.Random) -> None:
    beside = device.folder.with_name(f"{device.folder.name}~1")
    shutil.rmtree(beside, ignore_errors=True)
    shutil.copytree(device.folder, beside)


def last_lines_lost(device: Device, chance: random.Random) -> None:
    if lines := device.current():
        (device.folder / FILE_NAME).write_bytes(b"".join(lines[:-2]))


def oldest_file_gone(device: Device, chance: random.Random) -> None:
    for path in device.closed()[:1]:
        path.unlink()


def written_twice(device: Device, chance: random.Random) -> None:
    if lines := device.current():
        device.write(b"".join(chance.choices(lines, k=2)))


EVENTS = (
    *[frames] * 5, rotation, rotation, compression, power_cut, another_name, wrong_clock,
    bad_lines, copy_beside, last_lines_lost, oldest_file_gone, written_twice,
)  # fmt: skip


def choices(chance: random.Random) -> Choice:
    """Return something that could be asked for."""
    since = START + timedelta(seconds=chance.choice((0, 5, 100, 3000)))
    later = since + timedelta(hours=2)
    span = chance.choice((Span(), Span(), Span(since), Span(None, since), Span(since, later)))
    return Choice(
        span,
        devices=chance.choice(((), (), ("pi",), ("renamed", "nobody"))),
        labels=chance.choice(((), (), ("fear", "uncertain"))),
        min_confidence=chance.choice((0.0, 0.0, 0.5)),
    )


def told(summaries: Summaries) -> object:
    """Return a summary with its means to nine digits: they are sums in another order."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 9)

    groups = [
        msgspec.structs.replace(group, confidence=rounded(group.confidence), fps=rounded(group.fps))
        for group in summaries.groups
    ]
    return msgspec.structs.replace(summaries, groups=groups)


def agrees(root: Path, by: str, choice: Choice | None = None) -> Summaries:
    """Ask both ways, and return the answer."""
    with open_logs(root, choice) as logs:
        assert isinstance(logs, StoredLogs), logs.remark
        stored = told(summarise(logs, by))
    with Logs(root, choice or Choice()) as logs:
        raw = told(summarise(logs, by))
    assert stored == raw, (by, choice)
    return raw


@settings(max_examples=int(os.environ.get("EDGEEMO_STORES", "3")))
@given(st.integers(0, 2**32))
def test_the_store_answers_as_the_raw_files_do(seed):
    """Counts and microseconds exactly, means to nine digits, whatever befell the logs."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        devices = [Device(root / f"d{number}", chance) for number in range(chance.randint(1, 2))]
        for _ in range(chance.randint(1, 4)):
            for _ in range(chance.randint(1, 8)):
                chance.choice(EVENTS)(chance.choice(devices), chance)
            if not list(log_directories(root)):
                continue
            update(root)
            for by in chance.sample(BYS, 2):
                agrees(root, by)
                agrees(root, by, choices(chance))


def small_fleet(root: Path) -> list[Device]:
    """Write two devices' logs: two closed files and a current one each."""
    chance = random.Random(5)
    devices = [Device(root / name, chance, name) for name in ("pi-1", "pi-2")]
    for device in devices:
        for number in range(3):
            for _ in range(8):
                device.frame()
            if number < 2:
                device.close(compress=True)
    return devices


class _Killed(BaseException):
    """Ends an update as a kill does: nothing of the store is put in order on the way out."""


def test_a_kill_at_any_step_harms_nothing(tmp_path, monkeypatch):
    """Cut off between any two steps on the disk, the next call goes on and nothing is amiss."""
    root = tmp_path / "fleet"
    devices = small_fleet(root)
    update(root)
    devices[0].close(compress=True)
    for device in devices:
        frames(device, device.chance)
    with Logs(root) as logs:
        raw = told(summarise(logs, "hour"))
    steps, is_done = 0, False
    while not is_done:
        copy = tmp_path / f"copy-{steps}"
        shutil.copytree(root, copy)
        with monkeypatch.context() as killing:
            is_done = not _cut_off(copy, steps, killing)
        assert told(summarise_stored(copy, "hour")) == raw, steps
        assert not (copy / STORE_NAME / "pending").exists()
        assert not (copy / STORE_NAME / "journal.json").exists()
        steps += 1 if steps < 25 else 5
    assert steps > 30


def _cut_off(root: Path, steps: int, killing: pytest.MonkeyPatch) -> bool:
    """Update, and be killed before the next step on the disk after so many; False: it was done."""
    left = [steps]

    def stepping(function):
        def stepped(*arguments, **options):
            if not left[0]:
                raise _Killed
            left[0] -= 1
            return function(*arguments, **options)

        return stepped

    killing.setattr(transaction, "sync_path", stepping(transaction.sync_path))
    for name in ("rename", "unlink"):
        killing.setattr(Path, name, stepping(getattr(Path, name)))
    try:
        update(root)
    except _Killed:
        return True
    return False


def test_a_killed_process_harms_nothing(tmp_path):
    """A true SIGKILL, while the first store is being made."""
    small_fleet(tmp_path)
    words = [sys.executable, "-m", "edgeemo", "logs", "store", str(tmp_path)]
    child = subprocess.Popen(words)
    while not (tmp_path / STORE_NAME / "pending").exists() and child.poll() is None:
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    child.wait()
    agrees(tmp_path, "total")


def summarise_stored(root: Path, by: str) -> Summaries:
    with open_logs(root) as logs:
        assert isinstance(logs, StoredLogs), logs.remark
        return summarise(logs, by)


def test_only_what_is_new_is_read(tmp_path):
    """A second call reads nothing, a compressed file is known again, a grown one is read."""
    (device, other) = small_fleet(tmp_path)
    assert update(tmp_path).files == 6
    assert update(tmp_path).files == 0
    device.close(compress=True)
    device.frame()
    assert update(tmp_path).files == 2
    other.frame()
    assert update(tmp_path).files == 1
    shutil.copytree(tmp_path / "pi-1", tmp_path / "moved")  # new dates, the same content
    shutil.rmtree(tmp_path / "pi-1")
    shutil.move(tmp_path / "moved", tmp_path / "pi-1")
    assert update(tmp_path).files == 0
    assert update(tmp_path, rebuild=True).files == 7


def test_a_full_disk_leaves_the_store_as_it_was(tmp_path, monkeypatch):
    """What cannot be written is one error; the answers stay those of the raw files."""
    (device, _) = small_fleet(tmp_path)
    update(tmp_path)
    before = {path for path in (tmp_path / STORE_NAME).rglob("*") if path.is_file()}
    device.frame()

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr("edgeemo.analysis.store.transaction.sync_path", full)
        with pytest.raises(LogError, match="No space left on device") as caught:
            update(tmp_path)
        assert "\n" not in str(caught.value)
        with open_logs(tmp_path) as logs:
            assert "No space" in logs.remark
            answer = told(summarise(logs, "total"))
    assert before <= {path for path in (tmp_path / STORE_NAME).rglob("*") if path.is_file()}
    assert told(summarise_stored(tmp_path, "total")) == answer


_ON_A_SMALL_DISK = """
mount -t tmpfs -o size=48k none "$2" || exit 77
"$1" -m edgeemo logs store "$3" 2>"$4/told" && exit 9
"$1" -m edgeemo logs summary "$3" --by hour >"$4/full" 2>/dev/null || exit 8
mount -o remount,size=64m "$2"
"$1" -m edgeemo logs store "$3" || exit 7
"$1" -m edgeemo logs summary "$3" --by hour >"$4/room"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a small disk")
def test_a_disk_that_fills_is_told_and_harms_nothing(tmp_path):
    """A real one: a line says so, answers come from the raw files, and with room it goes on."""
    small_fleet(tmp_path / "fleet")
    store, program = tmp_path / "fleet" / STORE_NAME, [sys.executable, "-m", "edgeemo"]
    summary = [*program, "logs", "summary", str(tmp_path / "fleet"), "--by", "hour"]
    raw = subprocess.run(summary, capture_output=True, check=True).stdout
    store.mkdir()
    enter = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ON_A_SMALL_DISK, "sh"]
    words = [sys.executable, str(store), str(tmp_path / "fleet"), str(tmp_path)]
    done = subprocess.run([*enter, *words], capture_output=True, text=True, check=False)
    if done.returncode == 77:
        pytest.skip(f"no disk can be mounted here: {done.stderr}")
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "told").read_text().strip()
    assert "No space left" in told
    assert "\n" not in told
    assert (tmp_path / "full").read_bytes() == (tmp_path / "room").read_bytes() == raw


def two_of_one_name(devices: list[Device]) -> None:
    devices[1].name = devices[0].name


def renamed(devices: list[Device]) -> None:
    devices[0].frame()
    devices[0].name = "another"


def wrong_for_a_day(devices: list[Device]) -> None:
    for offset in (timedelta(days=400), timedelta(0)):
        devices[0].offset = offset
        devices[0].begin()
        for _ in range(4):
            devices[0].frame()
        devices[0].close(compress=True)


@pytest.mark.parametrize("befallen", [two_of_one_name, renamed, wrong_for_a_day])
def test_what_befalls_names_and_clocks(tmp_path, befallen):
    """Before the first store and between two: the answers are those of the raw files."""
    chance = random.Random(11)
    devices = [Device(tmp_path / name, chance, name) for name in ("pi-1", "pi-2")]
    for rounds in range(2):
        befallen(devices)
        for device in devices:
            for _ in range(4):
                device.frame()
            device.close(compress=bool(rounds))
        update(tmp_path)
        for by in ("device", "session", "hour", "track"):
            agrees(tmp_path, by)
        agrees(tmp_path, "device", Choice(Span(START, START + timedelta(hours=3))))


def test_a_damaged_store_is_named_and_made_anew(tmp_path):
    """The answer comes from the raw files, and says what to do."""
    small_fleet(tmp_path)
    update(tmp_path)
    catalogue = tmp_path / STORE_NAME / "catalogue" / "pi-1.json"
    catalogue.write_bytes(b"{")
    with open_logs(tmp_path) as logs:
        assert "--rebuild" in logs.remark
        before = told(summarise(logs, "total"))
    update(tmp_path, rebuild=True)
    assert told(summarise_stored(tmp_path, "total")) == before


def test_a_field_that_is_new_is_null_in_older_parts(tmp_path, monkeypatch):
    """A store that was begun by an older edgeemo is read by name, and what it lacks is told."""
    from edgeemo.analysis.store import ingest, layout
    from edgeemo.analysis.store import update as updating

    (device, _) = small_fleet(tmp_path)
    with monkeypatch.context() as older:
        fewer = {k: v for k, v in layout.stored_columns().items() if k != "latency_ms"}
        older.setattr(ingest, "stored_columns", lambda: fewer)
        older.setattr(sys.modules["edgeemo.analysis.store.update"], "stored_columns", lambda: fewer)
        update(tmp_path)
    device.frame()
    assert update(tmp_path).lacking == ["latency_ms"]
    summary = summarise_stored(tmp_path, "total")
    assert summary.groups[0].records > 0
    assert updating(tmp_path, rebuild=True).lacking == []
    agrees(tmp_path, "total")


@pytest.mark.parametrize("form", ["csv", "parquet", "json"])
def test_exports_are_the_same(tmp_path, form):
    """Byte by byte, or row by row in Parquet."""
    small_fleet(tmp_path / "fleet")
    with Logs(tmp_path / "fleet") as logs:
        export(logs, "emotion", form, tmp_path / "raw")
    update(tmp_path / "fleet")
    with open_logs(tmp_path / "fleet") as logs:
        export(logs, "emotion", form, tmp_path / "stored")
    if form == "parquet":
        one, other = (
            duckdb.sql(f"FROM read_parquet('{tmp_path / name}')").fetchall()
            for name in ("raw", "stored")
        )
        assert one == other
    else:
        assert (tmp_path / "raw").read_bytes() == (tmp_path / "stored").read_bytes()


def test_the_report_is_the_same(tmp_path):
    """But for the moment at which it was made."""
    small_fleet(tmp_path / "fleet")
    pages = []
    for _ in range(2):
        with open_logs(tmp_path / "fleet") as logs:
            write_report(logs, tmp_path / "report.html", "fleet")
        pages.append((tmp_path / "report.html").read_text("utf-8").split("UTC from", 1)[1])
        update(tmp_path / "fleet")
    assert pages[0] == pages[1]


def test_other_readers_find_the_partitions(tmp_path):
    """DuckDB and Polars read the tables as they lie there; names come back whole."""
    chance = random.Random(1)
    names = ("pi-1", "lab 7/ünï*", "a=b%20c")
    for number, name in enumerate(names):
        device = Device(tmp_path / str(number), chance, name)
        for _ in range(5):
            device.frame()
    update(tmp_path)
    store = tmp_path / STORE_NAME
    for table in ("records", "hours", "emotions"):
        rows = duckdb.sql(
            f"SELECT DISTINCT device FROM read_parquet('{store}/{table}/**/*.parquet', "
            "hive_partitioning = true, hive_types = {device: VARCHAR})"
        ).fetchall()
        assert {row[0] for row in rows} == set(names), table
    days = duckdb.sql(
        f"SELECT bool_and(day = (time AT TIME ZONE 'UTC')::DATE) FROM "
        f"read_parquet('{store}/records/**/*.parquet', hive_types = {{device: VARCHAR}})"
    ).fetchall()
    assert days == [(True,)]
    for table in ("records", "hours", "emotions"):
        # As the documentation shows it: Polars, with and without the partitions as columns.
        for hive in (False, True):
            scan = pl.scan_parquet(f"{store}/{table}/**/*.parquet", hive_partitioning=hive)
            assert set(scan.select("device").unique().collect()["device"]) == set(names), table
    ((held_us,),) = duckdb.sql(
        f"SELECT sum(held_us) FROM read_parquet('{store}/emotions/**/*.parquet')"
    ).fetchall()
    emotions = pl.scan_parquet(f"{store}/emotions/**/*.parquet")
    assert emotions.select(pl.col("held_us").sum()).collect().item() == held_us > 0
    nested = pl.scan_parquet(f"{store}/records/**/*.parquet").select(
        pl.col("scores").struct.field("fear"), pl.col("time").dt.year()
    )
    assert set(nested.drop_nulls().collect()["time"]) == {2026}


def test_a_file_of_records_is_sorted_by_time_and_number(tmp_path):
    """Its rows are in order of time, then number, also where a line is older than the one before.

    And the columns that none of its records has are there, with their types.
    """
    device = Device(tmp_path / "pi", random.Random(2))
    for number in range(1500):
        device.offset = timedelta(seconds=-(number % 7))
        device.frame()
    update(tmp_path)
    for path in (tmp_path / STORE_NAME / "records").rglob("*.parquet"):
        file = f"read_parquet('{path}', hive_partitioning = false)"
        rows = duckdb.sql(f"SELECT time, seq FROM {file}").fetchall()
        assert rows == sorted(rows)
        columns = duckdb.sql(f"DESCRIBE FROM {file}").fetchall()
        assert {name: kind.replace('"', "") for name, kind, *_ in columns} == {
            name: kind.replace('"', "") for name, kind in stored_columns().items()
        }


def test_a_hostile_log_harms_no_other(tmp_path):
    """Names that lead elsewhere, many names, and times at the ends of the world."""
    small_fleet(tmp_path / "fleet")
    evil = Device(tmp_path / "fleet" / "evil", random.Random(2), "../../../../tmp/evil")
    for number in range(80):
        evil.name = f"name {number}" if number else "x" * 5000
        evil.add("camera_lost", reason="\x1b[31m'; DROP TABLE records; --")
    evil.offset = timedelta(days=60000)
    evil.frame()
    update(tmp_path / "fleet")
    for by in ("total", "device", "session"):
        agrees(tmp_path / "fleet", by)
    folders = list((tmp_path / "fleet" / STORE_NAME / "records").iterdir())
    assert all(len(folder.name.encode()) < 250 for folder in folders)
    assert len(folders) < 80
    assert {path.name for path in tmp_path.iterdir()} == {"fleet"}


@pytest.mark.parametrize("is_current", [True, False])
def test_a_line_without_end_keeps_nothing_out_of_the_store(tmp_path, is_current):
    """DuckDB gives such a file up: it is stored without the line, and what follows is, too."""
    small_fleet(tmp_path)
    evil = Device(tmp_path / "evil", random.Random(4), "evil")
    evil.write(b"x" * (40 << 20) + b"\n")
    evil.frame()
    if not is_current:
        content = (evil.folder / FILE_NAME).read_bytes()
        packed = evil.folder / f"{closed_name(1, START.timestamp())}.gz"
        packed.write_bytes(gzip.compress(content, 1))
        (evil.folder / FILE_NAME).unlink()
    update(tmp_path)
    for by in ("total", "device"):
        agrees(tmp_path, by)
    evil.frame()
    update(tmp_path)
    agrees(tmp_path, "device")


def test_what_is_forgotten_is_not_kept_in_a_store(tmp_path):
    """`logs forget` brings the stores of the log and of its fleet in line."""
    folder = tmp_path / "pi-1"
    Device(folder, random.Random(3), "pi-1")
    line = json.loads((folder / FILE_NAME).read_bytes())
    (folder / FILE_NAME).write_bytes(
        json.dumps(line | {"study": "s", "participant": "P-0042"}).encode() + b"\n"
    )
    stores = []
    for root in (tmp_path, folder):
        update(root)
        stores += (root / STORE_NAME / "records").rglob("*.parquet")
    participants = "SELECT participant FROM read_parquet(?, hive_partitioning = false)"
    for path in stores:
        assert duckdb.execute(participants, [str(path)]).fetchall() == [("P-0042",)]
    words = [sys.executable, "-m", "edgeemo", "logs", "forget", str(folder)]
    subprocess.run([*words, "--participant", "P-0042"], check=True)
    for root in (tmp_path, folder):
        for path in (root / STORE_NAME / "records").rglob("*.parquet"):
            assert duckdb.execute(participants, [str(path)]).fetchall() != [("P-0042",)]
