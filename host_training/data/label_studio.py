"""Label Studio's files: tasks that its import takes, and the labels of its JSON export.

https://labelstud.io/guide/tasks and https://labelstud.io/guide/export: a list of tasks, each with
``data.image`` and, where somebody labelled it, ``annotations`` with ``choices``.
"""

import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from edge.contract.manifest import Entry, check_entry, picture_of
from edge.errors import ManifestError
from edge.files import read_bounded
from host_training.data.samples import Samples
from host_training.errors import DataError

_MOST_BYTES: Final = 512 << 20
_LOCAL: Final = "/data/local-files/"
"""Where Label Studio serves files of its own machine, by the query ``d``."""
NAME: Final = "emotion"
"""Of the choices, in the labelling interface that ``interface`` gives."""


class _Value(msgspec.Struct):
    choices: list[str] = []


class _Result(msgspec.Struct):
    value: _Value = msgspec.field(default_factory=_Value)
    type: str = ""


class _Annotation(msgspec.Struct):
    result: list[_Result] = []
    was_cancelled: bool = False


class _Task(msgspec.Struct):
    data: dict[str, Any]
    annotations: list[_Annotation] = []


def tasks(samples: Samples, root: Path) -> list[dict[str, object]]:
    """Return a task for each sample, with its label as an annotation.

    Args:
        samples: with files.
        root: the folder that Label Studio serves; paths are relative to it.

    Raises:
        DataError: the samples are of a table without files, or lie outside of ``root``.
    """
    if samples.files is None:
        raise DataError(f"{samples.name}: has no picture files; give class folders or a manifest")
    return [
        {
            "data": {
                "image": f"{_LOCAL}?d={_relative(Path(str(file)), root)}",
                **({} if samples.subjects is None else {"subject": str(samples.subjects[i])}),
            },
            "annotations": [
                {
                    "result": [
                        {
                            "from_name": NAME,
                            "to_name": "image",
                            "type": "choices",
                            "value": {"choices": [samples.labels[samples.class_ids[i]]]},
                        }
                    ]
                }
            ],
        }
        for i, file in enumerate(samples.files)
    ]


def interface(labels: tuple[str, ...]) -> str:
    """Return the labelling interface for these classes, as Label Studio's XML."""
    choices = "".join(f'    <Choice value="{label}"/>\n' for label in labels)
    return (
        f'<View>\n  <Image name="image" value="$image"/>\n  <Choices name="{NAME}" '
        f'toName="image" choice="single">\n{choices}  </Choices>\n</View>\n'
    )


def is_export(path: Path) -> bool:
    """Tell Label Studio's JSON by its name and beginning."""
    if path.suffix.lower() != ".json" or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"[")


def read_export(path: Path, names: Mapping[str, str]) -> list[tuple[Path, str, str | None]]:
    """Return file, label and subject of every labelled task.

    Raises:
        DataError: no such export, a task of two labels, or none with a label.
        ManifestError: a picture is not there, or leads out of the export's folder.
    """
    from edge.contract.labels import label_of

    try:
        found = msgspec.json.decode(read_bounded(path, _MOST_BYTES), type=list[_Task])
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise DataError(f"{path}: not Label Studio's JSON export ({error})") from error
    rows = []
    for number, task in enumerate(found, 1):
        labels = {
            choice
            for annotation in task.annotations
            if not annotation.was_cancelled
            for result in annotation.result
            if result.type == "choices"
            for choice in result.value.choices
        }
        if not labels:
            continue
        if len(labels) > 1:
            raise DataError(f"{path}: task {number}: two labels ({', '.join(sorted(labels))})")
        subject = task.data.get("subject")
        who = subject if isinstance(subject, str) and subject else None
        entry = Entry(_picture_path(path, number, task), label_of(labels.pop(), names), who)
        check_entry(path, number, entry)
        rows.append((picture_of(path.parent, entry), entry.label, who))
    if not rows:
        raise DataError(f"{path}: no task in it has a label; label some, and export as JSON")
    return rows


def _picture_path(path: Path, number: int, task: _Task) -> str:
    image = task.data.get("image")
    if not isinstance(image, str):
        raise ManifestError(f"{path}: task {number}: no data.image; expected the picture's path")
    parts = urlsplit(image)
    if parts.scheme or parts.netloc:
        raise ManifestError(
            f"{path}: task {number}: {image[:80]} is not beside the export; download the pictures "
            f"there and name them as {_LOCAL}?d=PATH"
        )
    return parse_qs(parts.query)["d"][0] if "d" in parse_qs(parts.query) else unquote(parts.path)


def _relative(file: Path, root: Path) -> str:
    try:
        return str(PurePosixPath(file.resolve().relative_to(root.resolve())))
    except ValueError as error:
        raise DataError(f"{file}: not below {root}; give the folder that holds all") from error


def write_tasks(samples: Samples, root: Path, out: Path) -> None:
    """Write tasks as ``out``, and the labelling interface beside it as ``.xml``.

    Raises:
        DataError: as ``tasks``, or the disk refuses.
    """
    text = json.dumps(tasks(samples, root), indent=1) + "\n"
    try:
        out.write_text(text, "utf-8")
        out.with_suffix(".xml").write_text(interface(samples.labels), "utf-8")
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror})") from error
