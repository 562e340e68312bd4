"""Classes of one's own in logs: they stand behind the emotions, by the alphabet."""

from collections.abc import Iterable

from edge.contract.labels import EMOTIONS, UNCERTAIN, is_label


def own_classes(labels: Iterable[str]) -> tuple[str, ...]:
    """Return those of some labels that are classes of one's own, each once, in their order."""
    return tuple(sorted(name for name in set(labels) - {*EMOTIONS, UNCERTAIN} if is_label(name)))


def all_labels(found: Iterable[str]) -> tuple[str, ...]:
    """Return the emotions, classes of one's own among those found, and ``uncertain``."""
    return (*EMOTIONS, *own_classes(found), UNCERTAIN)
