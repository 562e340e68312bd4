import typing

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edge.config import ModelConfig
from edge.contract.decision import (
    LEAST_SHARE,
    MOST_TAU,
    Decision,
    leading,
    log_probabilities,
    softmax,
    temper,
)
from edge.contract.temperature import fit_temperature

PROBABILITIES = hnp.arrays(np.float64, 8, elements=st.floats(0.05, 1)).map(lambda p: p / p.sum())
LOGITS = hnp.arrays(np.float64, (5, 8), elements=st.integers(-128, 127).map(lambda q: q * 0.067))
"""As an int8 network gives them."""
PRIORS = (
    st.lists(st.integers(0, 1000), min_size=8, max_size=8)
    .filter(any)
    .map(lambda counts: tuple(count / sum(counts) for count in counts))
)
DECISIONS = st.builds(
    Decision,
    tau=st.floats(0, MOST_TAU),
    prior=PRIORS,
    temperature=st.floats(0.1, 10),
)


@given(DECISIONS, LOGITS, st.floats(-20, 20))
def test_a_constant_added_to_all_logits_changes_nothing(decision, logits, constant):
    """Logits, and the logarithms of the probabilities that they make, give the same scores."""
    scores = decision.scores(logits)
    assert scores.dtype == np.float32
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(decision.scores(logits + constant), scores, atol=1e-5)
    probabilities = softmax(logits)
    np.testing.assert_allclose(decision.scores(log_probabilities(probabilities)), scores, atol=1e-6)


@given(PRIORS, LOGITS)
def test_at_tau_0_the_prior_has_no_effect(prior, logits):
    """Tau 0 at temperature 1 is the softmax and nothing else, whatever the prior."""
    exp = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = exp / exp.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Decision(prior=prior).scores(logits), expected, rtol=1e-5, atol=1e-7)
    probabilities = expected.astype(np.float32)
    assert Decision(prior=prior).adjusted(probabilities) is probabilities


@given(DECISIONS, LOGITS)
def test_the_temperature_does_not_change_the_answer(decision, logits):
    """Equal scores stay equal and the greatest stays the greatest, under any temperature."""
    untempered = decision.adjusted(softmax(logits))
    ordered = np.sort(untempered, axis=1)
    # An adjustment may bring two within a rounding of each other: nobody's answer then.
    assume(((ordered[:, -1] == ordered[:, -2]) | (np.diff(ordered)[:, -1] > 1e-4)).all())
    np.testing.assert_array_equal(leading(decision.scores(logits)), leading(untempered))


@given(DECISIONS, LOGITS, st.permutations(range(8)))
def test_the_order_of_the_labels_is_irrelevant(decision, logits, order):
    """Each label's score follows its logit and its share wherever they stand."""
    moved = msgspec.structs.replace(decision, prior=tuple(decision.prior[i] for i in order))
    np.testing.assert_allclose(
        moved.scores(logits[:, order]), decision.scores(logits)[:, order], atol=1e-6
    )


@given(DECISIONS, LOGITS)
def test_adjusting_and_tempering_one_after_the_other_is_the_decision(decision, logits):
    """What is fitted and measured in two steps is what the device does in one."""
    probabilities = softmax(logits)
    two_steps = temper(decision.adjusted(probabilities), decision.temperature)
    np.testing.assert_allclose(two_steps, decision.scores(logits), rtol=1e-5, atol=1e-7)


@given(LOGITS, st.floats(0, MOST_TAU), st.floats(0, MOST_TAU))
def test_more_tau_never_takes_from_the_rarest(logits, one, other):
    """The share of the label with the smallest prior grows with tau."""
    low, high = sorted((one, other))
    prior = (0.3, 0.25, 0.15, 0.1, 0.08, 0.06, 0.05, 0.01)
    less, more = (Decision(tau=tau, prior=prior).scores(logits)[:, -1] for tau in (low, high))
    assert (more >= less - 1e-6).all()


def test_the_adjustment_is_that_of_the_paper():
    """Menon et al., arXiv 2007.07314: at tau 1 a posterior is divided by its prior."""
    prior, posterior = (0.5, 0.3, 0.2), np.array([0.6, 0.3, 0.1])
    expected = posterior / prior / (posterior / prior).sum()
    scores = Decision(tau=1.0, prior=prior).scores(np.log(posterior))
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_a_label_without_a_share_is_bounded():
    """No sample of it counts as one in a thousand: it is raised, not raised to certainty."""
    empty, least = (
        Decision(tau=1.0, prior=(1 - share, share)).scores(np.zeros(2)) for share in (0.0, 1e-5)
    )
    np.testing.assert_allclose(empty, least, rtol=1e-4)
    assert empty[1] / empty[0] == pytest.approx(1 / LEAST_SHARE, rel=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tau": -0.1}, r"tau must lie in 0 to 2, got -0\.1"),
        ({"tau": 2.1}, "tau must lie in"),
        ({"tau": float("nan")}, "tau must lie in"),
        ({"tau": 0.5}, "needs a prior, there is none"),
        ({"temperature": 0}, r"temperature must lie in 0\.01 to 100, got 0"),
        ({"temperature": -1}, "temperature must lie in"),
        ({"temperature": float("inf")}, "temperature must lie in"),
        ({"prior": (0.5, 0.6)}, "shares that sum to 1"),
        ({"prior": (1.5, -0.5)}, "shares that sum to 1"),
        ({"prior": (float("nan"), 1.0)}, "shares that sum to 1"),
    ],
)
def test_impossible_decisions_are_refused(fields, message):
    """Whether it is made in Python or read from a file."""
    with pytest.raises(ValueError, match=message):
        Decision(**fields)
    with pytest.raises(ValueError, match=message):
        msgspec.convert(fields, Decision)


def test_another_tau_keeps_the_rest():
    """None is the decision's own; a decision without a prior takes tau 0 alone."""
    decision = Decision(tau=0.25, prior=(0.9, 0.1), temperature=0.7)
    assert decision.with_tau(None) is decision
    assert decision.with_tau(0.5) == Decision(tau=0.5, prior=(0.9, 0.1), temperature=0.7)
    assert Decision().with_tau(0.0) == Decision()
    with pytest.raises(ValueError, match="needs a prior"):
        Decision().with_tau(0.5)


def test_the_configuration_has_the_same_bounds():
    """What `[model] tau` allows is what a decision takes."""
    hints = typing.get_type_hints(ModelConfig, include_extras=True)
    (tau, _) = typing.get_args(hints["tau"])
    (bounds,) = tau.__metadata__
    assert (bounds.ge, bounds.le) == (0, MOST_TAU)


@given(PROBABILITIES, st.floats(0.2, 5))
def test_tempering_equals_dividing_the_logits(probabilities, temperature):
    """softmax(log p / T): the published temperature scaling, without the logits."""
    logits = np.log(probabilities) + 3.0
    expected = np.exp(logits / temperature) / np.exp(logits / temperature).sum()
    assert np.allclose(temper(probabilities, temperature), expected, atol=1e-5)


@given(PROBABILITIES, st.floats(1.01, 5))
def test_a_higher_temperature_is_less_sure_of_the_same_answer(probabilities, temperature):
    """The order of the emotions stays, the leading score does not rise, the sum is 1."""
    tempered = temper(probabilities, temperature)
    assert tempered.argmax() == temper(probabilities, 1.0).argmax()
    assert tempered.max() <= temper(probabilities, 1.0).max() + 1e-6
    assert tempered.sum() == pytest.approx(1, abs=1e-5)


def test_a_temperature_is_fitted_on_all_the_samples_it_is_given():
    """Corrupted samples beside clean ones pull it towards what both together need."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 8))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    right = (true.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    clean, corrupted = (Decision().scores(logits * factor) for factor in (1.0, 3.0))
    one, other = fit_temperature(clean, right), fit_temperature(corrupted, right)
    both = fit_temperature(np.concatenate((clean, corrupted)), np.concatenate((right, right)))
    assert one == pytest.approx(1, abs=0.1)
    assert other == pytest.approx(3, abs=0.3)
    assert one < both < other


def test_of_equal_scores_the_rarer_emotion_leads():
    """The last of equals, in rows and in a single vector; without equals it is the greatest."""
    rows = np.array([[9, 9, 1], [3, 8, 8], [7, 7, 7], [5, 1, 2]], np.int8)
    assert leading(rows).tolist() == [1, 2, 2, 0]
    assert int(leading(np.array([0.25, 0.5, 0.25]))) == 1
    scores = np.random.default_rng(0).random((50, 8))
    np.testing.assert_array_equal(leading(scores), scores.argmax(axis=1))
