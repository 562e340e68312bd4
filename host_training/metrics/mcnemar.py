"""McNemar's test: whether one of two models is right more often on the very same samples.

McNemar, "Note on the sampling error of the difference between correlated proportions or
percentages", Psychometrika 1947; in its exact, binomial form, which holds for few samples too.
"""

from collections.abc import Callable
from typing import Literal

Alternative = Literal["two-sided", "greater"]


def mcnemar_exact(
    only_first: int, only_second: int, alternative: Alternative = "two-sided"
) -> float:
    """Return the p value: how likely so uneven a split is when both models are equally good.

    Args:
        only_first: samples that the first model alone answers right.
        only_second: samples that the second alone answers right.
        alternative: ``greater`` asks whether the first is better, one-sided.
    """
    return binomial_p(only_first, only_first + only_second, 0.5, alternative)


def binomial_p(hits: int, n: int, share: float, alternative: Alternative = "greater") -> float:
    """Return the exact p value of ``hits`` out of ``n`` where a ``share`` is to be expected."""
    if n == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(hits, n, share, alternative).pvalue)


def samples_to_decide(
    n: int, p_of: Callable[[float], float], significance: float, most: int = 1 << 20
) -> int | None:
    """Return how many samples it would take for a difference to be more than chance.

    Args:
        n: samples that there are.
        p_of: from a factor to the p value of that many times the samples, in the same proportions.
        significance: the p value to be reached.
        most: samples beyond which nobody has so many.

    Returns:
        None where ``most`` would not do.
    """
    low, high = n, n
    while p_of(high / n) > significance:
        low, high = high, 2 * high
        if high > most:
            return None
    while high - low > max(1, low // 100):
        middle = (low + high) // 2
        low, high = (middle, high) if p_of(middle / n) > significance else (low, middle)
    return high
