"""The networks that `edgeemo train --arch` knows, by name.

Every network takes float pixels 0..255 and rescales them itself, and is built of layers that
convert to plain int8 kernels (convolution, batch normalisation, ReLU, addition, pooling, dense).
Keras is imported when a network is built, not before.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from edge.contract.align import FER48
from edge.errors import ConfigError
from host_training.frameworks import import_keras

if TYPE_CHECKING:
    import keras


Builder = Callable[[int], "keras.Model"]
"""Makes an untrained network for a number of classes: ``(n, 48, 48, 1)`` -> ``(n, classes)``."""


def compact(classes: int) -> "keras.Model":
    """Build the device's default: a small residual network (He et al., CVPR 2016).

    A stride-2 stem and four stages of one residual block each: 32 channels at 24 pixels, 64 at
    12, 128 at 6 and 192 at 3; about 0.88 million parameters and 32 million multiplications a
    picture.

    Args:
        classes: the number of emotions to tell apart.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input((FER48.size, FER48.size, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
    x = _convolution(x, 32, stride=2, name="stem")
    x = layers.ReLU(name="stem_relu")(x)
    for stage, (channels, stride) in enumerate(((32, 1), (64, 2), (128, 2), (192, 2)), 1):
        x = _residual_block(x, channels, stride, f"stage{stage}")
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.3, name="dropout")(x)
    # float32 even under a mixed-precision policy: a softmax in half precision loses the tail.
    outputs = layers.Dense(classes, activation="softmax", dtype="float32", name="scores")(x)
    return keras.Model(inputs, outputs, name="compact")


ARCHITECTURES: Final[Mapping[str, Builder]] = {"compact": compact}
"""The registry. A name here is accepted by `--arch`; nothing else has to be told about it."""


def build(name: str, classes: int, seed: int = 0) -> "keras.Model":
    """Build the untrained network called ``name`` for ``classes`` emotions.

    Keras' global seed is set: the same ``seed`` gives the same weights and the same dropout.

    Raises:
        ConfigError: no such architecture.
    """
    check_name(name)
    import_keras().utils.set_random_seed(seed)
    return ARCHITECTURES[name](classes)


def check_name(name: str) -> None:
    """Refuse an unknown architecture without loading Keras.

    Raises:
        ConfigError: no such architecture.
    """
    if name not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {name!r}; expected {', '.join(ARCHITECTURES)}")


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
