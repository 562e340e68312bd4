"""Lists of labelled pictures: manifests, and the published forms of RAF-DB and AffectNet.

None of these data sets is shipped or fetched: readers know the form that their owners hand out.
"""

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from edge.contract.labels import label_of
from edge.contract.manifest import (
    Entry,
    check_entry,
    is_manifest,
    manifest_in,
    picture_of,
    read_manifest,
)
from edge.errors import LabelError, ManifestError, not_there
from edge.files import read_bounded
from host_training.data.folders import SPLITS
from host_training.data.label_studio import is_export, read_export
from host_training.data.samples import HELD_OUT, TRAINING
from host_training.errors import DataError

_RAF: Final = ("surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral")
"""RAF-DB's numbers 1..7 (Li, Deng, Du, CVPR 2017)."""
_AFFECTNET: Final = (
    "neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt",
)  # fmt: skip
"""AffectNet's numbers 0..7 (Mollahosseini, Hasani, Mahoor, 2017); 8 to 10 are no emotion."""
_AFFECTNET_NONE: Final = frozenset({"8", "9", "10"})
_MOST_LIST: Final = 512 << 20


class Row(NamedTuple):
    """A picture of a list: its file, its label, its split, and who is in it."""

    file: Path
    label: str
    split: str
    subject: str | None = None


@dataclass(frozen=True, slots=True)
class PictureList:
    """What a list holds.

    Attributes:
        form: what it was recognised as, in words.
        rows: its pictures.
    """

    form: str
    rows: tuple[Row, ...]


def find_list(data: Path, names: Mapping[str, str]) -> PictureList | None:
    """Read a data set that is a list; None for one that is not.

    Args:
        data: a manifest's file, or the folder of a list.
        names: labels by foreign names.

    Raises:
        DataError: a list that is damaged, or whose pictures are not where it says.
    """
    try:
        if is_manifest(data):
            return _manifest(data, names)
        if is_export(data):
            rows = (
                Row(file, label, TRAINING, who) for file, label, who in read_export(data, names)
            )
            return PictureList("Label Studio export", tuple(rows))
        if not data.is_dir():
            return None
        if (manifest := manifest_in(data)) is not None:
            return _manifest(manifest, names)
        for read in _READERS:
            if (found := read(data)) is not None:
                return found
    except (ManifestError, LabelError) as error:
        raise DataError(str(error)) from error
    return None


def _manifest(path: Path, names: Mapping[str, str]) -> PictureList:
    entries = read_manifest(path)
    rows = tuple(
        Row(
            picture_of(path.parent, entry),
            label_of(entry.label, names),
            _split(path, entry.split),
            entry.subject,
        )
        for entry in entries
    )
    people = {row.subject for row in rows if row.subject}
    told = f", {len(people)} subjects" if people else ""
    return PictureList(f"manifest {path.name}{told}", rows)


def _split(path: Path, name: str | None) -> str:
    if name is None:
        return TRAINING
    key = name.lower().replace("_", "").replace("-", "").replace(" ", "")
    if key not in SPLITS:
        raise DataError(f"{path}: split {name!r}; expected one of {', '.join(SPLITS)}")
    return SPLITS[key]


def _raf_list(data: Path) -> PictureList | None:
    """RAF-DB as handed out: ``EmoLabel/list_patition_label.txt`` and ``Image/aligned``."""
    path = next((p for p in (data / "EmoLabel" / _RAF_LIST, data / _RAF_LIST) if p.is_file()), None)
    if path is None:
        return None
    folders = [
        folder
        for folder in (data / "Image" / "aligned", data / "aligned", data / "Image" / "original")
        if folder.is_dir()
    ]
    if not folders:
        raise DataError(f"{data}: RAF-DB's list without its pictures; expected Image/aligned in it")
    rows = []
    for number, line in enumerate(_text(path).splitlines(), 1):
        name, _, label = line.strip().partition(" ")
        if not name:
            continue
        stem, suffix = Path(name).stem, Path(name).suffix
        aligned = f"{stem}_aligned{suffix}" if folders[0].name == "aligned" else name
        place = _inside(folders[0], aligned, path, number)
        split = "Test" if name.startswith("test") else TRAINING
        rows.append(Row(place, _numbered(_RAF, label, 1, path, number), split))
    return PictureList("RAF-DB list", tuple(rows))


_RAF_LIST: Final = "list_patition_label.txt"


def _raf_tables(data: Path) -> PictureList | None:
    """RAF-DB as it circulates: ``train_labels.csv``, and ``DATASET/train/NUMBER/``."""
    tables = {TRAINING: data / "train_labels.csv", "Test": data / "test_labels.csv"}
    if not any(path.is_file() for path in tables.values()):
        return None
    rows = []
    for split, path in tables.items():
        if not path.is_file():
            continue
        folder = data / "DATASET" / path.name.partition("_")[0]
        for number, fields in _table(path, "image", "label"):
            label = _numbered(_RAF, fields["label"], 1, path, number)
            name = f"{fields['label']}/{fields['image']}"
            rows.append(Row(_inside(folder, name, path, number), label, split))
    return PictureList("RAF-DB tables", tuple(rows))


def _affectnet_tables(data: Path) -> PictureList | None:
    """AffectNet as handed out: ``training.csv`` and ``validation.csv`` beside its pictures."""
    tables = {TRAINING: data / "training.csv", HELD_OUT: data / "validation.csv"}
    known = {split: path for split, path in tables.items() if path.is_file()}
    if not known:
        return None
    places = [data / name for name in ("Manually_Annotated_Images", "Manually_Annotated", ".")]
    folder = next(place for place in places if place.is_dir())
    rows = []
    for split, path in known.items():
        for number, fields in _table(path, "subDirectory_filePath", "expression"):
            if fields["expression"] in _AFFECTNET_NONE:
                continue
            label = _numbered(_AFFECTNET, fields["expression"], 0, path, number)
            place = _inside(folder, fields["subDirectory_filePath"], path, number)
            rows.append(Row(place, label, split))
    return PictureList("AffectNet tables (none, uncertain and no face left out)", tuple(rows))


def _affectnet_arrays(data: Path) -> PictureList | None:
    """AffectNet of eight classes: ``train_set/images/N.jpg`` and ``annotations/N_exp.npy``."""
    sets = {TRAINING: data / "train_set", HELD_OUT: data / "val_set"}
    known = {split: path for split, path in sets.items() if (path / "annotations").is_dir()}
    if not known:
        return None
    rows = []
    for split, path in known.items():
        for file in sorted((path / "images").glob("*.jpg")):
            note = path / "annotations" / f"{file.stem}_exp.npy"
            label = _numbered(_AFFECTNET, _number_in(note), 0, note, 1)
            rows.append(Row(_inside(path / "images", file.name, note, 1), label, split))
    return PictureList("AffectNet arrays", tuple(rows))


_READERS: Final[tuple[Callable[[Path], PictureList | None], ...]] = (
    _raf_list,
    _raf_tables,
    _affectnet_tables,
    _affectnet_arrays,
)


def _number_in(path: Path) -> str:
    try:
        value = np.load(io.BytesIO(read_bounded(path, 4096)), allow_pickle=False)
        return str(int(str(value[()])))
    except (OSError, ValueError, TypeError, EOFError) as error:
        raise DataError(f"{path}: no label in it ({error}); expected a number as .npy") from error


def _numbered(names: tuple[str, ...], text: str, first: int, path: Path, line: int) -> str:
    last = first + len(names) - 1
    if not text.strip().isdecimal() or not first <= int(text) <= last:
        raise DataError(f"{path}: line {line}: label {text!r}; expected {first} to {last}")
    return names[int(text) - first]


def _inside(folder: Path, name: str, path: Path, line: int) -> Path:
    """Return a picture's place, which no name and no link may lead out of the folder."""
    entry = Entry(name, "listed")
    check_entry(path, line, entry)
    return picture_of(folder, entry)


def _table(path: Path, *needed: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a CSV with the columns that are needed."""
    reader = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        if missing := set(needed) - set(reader.fieldnames or ()):
            raise DataError(f"{path}: no column {' or '.join(sorted(missing))} in its first line")
        for row in reader:
            yield reader.line_num, {name: (row[name] or "").strip() for name in needed}
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: {error}") from error


def _text(path: Path) -> str:
    try:
        return read_bounded(path, _MOST_LIST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as UTF-8") from error
    except OSError as error:
        what = DataError(f"{path}: cannot be read ({error.strerror or error})")
        raise not_there(what, error) from error
