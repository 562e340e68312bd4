"""A model bundle, opened: what it says of itself, and what its model says about crops."""

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.contract.bundle import Bundle, bundle_path
from edge.contract.bundle import open_bundle as open_verified
from edge.contract.metadata import Metadata
from edge.errors import InferenceError
from edge.inference.emotion_model import open_emotion_model


class Model:
    """The model of a verified bundle. Any thread may call it; crops are classified one at a time.

    Attributes:
        bundle: its files and their hashes.
        metadata: labels, input, decision, where it was trained, what was measured.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.metadata: Metadata = bundle.metadata
        self._model = open_emotion_model(bundle)
        self._lock = threading.Lock()

    @property
    def path(self) -> Path:
        """The bundle's directory."""
        return self.bundle.path

    @property
    def labels(self) -> tuple[str, ...]:
        """The emotions, in the order of the scores."""
        return self.metadata.labels

    def predict(
        self,
        crops: NDArray[np.uint8] | Sequence[NDArray[np.uint8]],
        features: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the scores of aligned crops, as a device computes them.

        Args:
            crops: grey uint8 ``(n, size, size)``, aligned as ``metadata.template`` says; one crop
                ``(size, size)`` is taken as a batch of one.
            features: mesh features ``(n, 344)`` for a model that takes them.

        Returns:
            float32 ``(n, labels)``; each row sums to 1. The bundle's decision (temperature, prior)
            is in it.

        Raises:
            InferenceError: another shape or dtype, or the runtime failed.
        """
        try:
            batch = np.asarray(crops)
        except ValueError as error:
            raise InferenceError("crops must all have the same size") from error
        batch = batch[None] if batch.ndim == 2 else batch
        if batch.dtype != np.uint8 or batch.ndim != 3:
            got = f"{batch.dtype} {list(batch.shape)}"
            raise InferenceError(f"crops must be grey uint8 (n, size, size), got {got}")
        if features is not None and len(features) != len(batch):
            raise InferenceError(f"{len(batch)} crops, but mesh features of {len(features)}")
        scores = np.empty((len(batch), len(self.labels)), np.float32)
        with self._lock:
            for row, crop in enumerate(batch):
                logits = self._model.logits(crop, None if features is None else features[row])
                scores[row] = self.metadata.decision.scores(logits)
        return scores

    def __repr__(self) -> str:
        return f"Model({self.metadata.name!r}, labels={list(self.labels)})"


def open_bundle(path: str | os.PathLike[str] = "default") -> Model:
    """Open a bundle made by `edgeemo convert`, verify every file of it and load its model.

    Args:
        path: its directory; ``default`` is the packaged model.

    Raises:
        BundleError: not a bundle, a damaged one, or one that contradicts its model.
        InferenceError: no runtime, or one that cannot run the model.
    """
    return Model(open_verified(bundle_path(Path(os.fsdecode(path)))))
