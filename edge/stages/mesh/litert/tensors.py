"""Checking that a model is the one that a step was written for."""

from edge.errors import InferenceError
from edge.inference.interpreter import TfliteModel

Shapes = tuple[tuple[int, ...], ...]


def expect_shapes(model: TfliteModel, name: str, inputs: Shapes, outputs: Shapes) -> None:
    """Compare a model's float32 tensors with the expected shapes.

    Args:
        model: the model as loaded.
        name: how the message calls it.
        inputs: the shape of each input, in order.
        outputs: the same for the first outputs; further ones do not matter.

    Raises:
        InferenceError: they differ.
    """
    found_in = tuple(spec.shape for spec in model.inputs)
    found_out = tuple(spec.shape for spec in model.outputs[: len(outputs)])
    dtypes = {spec.dtype for spec in (*model.inputs, *model.outputs)}
    if found_in != inputs or found_out != outputs or dtypes != {"float32"}:
        raise InferenceError(
            f"{name}: takes {found_in} and gives {found_out} as {', '.join(sorted(dtypes))}; "
            f"expected {inputs} and {outputs} as float32, as in MediaPipe's face_landmarker.task"
        )
