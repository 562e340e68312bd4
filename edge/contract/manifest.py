"""Manifests: lists of labelled pictures, as CSV or JSON Lines, beside or above the pictures.

A line holds ``path`` and ``label``, and may hold ``subject`` and ``split``; further fields are left
alone. Paths are relative to the manifest's folder, and whoever wrote them is not trusted: none may
lead out of that folder, by its name or by a link.
"""

import csv
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Final, TextIO

import msgspec

from edge.errors import ManifestError, not_there
from edge.files import UnsuitableError, open_regular
from edge.text import one_line

MANIFEST: Final = "manifest.jsonl"
"""The name of a folder's own."""
SUFFIXES: Final = (".csv", ".jsonl", ".ndjson")
MOST_LINES: Final = 5_000_000
MOST_BYTES: Final = 2 << 30
_LONGEST_LINE: Final = 64 << 10
_LONGEST_FIELD: Final = 1000

_NAMES: Final = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "emotion", "expression", "class"),
    "subject": ("subject", "person", "subject_id", "person_id"),
    "split": ("split", "usage", "set", "subset"),
}
"""What a column may be called, in any case."""


class Entry(msgspec.Struct, frozen=True):
    """One picture: its path in the manifest's folder, and what is said of it, as it is spelt."""

    path: str
    label: str
    subject: str | None = None
    split: str | None = None


def is_manifest(path: Path) -> bool:
    """Tell a manifest's file by its name, and a CSV by its columns, which FER2013 has others of."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    if path.suffix.lower() != ".csv":
        return True
    try:
        with _opened(path) as file:
            columns = _columns(next(csv.reader([file.readline(_LONGEST_LINE)]), []))
    except (OSError, ValueError, csv.Error):
        return False
    return {"path", "label"} <= columns.keys()


def manifest_in(folder: Path) -> Path | None:
    """Return a folder's own manifest, None without one; what only bears its name is one as well."""
    path = folder / MANIFEST
    return path if os.path.lexists(path) else None


def read_manifest(path: Path) -> list[Entry]:
    """Read a manifest.

    Raises:
        ManifestError: it cannot be read, is too large, lacks a column, has a damaged line, names a
            picture twice, or a path leads out of its folder; the message names the line.
    """
    entries: list[Entry] = []
    seen: set[str] = set()
    for number, entry in _entries(path):
        if number > MOST_LINES:
            raise ManifestError(f"{path}: more than {MOST_LINES:,} lines; split it")
        check_entry(path, number, entry)
        place = str(PurePosixPath(entry.path))  # a/./b and a//b are a/b
        if place in seen:
            raise ManifestError(f"{path}: line {number}: {place} comes twice; keep one line")
        seen.add(place)
        entries.append(entry)
    if not entries:
        raise ManifestError(f"{path}: no picture in it; expected lines with path and label")
    return entries


def picture_of(root: Path, entry: Entry) -> Path:
    """Return where a picture is, once no part of the way to it is a link.

    Raises:
        ManifestError: it is not there, or a link leads to it.
    """
    place = root
    for part in PurePosixPath(entry.path).parts:
        place /= part
        try:
            mode = os.lstat(place).st_mode
        except OSError as error:
            raise ManifestError(f"{place}: {error.strerror}; the manifest names it") from error
        if stat.S_ISLNK(mode):
            raise ManifestError(
                f"{place}: a link, which could lead anywhere; put the picture itself there"
            )
    return place


def _entries(path: Path) -> Iterator[tuple[int, Entry]]:
    try:
        with _opened(path) as file:
            size = os.fstat(file.fileno()).st_size
            if size > MOST_BYTES:
                raise ManifestError(f"{path}: {size:,} bytes; at most {MOST_BYTES:,}; split it")
            lines = _lines(path, file)
            yield from _csv(path, lines) if path.suffix.lower() == ".csv" else _json(path, lines)
    except UnsuitableError as error:
        raise ManifestError(f"{path}: {error.strerror or error}; give a regular file") from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        what = ManifestError(f"{path}: cannot be read ({error.strerror})")
        raise not_there(what, error) from error


def _opened(path: Path) -> TextIO:
    return os.fdopen(open_regular(path, follow=True), "r", encoding="utf-8-sig", newline="")


def _lines(path: Path, file: TextIO) -> Iterator[str]:
    number = 0
    while line := file.readline(_LONGEST_LINE + 1):
        number += 1
        if len(line) > _LONGEST_LINE:
            raise ManifestError(f"{path}: line {number} has more than {_LONGEST_LINE:,} characters")
        yield line


def _csv(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Entry]]:
    reader = csv.reader(lines)
    try:
        columns = _columns(next(reader, []))
        if missing := {"path", "label"} - columns.keys():
            raise ManifestError(
                f"{path}: no column {' or '.join(sorted(missing))} in its first line; expected "
                "path and label, and maybe subject and split"
            )
        for row in reader:
            if row:
                fields = {
                    name: row[place].strip() or None
                    for name, place in columns.items()
                    if place < len(row)
                }
                yield reader.line_num, _entry(path, reader.line_num, fields)
    except csv.Error as error:
        raise ManifestError(f"{path}: line {reader.line_num}: {error}") from error


def _json(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Entry]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            fields = msgspec.json.decode(line, type=dict[str, object])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise ManifestError(
                f"{path}: line {number}: not a JSON object ({error}); remove the line"
            ) from error
        places = _columns(list(fields))
        values = list(fields.values())
        yield number, _entry(path, number, {name: values[i] for name, i in places.items()})


def _columns(header: list[str]) -> dict[str, int]:
    """Return where each of our fields stands, by the first of its names that is there."""
    keys = [name.strip().lower() for name in header]
    places = {
        field: next((keys.index(name) for name in names if name in keys), None)
        for field, names in _NAMES.items()
    }
    return {field: place for field, place in places.items() if place is not None}


def _entry(path: Path, number: int, fields: Mapping[str, object]) -> Entry:
    try:
        return msgspec.convert(fields, Entry, strict=False)
    except msgspec.ValidationError as error:
        raise ManifestError(
            f"{path}: line {number}: {error}; expected path and label as text"
        ) from error


def check_entry(path: Path, number: int, entry: Entry) -> None:
    """Refuse a line whose texts are none, or whose path leads out of its folder.

    Raises:
        ManifestError: naming file and line.
    """
    where = f"{path}: line {number}"
    for value in (entry.path, entry.label, entry.subject or "-", entry.split or "-"):
        if len(value) > _LONGEST_FIELD or not value.isprintable() or not value.strip():
            raise ManifestError(
                f"{where}: {one_line(ascii(value), 60)} is empty, longer than {_LONGEST_FIELD} "
                "characters, or holds control characters"
            )
    way = PurePosixPath(entry.path)
    if way.is_absolute() or ".." in way.parts or "\\" in entry.path or not way.parts:
        raise ManifestError(
            f"{where}: {one_line(entry.path, 80)} leads out of the manifest's folder; expected a "
            "path below it, such as happy/anna-1.png"
        )
