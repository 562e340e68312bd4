"""Write the small two-input model that the device's tests run: ``tests/edge/data/fusion.tflite``.

An int8 network of random weights that takes a crop and mesh features; no data set is involved.

    python benchmarks/fusion_fixture.py OUT.tflite
"""

import argparse
from pathlib import Path

import numpy as np

from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import check_full_int8, read_graph
from edge.contract.labels import EMOTIONS
from edge.contract.mesh_features import FEATURE_COUNT, FEATURE_MAX, FEATURE_MIN
from host_training.frameworks import import_keras


def main() -> None:
    """Build, convert, check and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    out = parser.parse_args().out
    keras = import_keras()
    keras.utils.set_random_seed(3)
    layers = keras.layers
    pixels = keras.Input((48, 48, 1), name="pixels")
    mesh = keras.Input((FEATURE_COUNT,), name="mesh")
    x = layers.Rescaling(1 / 127.5, offset=-1)(pixels)
    x = layers.Conv2D(4, 7, strides=6, activation="relu")(x)
    x = layers.Concatenate()([layers.Flatten()(x), layers.Dense(8, activation="relu")(mesh)])
    model = keras.Model([pixels, mesh], layers.Softmax()(layers.Dense(len(EMOTIONS))(x)))
    rng = np.random.default_rng(3)
    pictures = rng.integers(0, 256, (64, 48, 48, 1)).astype(np.float32)
    features = rng.uniform(-2, 2, (64, FEATURE_COUNT)).astype(np.float32)
    pictures[0, 0, :2, 0] = (0, 255)
    features[0, :2] = (FEATURE_MIN, FEATURE_MAX)
    content = to_tflite(model, "int8", (pictures, features))
    check_full_int8(read_graph(content))
    out.write_bytes(content)


if __name__ == "__main__":
    main()
