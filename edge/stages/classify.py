"""The classification stage: an aligned crop, the face's mesh or both become scores."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.contract.align import Template
from edge.contract.bundle import Bundle, open_bundle
from edge.contract.decision import Decision
from edge.contract.mesh_features import mesh_features
from edge.errors import ImplausibleError, InferenceError
from edge.inference.emotion_model import open_emotion_model
from edge.records import EmotionEstimate, Face


class TfliteClassifier:
    """Tells emotions with the TFLite model of a bundle; a ``Classifier``.

    Attributes:
        bundle: the bundle it runs.
    """

    def __init__(
        self, bundle: Bundle, *, num_threads: int = 1, decision: Decision | None = None
    ) -> None:
        """Load the bundle's model.

        Args:
            bundle: verified by ``open_bundle``.
            num_threads: CPU threads that one inference may use.
            decision: what makes scores of its output; the bundle's own when None.

        Raises:
            BundleError: the metadata contradicts the model.
            InferenceError: no runtime, or the runtime cannot run the model.
        """
        self.bundle = bundle
        self._labels = bundle.metadata.labels
        self._decision = bundle.metadata.decision if decision is None else decision
        self._model = open_emotion_model(bundle, num_threads=num_threads)

    @classmethod
    def open(cls, path: Path, *, num_threads: int = 1) -> "TfliteClassifier":
        """Verify and load the bundle at ``path``.

        Raises:
            BundleError: not a bundle, a damaged one, or one that contradicts itself.
            InferenceError: no runtime, or the runtime cannot run the model.
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

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:
        """Return the scores of one face, see ``Classifier.classify``."""
        features = None if self._model.mesh_input is None else _features(face)
        logits = self._model.logits(crop, features)
        return EmotionEstimate(self._labels, self._decision.scores(logits))

    def close(self) -> None:
        """Do nothing: the interpreter goes with the object."""


def _features(face: Face) -> NDArray[np.float32]:
    if face.blendshapes is None:
        raise InferenceError(
            "the model takes blendshapes, the mesher gives none; open it with "
            "MesherConfig(blendshapes=True), as `edgeemo run` does for such a model"
        )
    try:
        return mesh_features(face.points, face.blendshapes)
    except ValueError as error:
        raise ImplausibleError(f"the face has no mesh features: {error}") from error
