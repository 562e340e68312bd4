"""Tables that go into statistics: one row for each figure (long), or for each face (wide)."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from io import StringIO
from typing import Final

from edge.contract.labels import UNCERTAIN
from edge.contract.logrecord import EVENTS
from edgeemo.analysis.classes import all_labels
from edgeemo.analysis.studies.affect import valence_arousal
from edgeemo.analysis.studies.sessions import Segment, Session

Cell = str | int | float | None

KEYS: Final = (
    "device", "session", "study", "participant", "condition", "segment", "segment_start_s",
    "segment_end_s", "track",
)  # fmt: skip


def measures_of(sessions: Sequence[Session]) -> tuple[str, ...]:
    """Return what is measured of a face in a segment: a share for each label, and so on."""
    return (
        "face_s",
        *(f"share_{label}" for label in labels_of(sessions)),
        "mean_confidence",
        "valence",
        "arousal",
        "va_confidence",
        *(f"{event}_{what}" for event in EVENTS for what in ("count", "s", "per_min")),
    )


def labels_of(sessions: Sequence[Session]) -> tuple[str, ...]:
    """Return the emotions, classes of one's own that were shown, and ``uncertain``."""
    return all_labels(one.label for session in sessions for one in session.shown)


def wide_rows(sessions: Sequence[Session]) -> Iterator[dict[str, Cell]]:
    """Yield a row for each face in each segment of each session, with ``KEYS`` and ``measures_of``.

    A figure that was measured on nothing is None. Emotions and events that reach over a segment's
    end count by the part within it; an event is counted where it begins.
    """
    labels = labels_of(sessions)
    for session in sessions:
        for segment in session.segments:
            for track in session.tracks:
                measures = _measures(session, segment, track, labels)
                if measures["face_s"]:
                    yield _keys(session, segment, track) | measures


def long_rows(sessions: Sequence[Session]) -> Iterator[dict[str, Cell]]:
    """Yield a row for each figure: ``KEYS``, ``measure`` and ``value``; none that is None."""
    measures = measures_of(sessions)
    for row in wide_rows(sessions):
        keys = {key: row[key] for key in KEYS}
        for measure in measures:
            if row[measure] is not None:
                yield {**keys, "measure": measure, "value": row[measure]}


def written(columns: Sequence[str], rows: Iterator[Mapping[str, Cell]], delimiter: str) -> str:
    """Return a table as text, with a heading; None is an empty cell.

    A text that begins as a formula does gets an apostrophe before it: spreadsheets run formulas.
    """
    text = StringIO()
    table = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    table.writerow(columns)
    for row in rows:
        table.writerow([_cell(row[column]) for column in columns])
    return text.getvalue()


def _cell(value: Cell) -> Cell:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value


def _keys(session: Session, segment: Segment, track: int) -> dict[str, Cell]:
    about = session.about
    values = (
        about.device, about.session, about.study, about.participant, about.condition, segment.name,
        round(segment.start_s, 3), round(segment.end_s, 3), track,
    )  # fmt: skip
    return dict(zip(KEYS, values, strict=True))


def _measures(
    session: Session, segment: Segment, track: int, labels: Sequence[str]
) -> dict[str, Cell]:
    seconds = dict.fromkeys(labels, 0.0)
    sure_s = sure = 0.0
    placed_s, places = 0.0, [0.0, 0.0, 0.0]
    for one in session.shown:
        length_s = _overlap(one.start_s, one.end_s, segment) if one.track == track else 0.0
        if length_s <= 0:
            continue
        seconds[one.label] = seconds.get(one.label, 0.0) + length_s
        if one.label != UNCERTAIN:
            sure_s, sure = sure_s + length_s, sure + length_s * one.confidence
        if (place := valence_arousal(one.scores)) is not None:
            placed_s += length_s
            places = [sum_ + length_s * value for sum_, value in zip(places, place, strict=True)]
    face_s = sum(seconds.values())
    measures: dict[str, Cell] = {
        "face_s": face_s,
        **{f"share_{label}": seconds[label] / face_s if face_s else None for label in labels},
        "mean_confidence": sure / sure_s if sure_s else None,
    }
    for name, total in zip(("valence", "arousal", "va_confidence"), places, strict=True):
        measures[name] = total / placed_s if placed_s else None
    asked = {one.event for one in session.done}
    for event in EVENTS:
        done = [one for one in session.done if one.event == event and one.track == track]
        count = sum(segment.start_s <= one.start_s < segment.end_s for one in done)
        length_s = sum(_overlap(one.start_s, one.end_s, segment) for one in done)
        told = (count, length_s, 60 * count / face_s if face_s else None)
        for what, value in zip(("count", "s", "per_min"), told, strict=True):
            measures[f"{event}_{what}"] = value if asked else None
    return measures


def _overlap(start_s: float, end_s: float, segment: Segment) -> float:
    return max(0.0, min(end_s, segment.end_s) - max(start_s, segment.start_s))
