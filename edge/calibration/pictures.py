"""From a folder of labelled pictures to what a bundle's network says of them."""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge.calibration.samples import Labelled
from edge.calibration.still import Stills
from edge.contract.bundle import Bundle
from edge.contract.labels import label_of, stripped_of_number
from edge.contract.manifest import (
    MANIFEST,
    Entry,
    is_manifest,
    manifest_in,
    picture_of,
    read_manifest,
)
from edge.contract.mesh_features import mesh_features
from edge.errors import CalibrationError, LabelError, PictureError, not_there
from edge.inference.emotion_model import EmotionModel
from edge.media.pictures import is_meant_as_picture, open_picture

ALONE: Final = "somebody"
"""Who is in pictures that nobody has named."""
_CK_NAME: Final = re.compile(r"(S\d{3})_\d{3}_\d{8}")
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class LabelledFile:
    """A picture's file, its label and who is in it."""

    path: Path
    label: str
    person: str


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures that a device would classify, and what a bundle's network says of them.

    Attributes:
        files: ``n`` of them.
        samples: under the packaged decision, ``n``.
        crops: uint8 ``(n, size, size)``.
        left_out: how many pictures are not among them, by reason.
        names_people: the folder says who is in the pictures.
        fingerprint: SHA-256 of crops, labels and people, in order.
    """

    files: tuple[LabelledFile, ...]
    samples: Labelled
    crops: NDArray[np.uint8]
    left_out: Mapping[str, int]
    names_people: bool
    fingerprint: str


def labelled_files(data: Path, names: Mapping[str, str]) -> list[LabelledFile]:
    """List a folder of `edgeemo capture`, class folders, or a manifest's pictures.

    People come from the manifest, or from file names of CK+'s form.

    Args:
        data: the folder, or the manifest's file.
        names: labels by a foreign name (`--map`).

    Raises:
        CalibrationError: there is nothing of that kind.
        ManifestError: the manifest is damaged or leads elsewhere.
        LabelError: a name that no label can have.
    """
    if is_manifest(data):
        return _listed(data.parent, read_manifest(data), names)
    if data.is_file():
        raise CalibrationError(
            f"{data}: a file, and no manifest; expected a CSV whose first line has path and label, "
            "separated by commas, JSON Lines with both, or a folder"
        )
    if not data.is_dir():
        raise not_there(
            CalibrationError(
                f"{data}: no such folder; expected one of `edgeemo capture`, or class folders such "
                "as happy/"
            )
        )
    if (manifest := manifest_in(data)) is not None:
        return _listed(data, read_manifest(manifest), names)
    folders = sorted(p for p in data.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = [
        LabelledFile(file, label_of(stripped_of_number(folder.name), names), _person(file))
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.is_file() and not file.name.startswith(".") and is_meant_as_picture(file)
    ]
    if not found:
        raise CalibrationError(
            f"{data}: no picture in it; expected class folders such as happy/ with pictures, or a "
            f"{MANIFEST}"
        )
    return found


def look_at(
    files: list[LabelledFile],
    bundle: Bundle,
    model: EmotionModel,
    stills: Stills,
    advance: Callable[[], object] = lambda: None,
) -> Pictures:
    """Run pictures through the device's pipeline and a bundle's network.

    Args:
        files: with labels.
        bundle: tells labels and decision.
        model: its network.
        stills: the pipeline; gives blendshapes where the network takes mesh features.
        advance: called after every picture.

    Raises:
        CalibrationError: a label that the network does not know, or not one picture that a device
            would classify.
        InferenceError: the mesher or the network failed.
    """
    labels = bundle.metadata.labels
    _check_labels(files, labels)
    kept: list[tuple[LabelledFile, NDArray[np.uint8], NDArray[np.floating]]] = []
    left_out: dict[str, int] = {}
    for file in files:
        reason, crop, logits = _look(file, model, stills)
        if crop is None or logits is None:
            left_out[reason] = left_out.get(reason, 0) + 1
        else:
            kept.append((file, crop, logits))
        advance()
    if not kept:
        count = "1 picture" if len(files) == 1 else f"{len(files):,} pictures"
        told = ", ".join(f"{reason.replace('_', ' ')} {n}" for reason, n in left_out.items())
        raise CalibrationError(
            f"a device would classify none of {count} ({told}); give larger, sharper and better "
            "lit pictures of faces"
        )
    scores = bundle.metadata.decision.packaged.scores(np.stack([logits for *_, logits in kept]))
    answers = np.array([labels.index(file.label) for file, *_ in kept], np.int64)
    people = np.array([file.person for file, *_ in kept])
    crops = np.stack([crop for _, crop, _ in kept])
    return Pictures(
        files=tuple(file for file, *_ in kept),
        samples=Labelled(np.asarray(scores, np.float64), answers, people),
        crops=crops,
        left_out=left_out,
        names_people=any(file.person != ALONE for file in files),
        fingerprint=_fingerprint(crops, [file for file, *_ in kept]),
    )


def _look(
    file: LabelledFile, model: EmotionModel, stills: Stills
) -> tuple[str, NDArray[np.uint8] | None, NDArray[np.floating] | None]:
    """Return why a picture is left out, or its crop and logits."""
    try:
        still = stills.look(open_picture(file.path).image)
    except PictureError:
        return "not_readable", None, None
    if still is None:
        return "not_found", None, None
    if still.crop is None:
        return still.quality, None, None
    features = None
    if model.mesh_input is not None and still.face.blendshapes is not None:
        features = mesh_features(still.face.points, still.face.blendshapes)
    return "ok", still.crop, model.logits(still.crop, features)


def _listed(root: Path, entries: list[Entry], names: Mapping[str, str]) -> list[LabelledFile]:
    return [
        LabelledFile(
            picture_of(root, entry), label_of(entry.label, names), entry.subject or _person(root)
        )
        for entry in entries
    ]


def _person(file: Path) -> str:
    found = _CK_NAME.fullmatch(file.stem)
    return found[1] if found else ALONE


def _check_labels(files: list[LabelledFile], labels: tuple[str, ...]) -> None:
    """Refuse what the network has no output for, before anything takes long."""
    unknown = sorted({file.label for file in files} - set(labels))
    if unknown:
        examples = ", ".join(unknown[:_NAMED])
        raise LabelError(
            f"the pictures are of {examples}, which the model does not know; it knows "
            f"{', '.join(labels)}: name them with --map NAME=LABEL, leave them out, or train a "
            "model with these classes"
        )


def _fingerprint(crops: NDArray[np.uint8], files: list[LabelledFile]) -> str:
    digest = hashlib.sha256(np.ascontiguousarray(crops).data)
    for file in files:
        digest.update(f"{file.label}\0{file.person}\n".encode())
    return digest.hexdigest()
