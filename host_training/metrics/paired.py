"""Two models on the very same samples: which is right where the other is not."""

from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from host_training.metrics.mcnemar import mcnemar_exact
from host_training.metrics.scores import interval_by_group
from host_training.runs.known_pictures import Seen

_DRAWS: Final = 10_000

Flags = NDArray[np.bool_]


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome.

    Attributes:
        other: the model that the first is held against.
        other_accuracy: its accuracy on the same samples.
        only_first: samples that the first alone answers right.
        only_other: samples that the other alone answers right.
        difference: of accuracies, the first's less the other's.
        difference_interval: 95 %, by the bootstrap over samples, over subjects where they are
            known.
        mcnemar_p: two-sided and exact, see ``host_training.metrics.mcnemar``. It takes samples for
            independent, which pictures of one person are not.
        by_subject: whether the interval is over subjects.
        other_seen: how many of these samples the other has seen in its training, where its files
            tell.
    """

    other: str
    other_accuracy: float
    only_first: int
    only_other: int
    difference: float
    difference_interval: tuple[float, float]
    mcnemar_p: float
    by_subject: bool = False
    other_seen: Seen | None = None

    @property
    def lines(self) -> tuple[str, ...]:
        """The outcome in words."""
        low, high = (100 * limit for limit in self.difference_interval)
        by = ", by subject" if self.by_subject else ""
        knew = () if self.other_seen is None else (f"the other: {self.other_seen.words}",)
        return (
            f"{self.other}, {self.other_accuracy:.2%}: a difference of "
            f"{100 * self.difference:+.2f} points (95 % interval {low:+.2f} to {high:+.2f}{by})",
            f"only the first right {self.only_first}, only the other {self.only_other}; McNemar's "
            f"exact p = {self.mcnemar_p:.3g}, two-sided",
            *knew,
        )


def paired(
    first: Flags, other: Flags, name: str, subjects: NDArray[np.generic] | None = None
) -> Paired:
    """Hold the first model against another one.

    Args:
        first: bool ``(n,)``: whether its answer to each sample is right.
        other: of the other model, on the very same samples.
        name: of the other model.
        subjects: ``(n,)``, who is in the picture, where it is known.
    """
    only_first, only_other = int((first & ~other).sum()), int((other & ~first).sum())
    change = first.astype(np.int64) - other
    return Paired(
        other=name,
        other_accuracy=float(other.mean()),
        only_first=only_first,
        only_other=only_other,
        difference=float(change.mean()),
        difference_interval=(
            _interval(only_first, only_other, len(first))
            if subjects is None
            else interval_by_group(change, subjects)
        ),
        mcnemar_p=mcnemar_exact(only_first, only_other),
        by_subject=subjects is not None,
    )


def _interval(only_first: int, only_other: int, n: int) -> tuple[float, float]:
    """Draw whole groups of like samples at once: exactly the bootstrap over single ones."""
    shares = np.array([only_first, only_other, n - only_first - only_other]) / n
    drawn = np.random.default_rng(0).multinomial(n, shares, size=_DRAWS)
    low, high = np.percentile((drawn[:, 0] - drawn[:, 1]) / n, (2.5, 97.5))
    return float(low), float(high)
