"""The classification stage: an aligned crop becomes scores over emotions."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.contract.align import Template
from edge.contract.bundle import Bundle, open_bundle
from edge.contract.quantize import temper
from edge.crop_model import open_crop_model
from edge.records import EmotionEstimate, Face


class TfliteClassifier:
    """Tells emotions with the TFLite model of a bundle; a ``Classifier``.

    Attributes:
        bundle: the bundle it runs.
    """

    def __init__(self, bundle: Bundle, *, num_threads: int = 1) -> None:
        """Load the bundle's model.

        Args:
            bundle: verified by ``open_bundle``.
            num_threads: CPU threads that one inference may use.

        Raises:
            BundleError: the metadata contradicts the model.
            InferenceError: no runtime, or the runtime can not run the model.
        """
        self.bundle = bundle
        self._labels = bundle.metadata.labels
        self._temperature = bundle.metadata.temperature
        self._model = open_crop_model(bundle, num_threads=num_threads)

    @classmethod
    def open(cls, path: Path, *, num_threads: int = 1) -> "TfliteClassifier":
        """Verify and load the bundle at ``path``.

        Raises:
            BundleError: not a bundle, a damaged one, or one that contradicts itself.
            InferenceError: no runtime, or the runtime can not run the model.
        """
        return cls(open_bundle(path), num_threads=num_threads)

    @property
    def template(self) -> Template:
        """The alignment that the crops must have."""
        return self.bundle.metadata.template

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions that it tells apart, in the order of the scores."""
        return self._labels

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:  # noqa: ARG002
        """Return the tempered scores of one crop, see ``Classifier.classify``."""
        probabilities = self._model.probabilities(crop)
        return EmotionEstimate(self._labels, temper(probabilities, self._temperature))

    def close(self) -> None:
        """Do nothing: the interpreter goes with the object."""
