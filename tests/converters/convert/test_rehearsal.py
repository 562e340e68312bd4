"""The rehearsal set that `convert` puts into a bundle, and the one made for an older bundle."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from converters.convert.rehearsal import rehearsal_of, with_rehearsal
from converters.labelled_images import LabelledImages
from edge.contract.bundle import MOST_REHEARSAL, PACKAGED, REHEARSAL, open_bundle
from edge.contract.labels import EMOTIONS
from edge.contract.metadata import Dataset
from edge.contract.rehearsal import read_rehearsal
from edge.inference.emotion_model import open_emotion_model


def rows(n: int) -> LabelledImages:
    rng = np.random.default_rng(0)
    return LabelledImages(
        images=rng.integers(0, 255, (n, 48, 48), np.uint8),
        labels=rng.integers(0, 8, n),
        label_names=EMOTIONS,
        dataset=Dataset(name="made", split="Training", rows=n, fingerprint="0" * 64),
        protocol="labels",
    )


def test_an_older_bundle_gets_one_and_stays_what_it_was(tmp_path: Path) -> None:
    """Logits are those of its network, answers those of the samples; no picture is in it."""
    packaged, samples = open_bundle(PACKAGED), rows(40)
    written = with_rehearsal(packaged, samples, tmp_path / "bundle")
    assert written.metadata == packaged.metadata
    assert {**written.sha256} == {**packaged.sha256, REHEARSAL: written.sha256[REHEARSAL]}
    found = read_rehearsal(written)
    assert found is not None
    model = open_emotion_model(written)
    expected = np.stack([model.logits(image) for image in samples.images])
    step = np.ptp(expected) / 255
    np.testing.assert_allclose(found.logits, expected, rtol=1e-4, atol=0.501 * step)
    np.testing.assert_array_equal(found.answers, samples.labels)
    assert (written.path / REHEARSAL).stat().st_size < MOST_REHEARSAL
    again = with_rehearsal(written, samples, tmp_path / "bundle")
    assert again.sha256 == written.sha256


def test_the_same_samples_are_drawn_every_time_and_names_go_by_name() -> None:
    """Samples whose labels stand in another order give the same answers."""
    model, samples = open_emotion_model(open_bundle(PACKAGED)), rows(30)
    order = np.array([EMOTIONS.index(name) for name in EMOTIONS[::-1]])
    turned = replace(samples, label_names=EMOTIONS[::-1], labels=order[samples.labels])
    one, other = (rehearsal_of(model, given, EMOTIONS) for given in (samples, turned))
    np.testing.assert_array_equal(one.answers, other.answers)
    np.testing.assert_array_equal(one.logits, other.logits)
