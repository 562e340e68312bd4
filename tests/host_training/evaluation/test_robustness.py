"""The figures on corrupted pictures: every mean is the mean of what it says."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.contract.decision import Decision
from edge.contract.scores import expected_calibration_error
from host_training.data.corruptions import HELD_OUT, KINDS, SEVERITIES, corrupted
from host_training.data.samples import Samples
from host_training.evaluation.evaluate import Question, evaluate_in_full
from host_training.evaluation.robustness import corruption_figures
from host_training.evaluation.seen import NOT_FOUND, Seen
from host_training.evaluation.tables import corruptions_key
from host_training.evaluation.views import Corruption, RawView, answers_to
from host_training.runs.provenance import ModelProvenance

ORIGIN = ModelProvenance("made", "0" * 64, Decision(temperature=0.5))


def by_contrast(rows: Samples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """Answer by the pictures' contrast alone, more surely the farther it is from a threshold."""
    spread = rows.images.std(axis=(1, 2)) / 60
    logits = np.stack([spread, np.full(len(rows), 0.9), 1.7 - spread, spread / 2], axis=1)
    shifted = np.exp(3 * logits)
    return rows.labels, (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def test_every_figure_by_hand(striped: Samples) -> None:
    """Cells, means, losses and calibration errors are those of the corrupted pictures."""
    view = RawView()
    [clean] = view(striped)
    figures = corruption_figures(
        striped, clean, answers_to(striped, clean, by_contrast), by_contrast, view, seed=3
    )

    def cell(kind: str, severity: int) -> tuple[float, float, float]:
        images = [corrupted(image, kind, severity, seed=3) for image in striped.images]
        _, given = by_contrast(replace(striped, images=np.stack(images)))
        correct = given.argmax(axis=1) == striped.class_ids
        balanced = np.mean([correct[striped.class_ids == label].mean() for label in range(4)])
        return correct.mean(), balanced, expected_calibration_error(given, striped.class_ids)

    table = np.array([[cell(kind, severity) for severity in SEVERITIES] for kind in KINDS])
    assert list(figures.kinds) == list(KINDS)
    for row, kind in zip(table, KINDS, strict=True):
        got = figures.kinds[kind]
        np.testing.assert_allclose((got.accuracy, got.balanced_accuracy, got.ece), row.T)
        assert got.classified == (1.0,) * 5
    held = np.isin(KINDS, HELD_OUT)
    for group, chosen in (
        (figures.all, held | ~held),
        (figures.trainable, ~held),
        (figures.held_out, held),
    ):
        assert group.kinds == tuple(np.array(KINDS)[chosen])
        assert group.accuracy == pytest.approx(table[chosen, :, 0].mean())
        assert group.balanced_accuracy == pytest.approx(table[chosen, :, 1].mean())
        assert group.ece == pytest.approx(table[chosen, :, 2].mean())
        assert group.drop == pytest.approx(figures.clean_accuracy - group.accuracy)
        assert group.balanced_drop == pytest.approx(
            figures.clean_balanced_accuracy - group.balanced_accuracy
        )


class Blind:
    """Sees every other corrupted picture, and none of severity 5."""

    def __call__(
        self,
        rows: Samples,
        corruptions: Sequence[Corruption | None] = (None,),
        clean: Seen | None = None,
    ) -> Iterator[Seen]:
        """Look at samples."""
        for corruption, seen in zip(corruptions, RawView()(rows, corruptions, clean), strict=True):
            if corruption is not None:
                seen.quality[:: 1 if corruption.severity == 5 else 2] = NOT_FOUND
            yield seen


def test_what_is_not_classified_is_wrong(striped: Samples) -> None:
    """A face that is lost counts as a wrong answer, also where not one is left."""
    rows, view = striped, Blind()

    def right(asked: Samples) -> tuple[tuple[str, ...], NDArray[np.float32]]:
        return asked.labels, np.eye(4, dtype=np.float32)[asked.class_ids]

    [clean] = view(rows)
    figures = corruption_figures(rows, clean, answers_to(rows, clean, right), right, view)
    for kind in figures.kinds.values():
        assert kind.accuracy == kind.classified == (0.5, 0.5, 0.5, 0.5, 0.0)
        assert kind.ece == (0, 0, 0, 0, None)
    assert figures.all.drop == pytest.approx(0.6)
    told = "40.0% of the corrupted pictures are classified, the others count as wrong; fewest of"
    assert f"{told} defocus 5: 0.0%." in corruptions_key(figures)


def test_in_an_evaluation(striped: Samples) -> None:
    """Corrupted answers are used with the temperature that the clean ones are used with."""
    question = Question(split="Training", corruptions=True, limit=20, seed=1)
    measured = evaluate_in_full(striped, question, by_contrast, ORIGIN)
    worse = measured.figures.corruptions
    assert worse is not None
    assert worse.n == measured.figures.n == 20
    assert worse.seed == 1
    assert worse.clean_accuracy == measured.figures.accuracy
    rows = striped.where(np.isin(np.arange(len(striped)), measured.index))
    view = RawView()
    [clean] = view(rows)
    answers = answers_to(rows, clean, by_contrast)
    cold, warm = (
        corruption_figures(rows, clean, answers, by_contrast, view, temperature=t, seed=1).all.ece
        for t in (None, 0.5)
    )
    assert worse.all.ece == pytest.approx(warm)
    assert cold != pytest.approx(warm)
