"""Golden vectors: probes that travel with a model, and the outputs they must give.

``doctor`` and a deployment's preflight run them on the device. A runtime or processor that
computes something else than what was measured at conversion is found before it logs emotions.
"""

import hashlib
import io
import math
import zipfile
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.arrays import read_arrays
from edge.contract.bundle import GOLDEN, Bundle
from edge.contract.decision import Decision, leading
from edge.contract.mesh_features import FEATURE_COUNT
from edge.errors import BundleError
from edge.files import read_bounded
from edge.inference.emotion_model import EmotionModel, open_emotion_model
from edge.inference.interpreter import Kernels, integer_kernels

MIN_PROBES: Final = 44
"""How many probes a bundle carries at least."""

_MOST_UNPACKED: Final = 64 << 20
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)
_CROPS: Final = "crops"
_MESH: Final = "mesh"
_OUTPUTS: Final = "outputs"
_BUILTIN_OUTPUTS: Final = "outputs_builtin"


class Probes(msgspec.Struct, frozen=True, eq=False):
    """What a model is given to compare its answers; at least one of the two, equally long.

    Attributes:
        crops: uint8 ``(n, size, size)``; None for a model that takes no crop.
        mesh: mesh features before standardisation, float32 ``(n, FEATURE_COUNT)``, so that the
            norm is proven too; None for a model that takes none.
    """

    crops: NDArray[np.uint8] | None = None
    mesh: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        crops, mesh = self.crops, self.mesh
        if crops is not None and (crops.dtype != np.uint8 or crops.ndim != 3):
            raise ValueError(
                f"expected crops uint8 (n, size, size), got {crops.dtype} {list(crops.shape)}"
            )
        if mesh is not None and (mesh.dtype != np.float32 or mesh.ndim != 2):
            raise ValueError(
                f"expected mesh features float32 (n, {FEATURE_COUNT}), got {mesh.dtype} "
                f"{list(mesh.shape)}"
            )
        lengths = {len(part) for part in (crops, mesh) if part is not None}
        if len(lengths) != 1 or lengths == {0}:
            raise ValueError(f"expected probes, as many of each kind, got {self}")

    def __len__(self) -> int:
        return max(len(part) for part in (self.crops, self.mesh) if part is not None)

    def __str__(self) -> str:
        parts = (("crops", self.crops), ("mesh features", self.mesh))
        told = [f"{name} {list(part.shape)}" for name, part in parts if part is not None]
        return ", ".join(told) or "nothing"

    def pairs(self) -> list[tuple[NDArray[np.uint8] | None, NDArray[np.float32] | None]]:
        """Return crop and mesh features of each probe."""
        nothing = (None,) * len(self)
        crops = nothing if self.crops is None else self.crops
        return list(zip(crops, nothing if self.mesh is None else self.mesh, strict=True))

    def fit(self, model: EmotionModel) -> bool:
        """Tell whether these are what the model takes, no less, no more, of its shapes."""
        crop, mesh = model.input, model.mesh_input
        return _item(self.crops) == (crop and crop.shape[1:3]) and _item(self.mesh) == (
            mesh and mesh.shape[1:]
        )


class GoldenVectors(msgspec.Struct, frozen=True, eq=False):
    """Probes and the outputs they must give.

    Attributes:
        probes: ``n`` of them.
        outputs: of XNNPACK's kernels where it has them, int8 or float32 ``(n, k)``.
        builtin: of TFLite's own kernels, which tflite-runtime computes int8 models with; None for
            float models, where both agree but for rounding, and in older bundles.
    """

    probes: Probes
    outputs: NDArray[Any]
    builtin: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        for outputs in (self.outputs, self.outputs if self.builtin is None else self.builtin):
            if outputs.dtype not in (np.int8, np.float32):
                raise ValueError(f"expected int8 or float32 outputs, got {outputs.dtype}")
            if outputs.ndim != 2 or len(self.probes) != len(outputs):
                raise ValueError(
                    f"expected (n, labels) outputs of {len(self.probes)} probes, got "
                    f"{len(outputs) if outputs.ndim else 'none'} of shape {list(outputs.shape)}"
                )

    def expected(self, kernels: Kernels) -> NDArray[Any]:
        """Return the outputs that such kernels must give."""
        return self.builtin if kernels == "builtin" and self.builtin is not None else self.outputs


class GoldenResult(msgspec.Struct, frozen=True):
    """How far this machine is from the golden outputs.

    Attributes:
        steps: the largest difference in output steps: whole numbers for an int8 model; of a float
            model about as large, see ``emotion_model.FLOAT_STEPS``. 0 is exact; infinite where
            either side is not a number, whatever the other one is.
        same_answers: probes with the same answer after the decision.
        probes: how many there are.
    """

    steps: float
    same_answers: int
    probes: int


def check_golden(bundle: Bundle, *, num_threads: int = 1) -> float:
    """Run a bundle's probes and return the largest difference in steps, see ``compare_golden``."""
    return compare_golden(bundle, num_threads=num_threads).steps


def compare_golden(bundle: Bundle, *, num_threads: int = 1) -> GoldenResult:
    """Run a bundle's probes on this machine's runtime.

    Integer kernels round differently, layer after layer, so a bundle has the outputs of both kinds
    that there are; docs/quantisation.md tells how far apart they lie. More than a step or two from
    those of the kernels at hand is another model, or a broken machine.

    Raises:
        BundleError: ``golden.npz`` is damaged or does not fit the model.
        InferenceError: no runtime, or the runtime cannot run the model.
    """
    model = open_emotion_model(bundle, num_threads=num_threads)
    golden = _read_golden(bundle)
    probes, expected = golden.probes, golden.expected(integer_kernels())
    if not probes.fit(model) or expected.shape[1:] != model.output.shape[1:]:
        raise BundleError(
            f"{bundle.path / GOLDEN}: {probes} and outputs {list(expected.shape)} do not fit the "
            "model; convert the model again"
        )
    return difference(model, bundle.metadata.decision, run_probes(model, probes), expected)


def difference(
    model: EmotionModel, decision: Decision, actual: NDArray[Any], expected: NDArray[Any]
) -> GoldenResult:
    """Compare outputs of the same probes.

    Args:
        model: whose outputs they are.
        decision: what makes scores of them.
        actual: int8 or float32 ``(n, k)``, as ``EmotionModel.raw`` gives them.
        expected: the same.
    """
    if not (np.isfinite(actual).all() and np.isfinite(expected).all()):
        return GoldenResult(steps=math.inf, same_answers=0, probes=len(actual))
    largest = float(np.abs(actual.astype(np.float64) - expected.astype(np.float64)).max())
    answers = [leading(decision.scores(model.logits_of(raw))) for raw in (actual, expected)]
    same = answers[0] == answers[1]
    return GoldenResult(
        steps=largest if actual.dtype == np.int8 else largest / model.step,
        same_answers=int(same.sum()),
        probes=len(actual),
    )


def run_probes(model: EmotionModel, probes: Probes) -> NDArray[Any]:
    """Return the model's raw outputs for the probes, int8 or float32 ``(n, k)``."""
    return np.stack([model.raw(crop, features) for crop, features in probes.pairs()])


def encode_golden(golden: GoldenVectors) -> bytes:
    """Return ``golden.npz``: the same bytes for the same arrays, without dates."""
    buffer = io.BytesIO()
    arrays = {
        _CROPS: golden.probes.crops,
        _MESH: golden.probes.mesh,
        _OUTPUTS: golden.outputs,
        _BUILTIN_OUTPUTS: golden.builtin,
    }
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, values in arrays.items():
            if values is None:
                continue
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(values), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _TIMESTAMP)
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, compresslevel=9)
    return buffer.getvalue()


def _read_golden(bundle: Bundle) -> GoldenVectors:
    path = bundle.path / GOLDEN
    try:
        content = read_bounded(path, _MOST_UNPACKED)
        # The file is read a second time: it could have changed since the bundle was opened.
        if hashlib.sha256(content).hexdigest() != bundle.sha256[GOLDEN]:
            raise BundleError(f"{path}: altered since the bundle was opened; copy it again")
        arrays = read_arrays(content, _MOST_UNPACKED)
        given = {name: arrays[name] for name in (_CROPS, _MESH) if name in arrays}
        return GoldenVectors(Probes(**given), arrays[_OUTPUTS], arrays.get(_BUILTIN_OUTPUTS))
    except (OSError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: not golden vectors ({error}); convert again") from error


def _item(values: NDArray[Any] | None) -> tuple[int, ...] | None:
    """Return the shape of one of the values."""
    return None if values is None else values.shape[1:]
