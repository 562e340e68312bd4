"""What faces showed and did, for tools that lay it beside the film: ELAN and BIDS."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final
from xml.etree import ElementTree as ET

from edge.contract.labels import EMOTIONS, UNCERTAIN
from edge.contract.logrecord import EVENTS
from edgeemo.analysis.studies.sessions import Done, Mark, Session
from edgeemo.analysis.studies.tables import Cell, written

_SCHEMA: Final = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
_POINT_MS: Final = 1
"""ELAN has no annotation without a length."""

Stretch = tuple[float, float, str]


def elan(session: Session) -> bytes:
    """Return a session as an ELAN annotation file (.eaf), format 3.0.

    Tiers: emotions of each face, each kind of event of each face, segments, markers. Times count
    from the session's beginning, which of a recording is the film's. No film is linked; ELAN asks
    for it.
    """
    root = ET.Element(
        "ANNOTATION_DOCUMENT",
        {
            "AUTHOR": "edgeemo",
            "DATE": f"{session.about.began:%Y-%m-%dT%H:%M:%S}+00:00"
            if session.about.began else "1970-01-01T00:00:00+00:00",
            "FORMAT": "3.0",
            "VERSION": "3.0",
            "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance",
            "xsi:noNamespaceSchemaLocation": _SCHEMA,
        },
    )  # fmt: skip
    ET.SubElement(root, "HEADER", {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"})
    order = ET.SubElement(root, "TIME_ORDER")
    slots, annotations = 0, 0
    for name, stretches in _tiers(session).items():
        tier = ET.SubElement(root, "TIER", {"LINGUISTIC_TYPE_REF": "default-lt", "TIER_ID": name})
        for start_ms, end_ms, text in _in_milliseconds(stretches):
            references = []
            for moment in (start_ms, end_ms):
                slots += 1
                references.append(f"ts{slots}")
                slot = {"TIME_SLOT_ID": references[-1], "TIME_VALUE": str(moment)}
                ET.SubElement(order, "TIME_SLOT", slot)
            annotations += 1
            aligned = ET.SubElement(
                ET.SubElement(tier, "ANNOTATION"),
                "ALIGNABLE_ANNOTATION",
                {
                    "ANNOTATION_ID": f"a{annotations}",
                    "TIME_SLOT_REF1": references[0],
                    "TIME_SLOT_REF2": references[1],
                },
            )
            ET.SubElement(aligned, "ANNOTATION_VALUE").text = text
    ET.SubElement(
        root, "LINGUISTIC_TYPE",
        {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "default-lt",
         "TIME_ALIGNABLE": "true"},
    )  # fmt: skip
    ET.indent(root)
    content: bytes = ET.tostring(root, "utf-8", xml_declaration=True)
    return content + b"\n"


def _tiers(session: Session) -> dict[str, list[Stretch]]:
    shown: defaultdict[str, list[Stretch]] = defaultdict(list)
    for one in session.shown:
        shown[f"emotion #{one.track}"].append((one.start_s, one.end_s, one.label))
    tiers = defaultdict(list, {name: _joined(stretches) for name, stretches in shown.items()})
    for done in sorted(session.done, key=lambda done: EVENTS.index(done.event)):
        tiers[f"{done.event} #{done.track}"].append((done.start_s, done.end_s, done.event))
    for name, start_s, end_s in _named(session):
        tiers[f"segment {_xml(name)}"].append((start_s, end_s, _xml(name)))
    for mark in _moments(session):
        tiers["markers"].append((mark.at_s, mark.at_s, _xml(mark.text)))
    return tiers


def _named(session: Session) -> list[tuple[str, float, float]]:
    return [(one.name, one.start_s, one.end_s) for one in session.segments if one.name]


def _moments(session: Session) -> list[Mark]:
    return [mark for mark in session.marks if mark.phase == "point"]


def _joined(stretches: Iterable[Stretch]) -> list[Stretch]:
    """Return stretches in which neighbours of one label are one: records repeat what goes on."""
    joined: list[Stretch] = []
    for start_s, end_s, label in sorted(stretches):
        if joined and joined[-1][2] == label and start_s - joined[-1][1] < 1e-3:
            joined[-1] = joined[-1][0], max(end_s, joined[-1][1]), label
        elif end_s > start_s:
            joined.append((start_s, end_s, label))
    return joined


def _in_milliseconds(stretches: Iterable[Stretch]) -> list[tuple[int, int, str]]:
    """Return stretches that do not overlap, as a tier must have them."""
    told: list[tuple[int, int, str]] = []
    last = 0
    for start_s, end_s, text in sorted(stretches):
        start = max(round(start_s * 1000), last, 0)
        end = max(round(end_s * 1000), start + _POINT_MS)
        told.append((start, end, text))
        last = end
    return told


def _xml(text: str) -> str:
    """Return text without the characters that XML has no room for."""
    return "".join(char if char.isprintable() else "\ufffd" for char in text)


_SHARE: Final = "share"
_COLUMNS: Final = ("onset", "duration", "trial_type", "track", "value", "unit")
_ABOUT: Final = {
    "onset": {"Description": "When it began, after the session's beginning", "Units": "s"},
    "duration": {"Description": "How long it lasted; 0 for a marker's moment", "Units": "s"},
    "trial_type": {
        "LongName": "What was seen",
        "Description": "An emotion that a face showed to the model, an event, a segment between "
        "markers, or a marker",
    },
    "track": {"Description": "The face, by the number of its track in the session"},
    "value": {"Description": "Mean confidence, intensity, or how far the head swung"},
    "unit": {"Description": "Of the value: share from 0 to 1, or degrees"},
}


def bids(session: Session) -> tuple[str, str]:
    """Return a session as BIDS has events: the table (events.tsv), and what describes it (.json).

    https://bids-specification.readthedocs.io: rows by onset; what is not known is n/a.
    """
    rows: list[dict[str, Cell]] = []

    def add(start_s: float, end_s: float, name: str, *rest: Cell) -> None:
        told = (round(start_s, 4), round(end_s - start_s, 4), _tsv(name), *rest)
        rows.append(dict(zip(_COLUMNS, (("n/a" if x is None else x) for x in told), strict=True)))

    for one in session.shown:
        sure = round(one.confidence, 4) if one.label != UNCERTAIN else None
        if one.end_s > one.start_s:
            add(
                one.start_s, one.end_s, one.label, one.track, sure, None if sure is None else _SHARE
            )
    for done in session.done:
        add(done.start_s, done.end_s, done.event, done.track, *_value(done))
    for name, start_s, end_s in _named(session):
        add(start_s, end_s, f"segment: {name}", None, None, None)
    for mark in _moments(session):
        add(mark.at_s, mark.at_s, f"marker: {mark.text}", None, None, None)
    rows.sort(key=lambda row: (float(row["onset"] or 0), str(row["trial_type"])))
    about = _ABOUT | {"trial_type": _ABOUT["trial_type"] | {"Levels": _levels(session)}}
    return written(_COLUMNS, iter(rows), "\t"), json.dumps(about, indent=2) + "\n"


def _value(done: Done) -> tuple[float | None, str | None]:
    if done.intensity is not None:
        return done.intensity, _SHARE
    return (None, None) if done.degrees is None else (done.degrees, "degrees")


def _levels(session: Session) -> dict[str, str]:
    labels: Sequence[str] = [
        label for label in (*EMOTIONS, UNCERTAIN) if any(s.label == label for s in session.shown)
    ]
    events = [event for event in EVENTS if any(done.event == event for done in session.done)]
    told = dict.fromkeys(labels, "what the face looked like to the model")
    return told | dict.fromkeys(events, "what the face did, by rule")


def _tsv(text: str) -> str:
    return " ".join(_xml(" ".join(text.split())).split())
