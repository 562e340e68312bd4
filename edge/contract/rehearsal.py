"""``rehearsal.npz`` of a bundle: what its network says of general samples, without a picture.

A calibration for one place forgets what it never sees. Logits and labels of some thousand training
samples let it rehearse them, on a device too.
"""

import io
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.arrays import read_arrays
from edge.contract.bundle import MOST_REHEARSAL, REHEARSAL, Bundle, read_file
from edge.errors import BundleError

MOST_SAMPLES: Final = 3000


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsal:
    """General samples.

    Attributes:
        logits: float32 ``(n, k)``, as ``EmotionModel.logits`` gives them.
        answers: int64 ``(n,)``, indices of the right labels.
    """

    logits: NDArray[np.float32]
    answers: NDArray[np.int64]


def most_samples(labels: int) -> int:
    """Return how many samples of a network with so many labels a bundle carries at most."""
    return min(MOST_SAMPLES, (MOST_REHEARSAL - 2000) // (labels + 1))


def encode_rehearsal(rehearsal: Rehearsal) -> bytes:
    """Return the file, under ``MOST_REHEARSAL`` bytes, unpacked, too.

    Logits are rounded to 256 evenly spaced values, as fine as those of an int8 network.
    """
    lowest, highest = rehearsal.logits.min(), rehearsal.logits.max()
    step = (highest - lowest) / 255 or 1.0
    file = io.BytesIO()
    np.savez_compressed(
        file,
        logits=np.rint((rehearsal.logits - lowest) / step).astype(np.uint8),
        scale=np.array((lowest, step), np.float32),
        answers=rehearsal.answers.astype(np.uint8),
    )
    return file.getvalue()


def decode_rehearsal(data: bytes, labels: int, where: str) -> Rehearsal:
    """Parse the file of a network with so many labels.

    Raises:
        BundleError: it is damaged, or of another network; ``where`` names it.
    """
    try:
        arrays = read_arrays(data, MOST_REHEARSAL)
        logits, scale, answers = arrays["logits"], arrays["scale"], arrays["answers"]
    except (ValueError, KeyError) as error:
        raise BundleError(
            f"{where}: not a rehearsal set ({error}); convert the model again"
        ) from error
    n = len(answers) if answers.ndim == 1 else 0
    fits = (
        n > 0
        and answers.dtype == np.uint8
        and logits.dtype == np.uint8
        and logits.shape == (n, labels)
        and scale.dtype == np.float32
        and scale.shape == (2,)
        and bool(np.isfinite(scale).all())
        and int(answers.max()) < labels
    )
    if not fits:
        raise BundleError(
            f"{where}: logits {logits.dtype} {list(logits.shape)}, answers {answers.dtype} "
            f"{list(answers.shape)}; expected uint8 [n, {labels}] and uint8 [n] with a finite "
            "scale; convert the model again"
        )
    lowest, step = scale
    return Rehearsal(lowest + step * logits.astype(np.float32), answers.astype(np.int64))


def read_rehearsal(bundle: Bundle) -> Rehearsal | None:
    """Return the rehearsal set of a bundle; None for one without.

    Raises:
        BundleError: it was altered, or is none.
    """
    if REHEARSAL not in bundle.sha256:
        return None
    where = str(bundle.path / REHEARSAL)
    return decode_rehearsal(read_file(bundle, REHEARSAL), len(bundle.metadata.labels), where)
