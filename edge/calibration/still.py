"""What a device's pipeline makes of one still picture: the face, its quality, the crop."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.contract.align import FER48, Template
from edge.contract.logrecord import Quality
from edge.protocols import Classifier
from edge.records import EmotionEstimate, Face, Frame, FrameResult


class Device(Protocol):
    """The pipeline of `edgeemo run`."""

    def process(self, frame: Frame) -> FrameResult:
        """Find, follow and classify the faces of a frame."""

    def close(self) -> None:
        """Release the models."""


MakeDevice = Callable[[Classifier], Device]
"""Puts a device's pipeline together around a classifier."""


class Still(msgspec.Struct, frozen=True, eq=False):
    """The largest face of a picture.

    Attributes:
        face: as meshed.
        quality: ``ok``, or why a device does not classify it.
        crop: uint8 ``(size, size)``, grey and aligned; None where the quality is not ``ok``.
    """

    face: Face
    quality: Quality
    crop: NDArray[np.uint8] | None


class Stills:
    """Looks at pictures, each for itself, with a pipeline of its own.

    Args:
        make: opens the pipeline.
        template: the alignment of the crops.
    """

    def __init__(self, make: MakeDevice, template: Template = FER48) -> None:
        self._kept = _CropKeeper(template)
        self._device = make(self._kept)
        self._index = 0

    def look(self, image: NDArray[np.uint8]) -> Still | None:
        """Return the largest face of a picture, BGR uint8 ``(H, W, 3)``; None without one.

        Raises:
            InferenceError: the mesher failed.
        """
        self._kept.forget()
        frame = Frame(
            image, self._index, float(self._index), datetime.now(UTC), starts_new_clip=True
        )
        self._index += 1
        faces = self._device.process(frame).faces
        largest = max(faces, key=lambda result: _area(result.track.face), default=None)
        if largest is None:
            return None
        face = largest.track.face
        return Still(face, largest.quality, self._kept.crop_of(face))

    def close(self) -> None:
        """Release the models."""
        self._device.close()


class _CropKeeper:
    """Stands where the model does, and keeps what would have been classified; a ``Classifier``."""

    labels = ("seen",)

    def __init__(self, template: Template) -> None:
        self.template = template
        self._kept: list[tuple[Face, NDArray[np.uint8]]] = []

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:
        self._kept.append((face, crop))
        return EmotionEstimate(self.labels, np.ones(1, np.float32))

    def crop_of(self, face: Face) -> NDArray[np.uint8] | None:
        return next((crop for own, crop in self._kept if own is face), None)

    def forget(self) -> None:
        self._kept.clear()

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _area(face: Face) -> float:
    x1, y1, x2, y2 = map(float, face.box_xyxy)
    return (x2 - x1) * (y2 - y1)
