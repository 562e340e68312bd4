import subprocess
import sys
from pathlib import Path

import ai_edge_litert.interpreter
import numpy as np
import pytest

from edge.contract.bundle import MODEL, open_bundle
from edge.errors import InferenceError
from edge.inference import interpreter as interpreter_module
from edge.inference.interpreter import TfliteModel, runtime_name

RUN = """
import sys
from pathlib import Path
import numpy as np
from edge.inference.interpreter import TfliteModel, runtime_name
model = TfliteModel(Path(sys.argv[1]))
output, = model.run(np.zeros(model.inputs[0].shape, np.int8))
print(runtime_name(), output.tolist())
"""

# The real runtime under the other distribution's name: what an older image looks like.
OTHER_RUNTIME = f"""
import importlib.util
spec = importlib.util.spec_from_file_location("other", {ai_edge_litert.interpreter.__file__!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
Interpreter = module.Interpreter
"""


@pytest.fixture
def model_path(bundle_path: Path) -> Path:
    return bundle_path / MODEL


@pytest.fixture
def uncached_runtime():
    interpreter_module.find_runtime.cache_clear()
    yield
    interpreter_module.find_runtime.cache_clear()


def crop(value: int) -> np.ndarray:
    return np.full((1, 48, 48, 1), value, np.int8)


def test_the_tensors_are_told_as_the_metadata_tells_them(model_path):
    """Shape, dtype, scale and zero point come as plain Python values, ready to compare."""
    model = TfliteModel(model_path)
    (source,), (target,) = model.inputs, model.outputs
    assert (source.shape, source.dtype, source.scale, source.zero_point) == (
        (1, 48, 48, 1),
        "int8",
        1.0,
        -128,
    )
    said = open_bundle(model_path.parent).metadata.output
    assert (target.shape, target.dtype) == ((1, 8), "int8")
    assert (target.scale, target.zero_point) == (said.scale, said.zero_point)
    assert isinstance(target.scale, float)


def test_bytes_and_path_and_threads_give_the_same_answer(model_path):
    """However a model is loaded and however many threads it has, it computes the same."""
    models = [
        TfliteModel(model_path),
        TfliteModel(model_path.read_bytes()),
        TfliteModel(model_path, num_threads=2),
    ]
    picture = np.arange(48 * 48).astype(np.int8).reshape(1, 48, 48, 1)
    answers = [model.run(picture)[0] for model in models]
    assert np.array_equal(answers[0], answers[1])
    assert np.array_equal(answers[0], answers[2])


def test_an_output_outlives_the_next_run(model_path):
    """Outputs are copies: keeping them is safe."""
    model = TfliteModel(model_path)
    (first,) = model.run(crop(-128))
    kept = first.copy()
    noise = np.random.default_rng(0).integers(-128, 128, (1, 48, 48, 1)).astype(np.int8)
    (second,) = model.run(noise)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, kept)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "takes 1 inputs, got 0"),
        ((crop(0), crop(0)), "takes 1 inputs, got 2"),
        ((crop(0).astype(np.uint8),), r"must be int8 \[1, 48, 48, 1\], got uint8"),
        ((crop(0).astype(np.float32),), "got float32"),
        ((crop(0)[0],), r"got int8 \[48, 48, 1\]"),
        ((np.zeros((2, 48, 48, 1), np.int8),), r"got int8 \[2, 48, 48, 1\]"),
    ],
)
def test_wrong_inputs_are_refused_not_converted(model_path, inputs, message):
    """An input of another number, dtype or shape is an error, never a silent conversion."""
    with pytest.raises(InferenceError, match=message):
        TfliteModel(model_path).run(*inputs)


@pytest.mark.parametrize(
    "content",
    [b"", b"TFL3", b"just text, and long enough", b"\x89PNG\r\n\x1a\n" + bytes(100), bytes(4096)],
)
def test_a_file_that_is_not_tflite_is_named_in_one_line(tmp_path, content):
    """The message tells the file, its size, how it starts and the remedy."""
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    with pytest.raises(InferenceError, match="not a TFLite file") as caught:
        TfliteModel(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert f"({len(content)} bytes" in message
    assert "edgeemo convert" in message
    assert "\n" not in message


@pytest.mark.parametrize("kept", [0.0001, 0.01, 0.5, 0.99, 0.995])
def test_a_truncated_file_is_refused(model_path, kept):
    """A download that broke off is an error, wherever it broke off, and no crash."""
    content = model_path.read_bytes()
    with pytest.raises(InferenceError, match=r"model: not a model that .* can run"):
        TfliteModel(content[: int(len(content) * kept)])


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    """What cannot be read is an InferenceError with the reason."""
    with pytest.raises(InferenceError, match=r"absent\.tflite: No such file"):
        TfliteModel(tmp_path / "absent.tflite")
    with pytest.raises(InferenceError, match="Is a directory"):
        TfliteModel(tmp_path)


def test_nothing_reaches_stderr(model_path):
    """The runtime's own chatter does not end up in the journal."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, model_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(runtime_name())
    assert done.stderr == ""


@pytest.mark.usefixtures("uncached_runtime")
def test_without_a_runtime_the_message_says_what_to_install(model_path, monkeypatch):
    """Both runtimes' reasons and the remedy stand in one line."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", None)
    with pytest.raises(InferenceError) as caught:
        TfliteModel(model_path)
    message = str(caught.value)
    assert "ai-edge-litert:" in message
    assert "tflite-runtime:" in message
    assert "`pip install ai-edge-litert`" in message
    assert "\n" not in message


def test_tflite_runtime_is_taken_where_litert_is_missing(model_path, tmp_path):
    """On an image that has only tflite-runtime the same model runs, and the name tells which."""
    package = tmp_path / "tflite_runtime"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = '2.14.0'")
    (package / "interpreter.py").write_text(OTHER_RUNTIME)
    script = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
sys.modules["ai_edge_litert.interpreter"] = None
{RUN}"""
    done = subprocess.run(
        [sys.executable, "-c", script, model_path], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("tflite-runtime 2.14.0 [[")
