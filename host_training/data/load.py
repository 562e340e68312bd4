"""From a path to ``Samples``: recognise the form, say it, read it."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import EMOTIONS, FER2013_EMOTIONS, in_canonical_order
from edge.errors import ConfigError, not_there
from host_training.data.fer2013 import Fer2013Rows, read_fer2013
from host_training.data.ferplus import (
    MAJORITY,
    PLURALITY,
    hard_labels,
    read_votes,
    training_targets,
)
from host_training.data.folders import FolderRows, read_class_folders, read_pictures
from host_training.data.lists import PictureList, find_list
from host_training.data.samples import EXCLUDED, TRAINING, Samples
from host_training.data.shards import is_sharded, read_shards
from host_training.errors import DataError

FER2013: Final = "fer2013"
"""The protocol of FER2013's own seven labels."""
LABELS: Final = "labels"
"""The protocol of data with one label a picture: every row counts."""

_PAIR: Final = {"train": TRAINING, "test_with_emotions": "Test", "test": "Test"}
"""The challenge's files, which have no Usage column, and the splits that they are."""


def load_samples(
    data: Path,
    labels: Path | None = None,
    protocol: str | None = None,
    names: Mapping[str, str] | None = None,
) -> Samples:
    """Read a data set of any known form; ``form`` of the result says which it was.

    Args:
        data: a FER2013 CSV (``.gz`` too), a folder with the pair ``train.csv`` and
            ``test_with_emotions.csv`` (or ``test.csv``, whose rows have no answer), or a folder of
            class folders, with split folders above them or without; a manifest, a folder with one,
            or the published lists of RAF-DB and AffectNet, see ``host_training.data.lists``;
            or a folder of shards, see ``host_training.data.shards``.
        labels: FER+ votes for the rows of ``data``. Under ``fer2013`` they answer nothing, and lie
            in ``votes`` of the result.
        protocol: ``majority`` (the default where votes are given), ``plurality`` or ``fer2013``.
        names: labels by the names that classes have in ``data``.

    Raises:
        DataError: a file is missing or damaged, or the two do not belong together.
        ConfigError: a protocol that the data does not allow.
    """
    if not data.exists():
        expected = "expected fer2013.csv or class folders"
        raise not_there(DataError(f"{data}: no such file or folder; {expected}"))
    if is_sharded(data):
        return _from_shards(data, labels, protocol, names)
    found = find_list(data, names or {})
    if found is not None or not is_fer2013(data):
        if labels is not None:
            raise ConfigError(
                f"--labels {labels}: votes belong to fer2013.csv, and {data} is another data set"
            )
        if found is not None:
            return _from_list(data, found, protocol)
        return _from_folders(data, protocol, names)
    samples = _from_csv(data)
    if labels is None:
        _check_protocol(protocol, (FER2013,), "without --labels fer2013new.csv")
        return samples
    _check_protocol(protocol, (MAJORITY, PLURALITY, FER2013), "with FER+ votes")
    votes = _votes_for(samples, labels)
    if protocol == FER2013:
        return replace(samples, votes=votes)
    return _by_votes(samples, votes, labels.name, protocol or MAJORITY)


def _from_shards(
    data: Path, labels: Path | None, protocol: str | None, names: Mapping[str, str] | None
) -> Samples:
    if labels is not None or names:
        raise ConfigError(
            f"{data}: shards hold their labels; leave --labels and --map out, or make the shards "
            "anew with them"
        )
    samples = read_shards(data)
    _check_protocol(protocol, (samples.protocol,), "with these shards")
    return samples


def is_fer2013(data: Path) -> bool:
    """Tell FER2013's files, which FER+ votes may belong to, from class folders."""
    return not data.is_dir() or bool(_pair_files(data))


def one_hot(class_ids: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    """Return float32 ``(n, classes)`` with a 1 at each row's label; zeros for ``EXCLUDED``."""
    return np.asarray(np.eye(classes)[class_ids] * (class_ids != EXCLUDED)[:, None], np.float32)


def _pair_files(folder: Path) -> list[Path]:
    """Return the challenge's files in a folder; one a split, the labelled and unpacked one."""
    found: dict[str, Path] = {}
    for stem, split in _PAIR.items():
        for path in (folder / f"{stem}.csv", folder / f"{stem}.csv.gz"):
            if path.is_file():
                found.setdefault(split, path)
    return list(found.values())


def _from_csv(data: Path) -> Samples:
    files = _pair_files(data) if data.is_dir() else [data]
    parts = [(path, read_fer2013(path)) for path in files]
    labels = in_canonical_order(FER2013_EMOTIONS)
    place = np.array([labels.index(name) for name in FER2013_EMOTIONS])
    class_ids = np.concatenate(
        [
            np.full(len(rows.images), EXCLUDED) if rows.emotions is None else place[rows.emotions]
            for _, rows in parts
        ]
    )
    names = [path.name + (" (no labels)" if rows.emotions is None else "") for path, rows in parts]
    return Samples(
        images=np.concatenate([rows.images for _, rows in parts]),
        targets=one_hot(class_ids, len(labels)),
        labels=labels,
        class_ids=class_ids,
        split=np.concatenate([_split(path, rows) for path, rows in parts]),
        name=FER2013,
        form="FER2013 CSV: " + " and ".join(names),
        protocol=FER2013,
    )


def _split(path: Path, rows: Fer2013Rows) -> NDArray[np.str_]:
    if rows.usage is not None:
        return np.array(rows.usage)
    stem = path.name.removesuffix(".gz").removesuffix(".csv")
    return np.array([_PAIR.get(stem, TRAINING)] * len(rows.images))


def _votes_for(samples: Samples, path: Path) -> NDArray[np.int64]:
    """Read the votes for these rows; int64 ``(n, 10)``."""
    usage, votes = read_votes(path)
    if len(votes) != len(samples):
        raise DataError(
            f"{path}: {len(votes)} rows of votes for {len(samples)} pictures; row i must belong to "
            "row i of the pictures' file"
        )
    different = np.flatnonzero(np.array(usage) != samples.split)
    if different.size:
        i = int(different[0])
        raise DataError(
            f"{path}: row {i + 1}: Usage {usage[i]!r}, the picture's row says "
            f"{str(samples.split[i])!r}; the two files are not in the same order"
        )
    return votes


def _by_votes(samples: Samples, votes: NDArray[np.int64], name: str, protocol: str) -> Samples:
    return replace(
        samples,
        targets=training_targets(votes),
        labels=EMOTIONS,
        class_ids=hard_labels(votes, protocol),
        name="ferplus",
        form=f"{samples.form} with FER+ votes: {name}",
        protocol=protocol,
    )


def _from_list(path: Path, found: PictureList, protocol: str | None) -> Samples:
    _check_protocol(protocol, (LABELS,), "with one label a picture")
    pictures = read_pictures([row.file for row in found.rows], path)
    rows = [row for row in found.rows if row.file in pictures]
    labels = in_canonical_order(row.label for row in rows)
    class_ids = np.array([labels.index(row.label) for row in rows], np.int64)
    skipped = len(found.rows) - len(rows)
    everybody = all(row.subject for row in rows)
    return Samples(
        images=np.stack([pictures[row.file] for row in rows]),
        targets=one_hot(class_ids, len(labels)),
        labels=labels,
        class_ids=class_ids,
        split=np.array([row.split for row in rows]),
        name=path.resolve().stem,
        form=f"{found.form}, {skipped} unreadable pictures skipped" if skipped else found.form,
        protocol=LABELS,
        subjects=np.array([row.subject for row in rows]) if everybody else None,
        files=np.array([str(row.file) for row in rows]),
    )


def _from_folders(path: Path, protocol: str | None, names: Mapping[str, str] | None) -> Samples:
    _check_protocol(protocol, (LABELS,), "with class folders")
    rows = read_class_folders(path, names)
    labels = in_canonical_order(rows.names)
    class_ids = np.array([labels.index(name) for name in rows.names], np.int64)
    return Samples(
        images=rows.images,
        targets=one_hot(class_ids, len(labels)),
        labels=labels,
        class_ids=class_ids,
        split=np.array(rows.splits),
        name=path.resolve().name,
        form=_form(rows),
        protocol=LABELS,
        subjects=None if rows.subjects is None else np.array(rows.subjects),
        files=np.array([str(file) for file in rows.files]),
    )


def _form(rows: FolderRows) -> str:
    words = ["class folders"]
    if rows.split_folders:
        told = ", ".join(f"{name} as {split}" for name, split in rows.split_folders.items())
        words = [f"class folders in split folders ({told})"]
    if rows.subjects is not None:
        words.append("CK+ file names with subjects")
    if rows.ignored:
        files = "file" if rows.ignored == 1 else "files"
        words.append(f"{rows.ignored} other {files} beside the pictures ignored")
    if rows.skipped:
        pictures = "picture" if rows.skipped == 1 else "pictures"
        words.append(f"{rows.skipped} unreadable {pictures} skipped")
    return ", ".join(words)


def _check_protocol(protocol: str | None, allowed: tuple[str, ...], when: str) -> None:
    if protocol is not None and protocol not in allowed:
        raise ConfigError(f"--protocol {protocol}: {when} only {', '.join(allowed)} is possible")
