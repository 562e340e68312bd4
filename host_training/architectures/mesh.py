"""Networks that read the face mesh: alone, or together with the crop.

Their input ``mesh`` takes the features of ``edge.contract.mesh_features``, standardised; a face
without a mesh gives zeros, which is the mean face.
"""

from typing import TYPE_CHECKING, Any

from edge.contract.mesh_features import FEATURE_COUNT
from host_training.architectures.residual import COMPACT_CHANNELS, pixel_input, scores, trunk

if TYPE_CHECKING:
    import keras


def mesh(classes: int, dropout: float, mirrored: bool) -> "keras.Model":  # noqa: ARG001
    """Build a perceptron of 256 and 128 units on the mesh features alone.

    Args:
        classes: the number of emotions to tell apart.
        dropout: the rate before each layer but the first.
        mirrored: has no effect.
    """
    import keras

    inputs = _mesh_input()
    x = _dense(inputs, 256, "dense1")
    x = keras.layers.Dropout(dropout, name="dense1_dropout")(x)
    x = _dense(x, 128, "dense2")
    return keras.Model(inputs, scores(x, classes, dropout), name="mesh")


def fusion(classes: int, dropout: float, mirrored: bool) -> "keras.Model":
    """Build ``compact`` with a branch for the mesh features, joined before the last layer.

    Args:
        classes: the number of emotions to tell apart.
        dropout: the rate before the last layer.
        mirrored: the crop is seen mirrored, too; see ``residual.trunk``.
    """
    import keras

    pixels, features = pixel_input(), _mesh_input()
    seen = trunk(pixels, COMPACT_CHANNELS, mirrored=mirrored)
    measured = keras.layers.Dropout(0.5, name="mesh_dropout")(_dense(features, 128, "mesh_dense"))
    x = keras.layers.Concatenate(name="fusion")([seen, measured])
    return keras.Model([pixels, features], scores(x, classes, dropout), name="fusion")


def _mesh_input() -> Any:
    import keras

    return keras.Input((FEATURE_COUNT,), name="mesh")


def _dense(x: Any, units: int, name: str) -> Any:
    import keras

    x = keras.layers.Dense(units, use_bias=False, kernel_initializer="he_normal", name=name)(x)
    x = keras.layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x)
