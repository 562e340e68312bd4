"""A wide network that answers as a narrow one does, to go on learning from there.

Chen, Goodfellow, Shlens, "Net2Net: Accelerating Learning via Knowledge Transfer", ICLR 2016 (arXiv
1511.05641).
"""

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import keras

_SPREAD: Final = 0.5
"""Standard deviation of the shares that the copies of a channel carry. They sum to one for each
output, so the function stays; they differ, so that the copies learn different things."""


def widened(
    model: "keras.Model", narrow: dict[str, list[NDArray[Any]]], seed: int, layers: set[str]
) -> dict[str, list[NDArray[np.float32]]] | None:
    """Return weights for a network that is a multiple as wide as another.

    Args:
        model: the wide one; its layers are named and connected as the narrow one's.
        narrow: weights by layer, as Keras orders them: kernels ``(..., in, out)``, vectors
            ``(out,)``.
        seed: of the shares.
        layers: to widen.

    Returns:
        By layer; None where the two do not fit so.
    """
    generator = np.random.default_rng(seed)
    wide: dict[str, list[NDArray[np.float32]]] = {}
    for layer in model.layers:
        if layer.name not in layers:
            continue
        own, known = layer.get_weights(), narrow.get(layer.name, [])
        if len(own) != len(known):
            return None
        wide[layer.name] = []
        for target, values in zip(own, known, strict=True):
            if not _is_multiple(target.shape, values.shape):
                return None
            wide[layer.name].append(_grown(values, target.shape, generator))
    return wide


def _is_multiple(wide: tuple[int, ...], narrow: tuple[int, ...]) -> bool:
    return (
        len(wide) == len(narrow)
        and wide[:-2] == narrow[:-2]
        and all(w % n == 0 for w, n in zip(wide, narrow, strict=True))
    )


def _grown(
    values: NDArray[Any], shape: tuple[int, ...], generator: np.random.Generator
) -> NDArray[np.float32]:
    """Repeat outputs, and split what comes from each input among its copies."""
    copies_out = shape[-1] // values.shape[-1]
    grown = np.concatenate([values] * copies_out, axis=-1)
    if values.ndim > 1 and (copies_in := shape[-2] // values.shape[-2]) > 1:
        shares = generator.normal(1 / copies_in, _SPREAD, (copies_in, values.shape[-2], shape[-1]))
        shares += (1 - shares.sum(axis=0)) / copies_in
        grown = np.concatenate([grown * share for share in shares], axis=-2)
    return np.asarray(grown, np.float32)
