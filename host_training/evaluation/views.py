"""How a model gets to see a data set: its 48-pixel pictures, or what a device makes of the whole.

A device finds the face, aligns and crops it, and leaves out what its quality gate refuses.
``PipelineView`` has that done by the device's own pipeline, put together by `edge.runtime.build`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.calibration.still import MakeDevice, Stills
from edge.contract.mesh_features import mesh_features
from edge.media.pictures import open_picture
from host_training.data.corruptions import corrupted
from host_training.data.picture_progress import PictureProgress
from host_training.data.samples import Samples
from host_training.data.workers import work_through
from host_training.errors import DataError
from host_training.evaluation.seen import OK, Seen, SeenStore, nothing_seen
from host_training.metrics.predict import Model, Predictions, predict

BATCH: Final = 32
"""Pictures that a worker takes at a time."""


class Corruption(NamedTuple):
    """How pictures are made worse before anything looks at them, see ``corruptions``."""

    kind: str
    severity: int
    seed: int = 0


CLEAN: Final = (None,)
"""The pictures as they are."""

Corruptions = Sequence[Corruption | None]


_Face = tuple[float, float, float]
"""Width, x and y of the middle of a face, in pixels."""


class View(Protocol):
    """What a model gets to see of samples."""

    def __call__(
        self, rows: Samples, corruptions: Corruptions = CLEAN, clean: Seen | None = None
    ) -> Iterator[Seen]:
        """Look at samples once for each corruption.

        Args:
            rows: any.
            corruptions: applied to the pictures first; None for none.
            clean: what this view made of the same samples as they are: where their faces are.
        """


def answers_to(rows: Samples, seen: Seen, model: Model) -> Predictions:
    """Ask a model about those samples that are classified.

    Args:
        rows: all of them.
        seen: what a view made of them.
        model: what is measured.

    Returns:
        The answers. Their ``rows`` are the samples as they were given, so that these keep their
        fingerprint.

    Raises:
        DataError: no sample is classified, and what ``predict`` raises.
    """
    chosen = seen.is_classified
    if not chosen.any():
        counts = ", ".join(f"{name} {n}" for name, n in seen.not_classified().items())
        raise DataError(f"{rows.name}: no face is classified in {len(rows)} samples ({counts})")
    own = rows.where(chosen)
    mesh = seen.mesh[chosen] if seen.mesh.size else None
    answers = predict(replace(own, images=seen.crops[chosen], mesh=mesh, aligned=None), model)
    return replace(answers, rows=own)


@dataclass(frozen=True, slots=True, eq=False)
class RawView:
    """Samples as 48-pixel pictures, as published figures on FER2013 take them; a ``View``.

    Corrupted, they are all face: strengths go by the picture's width.

    Attributes:
        progress: told of every pass over corrupted pictures; None for nobody.
    """

    progress: PictureProgress | None = None

    def __call__(
        self, rows: Samples, corruptions: Corruptions = CLEAN, clean: Seen | None = None
    ) -> Iterator[Seen]:
        """Look at samples; see ``View``."""
        del clean
        progress = None if tuple(corruptions) == CLEAN else self.progress
        if progress is not None:
            progress.begin(len(rows) * len(corruptions))
        for corruption in corruptions:
            yield _raw(rows, corruption)
            if progress is not None:
                progress.advance(len(rows))


def _raw(rows: Samples, corruption: Corruption | None) -> Seen:
    images, mesh = rows.images, rows.mesh
    if corruption is not None:
        kind, severity, seed = corruption
        images = np.stack([corrupted(image, kind, severity, seed=seed) for image in images])
        mesh = None  # that of the clean picture would tell what the corrupted one does not
    return Seen(
        np.full(len(rows), OK),
        images,
        np.empty((len(rows), 0), np.float32) if mesh is None else mesh,
        np.full((len(rows), 4), np.nan, np.float32),
    )


class Job(NamedTuple):
    """A picture to look at.

    Attributes:
        source: a file, or a 48-pixel grey picture.
        corruption: applied first.
        face: where the face is, None where nobody knows.
    """

    source: str | NDArray[np.uint8]
    corruption: Corruption | None
    face: _Face | None


@dataclass(frozen=True, slots=True, eq=False)
class PipelineView:
    """Samples as the device's pipeline sees them, each as a still of its own; a ``View``.

    Of several faces in a picture the largest is the sample's.

    Attributes:
        make: puts the pipeline together, once a process.
        workers: processes.
        progress: told of every batch.
        with_mesh: the pipeline gives blendshapes, and the model takes mesh features.
        store: keeps what was seen for the next time; None to keep nothing.
    """

    make: MakeDevice
    workers: int
    progress: PictureProgress
    with_mesh: bool = False
    store: SeenStore | None = None

    def __call__(
        self, rows: Samples, corruptions: Corruptions = CLEAN, clean: Seen | None = None
    ) -> Iterator[Seen]:
        """Look at samples; see ``View``.

        Raises:
            DataError: a worker process died.
            PictureError: a picture cannot be read any more.
            InferenceError: the mesher failed.
            TrainingError: the disk of the store refuses.
        """
        begun: dict[int, _Pass] = {}

        def passed(number: int) -> _Pass:
            if number not in begun:
                begun[number] = self._begin(rows, corruptions[number], clean)
            return begun[number]

        # One sequence of tasks for all passes: workers are opened once, and never wait.
        tasks = (task for i in range(len(corruptions)) for task in passed(i).tasks())
        work = work_through(tasks, partial(_Looking, self.make, self.with_mesh), self.workers)
        self.progress.begin(len(rows) * len(corruptions))
        try:
            for number in range(len(corruptions)):
                one = passed(number)
                self.progress.advance(len(rows) - len(one.todo))
                for batch in one.batches():
                    part = next(work)
                    one.seen.put(batch, part)
                    self._keep([one.keys[i] for i in batch] if one.keys else [], part)
                    self.progress.advance(len(batch))
                del begun[number]
                yield one.seen
        finally:  # interrupted, too
            if self.store is not None:
                self.store.save()

    def _keep(self, keys: list[bytes], part: Seen) -> None:
        if self.store is not None:
            self.store.add(keys, part)

    def _begin(self, rows: Samples, corruption: Corruption | None, clean: Seen | None) -> "_Pass":
        seen = nothing_seen(len(rows), with_mesh=self.with_mesh)
        jobs = _jobs(rows, corruption, clean)
        if self.store is None:
            return _Pass(jobs, [], seen, np.arange(len(rows)))
        keys = list(map(_key, jobs))
        return _Pass(jobs, keys, seen, self.store.fill(seen, keys))


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """All samples under one corruption: the jobs, and those that are still to do."""

    jobs: Sequence[Job]
    keys: Sequence[bytes]
    seen: Seen
    todo: NDArray[np.int64]

    def batches(self) -> Iterator[NDArray[np.int64]]:
        return (self.todo[i : i + BATCH] for i in range(0, len(self.todo), BATCH))

    def tasks(self) -> Iterator[list[Job]]:
        return ([self.jobs[i] for i in batch] for batch in self.batches())


def _jobs(rows: Samples, corruption: Corruption | None, clean: Seen | None) -> list[Job]:
    sources = rows.images if rows.files is None else map(str, rows.files)
    boxes = [None] * len(rows) if clean is None else clean.boxes
    return [
        Job(source, corruption, _face_of(box)) for source, box in zip(sources, boxes, strict=True)
    ]


def _key(job: Job) -> bytes:
    """Return 16 bytes that stand for a picture's content and what is done to it."""
    content = _content(job.source) if isinstance(job.source, str) else job.source.tobytes()
    done = repr((isinstance(job.source, str), job.corruption, job.corruption and job.face))
    return hashlib.blake2b(done.encode() + content, digest_size=16).digest()


def _content(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read any more ({error.strerror})") from error


def _face_of(box: NDArray[np.float32] | None) -> _Face | None:
    if box is None or not np.isfinite(box).all() or not box[2] > box[0]:
        return None
    x1, y1, x2, y2 = map(float, box)
    return x2 - x1, (x1 + x2) / 2, (y1 + y2) / 2


class _Looking:
    """Looks at pictures with a pipeline of its own."""

    def __init__(self, make: MakeDevice, with_mesh: bool) -> None:
        self._stills = Stills(make)
        self._with_mesh = with_mesh

    def __call__(self, jobs: Sequence[Job]) -> Seen:
        seen = nothing_seen(len(jobs), with_mesh=self._with_mesh)
        for i, job in enumerate(jobs):
            still = self._stills.look(_worse(_full(job.source), job.corruption, job.face))
            if still is None:
                continue
            face = still.face
            seen.quality[i], seen.boxes[i] = still.quality, face.box_xyxy
            if still.crop is not None:
                seen.crops[i] = still.crop
                if self._with_mesh and face.blendshapes is not None:
                    seen.mesh[i] = mesh_features(face.points, face.blendshapes)
        return seen

    def close(self) -> None:
        self._stills.close()


def _full(source: str | NDArray[np.uint8]) -> NDArray[np.uint8]:
    if isinstance(source, str):
        return open_picture(Path(source)).image
    return np.asarray(cv2.cvtColor(source, cv2.COLOR_GRAY2BGR), np.uint8)


def _worse(
    image: NDArray[np.uint8], corruption: Corruption | None, place: _Face | None
) -> NDArray[np.uint8]:
    if corruption is None:
        return image
    kind, severity, seed = corruption
    # Where no face is known, the picture is taken for one.
    width, x, y = place or (min(image.shape[:2]), image.shape[1] / 2, image.shape[0] / 2)
    return corrupted(image, kind, severity, face_width=width, middle=(x, y), seed=seed)
