"""The network of the student project that edgeemo descends from, layer by layer."""

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import keras

_BLOCKS: Final = ((512, 256), (128, 128), (256, 512))
"""Channels of the two convolutions before each pooling."""


def seed(classes: int, dropout: float, mirrored: bool) -> "keras.Model":  # noqa: ARG001
    """Build it: 7,831,815 parameters for 7 classes, 7,827,719 of them trainable.

    3x3 same-padded convolutions with ELU (Clevert et al., ICLR 2016), each followed by batch
    normalisation, in three blocks of two with 2x2 pooling and dropout after each; then a dense
    layer of 256. About 3.2 billion multiplications a picture: it is here to be measured, not to
    be run on a small board.

    Args:
        classes: the number of emotions to tell apart.
        dropout: the rate, everywhere.
        mirrored: has no effect: it is left as it was.
    """
    import keras

    from host_training.architectures.residual import pixel_input, scores

    layers = keras.layers
    inputs = pixel_input()
    x = layers.Rescaling(1 / 255, name="rescale")(inputs)
    for block, channels in enumerate(_BLOCKS, 1):
        for number, width in enumerate(channels, 1):
            x = _convolution(x, width, f"block{block}_conv{number}")
        x = layers.MaxPooling2D(2, name=f"block{block}_pool")(x)
        x = layers.Dropout(dropout, name=f"block{block}_dropout")(x)
    x = layers.Flatten(name="flatten")(x)
    x = layers.Dense(256, activation="elu", kernel_initializer="he_normal", name="dense")(x)
    x = layers.BatchNormalization(name="dense_norm")(x)
    return keras.Model(inputs, scores(x, classes, dropout), name="seed")


def _convolution(x: Any, channels: int, name: str) -> Any:
    import keras

    x = keras.layers.Conv2D(
        channels, 3, padding="same", activation="elu", kernel_initializer="he_normal", name=name
    )(x)
    return keras.layers.BatchNormalization(name=f"{name}_norm")(x)
