"""The networks that `edgeemo train --arch` knows, by name.

Every network takes float pixels 0..255 and rescales them itself, or standardised mesh features, or
both, and is built of layers that convert to plain int8 kernels (convolution, batch normalisation,
ReLU or ELU, addition, pooling, dense). Keras is imported when a network is built, not before.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from edge.errors import ConfigError
from host_training.architectures import mesh, residual, seed
from host_training.frameworks import import_keras

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network that can be asked for by name.

    Attributes:
        builder: makes it, untrained, for a number of classes and a dropout rate; the third
            argument asks for the form that looks at the mirrored picture, too.
        dropout: the rate it was made for.
        inputs: names of its inputs: ``pixels`` ``(48, 48, 1)``, ``mesh`` ``(344,)``, or both.
        summary: one line for people.
        mirrored: what is kept of a run answers with the mean of the picture and its mirror image,
            which costs each picture twice and makes the answer the same for both.
    """

    builder: Callable[[int, float, bool], "keras.Model"]
    dropout: float
    inputs: tuple[str, ...]
    summary: str
    mirrored: bool = False

    @property
    def takes_mesh(self) -> bool:
        """Tell whether it needs prepared data."""
        return "mesh" in self.inputs


ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "compact": Architecture(
        residual.compact, 0.3, ("pixels",), "the device's default", mirrored=True
    ),
    "micro": Architecture(
        residual.micro, 0.2, ("pixels",), "for the weakest boards", mirrored=True
    ),
    "large": Architecture(
        residual.large, 0.3, ("pixels",), "a teacher, too large for a small board", mirrored=True
    ),
    "seed": Architecture(seed.seed, 0.23, ("pixels",), "the predecessor's network, exactly"),
    "mesh": Architecture(mesh.mesh, 0.5, ("mesh",), "landmarks and blendshapes alone"),
    "fusion": Architecture(
        mesh.fusion, 0.3, ("pixels", "mesh"), "crop and mesh together", mirrored=True
    ),
}
"""The registry. A name here is accepted by `--arch`; nothing else has to be told about it."""


def build(
    name: str,
    classes: int,
    *,
    dropout: float | None = None,
    seed: int = 0,
    inference: bool = False,
) -> "keras.Model":
    """Build the untrained network called ``name`` for ``classes`` emotions.

    Keras' global seed is set: the same ``seed`` gives the same weights and the same dropout.

    Args:
        name: in ``ARCHITECTURES``.
        classes: number of outputs.
        dropout: the rate; the architecture's own when None.
        seed: of weights and dropout.
        inference: the form that is kept and converted, mirrored where the architecture is. It has
            the weights of the form that is trained, in the same order.

    Raises:
        ConfigError: no such architecture.
    """
    chosen = architecture(name)
    import_keras().utils.set_random_seed(seed)
    rate = chosen.dropout if dropout is None else dropout
    return chosen.builder(classes, rate, inference and chosen.mirrored)


def architecture(name: str) -> Architecture:
    """Look an architecture up without loading Keras.

    Raises:
        ConfigError: no such architecture.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {name!r}; expected {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
