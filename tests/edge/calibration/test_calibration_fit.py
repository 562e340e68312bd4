"""Fitting, choosing and judging a calibration, on made scores with a known shift."""

import numpy as np
import pytest

from edge.calibration.choose import MOST_LOST, calibrate, folds_by_person
from edge.calibration.fit import Weighed, fit
from edge.calibration.judge import contradiction, interval_by_person, judge
from edge.calibration.samples import Labelled
from edge.contract.decision import Calibration, Decision, leading, softmax, temper
from edge.contract.labels import EMOTIONS

K = len(EMOTIONS)


def made(
    n: int,
    people: int,
    seed: int,
    *,
    labels: range = range(K),
    shift: float = 0.0,
    sharpness: float = 3.0,
) -> Labelled:
    """Scores that lean to the right label, with biases of a foreign place taken away."""
    rng = np.random.default_rng(seed)
    answers = np.asarray(labels)[np.arange(n) % len(labels)]
    logits = rng.normal(0, 1, (n, K)) + sharpness * np.eye(K)[answers]
    logits -= shift * np.linspace(-1, 1, K)
    who = np.array([f"p{i % people}" for i in rng.permutation(n)])
    return Labelled(softmax(logits), answers.astype(np.int64), who)


@pytest.mark.parametrize("form", ["bias", "scale", "matrix"])
def test_the_fit_is_a_minimum_and_few_samples_hardly_move_it(form: str) -> None:
    """No small change makes the loss smaller; without samples' weight nothing changes."""
    samples = made(160, 5, 0, shift=2)
    every = np.ones(K, bool)
    weighed = Weighed(samples.logs, samples.answers, np.ones(160))
    weights, biases = fit(weighed, form, every)

    def loss(w: np.ndarray, b: np.ndarray) -> float:
        p = softmax(samples.logs @ w.T + b)
        if form == "bias":
            penalty = (b**2).sum() + (w[0, 0] - 1) ** 2
        else:
            penalty = (b**2).sum() + ((w - np.eye(K)) ** 2).sum()
        return penalty / 2 - float(np.log(p[np.arange(160), samples.answers]).sum())

    best = loss(weights, biases)
    assert best < loss(np.eye(K), np.zeros(K))
    rng = np.random.default_rng(1)
    for _ in range(20):
        change = rng.normal(0, 0.01, (K, K))
        if form == "bias":
            change = np.eye(K) * change[0, 0]
        elif form == "scale":
            change = np.diag(np.diag(change))
        assert loss(weights + change, biases + rng.normal(0, 0.01, K)) > best - 1e-6
    nothing = Weighed(samples.logs, samples.answers, np.full(160, 1e-9))
    still, none = fit(nothing, form, every)
    np.testing.assert_allclose(still, np.eye(K), atol=1e-6)
    np.testing.assert_allclose(none, 0, atol=1e-6)


def test_a_label_that_the_pictures_lack_keeps_its_score() -> None:
    """It is neither deleted nor raised: its score is the packaged one, to the digit."""
    lacking = made(140, 5, 2, labels=range(1, K), shift=2)
    calibration = calibrate(lacking, "site").calibration
    assert calibration.fitted == (False, *(True,) * (K - 1))
    other = made(50, 3, 3).scores
    applied = calibration.applied(other)
    np.testing.assert_array_equal(applied[:, 0], other[:, 0])
    np.testing.assert_allclose(applied.sum(axis=1), 1)
    assert np.abs(applied[:, 1:] - other[:, 1:]).max() > 0.05


@pytest.mark.slow
def test_a_calibration_helps_people_it_has_not_seen() -> None:
    """Where a place is shifted, held-out people gain, and the interval says so."""
    judgement = judge(made(240, 8, 4, shift=2.5), "site")
    assert judgement is not None
    assert judgement.is_gain
    assert judgement.interval[0] < judgement.gain < judgement.interval[1]
    assert judgement.after.accuracy == pytest.approx(judgement.before.accuracy + judgement.gain)


@pytest.mark.slow
def test_where_nothing_is_shifted_no_gain_is_claimed() -> None:
    """The interval reaches to zero or below."""
    judgement = judge(made(240, 8, 5), "site")
    assert judgement is not None
    assert not judgement.is_gain


def test_one_person_cannot_be_judged() -> None:
    """Nobody can be held out, and no figure is made up."""
    assert judge(made(60, 1, 6, shift=2), "site") is None


@pytest.mark.slow
def test_rehearsal_bounds_what_general_faces_lose() -> None:
    """A calibration for general faces loses at most its limit on general samples held out."""
    general, others = made(800, 800, 7), made(2000, 2000, 8)
    own = made(240, 12, 9, shift=2.5)
    found = calibrate(own, "general", general)
    assert found.general is not None
    assert general.accuracy - found.general.accuracy <= MOST_LOST
    after = others.calibrated(found.calibration)
    assert others.accuracy - after.accuracy <= 0.03
    assert made(500, 9, 10, shift=2.5).calibrated(found.calibration).accuracy > own.accuracy
    site = calibrate(own, "site").calibration
    assert others.calibrated(site).accuracy < after.accuracy


def test_without_rehearsal_general_is_refused() -> None:
    """There is nothing to hold the fit with."""
    with pytest.raises(ValueError, match="rehearsal"):
        calibrate(made(60, 3, 11), "general")


@pytest.mark.parametrize("share", [0.0, 1 / 3])
def test_shuffled_labels_contradict_the_surest_answers(share: float) -> None:
    """With a third of the labels shuffled most draws are refused, right ones hardly ever."""
    refused = 0
    for seed in range(40):
        samples = made(160, 20, seed, labels=range(1, K), sharpness=7)
        answers, rng = samples.answers.copy(), np.random.default_rng(seed)
        picked = rng.choice(160, round(160 * share), replace=False)
        answers[picked] = answers[rng.permutation(picked)]
        found = contradiction(Labelled(samples.scores, answers, samples.people), EMOTIONS)
        refused += found.is_refused
    assert refused >= 32 if share else refused <= 2


def test_a_single_odd_label_is_no_contradiction() -> None:
    """One slip among few sure pictures does not refuse them all."""
    scores = np.full((4, K), 0.01)
    scores[np.arange(4), [1, 1, 2, 3]] = 0.93
    samples = Labelled(scores, np.array([1, 3, 2, 3]), np.array(list("aabb")))
    assert not contradiction(samples, EMOTIONS).is_refused


def test_folds_hold_people_together_and_the_interval_is_by_people() -> None:
    """A person lies in one fold; an interval over people is wider than one over pictures."""
    samples = made(300, 30, 12)
    folds = folds_by_person(samples.people, 10)
    assert len(np.unique(folds)) == 10
    for person in samples.persons:
        assert len(np.unique(folds[samples.people == person])) == 1
    values = np.repeat([0.0, 1.0], 150)
    few, many = np.repeat(["a", "b"], 150), np.arange(300).astype(str)
    by_few, by_many = interval_by_person(values, few), interval_by_person(values, many)
    assert by_few[1] - by_few[0] > 4 * (by_many[1] - by_many[0])


def test_scores_are_adjusted_and_tempered_in_two_steps_too() -> None:
    """Evaluation, which tempers by itself, comes to the device's scores."""
    calibration = calibrate(made(160, 5, 13, shift=2), "site").calibration
    decision = Decision(temperature=0.7, calibration=calibration)
    logits = np.random.default_rng(0).normal(0, 2, (40, K))
    two = temper(decision.adjusted(softmax(logits)), decision.temperature)
    np.testing.assert_allclose(two, decision.scores(logits), rtol=1e-4, atol=1e-6)
    assert decision.packaged == Decision(temperature=0.7)
    assert (leading(decision.scores(logits)) != leading(decision.packaged.scores(logits))).any()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("weights", ((1.0, 0.0),), "2 x 2 weights"),
        ("weights", ((1.0, 0.0), (0.0,)), "2 x 2 weights"),
        ("biases", (0.0,), "2 biases"),
        ("biases", (float("nan"), 0.0), "numbers up to"),
        ("biases", (1e9, 0.0), "numbers up to"),
        ("fitted", (True, False), "two or more labels"),
    ],
)
def test_a_calibration_that_makes_no_sense_is_refused(
    field: str, value: object, message: str
) -> None:
    """Metadata of unknown origin cannot bring the device to nonsense."""
    fields = {
        "intent": "site",
        "form": "bias",
        "fitted": (True, True),
        "weights": ((1.0, 0.0), (0.0, 1.0)),
        "biases": (0.0, 0.0),
        "data": "mine",
        "fingerprint": "0" * 64,
        "samples": 2,
        "people": 1,
        "counts": (1, 1),
    }
    Calibration(**fields)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        Calibration(**{**fields, field: value})  # type: ignore[arg-type]
