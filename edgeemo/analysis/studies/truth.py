"""What people saw in a film: a table of labelled stretches, or an ELAN file."""

import csv
import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import msgspec

from edge.contract.labels import EMOTIONS, UNCERTAIN, canonical
from edge.contract.logrecord import EVENTS
from edge.errors import ConfigError, EdgeEmoError
from edge.files import read_bounded

_MOST_BYTES: Final = 50_000_000
_MOST_SHOWN: Final = 40
_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,9})?)")
_TRACK: Final = re.compile(r"#(\d{1,12})\b")
_NUMBER: Final = re.compile(r"[+-]?\d{1,9}(?:[.,]\d{1,9})?")
_EXPECTED: Final = "columns start, end and label, and track where one face of several is meant"
_OF_MARKERS: Final = ("segment: ", "marker: ", "segment ", "markers")
"""How the exports of markers begin, whose text may be that of a label."""
_NAMES: Final = {"onset": "start", "begin": "start", "trial_type": "label", "event": "label"}
"""What other tools call the columns."""


class Seen(msgspec.Struct, frozen=True):
    """A stretch that people gave a label.

    Attributes:
        start_s, end_s: seconds since the film, or the session, began.
        label: an emotion, ``uncertain``, or an event.
        track: the face that is meant; None: whoever is there.
    """

    start_s: float
    end_s: float
    label: str
    track: int | None = None


def read_truth(path: Path) -> list[Seen]:
    """Read a table (CSV, TSV, with a heading) or an ELAN file (.eaf), by its name.

    Raises:
        ConfigError: it cannot be read, or is not what it should be; the line is named.
    """
    try:
        content = read_bounded(path, _MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    rows = _elan(path, content) if path.suffix.lower() == ".eaf" else _table(path, content)
    found = sorted(rows, key=lambda one: (one.start_s, one.end_s))
    if not found:
        raise ConfigError(f"{path}: holds no labelled stretch; expected {_EXPECTED}")
    return found


def _table(path: Path, content: bytes) -> Iterator[Seen]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 ({error.reason}); save it as UTF-8") from error
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    try:
        table = csv.DictReader(io.StringIO(text), delimiter=delimiter)
        lines, columns = list(table), {_name(column) for column in table.fieldnames or ()}
    except csv.Error as error:
        raise ConfigError(f"{path}: is no table ({error}); expected {_EXPECTED}") from error
    if columns and (missing := {"start", "label"} - columns):
        names = " and ".join(sorted(missing))
        raise ConfigError(f"{path}, line 1: has no {names}; expected {_EXPECTED}")
    for number, line in enumerate(lines, 2):
        fields = {_name(key): (value or "").strip() for key, value in line.items()
                  if isinstance(key, str) and isinstance(value, str | None)}  # fmt: skip
        where = f"{path}, line {number}"
        # Spreadsheets save empty lines as separators; `logs export --as bids` adds the markers.
        if not any(fields.values()) or fields["label"].startswith(_OF_MARKERS):
            continue
        start_s = _seconds(fields["start"], f"{where}: start")
        yield Seen(
            start_s,
            _end(fields, start_s, where),
            _label(fields["label"], where),
            _track(fields.get("track", ""), where),
        )


def _end(fields: dict[str, str], start_s: float, where: str) -> float:
    if fields.get("end"):
        end_s = _seconds(fields["end"], f"{where}: end")
    elif duration := fields.get("duration"):
        known = duration.lower() != "n/a"
        end_s = start_s + (_seconds(duration, f"{where}: duration") if known else 0.0)
    else:
        raise ConfigError(f"{where}: has no end and no duration; expected {_EXPECTED}")
    if end_s < start_s:
        raise ConfigError(f"{where}: ends at {end_s:g} s, before it starts at {start_s:g} s")
    return end_s


def _name(key: str) -> str:
    name = key.strip().lower()
    name = name.removesuffix("_s").removesuffix(" (s)")
    return _NAMES.get(name, name)


def _seconds(text: str, where: str) -> float:
    """Return seconds that are written as such, or as a clock has them: 12.5, 1:02.5, 0:01:02.5."""
    if match := _CLOCK.fullmatch(text):
        hours, minutes, seconds = match.groups("0")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    if not _NUMBER.fullmatch(text):
        raise ConfigError(
            f"{where} {_brief(text)}: expected seconds since the film began (12.5), or m:ss.s"
        )
    return float(text.replace(",", "."))


def _label(text: str, where: str) -> str:
    name = text.strip().lower().replace(" ", "_").replace("-", "_")
    if name in EVENTS or name == UNCERTAIN:
        return name
    try:
        return canonical(text)
    except EdgeEmoError as error:
        raise ConfigError(
            f"{where}: unknown label {_brief(text)}; expected an emotion ({', '.join(EMOTIONS)}), "
            f"{UNCERTAIN}, or an event ({', '.join(EVENTS)})"
        ) from error


def _track(text: str, where: str) -> int | None:
    if not text or text.lower() == "n/a":
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 13):
        raise ConfigError(f"{where}: track {_brief(text)}: expected the number of a track, or none")
    return int(text)


def _elan(path: Path, content: bytes) -> Iterator[Seen]:
    """Read the aligned annotations of all tiers.

    Annotations with a label that edgeemo knows count, and those of a tier that has one for its
    name; all others are skipped, for a file of people's holds words, gestures and remarks, too. A
    tier's name may end in the number of a track, as in those that `edgeemo logs export` writes.

    https://www.mpi.nl/tools/elan/EAF_Annotation_Format_3.0_and_ELAN.pdf
    """
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise ConfigError(f"{path}: defines entities, which no ELAN file does; export it again")
    try:
        document = ET.fromstring(content)
    except (ET.ParseError, ValueError) as error:
        raise ConfigError(f"{path}: is no ELAN file ({error})") from error
    if document.tag != "ANNOTATION_DOCUMENT":
        raise ConfigError(f"{path}: is no ELAN file, but <{_brief(document.tag)}>")
    times = {
        slot.get("TIME_SLOT_ID"): _milliseconds(slot.get("TIME_VALUE"))
        for slot in document.iter("TIME_SLOT")
    }
    for tier in document.iter("TIER"):
        yield from _tier(tier, times)


def _tier(tier: ET.Element, times: dict[str | None, float | None]) -> Iterator[Seen]:
    name = tier.get("TIER_ID") or ""
    if name.startswith(_OF_MARKERS):
        return
    number = _TRACK.search(name)
    track = int(number[1]) if number else None
    usual = _known(_TRACK.sub("", name))
    for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
        start_s = times.get(annotation.get("TIME_SLOT_REF1"))
        end_s = times.get(annotation.get("TIME_SLOT_REF2"))
        label = _known(annotation.findtext("ANNOTATION_VALUE") or "") or usual
        if label is not None and start_s is not None and end_s is not None and end_s >= start_s:
            yield Seen(start_s, end_s, label, track)


def _known(text: str) -> str | None:
    try:
        return _label(text, "")
    except ConfigError:
        return None


def _milliseconds(text: str | None) -> float | None:
    is_plain = text is not None and text.isascii() and text.isdecimal() and len(text) < 13
    return int(text or 0) / 1000 if is_plain else None


def labels_of(truth: Iterable[Seen]) -> tuple[list[str], list[str]]:
    """Return the emotions and the events that people told apart, each in the usual order."""
    labels = {one.label for one in truth}
    emotions: list[str] = [label for label in (*EMOTIONS, UNCERTAIN) if label in labels]
    return emotions, [label for label in EVENTS if label in labels]


def moved(truth: Iterable[Seen], offset_s: float) -> list[Seen]:
    """Return what people saw, later by so much."""
    return [
        msgspec.structs.replace(one, start_s=one.start_s + offset_s, end_s=one.end_s + offset_s)
        for one in truth
    ]


def _brief(text: str) -> str:
    shown = ascii(text)
    return shown if len(shown) <= _MOST_SHOWN else f"{shown[: _MOST_SHOWN - 3]}...'"
