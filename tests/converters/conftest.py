"""A small but real trained model, made once: TensorFlow is slow to start, not to train this."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from converters.labelled_images import LabelledImages
from edge.contract.labels import EMOTIONS
from edge.contract.mesh_features import (
    FEATURE_COUNT,
    FeatureNorm,
    feature_norm,
    mesh_features,
    standardized,
)
from edge.contract.metadata import Dataset
from edge.inference.trial import remember
from host_training.frameworks import import_keras, quiet
from tests.helpers import made_once


def draw_rows(n: int, seed: int, split: str) -> LabelledImages:
    """Gratings in eight directions, one per emotion, with random phase, contrast and noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(EMOTIONS)
    y, x = np.mgrid[0:48, 0:48]
    angle = labels * np.pi / len(EMOTIONS)
    along = np.cos(angle)[:, None, None] * x + np.sin(angle)[:, None, None] * y
    phase, contrast = rng.uniform(0, 6.3, (2, n, 1, 1))
    pictures = 128 + (20 + 12 * contrast) * np.cos(0.9 * along + phase)
    images = np.clip(pictures + rng.normal(0, 15, pictures.shape), 0, 255).astype(np.uint8)
    fingerprint = hashlib.sha256(images.tobytes()).hexdigest()
    dataset = Dataset(name="gratings", split=split, rows=n, fingerprint=fingerprint)
    return LabelledImages(images, labels, EMOTIONS, dataset, "majority")


@pytest.fixture(scope="session")
def training_rows() -> LabelledImages:
    return draw_rows(800, seed=1, split="Training")


@pytest.fixture(scope="session")
def evaluation_rows() -> LabelledImages:
    return draw_rows(400, seed=2, split="PublicTest")


@pytest.fixture(scope="session")
def keras() -> Any:
    return import_keras()


def _tiny(keras: Any, training_rows: LabelledImages) -> Any:
    """Two convolutions with batch normalisation, trained for a few seconds."""
    keras.utils.set_random_seed(7)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Rescaling(1 / 127.5, offset=-1),
            layers.Conv2D(12, 7, strides=2, padding="same", use_bias=False),
            layers.BatchNormalization(name="first_norm"),
            layers.ReLU(),
            layers.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="second"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(8),
            layers.Softmax(),
        ],
        name="tiny",
    )
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    with quiet():
        pictures = training_rows.images[..., None].astype(np.float32)
        network.fit(pictures, training_rows.labels, epochs=6, batch_size=40, verbose=0)
    return network


def with_mesh(rows: LabelledImages, seed: int) -> LabelledImages:
    """Add meshes around a real one that tell the emotion; every fortieth row has none."""
    real = np.load(Path(__file__).parents[1] / "edge" / "data" / "astronaut_mesh.npz")
    rng = np.random.default_rng(99)
    mean = mesh_features(real["points"], real["blendshapes"])
    scale = rng.uniform(0.02, 0.1, FEATURE_COUNT)
    by_emotion = rng.normal(0, 1, (len(EMOTIONS), FEATURE_COUNT))
    noise = np.random.default_rng(seed).normal(0, 0.8, (len(rows), FEATURE_COUNT))
    mesh = mean + scale * (by_emotion[rows.labels] + noise)
    mesh[::40] = np.nan
    return replace(rows, mesh=mesh.astype(np.float32))


def save_run(model: Any, folder: Path, rows: LabelledImages, **more: object) -> Path:
    """Write what `edgeemo train` leaves: the model, known to this machine, and the run's record."""
    folder.mkdir()
    model.save(folder / "model.keras")
    remember(folder / "model.keras")
    dataset = rows.dataset
    record = {
        "run_id": "tiny-0001",
        "architecture": "tiny",
        "labels": EMOTIONS,
        "template_id": "fer48-v1",
        "parameters": model.count_params(),
        "state": "complete",
        "training_data": {
            "name": dataset.name,
            "split": dataset.split,
            "rows": dataset.rows,
            "fingerprint": dataset.fingerprint,
        },
        **more,
    }
    (folder / "run.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="session")
def run_directory(
    keras: Any, training_rows: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    def make(folder: Path) -> None:
        save_run(_tiny(keras, training_rows), folder, training_rows)

    return made_once("tiny-run", tmp_path_factory, make)


@pytest.fixture(scope="session")
def model(keras: Any, run_directory: Path) -> Any:
    return keras.models.load_model(run_directory / "model.keras", compile=False)


@pytest.fixture(scope="session")
def fragile_run(
    keras: Any, model: Any, training_rows: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same function in floats, but one channel is 5000 times larger between the convolutions.

    An activation has one int8 scale for all its channels, so the others round to nothing.
    """
    fragile = keras.models.clone_model(model)
    fragile.set_weights(model.get_weights())
    gamma, beta, mean, variance = fragile.get_layer("first_norm").get_weights()
    (kernel,) = fragile.get_layer("second").get_weights()
    gamma[0], beta[0], kernel[:, :, 0] = gamma[0] * 5000, beta[0] * 5000, kernel[:, :, 0] / 5000
    fragile.get_layer("first_norm").set_weights([gamma, beta, mean, variance])
    fragile.get_layer("second").set_weights([kernel])
    return save_run(fragile, tmp_path_factory.mktemp("runs") / "fragile", training_rows)


@pytest.fixture(scope="session")
def scaled_run(
    keras: Any, model: Any, training_rows: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The model with one output of its last layer 1000 times larger.

    All logits share one int8 scale, so the others round to nothing. Scaled as a whole, the layer
    is another matter: see ``saturated_run``.
    """
    scaled = keras.models.clone_model(model)
    scaled.set_weights(model.get_weights())
    last = scaled.layers[-2]
    kernel, bias = last.get_weights()
    last.set_weights([kernel * (1000, *[1] * 7), bias * (1000, *[1] * 7)])
    return save_run(scaled, tmp_path_factory.mktemp("runs") / "scaled", training_rows)


@pytest.fixture(scope="session")
def saturated_run(
    keras: Any, model: Any, training_rows: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The model with its whole last layer 1000 times larger: the softmax says 0 or 1."""
    saturated = keras.models.clone_model(model)  # with weights of its own
    saturated.set_weights(model.get_weights())
    last = saturated.layers[-2]
    last.set_weights([weights * 1000 for weights in last.get_weights()])
    return save_run(saturated, tmp_path_factory.mktemp("runs") / "saturated", training_rows)


def _like_seed(keras: Any, training_rows: LabelledImages) -> Any:
    """Every layer of `seed`: ELU before batch normalisation, pooling, dropout, dense layers."""
    keras.utils.set_random_seed(3)
    layers = keras.layers
    network = keras.Sequential(
        [
            keras.Input((48, 48, 1)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 5, strides=2, padding="same", activation="elu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.3),
            layers.Flatten(),
            layers.Dense(32, activation="elu"),
            layers.BatchNormalization(),
            layers.Dense(8, activation="softmax"),
        ],
        name="like_seed",
    )
    network.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy")
    with quiet():
        pictures = training_rows.images[..., None].astype(np.float32)
        network.fit(pictures, training_rows.labels, epochs=6, batch_size=40, verbose=0)
    return network


@pytest.fixture(scope="session")
def elu_run(
    keras: Any, training_rows: LabelledImages, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    def make(folder: Path) -> None:
        save_run(_like_seed(keras, training_rows), folder, training_rows)

    return made_once("elu-run", tmp_path_factory, make)


@pytest.fixture(scope="session")
def elu_model(keras: Any, elu_run: Path) -> Any:
    return keras.models.load_model(elu_run / "model.keras", compile=False)


@pytest.fixture(scope="session")
def int8_content(model: Any, training_rows: LabelledImages) -> bytes:
    from converters.convert.calibrate import choose_calibration
    from converters.tflite.conversion import to_tflite

    pictures = choose_calibration(training_rows, 64).images
    return to_tflite(model, "int8", [pictures[..., None].astype(np.float32)])


@pytest.fixture(scope="session")
def mesh_training_rows(training_rows: LabelledImages) -> LabelledImages:
    return with_mesh(training_rows, seed=3)


@pytest.fixture(scope="session")
def mesh_evaluation_rows(evaluation_rows: LabelledImages) -> LabelledImages:
    return with_mesh(evaluation_rows, seed=4)


@pytest.fixture(scope="session")
def mesh_norm(mesh_training_rows: LabelledImages) -> FeatureNorm:
    assert mesh_training_rows.mesh is not None
    return feature_norm(mesh_training_rows.mesh)


@pytest.fixture(scope="session")
def mesh_run_of(
    keras: Any,
    mesh_training_rows: LabelledImages,
    mesh_norm: FeatureNorm,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """Give the run of a network that takes `mesh`, or both in the order of `pixels+mesh`."""
    rows = mesh_training_rows
    assert rows.mesh is not None
    fed = {
        "pixels": rows.images[..., None].astype(np.float32),
        "mesh": standardized(rows.mesh, mesh_norm),
    }

    def run(order: str) -> Path:
        def make(folder: Path) -> None:
            keras.utils.set_random_seed(7)
            network = _network(keras, order.split("+"))
            network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
            given = [fed[tensor.name] for tensor in network.inputs]
            with quiet():
                network.fit(given, rows.labels, epochs=4, batch_size=40, verbose=0)
            save_run(network, folder, rows, mesh_norm=msgspec.to_builtins(mesh_norm))

        return made_once(f"{order}-run", tmp_path_factory, make)

    return run


def _network(keras: Any, names: list[str]) -> Any:
    layers = keras.layers
    shapes = {"pixels": (48, 48, 1), "mesh": (FEATURE_COUNT,)}
    inputs = {name: keras.Input(shapes[name], name=name) for name in names}
    parts = []
    if "pixels" in inputs:
        x = layers.Rescaling(1 / 127.5, offset=-1)(inputs["pixels"])
        x = layers.Conv2D(8, 7, strides=4, padding="same", activation="relu")(x)
        parts.append(layers.GlobalAveragePooling2D()(x))
    if "mesh" in inputs:
        parts.append(layers.Dense(16, activation="relu")(inputs["mesh"]))
    x = layers.Concatenate()(parts) if len(parts) > 1 else parts[0]
    return keras.Model([inputs[name] for name in names], layers.Softmax()(layers.Dense(8)(x)))
