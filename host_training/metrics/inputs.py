"""What goes into a network, by the names of its inputs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48
from edge.contract.mesh_features import (
    FEATURE_COUNT,
    FeatureNorm,
    feature_norm,
    mirrored_features,
    standardized,
)
from host_training.data.samples import Samples
from host_training.errors import DataError, TrainingError

if TYPE_CHECKING:
    import keras

Inputs = dict[str, NDArray[np.float32]]
"""``pixels`` float32 ``(n, 48, 48, 1)`` in 0..255 and, or, ``mesh`` ``(n, 344)`` standardised."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What one step learns from.

    Attributes:
        inputs: by name: ``pixels`` float32 ``(b, 48, 48, 1)`` in 0..255, ``mesh`` ``(b, 344)``.
        targets: float32 ``(b, k)``; rows sum to 1.
        weights: of the rows, float32 ``(b,)``, or None.
    """

    inputs: Inputs
    targets: NDArray[np.float32]
    weights: NDArray[np.float32] | None


_SHAPES: Final = {"pixels": (FER48.size, FER48.size, 1), "mesh": (FEATURE_COUNT,)}


def norm_of(rows: Samples) -> FeatureNorm:
    """Return how the mesh features are standardised, from the rows with a face.

    Raises:
        DataError: the rows are not prepared, or no face was found in any.
    """
    mesh = _prepared(rows)
    if np.isnan(mesh).any(axis=1).all():
        raise DataError(
            f"{rows.name}: no sample has a face mesh; nothing can be learnt from meshes"
        )
    return feature_norm(mesh)


def model_inputs(rows: Samples, names: tuple[str, ...], norm: FeatureNorm | None) -> Inputs:
    """Return the inputs of a network for rows as they are.

    Args:
        rows: any.
        names: of the network's inputs.
        norm: of its mesh features, where it takes them.

    Raises:
        DataError: it takes mesh features, and the rows have none.
    """
    inputs: Inputs = {}
    if "pixels" in names:
        inputs["pixels"] = np.asarray(rows.images)[..., None].astype(np.float32)
    if "mesh" in names:
        if norm is None:
            raise DataError("the model takes mesh features, but nothing tells how they are scaled")
        inputs["mesh"] = standardized(_prepared(rows), norm)
    return inputs


def input_names(model: "keras.Model") -> tuple[str, ...]:
    """Return the names of a network's inputs."""
    return tuple(tensor.name for tensor in model.inputs)


def as_model_input(model: "keras.Model", inputs: Inputs) -> Inputs | NDArray[np.float32]:
    """Return a network's own inputs as Keras wants them: an array where there is but one."""
    own = {name: inputs[name] for name in input_names(model)}
    return own if len(own) > 1 else next(iter(own.values()))


def adapt_inputs(
    model: "keras.Model", rows: Samples, norm: FeatureNorm | None, where: str
) -> Inputs:
    """Return the inputs of a network from anywhere, which may call them as it likes.

    Args:
        model: told from others by the shapes of its inputs.
        rows: any.
        norm: of its mesh features, where it takes them.
        where: names the network in a message.

    Raises:
        TrainingError: it takes something else than a crop and its mesh features.
        DataError: see ``model_inputs``.
    """
    inputs: Inputs = {}
    for tensor in model.inputs:
        shape = tuple(tensor.shape[1:])
        kind = next((kind for kind, own in _SHAPES.items() if own == shape), None)
        if kind is None:
            raise TrainingError(
                f"{where}: has an input {tensor.name!r} of shape {shape}; expected a crop "
                f"{_SHAPES['pixels']}, mesh features {_SHAPES['mesh']}, or both"
            )
        inputs[tensor.name] = model_inputs(rows, (kind,), norm)[kind]
    return inputs


class MeshRows:
    """Standardised mesh features of training rows, as they are and mirrored.

    Args:
        rows: prepared ones.
        norm: from ``norm_of``.

    Raises:
        DataError: the rows are not prepared.
    """

    def __init__(self, rows: Samples, norm: FeatureNorm) -> None:
        mesh = _prepared(rows)
        self._both = np.stack(
            (standardized(mesh, norm), standardized(mirrored_features(mesh), norm))
        )

    def rows(self, chosen: NDArray[np.int64], mirrored: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return float32 ``(b, 344)``: the chosen rows, mirrored where ``mirrored`` is true."""
        return np.asarray(self._both[mirrored.astype(np.intp), chosen])


def _prepared(rows: Samples) -> NDArray[np.float32]:
    if rows.mesh is None:
        raise DataError(
            f"{rows.name}: the network takes mesh features, these samples have none; make them "
            "with `edgeemo data prepare DATA --out DIR` and give --prepared DIR"
        )
    return rows.mesh
