"""Small residual networks (He et al., "Deep Residual Learning for Image Recognition", CVPR 2016).

A stride-2 stem and four stages of one residual block each, at 24, 12, 6 and 3 pixels, then the
mean over the picture. Without a bottleneck and without depthwise convolutions: at these sizes plain
3x3 kernels are what XNNPACK and oneDNN run best, in int8 and in training.
"""

from typing import TYPE_CHECKING, Any

from edge.contract.align import FER48

if TYPE_CHECKING:
    import keras

COMPACT_CHANNELS = (32, 56, 112, 208)
MICRO_CHANNELS = (16, 32, 56, 64)
LARGE_CHANNELS = tuple(2 * width for width in COMPACT_CHANNELS)


def compact(classes: int, dropout: float, mirrored: bool) -> "keras.Model":
    """Build the device's default, to fit a million bytes and 60 million multiplications.

    Args:
        classes: the number of emotions to tell apart.
        dropout: the rate before the last layer.
        mirrored: see ``trunk``.
    """
    return pixel_classifier("compact", COMPACT_CHANNELS, classes, dropout, mirrored=mirrored)


def micro(classes: int, dropout: float, mirrored: bool) -> "keras.Model":
    """Build the same in small, under 150,000 parameters; see ``compact``."""
    return pixel_classifier("micro", MICRO_CHANNELS, classes, dropout, mirrored=mirrored)


def large(classes: int, dropout: float, mirrored: bool) -> "keras.Model":
    """Build ``compact`` twice as wide, a teacher of four times its multiplications."""
    return pixel_classifier("large", LARGE_CHANNELS, classes, dropout, mirrored=mirrored)


def pixel_classifier(
    name: str, channels: tuple[int, ...], classes: int, dropout: float, *, mirrored: bool
) -> "keras.Model":
    """Build a trunk of these widths with a classifier on top; see ``compact``."""
    import keras

    inputs = pixel_input()
    x = trunk(inputs, channels, mirrored=mirrored)
    return keras.Model(inputs, scores(x, classes, dropout), name=name)


def pixel_input() -> Any:
    """Return the input of a crop: float32 ``(48, 48, 1)``, 0..255."""
    import keras

    return keras.Input((FER48.size, FER48.size, 1), name="pixels")


def trunk(pixels: Any, channels: tuple[int, ...], *, mirrored: bool) -> Any:
    """Rescale pixels and reduce them to one vector of ``channels[-1]`` numbers.

    Args:
        pixels: the input.
        channels: of the four stages.
        mirrored: the mean vector of the picture and its mirror image, so that both give the very
            same answer. The two run as a batch of two through the same weights.
    """
    import keras

    layers = keras.layers
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(pixels)
    if mirrored:
        x = layers.Concatenate(axis=0, name="both")([x, keras.ops.flip(x, axis=2)])
    x = _convolution(x, channels[0], stride=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, width in enumerate(channels, 1):
        x = _residual_block(x, width, 1 if stage == 1 else 2, f"stage{stage}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    if mirrored:
        x = layers.Average(name="mean")(keras.ops.split(x, 2, axis=0))
    return x


def scores(x: Any, classes: int, dropout: float) -> Any:
    """Return the emotion probabilities of a feature vector."""
    import keras

    x = keras.layers.Dropout(dropout, name="dropout")(x)
    # float32 even under a mixed-precision policy: a softmax in half precision loses the tail.
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)


def _residual_block(x: Any, channels: int, stride: int, name: str) -> Any:
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 projection where shapes change."""
    import keras

    shortcut = x
    if stride != 1 or x.shape[-1] != channels:
        shortcut = _convolution(x, channels, stride=stride, size=1, name=f"{name}_shortcut")
    y = _convolution(x, channels, stride=stride, name=f"{name}_first")
    y = keras.layers.ReLU(name=f"{name}_first_relu")(y)
    y = _convolution(y, channels, name=f"{name}_second")
    y = keras.layers.Add(name=f"{name}_add")([y, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(y)


def _convolution(x: Any, channels: int, *, stride: int = 1, size: int = 3, name: str) -> Any:
    """A convolution without bias (the normalisation has one) and its batch normalisation."""
    import keras

    x = keras.layers.Conv2D(
        channels,
        size,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        name=name,
    )(x)
    return keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
