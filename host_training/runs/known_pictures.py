"""Which pictures a run knows already: judged by their content, whatever a data set is called.

A run directory keeps the keys of its pictures in ``pictures.npz``, 8 bytes each and exact but for
one false match in 10**11 of a FER2013: 250 kB, which is why a bundle of a device does not hold
them; `edgeemo convert` puts the file beside it, as ``BUNDLE.pictures.npz``.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import Samples, picture_keys
from host_training.errors import TrainingError
from host_training.metrics.scores import Metrics

PICTURES: Final = "pictures.npz"

Where = Literal["unseen", "training", "validation"]
WHERES: Final[tuple[Where, ...]] = ("unseen", "training", "validation")
UNSEEN, LEARNT, VALIDATED = range(3)
"""Where a picture was seen, as indices into ``WHERES``."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How many measured samples a model knew, by the very picture.

    Attributes:
        training: that it learnt from.
        validation: that it did not learn from, but that chose its best epoch.
        unseen: neither.
        samples: where each measured sample was seen, in their order.
        unseen_figures: of the unseen samples alone; None where there are none.
    """

    training: int
    validation: int
    unseen: int
    samples: tuple[Where, ...] = ()
    unseen_figures: Metrics | None = None

    @property
    def words(self) -> str:
        """The numbers in words."""
        total = self.training + self.validation + self.unseen
        return (
            f"of {total:,} samples the model learnt from {self.training:,}, {self.validation:,} "
            f"chose its best epoch, {self.unseen:,} are new to it"
        )


@dataclass(frozen=True, slots=True, eq=False)
class KnownPictures:
    """The pictures of a run.

    Attributes:
        training: uint64 keys of those that it learnt from, sorted, each once.
        validation: of those that chose its best epoch.
        fingerprint: of the training samples, as ``run.json`` and a bundle's metadata have it: whose
            pictures these are.
    """

    training: NDArray[np.uint64]
    validation: NDArray[np.uint64]
    fingerprint: str

    def places(self, images: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Return int64 ``(n,)``: where each picture was seen, as an index into ``WHERES``.

        One that is on both sides, as copies of pictures may be, was learnt from.
        """
        keys = picture_numbers(images)
        learnt, validated = np.isin(keys, self.training), np.isin(keys, self.validation)
        return np.where(learnt, LEARNT, np.where(validated, VALIDATED, UNSEEN))

    def encode(self) -> bytes:
        """Return the file's content; the same bytes for the same pictures."""
        buffer = io.BytesIO()
        np.savez(
            buffer,
            training=self.training,
            validation=self.validation,
            fingerprint=np.array(self.fingerprint),
        )
        return buffer.getvalue()


def seen_counts(places: NDArray[np.int64]) -> Seen:
    """Count ``places``, without saying where each sample was seen."""
    unseen, training, validation = np.bincount(places, minlength=len(WHERES)).tolist()
    return Seen(training=training, validation=validation, unseen=unseen)


def known_pictures(training: Samples, validation: Samples) -> KnownPictures:
    """Take down the pictures of a run."""
    return KnownPictures(
        np.unique(picture_numbers(training.images)),
        np.unique(picture_numbers(validation.images)),
        training.fingerprint().fingerprint,
    )


def read_known_pictures(path: Path, fingerprint: str) -> KnownPictures | None:
    """Read the pictures of a run or bundle.

    Args:
        path: the file.
        fingerprint: of the training samples whose pictures they must be.

    Returns:
        None where there is no such file, or one of another run's pictures: then it is not known
        what the model has seen.

    Raises:
        TrainingError: the file is damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as arrays:
            found = KnownPictures(
                np.asarray(arrays["training"], np.uint64),
                np.asarray(arrays["validation"], np.uint64),
                str(arrays["fingerprint"]),
            )
    except FileNotFoundError:
        return None
    except Exception as error:  # numpy and zipfile raise what they please for damaged files
        raise TrainingError(
            f"{path}: not the pictures of a run ({type(error).__name__}); copy or remove it"
        ) from error
    return found if found.fingerprint == fingerprint else None


def picture_numbers(images: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return uint64 ``(n,)``: numbers that are equal for equal pictures, and hardly for others."""
    whole = picture_keys(images)
    return np.ascontiguousarray(whole.view("<u8").reshape(len(whole), 2)[:, 0])
