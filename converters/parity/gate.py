"""The gate: what a conversion may cost, and when samples are too few to say that it costs more.

A figure past its limit is no reason to refuse a model when chance alone moves it as far: of 140
samples one is 0.71 points. So a conversion is refused for what is past a limit **and** more than
chance, and is written with a warning for what is past a limit only. Each limit has its own exact
test, one-sided:

- accuracy: McNemar's, on the samples that one of the two models alone answers right;
- balanced accuracy: the same weighed by class (a sign test by emotion, of which each sample lost
  or gained counts 1/n of its emotion), drawn ``DRAWS`` times;
- agreement: binomial, of the samples with another answer against the share that may have one.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from host_training.metrics.mcnemar import binomial_p, mcnemar_exact, samples_to_decide

DRAWS: Final = 20_000
_ROUNDING: Final = 1e-9

Limit = Literal["accuracy", "balanced accuracy", "agreement"]
Outcome = Literal["met", "undecided", "refused"]


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """What a conversion may cost before no bundle is written.

    Attributes:
        max_drop: largest loss of accuracy, as a share (0.005 is half a point).
        min_agreement: smallest share of samples on which both models give the same answer.
        max_balanced_drop: largest loss of balanced accuracy, as a share; rare emotions count as
            much as common ones there.
        significance: p value at which a cost past a limit counts as more than chance; 1 takes every
            figure at its word, however few the samples.
    """

    max_drop: float = 0.005
    min_agreement: float = 0.97
    max_balanced_drop: float = 0.02
    significance: float = 0.05


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one limit of the gate says.

    Attributes:
        limit: which.
        value: what was measured: a share lost, or the share of equal answers.
        allowed: the most that may be lost, or the least that must be equal.
        p: one-sided: how likely so high a cost is when there is none (agreement: when it is just
            what is allowed).
        outcome: ``undecided`` is past the limit, but no more than chance.
        samples_to_decide: how many it would take if their proportions stayed; None where that is no
            question, or too many to have.
    """

    limit: Limit
    value: float
    allowed: float
    p: float
    outcome: Outcome
    samples_to_decide: int | None = None

    @property
    def words(self) -> str:
        """What was measured, what is allowed, and what follows."""
        told = told_of(self.limit, self.value, self.allowed)
        if self.outcome == "met":
            return told
        if self.outcome == "refused":
            return f"{told}: more than chance (p = {self.p:.3g})"
        needed = self.samples_to_decide
        more = "more samples than anybody has" if needed is None else f"about {needed:,} samples"
        return f"{told}: no more than chance (p = {self.p:.2g}); {more} would decide"


def told_of(limit: Limit, value: float, allowed: float) -> str:
    """Say what was measured at a limit, and what it allows."""
    if limit == "agreement":
        return f"same answer on {value:.2%}, at least {allowed:.2%} asked for"
    change = "lost" if value >= 0 else "gained"
    return f"{abs(value) * 100:.2f} points of {limit} {change}, {allowed * 100:.2f} may be lost"


class Changes(NamedTuple):
    """What a conversion changed, as numbers of samples.

    Attributes:
        sizes: of each emotion that occurs.
        lost: of each, that only the float model answers right.
        gained: of each, that only the converted model answers right.
        differing: samples with another answer, right or wrong.
    """

    sizes: tuple[int, ...]
    lost: tuple[int, ...]
    gained: tuple[int, ...]
    differing: int


def judge(changes: Changes, gate: Gate) -> tuple[Verdict, ...]:
    """Hold what a conversion changed against each limit of the gate."""
    n, lost, gained, differing = _sums(changes)
    drop, agreement = (lost - gained) / n, (n - differing) / n
    balanced = float(_balanced(changes, np.array(changes.lost) - np.array(changes.gained)))
    limits: tuple[tuple[Limit, float, float, bool, _Test], ...] = (
        ("accuracy", drop, gate.max_drop, drop > gate.max_drop, _accuracy_p),
        (
            "balanced accuracy", balanced, gate.max_balanced_drop,
            balanced > gate.max_balanced_drop, _balanced_p,
        ),
        ("agreement", agreement, gate.min_agreement, agreement < gate.min_agreement, _agreement_p),
    )  # fmt: skip
    return tuple(
        _verdict(limit, value, allowed, exceeded, partial(test, changes, gate), gate, n)
        for limit, value, allowed, exceeded, test in limits
    )


def _verdict(
    limit: Limit,
    value: float,
    allowed: float,
    exceeded: bool,
    p_of: Callable[[float], float],
    gate: Gate,
    n: int,
) -> Verdict:
    p, needed = p_of(1.0), None
    outcome: Outcome = "met"
    if exceeded:
        outcome = "refused" if p <= gate.significance else "undecided"
    if outcome == "undecided":
        needed = samples_to_decide(n, p_of, gate.significance)
    return Verdict(
        limit=limit, value=value, allowed=allowed, p=p, outcome=outcome, samples_to_decide=needed
    )


_Test = Callable[[Changes, Gate, float], float]
"""From what changed, the gate and a factor to the p value of that many times the samples."""


def _accuracy_p(changes: Changes, gate: Gate, factor: float) -> float:  # noqa: ARG001
    _, lost, gained, _ = _sums(changes)
    return mcnemar_exact(round(lost * factor), round(gained * factor), "greater")


def _agreement_p(changes: Changes, gate: Gate, factor: float) -> float:
    n, _, _, differing = _sums(changes)
    return binomial_p(round(differing * factor), round(n * factor), 1 - gate.min_agreement)


def _balanced_p(changes: Changes, gate: Gate, factor: float) -> float:  # noqa: ARG001
    lost = np.rint(np.array(changes.lost) * factor).astype(int)
    only_one = lost + np.rint(np.array(changes.gained) * factor).astype(int)
    observed = _balanced(changes, 2 * lost - only_one)
    drawn = np.random.default_rng(0).binomial(only_one, 0.5, (DRAWS, len(only_one)))
    as_high = _balanced(changes, 2 * drawn - only_one) >= observed - _ROUNDING
    return float((1 + as_high.sum()) / (1 + DRAWS))  # Phipson and Smyth, SAGMB 2010


def _balanced(changes: Changes, net_lost: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the balanced accuracy lost, from samples lost ``(..., k)`` by emotion."""
    return np.asarray((net_lost / np.array(changes.sizes)).mean(axis=-1))


def _sums(changes: Changes) -> tuple[int, int, int, int]:
    return sum(changes.sizes), sum(changes.lost), sum(changes.gained), changes.differing
