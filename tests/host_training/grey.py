"""A network and pictures that a program trains on in a moment, in a process of its own."""

from typing import Any

import numpy as np

from host_training.architectures import ARCHITECTURES, Architecture
from host_training.data.samples import Samples
from host_training.frameworks import import_keras


def register_tiny() -> None:
    """Let ``tiny`` be an architecture: what a checkpoint must hold, and small."""
    ARCHITECTURES["tiny"] = Architecture(_tiny, 0.3, ("pixels",), "for tests")


def _tiny(classes: int, dropout: float, mirrored: bool) -> Any:
    keras = import_keras()
    layers = keras.layers
    inputs = outputs = keras.Input((48, 48, 1), name="pixels")
    for layer in (
        layers.Rescaling(1 / 127.5, offset=-1),
        layers.Conv2D(8, 5, strides=4, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.GlobalAveragePooling2D(),
        layers.Dropout(dropout),
        layers.Dense(classes, activation="softmax", name="scores"),
    ):
        outputs = layer(outputs)
    return keras.Model(inputs, outputs)


def grey_samples() -> Samples:
    """Eighty pictures of four emotions, each of its own grey; the last sixteen validate."""
    class_ids = np.arange(80) % 4
    noise = np.random.default_rng(0).integers(0, 60, (80, 48, 48))
    return Samples(
        images=(noise + 40 * class_ids[:, None, None]).astype(np.uint8),
        targets=np.eye(4, dtype=np.float32)[class_ids],
        labels=("neutral", "happiness", "surprise", "sadness"),
        class_ids=class_ids,
        split=np.array(["Training"] * 64 + ["PublicTest"] * 16),
        name="made up",
        form="made up",
        protocol="labels",
    )
