"""How well a log agrees with what people saw in the film: on emotions over time, and on events.

Emotions are compared moment by moment: each counts by how long it lasted, which is what counting
frames comes to, at any rate. Events are paired by their beginnings. Intervals are percentiles of
2,000 bootstrap samples of whole stretches (of emotions) or whole events, for the moments within a
stretch are not independent (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993).
"""

import statistics
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import UNCERTAIN
from edgeemo.analysis.studies.sessions import Done, Session, Shown
from edgeemo.analysis.studies.truth import Seen, labels_of

NO_FACE: Final = "no face"
_SAMPLES: Final = 2000
_SEED: Final = 25

Interval = tuple[float, float]


class EmotionAgreement(msgspec.Struct, frozen=True):
    """On emotions.

    Attributes:
        stretches: how many people labelled.
        seconds: how long these last together.
        covered: the share of that time in which the log has a face.
        accuracy: the share of the covered time in which the log has the label that people gave.
        kappa: the agreement beyond chance in that time (Cohen, "A coefficient of agreement for
            nominal scales", 1960); None where both have one label only.
        delay_s: the median time from a stretch's beginning until the log has its label; None where
            it never has.
        missed: stretches in which it never has it.
        labels: of the columns of ``confusion``; the last is for no face.
        confusion: seconds, by the label that people gave and the one that the log has.
        accuracy_interval, kappa_interval: 95 %; None with fewer than two stretches.
    """

    stretches: int
    seconds: float
    covered: float
    accuracy: float | None
    kappa: float | None
    delay_s: float | None
    missed: int
    labels: tuple[str, ...]
    confusion: dict[str, tuple[float, ...]]
    accuracy_interval: Interval | None
    kappa_interval: Interval | None


class EventAgreement(msgspec.Struct, frozen=True):
    """On one kind of event, or on all of them.

    Attributes:
        people, log, both: how many people saw, how many the log has, and how many of these pair up.
        f1: the harmonic mean of precision and recall; None where neither has any.
        delay_s: the median of how much later the log's begin; None without a pair.
        f1_interval: 95 %; None with fewer than two events.
    """

    people: int
    log: int
    both: int
    precision: float | None
    recall: float | None
    f1: float | None
    delay_s: float | None
    f1_interval: Interval | None


class Agreement(msgspec.Struct, frozen=True):
    """All of it.

    Attributes:
        tolerance_s: how far the beginnings of events that pair up may be apart.
        emotions: None where people labelled no emotion.
        events: by kind; ``all`` where there are several.
        faces: how many tracks the log has.
    """

    device: str
    session: str
    tolerance_s: float
    emotions: EmotionAgreement | None
    events: dict[str, EventAgreement]
    faces: int


def agreement(session: Session, truth: Sequence[Seen], tolerance_s: float) -> Agreement:
    """Compare a session with what people saw."""
    emotions, events = labels_of(truth)
    kinds = {
        name: paired(
            [one for one in truth if one.label == name],
            [one for one in session.done if one.event == name],
            tolerance_s,
        )
        for name in events
    }
    told = {name: _events(pairs) for name, pairs in kinds.items()}
    if len(told) > 1:
        told["all"] = _events([pair for pairs in kinds.values() for pair in pairs])
    return Agreement(
        device=session.about.device,
        session=session.about.session,
        tolerance_s=tolerance_s,
        emotions=_emotions(session.shown, [one for one in truth if one.label in emotions])
        if emotions else None,
        events=told,
        faces=len(session.tracks),
    )  # fmt: skip


Pair = tuple[Seen | None, Done | None]


def paired(truth: Sequence[Seen], log: Sequence[Done], tolerance_s: float) -> list[Pair]:
    """Pair events of one kind, the nearest beginnings first; what is left over stands alone."""
    near = sorted(
        (abs(theirs.start_s - ours.start_s), i, j)
        for i, theirs in enumerate(truth)
        for j, ours in enumerate(log)
        if abs(theirs.start_s - ours.start_s) <= tolerance_s
        and theirs.track in {None, ours.track}
    )  # fmt: skip
    partner: dict[int, int] = {}
    taken: set[int] = set()
    for _, i, j in near:
        if i not in partner and j not in taken:
            partner[i] = j
            taken.add(j)
    pairs: list[Pair] = [
        (one, log[partner[i]] if i in partner else None) for i, one in enumerate(truth)
    ]
    tracks = {one.track for one in truth}
    asked = None in tracks or not tracks
    pairs += [
        (None, one)
        for j, one in enumerate(log)
        if j not in taken and (asked or one.track in tracks)
    ]
    return pairs


def _events(pairs: Sequence[Pair]) -> EventAgreement:
    seen = np.array(
        [(theirs is not None, ours is not None) for theirs, ours in pairs], np.float64
    ).reshape(-1, 2)
    people, log = (int(count) for count in seen.sum(axis=0))
    both = int((seen[:, 0] * seen[:, 1]).sum())
    delays = [ours.start_s - theirs.start_s for theirs, ours in pairs if theirs and ours]
    weights = _weights(len(pairs))
    interval = None
    if weights is not None:
        twice = 2 * weights @ (seen[:, 0] * seen[:, 1])
        interval = _interval(twice / (weights @ seen.sum(axis=1)))
    return EventAgreement(
        people=people,
        log=log,
        both=both,
        precision=both / log if log else None,
        recall=both / people if people else None,
        f1=2 * both / (people + log) if people + log else None,
        delay_s=statistics.median(delays) if delays else None,
        f1_interval=interval,
    )


def _emotions(shown: Sequence[Shown], truth: Sequence[Seen]) -> EmotionAgreement:
    timelines: dict[int | None, list[Shown]] = {None: whole_film(shown)}
    for track in {one.track for one in truth} - {None}:
        timelines[track] = [one for one in shown if one.track == track]
    rows, _ = labels_of(truth)
    # Labels of the log that people never gave come after those that they did.
    others = {one.label for one in shown} - {*rows, UNCERTAIN}
    columns = (*rows, *sorted(others), *([] if UNCERTAIN in rows else [UNCERTAIN]), NO_FACE)
    units = np.zeros((len(truth), len(rows), len(columns)))
    delays: list[float] = []
    for number, one in enumerate(truth):
        row, known_s = rows.index(one.label), 0.0
        first_s = None
        for other in timelines[one.track]:
            start_s, end_s = max(one.start_s, other.start_s), min(one.end_s, other.end_s)
            if end_s <= start_s:
                continue
            units[number, row, columns.index(other.label)] += end_s - start_s
            known_s += end_s - start_s
            if other.label == one.label and first_s is None:
                first_s = start_s
        units[number, row, -1] = max(one.end_s - one.start_s - known_s, 0.0)
        if first_s is not None:
            delays.append(first_s - one.start_s)
    total = units.sum(axis=0)
    seconds = float(total.sum())
    accuracy, kappa = _accuracy(total), _kappa(total)
    accuracies = kappas = None
    if (weights := _weights(len(truth))) is not None:
        samples = np.tensordot(weights, units, axes=1)
        accuracies = _interval(np.array([_accuracy(one) for one in samples], np.float64))
        kappas = _interval(np.array([_kappa(one) for one in samples], np.float64))
    return EmotionAgreement(
        stretches=len(truth),
        seconds=seconds,
        covered=1 - float(total[:, -1].sum()) / seconds if seconds else 0.0,
        accuracy=accuracy,
        kappa=kappa,
        delay_s=statistics.median(delays) if delays else None,
        missed=len(truth) - len(delays),
        labels=columns,
        confusion={
            label: tuple(round(float(cell), 3) for cell in total[row])
            for row, label in enumerate(rows)
        },
        accuracy_interval=accuracies,
        kappa_interval=kappas,
    )


def whole_film(shown: Iterable[Shown]) -> list[Shown]:
    """Return one timeline: at each moment the face that is in view for the longest in all."""
    tracks: dict[int, list[Shown]] = {}
    for one in shown:
        tracks.setdefault(one.track, []).append(one)
    ranked = sorted(
        tracks.values(), key=lambda all_: (-sum(s.end_s - s.start_s for s in all_), all_[0].track)
    )
    taken: list[tuple[float, float]] = []
    merged: list[Shown] = []
    for track in ranked:
        free = [part for one in track for part in _without(one, taken)]
        merged += free
        taken = sorted((*taken, *((one.start_s, one.end_s) for one in free)))
    return sorted(merged, key=lambda one: one.start_s)


def _without(one: Shown, taken: Iterable[tuple[float, float]]) -> list[Shown]:
    """Return what is left of a stretch without those that are taken, which are in order."""
    left, start_s = [], one.start_s
    for low_s, high_s in taken:
        if high_s <= start_s or low_s >= one.end_s:
            continue
        if low_s > start_s:
            left.append(msgspec.structs.replace(one, start_s=start_s, end_s=low_s))
        start_s = max(start_s, high_s)
    if start_s < one.end_s:
        left.append(msgspec.structs.replace(one, start_s=start_s))
    return left


def _accuracy(cells: NDArray[np.float64]) -> float | None:
    covered = cells[:, :-1]
    total = float(covered.sum())
    return float(np.trace(covered)) / total if total > 0 else None


def _kappa(cells: NDArray[np.float64]) -> float | None:
    covered = cells[:, :-1]
    total = float(covered.sum())
    if total <= 0:
        return None
    theirs, ours = covered.sum(axis=1), covered.sum(axis=0)[: len(covered)]
    chance = float(theirs @ ours) / total**2
    if chance > 1 - 1e-9:
        return None
    return (float(np.trace(covered)) / total - chance) / (1 - chance)


def _weights(count: int) -> NDArray[np.float64] | None:
    """Return how often each unit is in each bootstrap sample, or None for too few."""
    if count < 2:
        return None
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(count, np.full(count, 1 / count), _SAMPLES).astype(np.float64)


def _interval(values: NDArray[np.float64]) -> Interval | None:
    known = values[np.isfinite(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)
