"""Many films and pictures into one table: over processes, resumable, whatever single files do."""

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, Literal

import msgspec

from edge import __version__
from edge.config import Reach
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError, EdgeEmoError, SinkError
from edge.system.machine import usable_cores
from edge.system.native_path import NativePath
from edgeemo.arguments import check_count
from edgeemo.batch_worker import Done, FileFailure, Job, Settings, Worker
from edgeemo.table import kinds_of

Format = Literal["csv", "parquet"]
Watcher = Callable[[int, int, int], object]
"""Is told how many files there are, how many are done, and how many frames were analyzed so far."""

FILMS: Final = frozenset(
    {
        *(".3gp", ".asf", ".avi", ".flv", ".gif", ".m2ts", ".m4v", ".mjpeg", ".mkv", ".mov"),
        *(".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm", ".wmv"),
    }
)
"""Names that say "a film", in a folder; a file that is named by itself may have any."""
_PICTURES_A_JOB: Final = 64
_FORMAT: Final = 1
"""Of the parts: another one is never gone on with."""
_SQL: Final = {
    "text": "VARCHAR",
    "whole": "BIGINT",
    "number": "DOUBLE",
    "time": "TIMESTAMPTZ",
}


class AnalyzeReport(msgspec.Struct, frozen=True):
    """What became of many files.

    Attributes:
        out: the table.
        files: how many were analyzed, now or by an earlier call that this one went on with.
        reused: those of an earlier call.
        frames: frames and pictures in them.
        rows: faces in them, which are the table's rows.
        failures: the files that could not be analyzed, and why; the table is without them.
        elapsed_s: wall-clock seconds.
    """

    out: Path
    files: int
    reused: int
    frames: int
    rows: int
    failures: tuple[FileFailure, ...]
    elapsed_s: float


def analyze(
    files: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    max_faces: int | None = None,
    tau: float | None = None,
    reach: Reach | None = None,
    every_n: int | None = None,
    config: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    restart: bool = False,
    watch: Watcher | None = None,
) -> AnalyzeReport:
    """Analyze films and pictures in parallel, and write one row for each face in each frame.

    A file that fails, even by crashing its decoder, does not affect the others. Finished files are
    kept beside ``out`` in ``OUT.parts`` until all are done: the same call resumes after an
    interruption, and retries only what failed.

    Args:
        files: films, pictures, and folders, which are searched with all folders in them.
        out: the table to write, ``.csv`` or ``.parquet``; it appears whole or not at all. Its
            columns are those of ``Table``.
        model: a bundle directory; None for the packaged model.
        max_faces: the most faces to look for in a frame.
        tau: how much of the training samples' prior is taken away, 0 to 2.
        reach: ``far`` finds smaller faces, and takes longer.
        config: a TOML file; the other arguments override it.
        every_n: analyze only every n-th frame of films.
        workers: processes; one per processor core by default.
        restart: discard what an earlier call has done.
        watch: called with the progress, in the calling thread.

    Raises:
        ConfigError: no such file, none to analyze, an ``out`` of another kind, or an argument that
            is out of range.
        BundleError: ``model`` is no bundle.
        AssetError: the face model is not there yet and could not be fetched.
        MissingExtraError: Parquet is asked for, and DuckDB is not installed.
        SinkError: the table cannot be written.
    """
    from edge.assets.store import FACE_LANDMARKER, asset_path
    from edgeemo.analyzer import Analyzer

    began_s = time.monotonic()
    check_count("workers", workers)
    check_count("every_n", every_n)
    target = Path(os.fsdecode(out))
    output_format = _format_of(target)
    settings = Settings(
        model=None if model is None else os.fsdecode(model),
        max_faces=max_faces,
        tau=tau,
        reach=reach,
        every_n=every_n,
        config=None if config is None else os.fsdecode(config),
    )
    with Analyzer(**settings.for_analyzer()) as analyzer:  # what is wrong is told before the work
        labels, decides = analyzer.labels, _decides(analyzer, every_n)
    asset_path(FACE_LANDMARKER)  # fetched here, once, and not by every process
    given = [files] if isinstance(files, str | os.PathLike) else list(files)
    jobs = _jobs([os.fsdecode(file) for file in given])
    parts = _Parts(target, decides)
    parts.open(restart=restart)
    tasks = [(job, parts.path_of(job)) for job in jobs]
    done = {part: found for job, part in tasks if (found := parts.done(part)) is not None}
    todo = [(job, part) for job, part in tasks if part not in done]
    reused = sum(len(job.files) for job, part in tasks if part in done)
    crew = _Crew(settings, todo)
    with closing(crew.work(min(workers or usable_cores(), len(todo)))) as progress:
        for files_done, frames in progress:
            if watch is not None:
                watch(sum(len(job.files) for job in jobs), reused + files_done, frames)
    done |= crew.done
    ended = [done[part] for _, part in tasks]
    failures = tuple(failure for one in ended for failure in one.failures)
    _write(target, output_format, [part for _, part in tasks if part.is_file()], labels)
    if not failures:
        parts.remove()
    return AnalyzeReport(
        out=target,
        files=sum(len(job.files) for job in jobs) - len(failures),
        reused=reused,
        frames=sum(one.frames for one in ended),
        rows=sum(one.rows for one in ended),
        failures=failures,
        elapsed_s=time.monotonic() - began_s,
    )


def _format_of(target: Path) -> Format:
    suffix = target.suffix.lower()
    if suffix not in {".csv", ".parquet"}:
        raise ConfigError(f"{target}: expected a name that ends in .csv or .parquet")
    if not target.parent.is_dir():
        raise ConfigError(f"{target}: there is no folder {target.parent}")
    if suffix == ".csv":
        return "csv"
    from edgeemo.analysis.database import import_duckdb

    import_duckdb()
    return "parquet"


def _decides(analyzer: Any, every_n: int | None) -> bytes:
    """Return all that the rows of a file depend on, but the file."""
    from edge.runtime.build import open_model

    digest = open_model(analyzer.config.model).digest
    return msgspec.json.encode((_FORMAT, __version__, digest, analyzer.config, every_n))


def _jobs(given: Sequence[str]) -> list[Job]:
    """Return the work in the order of the files: each film by itself, pictures in groups."""
    from edge.media.pictures import is_film, is_meant_as_picture

    jobs: list[Job] = []
    pictures: list[str] = []
    for file in dict.fromkeys(found for name in given for found in _found(name)):
        path = Path(file)
        if is_meant_as_picture(path) and not is_film(path):
            pictures.append(file)
            if len(pictures) < _PICTURES_A_JOB:
                continue
        if pictures:
            jobs.append(Job(tuple(pictures), is_film=False))
        if file not in pictures:
            jobs.append(Job((file,), is_film=True))
        pictures = []
    if pictures:
        jobs.append(Job(tuple(pictures), is_film=False))
    if not jobs:
        raise ConfigError(f"{', '.join(given)}: no film and no picture in it")
    return jobs


def _found(name: str) -> list[str]:
    """Return a file as it is named, or the films and pictures below a folder, in natural order."""
    from edge.media.pictures import is_meant_as_picture
    from edge.sources.files.image_folder import natural_key

    path = Path(name).expanduser()
    if path.is_file():
        return [str(path)]
    if not path.is_dir():
        raise ConfigError(f"{name}: no such file or folder; expected films, pictures or folders")
    found = []
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = sorted((s for s in subfolders if s[:1] != "."), key=natural_key)
        for file in sorted(files, key=natural_key):
            inside = Path(folder, file)
            is_meant = inside.suffix.lower() in FILMS or is_meant_as_picture(inside)
            if is_meant and file[:1] != "." and inside.is_file():
                found.append(str(inside))
    return found


class _Parts:
    """What is done so far, beside the table: rows of each job, and what became of its files."""

    def __init__(self, target: Path, decides: bytes) -> None:
        self._folder = target.with_name(f"{target.name}.parts")
        self._decides = decides

    def open(self, *, restart: bool) -> None:
        if restart:
            self.remove()
        try:
            self._folder.mkdir(exist_ok=True)
        except OSError as error:
            raise SinkError(f"{self._folder}: cannot be made ({error.strerror})") from error

    def path_of(self, job: Job) -> Path:
        """Return where a job's rows go: another place when its files or the settings change."""
        digest = hashlib.sha256(self._decides)
        for file in job.files:
            status = Path(file).stat()
            identity = (os.path.abspath(file), file, status.st_size, status.st_mtime_ns)  # noqa: PTH100
            digest.update(repr(identity).encode("utf-8", "surrogateescape"))
        return self._folder / f"{digest.hexdigest()[:32]}.csv"

    def done(self, part: Path) -> Done | None:
        """Return what became of a job, if all of its files were analyzed."""
        try:
            done = msgspec.json.decode(part.with_suffix(".json").read_bytes(), type=Done)
        except (OSError, msgspec.MsgspecError):
            return None
        return done if part.is_file() and not done.failures else None

    def remove(self) -> None:
        for kind in ("*.csv", "*.json", "*.part"):
            for path in self._folder.glob(kind):
                path.unlink(missing_ok=True)
        if self._folder.is_dir() and not any(self._folder.iterdir()):
            self._folder.rmdir()


class _Crew:
    """Works on jobs with several processes, each of which is attended by a thread.

    Attributes:
        done: what became of the jobs, by part.
    """

    def __init__(self, settings: Settings, todo: Sequence[tuple[Job, Path]]) -> None:
        self._settings = settings
        self._todo: SimpleQueue[tuple[Job, Path]] = SimpleQueue()
        for task in todo:
            self._todo.put(task)
        self._events: SimpleQueue[tuple[int, int]] = SimpleQueue()
        self.done: dict[Path, Done] = {}
        self._workers: set[Worker] = set()
        self._is_over = threading.Event()
        self._error: Exception | None = None

    def work(self, count: int) -> Generator[tuple[int, int], None, None]:
        """Work until every job is done; yield how many files and frames there were so far.

        Raises:
            EdgeEmoError: no file can be analyzed here.
        """
        threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(count)]
        for thread in threads:
            thread.start()
        files = frames = 0
        try:
            yield files, frames
            while any(thread.is_alive() for thread in threads) or not self._events.empty():
                with suppress(Empty):
                    more_files, more_frames = self._events.get(timeout=0.2)
                    files, frames = files + more_files, frames + more_frames
                yield files, frames
        finally:  # Ctrl-C, too: what is done is on the disk
            self._is_over.set()
            for worker in list(self._workers):
                worker.kill()
            for thread in threads:
                thread.join()
        if self._error is not None:
            raise self._error

    def _attend(self) -> None:
        worker: Worker | None = None
        try:
            while not self._is_over.is_set():
                try:
                    job, part = self._todo.get_nowait()
                except Empty:
                    return
                worker = worker if worker is not None and worker.is_alive else self._started()
                done = worker.do(job, part, self._tell)
                if len(job.files) > 1 and not worker.is_alive:
                    done = self._one_by_one(job, part)
                if not done.failures:
                    part.with_suffix(".json").write_bytes(msgspec.json.encode(done))
                self.done[part] = done
                self._events.put((len(job.files), 0))
        except Exception as error:
            self._error = self._error or error
            self._is_over.set()
        finally:
            if worker is not None:
                worker.close()

    def _one_by_one(self, job: Job, part: Path) -> Done:
        """Find out which picture of a group it was that killed the process."""
        worker = self._started()
        found: list[Done] = []
        rows: list[bytes] = []
        for number, file in enumerate(job.files):
            worker = worker if worker.is_alive else self._started()
            single = part.with_name(f"{part.stem}-{number}.csv")
            found.append(worker.do(Job((file,), is_film=False), single, self._tell))
            if single.is_file():
                header, *lines = single.read_bytes().splitlines(keepends=True)
                rows += lines if rows else [header, *lines]
                single.unlink()
        worker.close()
        if rows:
            part.write_bytes(b"".join(rows))
        return Done(
            frames=sum(one.frames for one in found),
            rows=sum(one.rows for one in found),
            failures=tuple(failure for one in found for failure in one.failures),
        )

    def _tell(self, frames: int) -> None:
        self._events.put((0, frames))

    def _started(self) -> Worker:
        worker = Worker(self._settings)
        self._workers.add(worker)
        return worker


def _write(
    target: Path, output_format: Format, parts: Sequence[Path], labels: Sequence[str]
) -> None:
    """Put the parts together, in order."""
    kinds = kinds_of(labels or EMOTIONS)
    # Short and plain: DuckDB takes UTF-8 only, and a long name has no room for an addition.
    whole = target.with_name(f".edgeemo-{os.getpid()}.part")
    try:
        with whole.open("wb") as file:
            file.write(",".join(kinds).encode() + b"\n")
            for part in parts:
                with part.open("rb") as rows:
                    rows.readline()  # its header
                    shutil.copyfileobj(rows, file)
        if output_format == "parquet":
            _to_parquet(whole, kinds)
        whole.replace(target)
    except OSError as error:
        raise SinkError(f"{target}: cannot be written ({error.strerror})") from error
    finally:
        whole.unlink(missing_ok=True)


def _to_parquet(whole: Path, kinds: dict[str, str]) -> None:
    from edgeemo.analysis.database import import_duckdb, text_literal

    duckdb = import_duckdb()
    made = whole.with_suffix(".parquet")
    folder = NativePath(whole.parent)
    columns = ", ".join(f"'{name}': '{_SQL[kind]}'" for name, kind in kinds.items())
    source = (
        f"read_csv({text_literal(f'{folder}/{whole.name}')}, columns = {{{columns}}}, "
        "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', "
        "nullstr = '')"
    )
    try:
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT * FROM {source}) TO {text_literal(f'{folder}/{made.name}')} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
        made.replace(whole)
    except duckdb.Error as error:
        raise EdgeEmoError(f"the table cannot be made: {str(error).splitlines()[0]}") from error
    finally:
        folder.close()
        made.unlink(missing_ok=True)
