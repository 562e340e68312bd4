"""Golden vectors: probes that travel with a model, and the outputs they must give.

``doctor`` and a deployment's preflight run them on the device. A runtime or processor that
computes something else than what was measured at conversion is found before it logs emotions.
"""

import hashlib
import io
import zipfile
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import GOLDEN, Bundle
from edge.crop_model import open_crop_model
from edge.errors import BundleError

MIN_PROBES: Final = 64
"""How many probes a bundle carries at least."""

_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)


def check_golden(bundle: Bundle, *, num_threads: int = 1) -> float:
    """Run a bundle's probes on this machine's runtime.

    Returns:
        The largest difference from the recorded outputs in output steps: whole numbers for an int8
        model, multiples of 1/256 in probability for a float model. 0 is exact. Integer kernels
        may round differently, layer after layer: TFLite's built-in ones (all that tflite-runtime
        has for int8) end up to 20 steps away from XNNPACK's, with the same answer on 98 of 100
        pictures. Far more than that is another model, or a broken machine.

    Raises:
        BundleError: ``golden.npz`` is damaged or does not fit the model.
        InferenceError: no runtime, or the runtime can not run the model.
    """
    model = open_crop_model(bundle, num_threads=num_threads)
    crops, expected = _read_golden(bundle)
    if crops.shape[1:] != (model.size, model.size) or expected.shape[1:] != model.output.shape[1:]:
        raise BundleError(
            f"{bundle.path / GOLDEN}: probes {list(crops.shape)} and outputs "
            f"{list(expected.shape)} do not fit the model; convert the model again"
        )
    actual = np.stack([model.raw(crop) for crop in crops])
    difference = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
    return difference if actual.dtype == np.int8 else difference / model.step


def encode_golden(crops: NDArray[np.uint8], outputs: NDArray[Any]) -> bytes:
    """Return ``golden.npz``: the same bytes for the same arrays, uncompressed, without dates.

    Args:
        crops: probes, uint8 ``(n, size, size)``.
        outputs: what the model gives, int8 or float32 ``(n, k)``.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, values in (("crops", crops), ("outputs", outputs)):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _TIMESTAMP), member.getvalue())
    return buffer.getvalue()


def _read_golden(bundle: Bundle) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    path = bundle.path / GOLDEN
    try:
        content = path.read_bytes()
        # The file is read a second time: it could have changed since the bundle was opened.
        if hashlib.sha256(content).hexdigest() != bundle.sha256[GOLDEN]:
            raise BundleError(f"{path}: altered since the bundle was opened; copy it again")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            crops, outputs = arrays["crops"], arrays["outputs"]
    # Not a zip, a torn one, another kind of .npz, or a bare .npy file.
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise BundleError(f"{path}: not golden vectors ({error}); convert again") from error
    if crops.dtype != np.uint8 or crops.ndim != 3 or outputs.ndim != 2 or not len(crops):
        raise BundleError(
            f"{path}: expected uint8 crops (n, size, size) and outputs (n, labels), got "
            f"{crops.dtype} {list(crops.shape)} and {outputs.dtype} {list(outputs.shape)}"
        )
    if len(crops) != len(outputs):
        raise BundleError(f"{path}: {len(crops)} probes, {len(outputs)} outputs")
    return crops, outputs
