"""The last layer fitted by itself, before the whole network learns.

Fine-tuning a network whose last layer is still wrong bends its features out of shape; fitting that
layer first keeps them: Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution", ICLR 2022 (arXiv 2202.10054).
"""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from host_training.data.samples import Samples
from host_training.data.stored_images import BLOCK
from host_training.metrics.inputs import as_model_input, input_names, model_inputs
from host_training.training.bundle_weights import HEAD
from host_training.training.classifier import drawn, fitted_layer

if TYPE_CHECKING:
    import keras

    from edge.contract.mesh_features import FeatureNorm

_PENALTY: Final = 5e-4
"""See ``fitted_layer``."""
_BATCH: Final = 256


def fit_last_layer(model: "keras.Model", rows: Samples, norm: "FeatureNorm | None") -> str:
    """Fit a network's last layer to samples and their mirror images; nothing else changes.

    Args:
        model: with the weights that it starts from.
        rows: to learn from; of a large data set ``MOST`` are drawn.
        norm: of the mesh features, where the network takes them.

    Returns:
        What was done, in words.
    """
    import keras

    rows = rows.where(drawn(rows))
    head = model.get_layer(HEAD)
    trunk = keras.Model(model.inputs, head.input)
    features, targets = _features(trunk, rows, norm), rows.targets
    if norm is None:
        features = np.concatenate((features, _features(trunk, rows, norm, mirrored=True)))
        targets = np.concatenate((targets, targets))
    start = head.get_weights()
    head.set_weights(
        fitted_layer(
            features,
            targets,
            np.ones(len(targets)),
            start=start,
            offsets=np.zeros(len(start[1]), np.float32),
            penalty=_PENALTY,
        )
    )
    mirrored = " and their mirror images" if norm is None else ""
    return f"fitted the last layer by itself, to {len(rows)} samples{mirrored}"


def _features(
    trunk: "keras.Model", rows: Samples, norm: "FeatureNorm | None", *, mirrored: bool = False
) -> NDArray[np.float32]:
    """Return what goes into the last layer; a block of pictures at a time is in memory."""
    found = []
    for start in range(0, len(rows), BLOCK):
        block = np.zeros(len(rows), bool)
        block[start : start + BLOCK] = True
        inputs = model_inputs(rows.where(block), input_names(trunk), norm)
        if mirrored:
            inputs["pixels"] = np.ascontiguousarray(inputs["pixels"][:, :, ::-1])
        values = trunk.predict(as_model_input(trunk, inputs), batch_size=_BATCH, verbose=0)
        found.append(np.asarray(values, np.float32))
    return np.concatenate(found)
