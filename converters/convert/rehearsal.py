"""The rehearsal set of a bundle: its network's logits of training samples, for `calibrate`."""

from pathlib import Path

import numpy as np

from converters.labelled_images import LabelledImages
from edge.contract.bundle import REHEARSAL, Bundle, read_file, write_bundle
from edge.contract.rehearsal import Rehearsal, encode_rehearsal, most_samples
from edge.inference.emotion_model import EmotionModel, open_emotion_model

_SEED = 20261130


def rehearsal_of(model: EmotionModel, rows: LabelledImages, labels: tuple[str, ...]) -> Rehearsal:
    """Run training samples, as many as a bundle carries, through a network as it is converted.

    They are drawn at random, the same ones every time, so that labels keep their frequencies.

    Args:
        model: loaded.
        rows: training samples; of emotions that the network knows.
        labels: of its outputs.

    Raises:
        ConversionError: there are rows of other emotions.
        InferenceError: the network takes what the rows lack, or the runtime failed.
    """
    count = min(len(rows), most_samples(len(labels)))
    drawn = np.random.default_rng(_SEED).permutation(len(rows))[:count]
    chosen = rows[np.sort(drawn)]
    features = [None] * count if chosen.mesh is None else list(chosen.mesh)
    logits = [
        model.logits(None if model.input is None else image, mesh)
        for image, mesh in zip(chosen.images, features, strict=True)
    ]
    return Rehearsal(np.stack(logits).astype(np.float32), chosen.labels_for(labels))


def with_rehearsal(bundle: Bundle, rows: LabelledImages, out: Path) -> Bundle:
    """Write a bundle of an older version again, with a rehearsal set.

    Args:
        bundle: any.
        rows: samples that its network learnt from, and no others: what it is measured on stays
            unseen.
        out: where; may be its own place.

    Raises:
        BundleError: the bundle has changed on the disk, or cannot be written.
        ConversionError: rows of emotions that it does not know.
        InferenceError: the runtime failed.
    """
    rehearsal = rehearsal_of(open_emotion_model(bundle), rows, bundle.metadata.labels)
    files = {name: read_file(bundle, name) for name in bundle.sha256}
    return write_bundle(out, {**files, REHEARSAL: encode_rehearsal(rehearsal)})
