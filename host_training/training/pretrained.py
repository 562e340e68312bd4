"""Starting a run from the weights of another one."""

from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import MODEL, open_bundle
from edge.errors import ConfigError
from host_training.runs.directory import RunDirectory
from host_training.training.bundle_weights import HEAD, bundle_network, unfold_bundle
from host_training.training.distillation import ModelFile
from host_training.training.widen import widened

if TYPE_CHECKING:
    import keras


def load_pretrained(
    model: "keras.Model", labels: tuple[str, ...], file: ModelFile, images: NDArray[np.uint8]
) -> str:
    """Copy a trained network's weights into a new one of its architecture, or a wider one.

    The last layer's weights are copied emotion by emotion, by name: a network for other emotions
    keeps what both know, and starts afresh where the old one knows nothing.

    Args:
        model: the new network.
        labels: its emotions, in the order of its outputs.
        file: the trained one: a run's, with its ``run.json`` beside it, or a bundle's.
        images: training rows, uint8 ``(n, 48, 48)``; a bundle's weights are unfolded on some.

    Returns:
        What was done, in words.

    Raises:
        ConfigError: it is another architecture, or no sound bundle.
        TrainingError: it cannot be opened.
    """
    if file.file.name == MODEL:
        name, known_labels, last = _unfold_bundle(model, file, images)
    else:
        name, known_labels, last = _copy_run(model, file)
    shared = [label for label in labels if label in known_labels]
    head = model.get_layer(HEAD)
    head.set_weights(_head(head.get_weights(), last, labels, known_labels))
    return f"starting from {name}; emotions known to it: {', '.join(shared) or 'none'}"


_WIDENING_SEED: Final = 0

_Loaded = tuple[str, tuple[str, ...], list[NDArray[np.float32]]]
"""A model's name, its emotions, and the weights of its last layer."""


def _copy_run(model: "keras.Model", file: ModelFile) -> _Loaded:
    from host_training.metrics.predict import load_keras_model

    record = RunDirectory(file.file.parent).record()
    trained = load_keras_model(file.file)
    known = {layer.name: layer.get_weights() for layer in trained.layers}
    if wide := _widened(model, record.architecture, known):
        return record.run_id, record.labels, wide
    for layer in model.layers:
        if layer.name == HEAD:
            continue
        weights = known.get(layer.name, [])
        if [w.shape for w in weights] != [w.shape for w in layer.get_weights()]:
            raise ConfigError(
                f"--init {file.path}: is {record.architecture}, its layer {layer.name!r} does not "
                "fit; start from a run of the same --arch"
            )
        layer.set_weights(weights)
    return record.run_id, record.labels, known[HEAD]


def _unfold_bundle(model: "keras.Model", file: ModelFile, images: NDArray[np.uint8]) -> _Loaded:
    path = file.file.parent
    bundle = open_bundle(path)
    labels = bundle.metadata.labels
    if _can_widen(model, bundle.metadata.architecture):
        _, narrow = bundle_network(path, images)
        known = {layer.name: layer.get_weights() for layer in narrow.layers}
        if wide := _widened(model, bundle.metadata.architecture, known):
            return f"bundle {bundle.metadata.name}", labels, wide
    last = unfold_bundle(model, bundle, path, images)
    return f"bundle {bundle.metadata.name}", labels, last


def _can_widen(model: "keras.Model", architecture: str) -> bool:
    """Tell whether a network is built as the named one, but wider."""
    return str(model.name) != architecture


def _widened(
    model: "keras.Model", architecture: str, known: dict[str, list[NDArray[np.float32]]]
) -> list[NDArray[np.float32]] | None:
    """Give a network the weights of a narrower one; return those of the last layer.

    None, and nothing done, where it is no multiple as wide.
    """
    if not _can_widen(model, architecture):
        return None
    kernel, _ = model.get_layer(HEAD).get_weights()
    known = dict(known)
    narrow_head = known.pop(HEAD)
    body = {layer.name for layer in model.layers} - {HEAD}
    copies = kernel.shape[0] / narrow_head[0].shape[0]
    wide = widened(model, known, _WIDENING_SEED, body)
    if wide is None or copies != int(copies):
        return None
    for name, weights in wide.items():
        model.get_layer(name).set_weights(weights)
    head = np.concatenate([narrow_head[0] / copies] * int(copies))
    return [np.asarray(head, np.float32), narrow_head[1]]


def _head(
    new: list[NDArray[np.float32]],
    old: list[NDArray[np.float32]],
    labels: tuple[str, ...],
    known: tuple[str, ...],
) -> list[NDArray[np.float32]]:
    """Return kernel ``(units, k)`` and bias ``(k,)`` with the columns that both know taken over."""
    for column, label in enumerate(labels):
        if label in known:
            for mine, theirs in zip(new, old, strict=True):
                mine[..., column] = theirs[..., known.index(label)]
    return new
