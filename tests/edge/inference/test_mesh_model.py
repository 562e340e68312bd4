"""A model of two inputs, crop and mesh features, on the device: without TensorFlow.

``data/fusion.tflite`` has random weights; ``benchmarks/fusion_fixture.py`` wrote it.
"""

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge.config import Config, MesherConfig
from edge.contract.bundle import (
    GOLDEN,
    METADATA,
    MODEL,
    MODEL_CARD,
    PARITY,
    Bundle,
    open_bundle,
    write_bundle,
)
from edge.contract.labels import EMOTIONS
from edge.contract.mesh_features import (
    FEATURE_COUNT,
    FEATURES,
    FEATURES_ID,
    FeatureNorm,
    mesh_features,
    standardized,
)
from edge.contract.metadata import (
    BundleMetrics,
    Dataset,
    MeshInput,
    Metadata,
    TensorSpec,
    decode_metadata,
    encode_metadata,
)
from edge.contract.quantize import PIXELS, pixels_to_int8, quantize
from edge.errors import BundleError, InferenceError
from edge.inference.emotion_model import EmotionModel, open_emotion_model
from edge.inference.golden import GoldenVectors, Probes, check_golden, encode_golden, run_probes
from edge.inference.interpreter import TfliteModel
from edge.records import Face
from edge.runtime.build import open_pipeline
from edge.sources.demo.source import DemoSource
from edge.stages.classify import TfliteClassifier

DATA = Path(__file__).parents[1] / "data"
FUSION = DATA / "fusion.tflite"
RNG = np.random.default_rng(8)
CROP = RNG.integers(0, 256, (48, 48)).astype(np.uint8)
ROWS = Dataset(name="none", split="-", rows=1, fingerprint="-")


@pytest.fixture(scope="module")
def face() -> Face:
    """MediaPipe's own mesh and blendshapes of the astronaut photo."""
    told = np.load(DATA / "astronaut_mesh.npz")
    return Face.from_points(told["points"], told["blendshapes"])


@pytest.fixture(scope="module")
def norm(face) -> FeatureNorm:
    """Standardises around that face, feature by feature at another scale."""
    mean = mesh_features(face.points, face.blendshapes) + RNG.normal(0, 0.05, FEATURE_COUNT)
    return FeatureNorm(tuple(mean.tolist()), tuple(RNG.uniform(0.02, 0.1, FEATURE_COUNT).tolist()))


@pytest.fixture(scope="module")
def metadata(norm) -> Metadata:
    inputs = {len(spec.shape): spec for spec in TfliteModel(FUSION).inputs}
    return Metadata(
        schema_version=2,
        name="fusion",
        edgeemo_version="0",
        created_at="2025-01-01T00:00:00Z",
        architecture="fusion",
        quantization="int8",
        labels=EMOTIONS,
        input=inputs[4],
        mesh_input=MeshInput(tensor=inputs[2], features_id=FEATURES_ID, norm=norm),
        output=TfliteModel(FUSION).outputs[0],
        template_id="fer48-v1",
        training_run="none",
        parameters=1,
        training_data=ROWS,
        metrics=BundleMetrics(
            dataset=ROWS, protocol="-", accuracy=0, balanced_accuracy=0, macro_f1=0, recall={}
        ),
    )


@pytest.fixture
def bundle(metadata, norm, tmp_path) -> Bundle:
    """A whole bundle around the model, with four probes of which one has no face."""
    probes = Probes(
        RNG.integers(0, 256, (4, 48, 48)).astype(np.uint8),
        (np.array(norm.mean) + RNG.normal(0, 0.1, (4, FEATURE_COUNT))).astype(np.float32),
    )
    probes.mesh[3] = np.nan
    outputs = run_probes(EmotionModel(TfliteModel(FUSION), norm), probes)
    return write_bundle(
        tmp_path / "fusion",
        {
            MODEL: FUSION.read_bytes(),
            METADATA: encode_metadata(metadata),
            PARITY: b"{}",
            GOLDEN: encode_golden(GoldenVectors(probes, outputs)),
            MODEL_CARD: b"",
        },
    )


def changed(metadata: Metadata, **fields: object) -> bytes:
    return json.dumps({**json.loads(encode_metadata(metadata)), **fields}).encode()


def test_both_inputs_arrive_under_their_own_quantisation(bundle, norm, face):
    """Pixels shifted, features standardised and in thirty-seconds, whatever order TFLite has."""
    features = mesh_features(face.points, face.blendshapes)
    given = {
        4: pixels_to_int8(CROP)[None, :, :, None],
        2: quantize(standardized(features, norm)[None], FEATURES),
    }
    model = TfliteModel(FUSION)
    (expected,) = model.run(*(given[len(spec.shape)] for spec in model.inputs))
    assert np.array_equal(open_emotion_model(bundle).raw(CROP, features), expected[0])


def test_the_classifier_computes_the_features_of_the_face(bundle, norm, face):
    """What the classifier answers follows from crop and mesh: another of either, other scores."""
    classifier = TfliteClassifier(bundle)
    scores = classifier.classify(CROP, face).scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)
    shapes = face.blendshapes
    bent, moved = face.points.copy(), face.points * 2 + np.float32(30)
    bent[152, 1] += 15
    others = (
        classifier.classify(255 - CROP, face),
        classifier.classify(CROP, Face.from_points(face.points, 1 - shapes)),
        classifier.classify(CROP, Face.from_points(bent, shapes)),
        classifier.classify(CROP, Face.from_points(moved, shapes)),
    )
    different = [not np.allclose(scores, other.scores, atol=1e-3) for other in others]
    assert different == [True, True, True, False]


@pytest.mark.parametrize(
    ("crop", "features", "message"),
    [
        (None, np.zeros(FEATURE_COUNT, np.float32), "takes a crop, got none"),
        (CROP, None, "takes mesh features, got none"),
        (CROP, np.zeros(FEATURE_COUNT), r"must be float32 \[344\], got float64 \[344\]"),
        (CROP, np.zeros((1, FEATURE_COUNT), np.float32), r"got float32 \[1, 344\]"),
        (CROP.astype(np.float32), np.zeros(FEATURE_COUNT, np.float32), "crop must be uint8"),
    ],
)
def test_what_is_missing_or_of_another_form_is_refused(bundle, crop, features, message):
    """Nothing is guessed or converted in silence."""
    with pytest.raises(InferenceError, match=message):
        open_emotion_model(bundle).raw(crop, features)


@pytest.mark.parametrize(
    ("shapes", "points", "message"),
    [
        (None, None, "takes blendshapes, the mesher gives none; open it with"),
        (np.full(52, np.nan, np.float32), None, "no mesh features: .* not finite"),
        (np.zeros(52, np.float32), np.zeros((478, 3), np.float32), "eye centres coincide"),
    ],
)
def test_a_face_without_mesh_features_is_one_clear_line(bundle, face, shapes, points, message):
    """A mesher without blendshapes, or a mesh that is none, names itself."""
    face = Face.from_points(face.points if points is None else points, shapes)
    with pytest.raises(InferenceError, match=message) as caught:
        TfliteClassifier(bundle).classify(CROP, face)
    assert "\n" not in str(caught.value)


def test_golden_vectors_hold_both_inputs(bundle):
    """Probes of both kinds are run, that without a face included; they hold on this machine."""
    with np.load(bundle.path / GOLDEN) as arrays:
        assert (arrays["crops"].shape, arrays["mesh"].shape) == ((4, 48, 48), (4, FEATURE_COUNT))
        assert np.isnan(arrays["mesh"][3]).all()
    assert check_golden(bundle) == 0


def test_golden_vectors_without_meshes_do_not_fit(bundle):
    """Probes for a model of crops prove nothing about this one."""
    probes = Probes(np.zeros((2, 48, 48), np.uint8))
    files = {name: (bundle.path / name).read_bytes() for name in bundle.sha256}
    files[GOLDEN] = encode_golden(GoldenVectors(probes, np.zeros((2, 8), np.int8)))
    with pytest.raises(BundleError, match=r"crops \[2, 48, 48\] and outputs .* do not fit"):
        check_golden(write_bundle(bundle.path, files))


def test_the_pipeline_switches_blendshapes_on(bundle):
    """A configuration without blendshapes runs a model that needs them, and reads a face."""
    config = Config()
    assert config.mesher == MesherConfig(blendshapes=False)
    pipeline, demo = open_pipeline(config, bundle), DemoSource()
    faces = []
    while not faces and (frame := demo.read()) is not None:
        faces = pipeline.process(frame).faces
    assert faces
    assert faces[0].track.face.blendshapes is not None
    assert faces[0].estimate.labels == EMOTIONS
    pipeline.close()


def test_metadata_survives_json_with_the_norm_in_two_lines(metadata):
    """Norm and shapes come back to the last bit; each list of numbers is one line of the file."""
    text = encode_metadata(metadata)
    assert decode_metadata(text, "m") == metadata
    lines = [line for line in text.decode().splitlines() if "[" in line]
    assert sum(line.count(",") >= FEATURE_COUNT - 1 for line in lines) == 2
    assert '"shape": [1, 48, 48, 1],' in text.decode()


def test_texts_that_look_like_lists_stay_as_they_are(metadata):
    """Only lists are put on a line; a name with brackets and commas is left alone."""
    odd = msgspec.structs.replace(metadata, name="[  1,  2]")
    assert decode_metadata(encode_metadata(odd), "m") == odd


def test_a_model_of_meshes_alone_has_no_input_for_crops(metadata):
    """The crop input is null then, and a model with neither is refused."""
    alone = msgspec.structs.replace(metadata, input=None)
    assert decode_metadata(encode_metadata(alone), "m") == alone
    neither = msgspec.structs.replace(alone, mesh_input=None, schema_version=1)
    with pytest.raises(BundleError, match="m: the model has no input"):
        decode_metadata(encode_metadata(neither), "m")


def test_a_bundle_of_crops_stays_readable_for_older_versions(metadata):
    """Without a mesh input nothing of the new schema is written."""
    older = msgspec.structs.replace(metadata, mesh_input=None, schema_version=1)
    written = json.loads(encode_metadata(older))
    assert written["schema_version"] == 1
    assert "mesh_input" not in written


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: {"schema_version": 1}, "schema version 1 with a mesh input"),
        (lambda _: {"mesh_input": None}, "schema version 2 with no mesh input"),
        (
            lambda m: {"mesh_input": {**m, "features_id": "mesh-v9"}},
            "'mesh-v9', .*; update edgeemo",
        ),
        (lambda m: {"mesh_input": {**m, "points": 146}}, "unknown field `points`"),
        (
            lambda m: {"mesh_input": {**m, "norm": {**m["norm"], "scale": [1.0] * 7}}},
            r"scale must be 344 finite numbers, got 7 - at `\$\.mesh_input\.norm`",
        ),
        (
            lambda m: {"mesh_input": {**m, "tensor": {**m["tensor"], "shape": [1, 52]}}},
            r"mesh-v1 has 344 features, the mesh input has shape \[1, 52\]",
        ),
    ],
)
def test_metadata_that_can_not_be_true_is_refused_in_one_line(metadata, change, message):
    """Every contradiction about the mesh input is named, with the file that it stands in."""
    mesh = json.loads(encode_metadata(metadata))["mesh_input"]
    with pytest.raises(BundleError, match=message) as caught:
        decode_metadata(changed(metadata, **change(mesh)), "some/metadata.json")
    assert str(caught.value).startswith("some/metadata.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"mesh_input": None, "schema_version": 1},
            "metadata names no mesh input, the model has",
        ),
        ({"input": None}, "metadata names no input, the model has"),
    ],
)
def test_a_bundle_that_hides_an_input_is_refused(bundle, metadata, change, message):
    """Metadata that names one of two inputs never classifies."""
    files = {name: (bundle.path / name).read_bytes() for name in bundle.sha256}
    files[METADATA] = changed(metadata, **change)
    with pytest.raises(BundleError, match=message):
        open_emotion_model(write_bundle(bundle.path, files))


def test_a_bare_file_does_not_tell_its_norm():
    """Without metadata features cannot be standardised: an error with the remedy, not a guess."""
    with pytest.raises(InferenceError, match=r"give the bundle directory instead of its \.tflite"):
        EmotionModel(TfliteModel(FUSION))


@pytest.mark.parametrize(
    ("which", "fields", "message"),
    [
        (
            "inputs",
            [(1, 48, 48, 1), (1, 48, 48, 1)],
            r"expected \[1, size, size, 1\], \[1, 344\] or",
        ),
        ("inputs", [(1, 344), (1, 344)], "inputs have shapes"),
        ("inputs", [(344,)], "inputs have shapes"),
        ("inputs", [], "inputs have shapes"),
        ("inputs", [(1, 343)], r"mesh input has shape \[1, 343\], expected \[1, 344\]"),
        ("inputs", [(2, 344)], r"mesh input has shape \[2, 344\], expected \[1, 344\]"),
        ("outputs", [(1, 8), (1, 8)], "expected one output, the model has 2"),
    ],
)
def test_a_model_of_other_tensors_is_refused(norm, which, fields, message):
    """Only a crop, mesh features or both in, and one row of probabilities out, is an emotion model.

    The network is the real one; what it is said to take or give is not.
    """
    model = TfliteModel(FUSION)
    specs = [
        TensorSpec(name="t", shape=shape, dtype="float32", scale=1, zero_point=0)
        for shape in fields
    ]
    setattr(model, which, tuple(specs))
    with pytest.raises(InferenceError, match=message):
        EmotionModel(model, norm)


@pytest.mark.parametrize("quantisation", [(1 / 32, 1), (1 / 16, 0)])
def test_a_mesh_input_of_another_scale_is_refused(norm, quantisation):
    """Features under another scale would mean something else; pixels have theirs."""
    model = TfliteModel(FUSION)
    model.inputs = tuple(
        msgspec.structs.replace(spec, scale=quantisation[0], zero_point=quantisation[1])
        if len(spec.shape) == 2
        else spec
        for spec in model.inputs
    )
    with pytest.raises(InferenceError, match=r"mesh input is int8 .*, expected int8 with 0\.03125"):
        EmotionModel(model, norm)
    assert PIXELS.scale == 1.0


def test_the_bundle_is_opened_by_its_path(bundle):
    """`--model BUNDLE` takes such a bundle as any other."""
    assert open_bundle(bundle.path).metadata == bundle.metadata
    assert TfliteClassifier.open(bundle.path).labels == EMOTIONS
