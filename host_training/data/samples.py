"""``Samples``: the one value that every data set becomes."""

import hashlib
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.metadata import Crops, Dataset
from host_training.errors import DataError

TRAINING: Final = "Training"
VALIDATION: Final = "PublicTest"
"""FER2013's names for the rows to learn from and the rows to tune on."""
HELD_OUT: Final = "Validation"
"""The rows to tune on that a ``val`` folder gives, or that are held out of the training rows."""

_BLOCK: Final = 16384

EXCLUDED: Final = -1
"""The class id of a row that the protocol leaves out of every figure."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Pictures with their labels, in the order of the files.

    Attributes:
        images: uint8 ``(n, 48, 48)``, grey; of data in shards they stay on the disk, see
            ``host_training.data.stored_images``.
        targets: float32 ``(n, k)``: what to train towards, rows sum to 1 (one-hot labels or the
            distribution of people's votes), or to 0 where the row is not fit for training.
        labels: the ``k`` canonical emotions, in canonical order.
        class_ids: int64 ``(n,)``: index of the one right answer, ``EXCLUDED`` where the protocol
            says that there is none.
        split: str ``(n,)``: the name of each row's split.
        name: of the data set, for reports and fingerprints.
        form: what the files were recognised as, in words.
        protocol: how ``class_ids`` were made: ``majority``, ``plurality``, ``fer2013`` or
            ``labels``.
        subjects: str ``(n,)``: who is in the picture, where the data set says so.
        mesh: float32 ``(n, FEATURE_COUNT)``: mesh features of each picture as
            ``edge.contract.mesh_features`` computes them, a row of NaN where no face was found;
            None unless the data set was prepared (`edgeemo data prepare`).
        crops: whether the pictures are as they were read, or aligned ones of a prepared data set;
            with ``both`` the former, to which ``aligned`` has the latter.
        aligned: uint8 ``(n, 48, 48)``, the aligned crop of each row, or None.
        votes: int64 ``(n, 10)``: FER+ votes beside other labels, as they were read; else None.
        files: str ``(n,)``: where each picture can be read in full; None where ``images`` are all
            that there is.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.float32]
    labels: tuple[str, ...]
    class_ids: NDArray[np.int64]
    split: NDArray[np.str_]
    name: str
    form: str
    protocol: str
    subjects: NDArray[np.str_] | None = None
    mesh: NDArray[np.float32] | None = None
    crops: Crops = "raw"
    aligned: NDArray[np.uint8] | None = None
    votes: NDArray[np.int64] | None = None
    files: NDArray[np.str_] | None = None

    def __post_init__(self) -> None:
        n, k = len(self.images), len(self.labels)
        if self.images.dtype != np.uint8 or self.images.shape != (n, 48, 48):
            raise ValueError(
                f"images must be uint8 (n, 48, 48), got {self.images.dtype} {self.images.shape}"
            )
        if self.targets.shape != (n, k):
            raise ValueError(f"targets must have shape {(n, k)}, got {self.targets.shape}")
        columns = (self.class_ids, self.split, self.subjects, self.files)
        if any(column is not None and column.shape != (n,) for column in columns):
            raise ValueError(f"class_ids, split, subjects and files must have shape {(n,)}")
        if self.mesh is not None and (self.mesh.ndim != 2 or len(self.mesh) != n):
            raise ValueError(f"mesh must have shape ({n}, features), got {self.mesh.shape}")
        if self.aligned is not None and self.aligned.shape != self.images.shape:
            raise ValueError(f"aligned must have shape {self.images.shape}")
        if self.votes is not None and len(self.votes) != n:
            raise ValueError(f"votes must have {n} rows, got {len(self.votes)}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def trainable(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: the rows with a distribution to train towards."""
        return np.asarray(self.targets.sum(axis=1) > 0)

    @property
    def measurable(self) -> NDArray[np.bool_]:
        """Bool ``(n,)``: the rows with one right answer under the protocol."""
        return np.asarray(self.class_ids != EXCLUDED)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of the splits, in the order of their first rows."""
        names, first = np.unique(self.split, return_index=True)
        return tuple(str(names[i]) for i in np.argsort(first))

    def where(self, mask: NDArray[np.bool_]) -> "Samples":
        """Return the rows where ``mask`` is true."""
        subjects = None if self.subjects is None else self.subjects[mask]
        return replace(
            self,
            images=self.images[mask],
            targets=self.targets[mask],
            class_ids=self.class_ids[mask],
            split=self.split[mask],
            subjects=subjects,
            mesh=None if self.mesh is None else self.mesh[mask],
            aligned=None if self.aligned is None else self.aligned[mask],
            votes=None if self.votes is None else self.votes[mask],
            files=None if self.files is None else self.files[mask],
        )

    def split_rows(self, name: str) -> "Samples":
        """Return the rows of one split.

        Raises:
            DataError: there is no such split.
        """
        self.check_split(name)
        return self.where(self.split == name)

    def check_split(self, name: str) -> None:
        """Refuse the name of a split that is not there.

        Raises:
            DataError: naming those that are.
        """
        if name not in self.splits:
            raise DataError(
                f"{self.name} has no split {name!r}; it has {', '.join(self.splits) or 'no rows'}"
            )

    def check_labelled(self) -> None:
        """Refuse rows of which none has a label, as those of FER2013's ``test.csv``.

        Raises:
            DataError: they can be audited and prepared, not learnt from or measured on.
        """
        if not self.measurable.any() and not self.trainable.any():
            raise DataError(
                f"{self.form}: none of the {len(self)} samples has a label; they can be audited "
                "and prepared, but not trained or measured on"
            )

    def counts(self) -> dict[str, int]:
        """Return the number of measurable rows of each label."""
        numbers = np.bincount(self.class_ids[self.measurable], minlength=len(self.labels))
        return {label: int(n) for label, n in zip(self.labels, numbers, strict=True)}

    def fingerprint(self) -> Dataset:
        """Identify these very rows: SHA-256 of labels, pictures, targets and answers, in order."""
        digest = hashlib.sha256(",".join(self.labels).encode())
        for start in range(0, len(self), _BLOCK):  # pictures may lie on the disk
            digest.update(np.ascontiguousarray(self.images[start : start + _BLOCK]).data)
        digest.update(np.ascontiguousarray(self.targets, "<f4").data)
        digest.update(np.ascontiguousarray(self.class_ids, "<i8").data)
        return Dataset(
            name=self.name,
            split="+".join(self.splits),
            rows=len(self),
            fingerprint=digest.hexdigest(),
        )


def picture_keys(images: NDArray[np.uint8]) -> NDArray[np.void]:
    """Return 16 bytes ``(n,)`` a picture that are equal for, and only for, equal pictures.

    BLAKE2b cut to 128 bits: two different pictures of a data set share a key with a probability
    below 1e-28.
    """
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    # "V" and not "S": numpy strips trailing zero bytes from "S" when it compares.
    return np.array(digests, dtype="V16") if digests else np.empty(0, "V16")


def first_rows(images: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return int64 ``(n,)``: for each picture the first row that shows the very same one."""
    _, first, group = np.unique(picture_keys(images), return_index=True, return_inverse=True)
    return np.asarray(first[group], np.int64)
