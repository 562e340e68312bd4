"""One temperature makes confidence honest, and is judged on rows that did not fit it."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.contract.decision import temper
from edge.contract.scores import expected_calibration_error
from edge.contract.temperature import HIGHEST, LOWEST, fit_temperature
from edge.errors import ConfigError
from host_training.data.samples import Samples, picture_keys
from host_training.errors import DataError
from host_training.metrics.calibration import calibration_mask, cross_fitted, fitted_elsewhere
from host_training.metrics.predict import Predictions


def softmax(logits: NDArray[np.float64]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (shifted / shifted.sum(axis=1, keepdims=True)).astype(np.float32)


def answered(n: int, temperature: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw right answers from honest probabilities, and give the probabilities at another scale."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 1, (n, 4))
    cumulated = softmax(logits).cumsum(axis=1)
    right = (generator.random((n, 1)) < cumulated).argmax(axis=1)
    return softmax(logits * temperature), right


def likelihood(probabilities: np.ndarray, right: np.ndarray, temperature: float) -> float:
    tempered = temper(probabilities, temperature)
    return float(np.log(tempered[np.arange(len(right)), right].astype(np.float64)).mean())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_a_known_temperature_is_found(temperature: float) -> None:
    """Honest answers made too sure by a factor, or too unsure, are brought back by that factor."""
    probabilities, right = answered(20_000, temperature)
    assert fit_temperature(probabilities, right) == pytest.approx(temperature, rel=0.05)


def test_no_other_temperature_is_likelier() -> None:
    """The optimum is that of SciPy's minimiser on the likelihood of `temper` itself."""
    from scipy.optimize import minimize_scalar

    probabilities, right = answered(500, 2.5, seed=4)
    best = minimize_scalar(
        lambda t: -likelihood(probabilities, right, t), bounds=(LOWEST, HIGHEST), method="bounded"
    )
    assert fit_temperature(probabilities, right) == pytest.approx(best.x, rel=1e-3)


def test_int8_answers_with_zeros_give_a_temperature() -> None:
    """A right answer of probability 0, as int8 rounds it, is finite and pulls upwards."""
    probabilities = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    assert 1 < fit_temperature(probabilities, np.array([0, 0, 0, 0])) < HIGHEST


def test_the_ends() -> None:
    """All right asks for the lowest temperature, all wrong for the highest."""
    sure = np.full((5, 2), (0.9, 0.1), np.float32)
    assert fit_temperature(sure, np.zeros(5, int)) == pytest.approx(LOWEST)
    assert fit_temperature(sure, np.ones(5, int)) == pytest.approx(HIGHEST)


@pytest.mark.parametrize(("rows", "answers"), [(0, 0), (3, 2)])
def test_nothing_to_fit(rows: int, answers: int) -> None:
    """No rows, or answers of another number, raise."""
    with pytest.raises(ValueError, match="probabilities for"):
        fit_temperature(np.full((rows, 2), 0.5), np.zeros(answers, int))


@pytest.fixture
def answers(striped: Samples) -> Predictions:
    """Predictions to 64 rows that are too sure of themselves."""
    generator = np.random.default_rng(5)
    logits = generator.normal(0, 3, (len(striped), 4))
    logits[np.arange(len(striped)), striped.class_ids] += 2
    return Predictions(striped, striped.labels, softmax(logits), striped.class_ids)


def test_no_row_is_judged_under_a_temperature_that_it_fitted(answers: Predictions) -> None:
    """Another truth for a row changes the temperature of the other half, never its own."""
    before = cross_fitted(answers)
    assert before is not None
    for row in (0, 17, 63):
        right = answers.right.copy()
        right[row] = (right[row] + 1) % 4
        after = cross_fitted(replace(answers, right=right))
        assert after is not None
        np.testing.assert_array_equal(after.tempered[row], before.tempered[row])
        changed = (after.tempered != before.tempered).any(axis=1)
        assert 25 <= changed.sum() <= 39, "not the other half"


def test_copies_of_a_picture_are_in_one_half(answers: Predictions) -> None:
    """A temperature is not fitted on the copy of a picture that it is judged on."""
    images = answers.rows.images.copy()
    images[32:] = images[:32]
    copied = replace(answers, rows=replace(answers.rows, images=images))
    before = cross_fitted(copied)
    right = answers.right.copy()
    right[40] = (right[40] + 1) % 4
    after = cross_fitted(replace(copied, right=right))
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.tempered[[8, 40]], before.tempered[[8, 40]])


def test_cross_fitting_helps_and_keeps_every_answer(answers: Predictions) -> None:
    """Predictions that are too sure get better calibrated, and none of them changes."""
    found = cross_fitted(answers)
    assert found is not None
    assert min(found.temperatures) > 1
    error = expected_calibration_error(answers.probabilities, answers.right)
    assert expected_calibration_error(found.tempered, answers.right) < error
    np.testing.assert_array_equal(
        found.tempered.argmax(axis=1), answers.probabilities.argmax(axis=1)
    )
    assert "disjoint by picture" in found.fitted_on
    assert found.temperature == fit_temperature(answers.probabilities, answers.right)


def test_halves_are_disjoint_by_subject(answers: Predictions) -> None:
    """Where subjects are known, none is in both halves."""
    subjects = np.array([f"S{i // 8}" for i in range(64)])
    known = replace(answers, rows=replace(answers.rows, subjects=subjects))
    before = cross_fitted(known)
    right = answers.right.copy()
    right[3] = (right[3] + 1) % 4
    after = cross_fitted(replace(known, right=right))
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.tempered[:8], before.tempered[:8])


@given(st.one_of(st.integers(1, 19), st.integers(24, 60)))
def test_too_few_rows_get_no_temperature(n: int) -> None:
    """Under ten rows a half there is none, over that there is one."""
    images = np.random.default_rng(n).integers(0, 256, (n, 48, 48), np.uint8)
    class_ids = np.arange(n) % 2
    rows = Samples(
        images, np.eye(2, dtype=np.float32)[class_ids], ("neutral", "fear"), class_ids,
        np.full(n, "Test"), "made", "made up", "labels",
    )  # fmt: skip
    found = cross_fitted(
        Predictions(rows, rows.labels, np.full((n, 2), 0.5, np.float32), class_ids)
    )
    assert (found is None) == (n < 20)


def test_other_rows_fit_it(answers: Predictions) -> None:
    """Fitted elsewhere, all measured rows are judged under that one temperature."""
    measured = answers.where(answers.rows.split == "PublicTest")
    other = answers.where(answers.rows.split == "Training")
    found = fitted_elsewhere(measured, other)
    assert found.temperatures == (found.temperature,)
    assert found.temperature == fit_temperature(other.probabilities, other.right)
    np.testing.assert_array_equal(found.tempered, temper(measured.probabilities, found.temperature))
    assert found.fitted_on == "48 samples of Training"


def test_calibration_rows_share_no_picture_with_measured_ones(striped: Samples) -> None:
    """A calibration row that shows a measured picture is left out."""
    images = striped.images.copy()
    images[5] = images[60]
    rows = replace(striped, images=images)
    measured = rows.split == "PublicTest"
    mask = calibration_mask(rows, "Training", measured)
    assert mask.sum() == 47
    assert not mask[5]
    assert not np.isin(picture_keys(images[mask]), picture_keys(images[measured])).any()


@pytest.mark.parametrize(
    ("split", "measured", "error", "message"),
    [
        ("PublicTest", "PublicTest", ConfigError, "--calibrate-on PublicTest: these samples are"),
        ("Test", "PublicTest", DataError, "no split 'Test'; it has Training, PublicTest"),
    ],
)
def test_rows_that_can_not_fit_it(
    striped: Samples, split: str, measured: str, error: type[Exception], message: str
) -> None:
    """The measured rows themselves, and a split that is not there, are refused."""
    with pytest.raises(error, match=message):
        calibration_mask(striped, split, striped.split == measured)


def test_too_few_calibration_rows(striped: Samples) -> None:
    """Nine rows do not fit a temperature."""
    split = striped.split.copy()
    split[:39] = "Other"
    with pytest.raises(DataError, match="9 samples are left; a temperature takes 10 or more"):
        calibration_mask(replace(striped, split=split), "Training", split == "PublicTest")
