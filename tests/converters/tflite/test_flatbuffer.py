import msgspec
import numpy as np
import pytest

from converters.errors import ConversionError
from converters.tflite.conversion import make_converter, to_tflite
from converters.tflite.flatbuffer import check_builtin_only, check_full_int8, read_graph
from host_training.frameworks import import_tensorflow, quiet


def int8_with(model, images, **options) -> bytes:
    """Convert to int8 as `to_tflite` does, with a converter's option set otherwise."""
    tf = import_tensorflow()
    with quiet():
        converter = make_converter(tf, model)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        samples = [[image[None, :, :, None].astype(np.float32)] for image in images]
        converter.representative_dataset = lambda: iter(samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        for name, value in options.items():
            assert hasattr(converter, name)
            setattr(converter, name, value)
        return bytes(converter.convert())


def full_range(rows) -> np.ndarray:
    images = rows.images[:32].copy()
    images[0, 0, :2] = (0, 255)
    return images


def test_the_graph_is_read_as_it_is(int8_content):
    """Operations in order of frequency, tensors with shapes, types, scales and constant data."""
    graph = read_graph(int8_content)
    counts = graph.operation_counts()
    assert counts["CONV_2D"] == 2
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    (source,), (target,) = graph.inputs, graph.outputs
    assert graph.tensors[source].shape == (1, 48, 48, 1)
    assert graph.tensors[source].dtype == graph.tensors[target].dtype == "INT8"
    weights = [t for t in graph.tensors if t.shape == (12, 7, 7, 1)]
    assert len(weights) == 1
    assert len(weights[0].scales) == 12
    assert weights[0].data_bytes == 12 * 7 * 7


def test_the_int8_form_passes_its_own_check(int8_content):
    """What `to_tflite` makes is what `check_full_int8` asks for."""
    assert check_full_int8(read_graph(int8_content)) is None


@pytest.mark.parametrize("form", ["float32", "fp16", "dynamic"])
def test_float_forms_are_not_full_int8(model, form):
    """A graph with floats in it does not pass as int8, but runs anywhere."""
    graph = read_graph(to_tflite(model, form))
    check_builtin_only(graph)
    with pytest.raises(ConversionError, match=r"not full int8: tensor .* is FLOAT"):
        check_full_int8(graph)


def test_float_ends_are_not_full_int8(model, training_rows):
    """int8 inside, float outside: the converter's default, and not what was promised."""
    tf = import_tensorflow()
    content = int8_with(
        model,
        full_range(training_rows),
        inference_input_type=tf.float32,
        inference_output_type=tf.float32,
    )
    with pytest.raises(ConversionError, match=r"is FLOAT32"):
        check_full_int8(read_graph(content))


def test_an_input_range_short_of_white_is_refused(model, training_rows):
    """Calibration pictures that never reach 255 shift the input scale: pixels would saturate."""
    dim = np.minimum(full_range(training_rows), 200)
    with pytest.raises(ConversionError, match="must reach from 0 to 255"):
        check_full_int8(read_graph(int8_with(model, dim)))


def test_weights_with_one_scale_are_refused(model, training_rows):
    """Per-tensor weights cost accuracy and are not what the report would describe."""
    content = int8_with(model, full_range(training_rows), _experimental_disable_per_channel=True)
    with pytest.raises(ConversionError, match="weights of a CONV_2D have one scale"):
        check_full_int8(read_graph(content))


def test_a_select_tf_operation_is_named(keras):
    """An operation that only full TensorFlow has is found before it reaches a device."""
    tf = import_tensorflow()

    class Strange(keras.layers.Layer):
        def call(self, x):
            return tf.linalg.inv(x[..., 0])

    layers = [keras.Input((48, 48, 1)), Strange(), keras.layers.Flatten(), keras.layers.Dense(8)]
    strange = keras.Sequential(layers)
    with pytest.raises(ConversionError, match="TensorFlow cannot convert this model") as caught:
        to_tflite(strange, "float32")
    assert "\n" not in str(caught.value)
    with quiet():
        converter = make_converter(tf, strange)
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.TFLITE_BUILTINS,
            tf.lite.OpsSet.SELECT_TF_OPS,
        ]
        graph = read_graph(bytes(converter.convert()))
    with pytest.raises(
        ConversionError, match="needs FlexMatrixInverse, which the device's runtime lacks"
    ):
        check_builtin_only(graph)


@pytest.mark.parametrize("kept", [0, 4, 40, 1000])
def test_a_torn_file_is_refused(int8_content, kept):
    """Bytes that are not a whole TFLite file give one clear line."""
    with pytest.raises(ConversionError, match="not a whole TFLite file"):
        read_graph(int8_content[:kept])


def test_a_graph_is_json(int8_content):
    """A graph can be written to a file and read again."""
    graph = read_graph(int8_content)
    assert msgspec.json.decode(msgspec.json.encode(graph), type=type(graph)) == graph
