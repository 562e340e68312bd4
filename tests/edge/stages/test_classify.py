import io
import json
from pathlib import Path

import numpy as np
import pytest

import edge
from edge.contract.bundle import GOLDEN, METADATA, MODEL, PARITY, open_bundle
from edge.contract.labels import EMOTIONS
from edge.contract.mesh_features import FEATURE_COUNT
from edge.contract.quantize import pixels_to_int8
from edge.errors import BundleError, InferenceError
from edge.inference import golden as golden_module
from edge.inference.emotion_model import EmotionModel
from edge.inference.golden import (
    MIN_PROBES,
    GoldenVectors,
    Probes,
    check_golden,
    difference,
    encode_golden,
    run_probes,
)
from edge.inference.interpreter import TfliteModel
from edge.stages.classify import TfliteClassifier
from edge.testing.fakes import make_face

DEFAULT = Path(edge.__file__).parent / "models" / "default"
FACE = make_face((100, 100, 200, 220))
CROPS, MESH = np.zeros((2, 48, 48), np.uint8), np.zeros((2, FEATURE_COUNT), np.float32)
ANSWERS = np.zeros((2, 8), np.int8)
ZERO_POINT = open_bundle(DEFAULT).metadata.output.zero_point
CROP = np.random.default_rng(3).integers(0, 256, (48, 48)).astype(np.uint8)


def metadata_with(path, **fields) -> bytes:
    said = json.loads((path / METADATA).read_bytes())
    if "decision" in said and "temperature" in fields:
        said["decision"]["temperature"] = fields.pop("temperature")
    for name, value in fields.items():
        part, _, key = name.partition("__")
        if key:
            said[part][key] = value
        else:
            said[part] = value
    return json.dumps(said).encode()


def golden(path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path / GOLDEN) as arrays:
        return arrays["crops"], arrays["outputs"]


def test_the_packaged_model_tells_all_emotions(bundle_path):
    """The default classifier scores the canonical emotions; the scores sum to 1."""
    classifier = TfliteClassifier.open(bundle_path)
    estimate = classifier.classify(CROP, FACE)
    assert estimate.labels == classifier.labels == EMOTIONS
    assert estimate.scores.dtype == np.float32
    assert estimate.scores.sum() == pytest.approx(1, abs=1e-5)
    assert classifier.template.template_id == "fer48-v1"
    classifier.close()
    classifier.close()


def test_scores_are_the_models_own_outputs(bundle_path, alter_bundle):
    """Pixels go in shifted, outputs come back with the tensor's own scale, and nothing else."""
    lie = {"temperature": 1.0, "decision__tau": 0.0}
    path = alter_bundle(**{METADATA: metadata_with(bundle_path, **lie)})
    model = TfliteModel(path / MODEL)
    (output,) = model.run(pixels_to_int8(CROP)[None, :, :, None])
    said = json.loads((bundle_path / METADATA).read_bytes())["output"]
    logits = (output[0].astype(float) - said["zero_point"]) * said["scale"]
    expected = np.exp(logits) / np.exp(logits).sum()
    scores = TfliteClassifier.open(path).classify(CROP, FACE).scores
    assert np.allclose(scores, expected, atol=1e-6)


def test_the_temperature_of_the_metadata_is_applied(bundle_path, alter_bundle):
    """A hotter model is less sure, of the same emotion."""
    plain, hot = (
        TfliteClassifier.open(
            alter_bundle(**{METADATA: metadata_with(bundle_path, temperature=temperature)})
        )
        .classify(CROP, FACE)
        .scores
        for temperature in (1.0, 4.0)
    )
    assert hot.argmax() == plain.argmax()
    assert hot.max() < plain.max()


@pytest.mark.parametrize(
    ("crop", "message"),
    [
        (np.zeros((48, 48), np.float32), r"must be uint8 \[48, 48\], got float32"),
        (np.zeros((48, 48, 1), np.uint8), r"got uint8 \[48, 48, 1\]"),
        (np.zeros((64, 64), np.uint8), r"got uint8 \[64, 64\]"),
    ],
)
def test_other_crops_are_refused(bundle_path, crop, message):
    """A crop that the template does not make is an error."""
    with pytest.raises(InferenceError, match=message):
        TfliteClassifier.open(bundle_path).classify(crop, FACE)


@pytest.mark.parametrize(
    ("lie", "message"),
    [
        ({"input__scale": 0.5}, "metadata says input scale 0.5, the model has 1.0"),
        ({"input__zero_point": 0}, "metadata says input zero point 0, the model has -128"),
        ({"input__dtype": "float32"}, "metadata says input dtype float32, the model has int8"),
        ({"output__scale": 0.01}, "metadata says output scale 0.01, the model has 0.08"),
        (
            {"output__zero_point": 3},
            f"metadata says output zero point 3, the model has {ZERO_POINT}",
        ),
        ({"output__dtype": "uint8"}, "metadata says output dtype uint8, the model has int8"),
        (
            {
                "labels": list(EMOTIONS[:7]),
                "output__shape": [1, 7],
                "decision__prior": [0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1],
            },
            r"metadata says output shape \[1, 7\], the model has \[1, 8\]",
        ),
        ({"labels": list(EMOTIONS[:7])}, r"7 labels do not fit an output of shape \[1, 8\]"),
    ],
)
def test_metadata_that_contradicts_the_model_is_refused(bundle_path, alter_bundle, lie, message):
    """A bundle with good hashes whose metadata does not fit its tensors never classifies."""
    path = alter_bundle(**{METADATA: metadata_with(bundle_path, **lie)})
    with pytest.raises(BundleError, match=message) as caught:
        TfliteClassifier.open(path)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_no_tflite_file_is_named(alter_bundle):
    """A bundle with good hashes around the wrong file says which file is wrong."""
    with pytest.raises(InferenceError, match=f"{MODEL}: not a TFLite file"):
        TfliteClassifier.open(alter_bundle(**{MODEL: b"PK\x03\x04 a zip, as .keras files are"}))


def test_this_machine_computes_the_golden_outputs(bundle_path):
    """The packaged model gives what was recorded for the kernels that the runtime has."""
    crops, outputs = golden(bundle_path)
    assert len(crops) == len(outputs) >= MIN_PROBES
    assert check_golden(open_bundle(bundle_path)) <= 1


def test_tflites_own_kernels_compute_their_own_golden_outputs(bundle_path):
    """What tflite-runtime must give is recorded too, and is not what XNNPACK gives."""
    bundle = open_bundle(bundle_path)
    with np.load(bundle_path / GOLDEN, allow_pickle=False) as arrays:
        crops, default, builtin = (arrays[k] for k in ("crops", "outputs", "outputs_builtin"))
    model = EmotionModel(
        TfliteModel(bundle.model, kernels="builtin"), output_kind=bundle.metadata.output_kind
    )
    actual = run_probes(model, Probes(crops))
    assert difference(model, bundle.metadata.decision, actual, builtin).steps <= 1
    apart = difference(model, bundle.metadata.decision, builtin, default)
    report = json.loads((bundle_path / PARITY).read_bytes())["kernels"]
    assert report == {
        "steps": apart.steps,
        "same_answers": apart.same_answers,
        "probes": apart.probes,
    }
    assert apart.steps > 1


def test_the_runtimes_own_kernels_decide_what_is_golden(bundle_path, monkeypatch):
    """Under tflite-runtime the outputs of its kernels are asked for."""
    monkeypatch.setattr(golden_module, "integer_kernels", lambda: "builtin")
    assert check_golden(open_bundle(bundle_path)) > 1


def test_a_machine_that_computes_something_else_is_found(bundle_path, alter_bundle):
    """The largest difference is told in output steps."""
    crops, outputs = golden(bundle_path)
    wrong = outputs.copy()
    row, column = np.argwhere(outputs < 0)[0]
    wrong[row, column] += 100
    path = alter_bundle(**{GOLDEN: encode_golden(GoldenVectors(Probes(crops), wrong))})
    assert check_golden(open_bundle(path)) == pytest.approx(100, abs=32)


def test_golden_vectors_have_no_date():
    """The same probes and outputs give the same bytes, so the same bundle digest."""
    crops, outputs = np.zeros((2, 48, 48), np.uint8), np.ones((2, 8), np.int8)
    content = encode_golden(GoldenVectors(Probes(crops), outputs))
    assert content == encode_golden(GoldenVectors(Probes(crops.copy(order="F")), outputs))
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["crops"], crops)
        assert np.array_equal(arrays["outputs"], outputs)


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not golden vectors"),
        (b"PK\x03\x04 torn", "not golden vectors"),
        (npy(), "not golden vectors"),
        (npz(crops=np.array([{"a": 1}], object), outputs=ANSWERS), "not golden vectors"),
        (npz(outputs=ANSWERS), "expected probes, .* got nothing"),
        (npz(crops=CROPS[:0], outputs=ANSWERS[:0]), r"expected probes, .* got crops \[0, 48, 48\]"),
        (npz(crops=CROPS * 1.0, outputs=ANSWERS), "expected crops uint8 .* got float64"),
        (
            npz(crops=CROPS, mesh=MESH[:1], outputs=ANSWERS),
            r"expected probes, .* features \[1, 344",
        ),
        (npz(crops=CROPS, mesh=MESH[0], outputs=ANSWERS), "expected mesh features float32"),
        (npz(crops=CROPS, outputs=ANSWERS[:1]), "outputs of 2 probes, got 1 of"),
        (npz(crops=CROPS, outputs=ANSWERS[0]), r"outputs of 2 probes, got 8 of shape \[8\]"),
        (npz(crops=CROPS, outputs=ANSWERS, outputs_builtin=ANSWERS[:1]), "2 probes, got 1 of"),
        (npz(crops=CROPS[:, :32], outputs=ANSWERS), "do not fit"),
        (npz(crops=CROPS, outputs=ANSWERS[:, :7]), "do not fit"),
        (npz(crops=CROPS, mesh=MESH, outputs=ANSWERS), r"mesh features \[2, 344\] .* do not fit"),
        (npz(mesh=MESH, outputs=ANSWERS), "do not fit"),
    ],
)
def test_golden_vectors_that_do_not_fit_are_refused(alter_bundle, content, message):
    """Damaged, pickled or foreign probes are a bundle error in one line."""
    bundle = open_bundle(alter_bundle(**{GOLDEN: content}))
    with pytest.raises(BundleError, match=message) as caught:
        check_golden(bundle)
    assert "\n" not in str(caught.value)


def test_golden_vectors_changed_after_opening_are_refused(bundle_path):
    """The probes are read late; they must still be the ones whose hash was checked."""
    bundle = open_bundle(bundle_path)
    crops, outputs = golden(bundle_path)
    (bundle_path / GOLDEN).write_bytes(encode_golden(GoldenVectors(Probes(crops[:1]), outputs[:1])))
    with pytest.raises(BundleError, match="altered since the bundle was opened"):
        check_golden(bundle)
