"""One model on several data sets: how it fares on people whom it never saw."""

from typing import Final, Literal

import msgspec

from host_training.data.load import FER2013
from host_training.data.samples import Samples
from host_training.evaluation.evaluate import Evaluation
from host_training.runs.provenance import ModelProvenance

Relation = Literal["zero-shot", "own data", "unknown"]

_FER2013_PICTURES: Final = frozenset({FER2013, "ferplus"})
"""Data sets of the same pictures."""


class SetFigures(msgspec.Struct, frozen=True, kw_only=True):
    """A model on one data set of several.

    Attributes:
        name: of the data set.
        relation: ``zero-shot`` where the model's record names other training data; ``own data``
            where it, or a model that it started from or was taught by, learnt from this set or
            chose its best epoch by it; ``unknown`` where no record tells.
        figures: all of them.
    """

    name: str
    relation: Relation
    figures: Evaluation


class CrossSet(msgspec.Struct, frozen=True, kw_only=True):
    """A model on several data sets, in the order in which they were named."""

    sets: tuple[SetFigures, ...]


def relation(samples: Samples, origin: ModelProvenance) -> Relation:
    """Tell whether a model knows a data set, by pictures, fingerprints and names.

    Args:
        samples: the whole data set.
        origin: of the model.
    """
    if origin.training is None:
        return "unknown"
    parts = [samples, *(samples.split_rows(split) for split in samples.splits)]
    parts += [part.where(part.measurable) for part in parts]
    prints = {part.fingerprint().fingerprint for part in parts}
    if prints & {origin.training, origin.validation}:
        return "own data"
    if origin.known is not None and origin.known.places(samples.images).any():
        return "own data"
    names = {samples.name} | (_FER2013_PICTURES if samples.name in _FER2013_PICTURES else set())
    if names & set(origin.data_names):
        return "own data"
    return "zero-shot" if origin.is_traced else "unknown"


def comparison(sets: CrossSet) -> list[tuple[str, ...]]:
    """Return the table of several data sets: a header, then a line a figure."""
    labels = [f"recall {label}" for label in sets.sets[0].figures.per_class]
    columns = [_column(one) for one in sets.sets]
    names = [name for name in dict.fromkeys((*_FIRST, *labels)) if any(name in c for c in columns)]
    lines = [(name, *(column.get(name, "-") for column in columns)) for name in names]
    return [("", *(one.name for one in sets.sets)), *lines]


_FIRST: Final = (
    *("data", "n", "face found", "classified", "accuracy", "95 % interval", "balanced accuracy"),
    *("mean confidence", "calibration error", "at 80 % coverage", "corrupted, mean"),
)
"""The lines above the recalls."""


def _column(one: SetFigures) -> dict[str, str]:
    """Return the figures of a data set as text, over all samples, by their names."""
    of = one.figures
    through = of.pipeline
    whole = of if through is None else through.all
    low, high = whole.accuracy_interval_by_subject or whole.accuracy_interval
    if through is None:
        recall = {name: row.recall for name, row in of.per_class.items() if row.recall is not None}
    else:
        recall = through.all.recall
    column = {
        "data": one.relation,
        "n": str(whole.n),
        "accuracy": _percent(whole.accuracy),
        "95 % interval": f"{_percent(low)} to {_percent(high)}",
        "balanced accuracy": _percent(whole.balanced_accuracy),
        "mean confidence": f"{of.mean_confidence:.3f}",
        "calibration error": f"{of.ece:.3f}",
        **{
            f"at {point.coverage:.0%} coverage".replace("%", " %"): _percent(point.accuracy)
            for point in of.coverage.points
        },
        **{f"recall {name}": _percent(share) for name, share in recall.items()},
    }
    if through is not None:
        column |= {"face found": str(through.found), "classified": str(through.classified)}
    if of.corruptions is not None:
        column["corrupted, mean"] = _percent(of.corruptions.all.accuracy)
    return column


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"
