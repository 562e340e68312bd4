"""Labelled pictures as conversion takes them, from wherever they were read."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from converters.errors import ConversionError
from edge.contract.mesh_features import FEATURE_COUNT
from edge.contract.metadata import Crops, Dataset


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Pictures that each have one right answer.

    Attributes:
        images: uint8 ``(n, size, size)``, grey.
        labels: int ``(n,)``: indexes into ``label_names``.
        label_names: canonical emotions.
        dataset: name, split, number and fingerprint of these rows.
        protocol: how the answers were made, as in the metrics.
        mesh: float32 ``(n, FEATURE_COUNT)``, the pictures' ``edge.contract.mesh_features``, NaN
            where no face was found; None for rows that were not prepared.
        crops: what the model learnt from. The images are pictures as they are, with ``aligned``
            crops aligned as the device does it.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.integer]
    label_names: tuple[str, ...]
    dataset: Dataset
    protocol: str
    mesh: NDArray[np.float32] | None = None
    crops: Crops = "raw"

    def __post_init__(self) -> None:
        n = len(self.images)
        if self.images.dtype != np.uint8 or self.images.ndim != 3:
            raise ValueError(
                f"images must be uint8 (n, size, size), got {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != (n,) or not np.issubdtype(self.labels.dtype, np.integer):
            raise ValueError(
                f"labels must be integers ({n},), got {self.labels.dtype} {self.labels.shape}"
            )
        if n and (self.labels.min() < 0 or self.labels.max() >= len(self.label_names)):
            raise ValueError(
                f"labels must lie in 0..{len(self.label_names) - 1}, "
                f"got {self.labels.min()}..{self.labels.max()}"
            )

        mesh = self.mesh
        if mesh is not None and (mesh.dtype != np.float32 or mesh.shape != (n, FEATURE_COUNT)):
            raise ValueError(
                f"mesh must be float32 ({n}, {FEATURE_COUNT}), got {mesh.dtype} {mesh.shape}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: slice | NDArray[np.integer]) -> "LabelledImages":
        """Return some of the rows; their dataset still names all of them."""
        return replace(
            self,
            images=self.images[chosen],
            labels=self.labels[chosen],
            mesh=None if self.mesh is None else self.mesh[chosen],
        )

    def labels_for(self, model_labels: tuple[str, ...]) -> NDArray[np.int64]:
        """Return the answers as indexes into a model's labels, int64 ``(n,)``.

        Raises:
            ConversionError: there are rows of an emotion that the model does not know.
        """
        present = [self.label_names[i] for i in np.unique(self.labels)]
        if unknown := [name for name in present if name not in model_labels]:
            raise ConversionError(
                f"{self.dataset.name} has samples of {', '.join(unknown)}, the model knows "
                f"{', '.join(model_labels)}; leave those samples out or give the labels it was "
                "trained on"
            )
        lookup = [model_labels.index(n) if n in model_labels else -1 for n in self.label_names]
        return np.take(np.array(lookup, np.int64), self.labels)
