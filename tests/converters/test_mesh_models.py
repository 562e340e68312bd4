"""Models that take mesh features, alone or beside the crop, from Keras to the device."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from rich.console import Console

from converters.bundle.inspect import bundle_view, describe
from converters.convert.calibrate import calibration_inputs, choose_calibration
from converters.convert.convert import convert
from converters.convert.int8_predict import tflite_probabilities
from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.model.model_file import load_model
from converters.parity.check import decode_report, keras_probabilities
from converters.request import ConvertRequest
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import check_full_int8, read_graph
from edge.assets.store import ASTRONAUT, asset_path
from edge.config import MesherConfig
from edge.contract.align import aligned_crop
from edge.contract.bundle import FILES, METADATA, MODEL, MODEL_CARD, PARITY, SUMS, open_bundle
from edge.contract.decision import Decision
from edge.contract.labels import EMOTIONS
from edge.contract.mesh_features import FEATURE_COUNT, FEATURES, FEATURES_ID, mesh_features
from edge.contract.metadata import Dataset
from edge.contract.quantize import PIXELS
from edge.errors import BundleError, InferenceError
from edge.inference.golden import check_golden
from edge.records import Face, Frame
from edge.runtime.build import open_mesher
from edge.sources.demo.source import DemoSource
from edge.stages.classify import TfliteClassifier

ORDERS = ("mesh", "pixels+mesh", "mesh+pixels")
"""Networks by their inputs, in the order that Keras has them."""

RunOf = Callable[[str], Path]


@pytest.fixture(scope="module")
def bundle_of(
    mesh_run_of: RunOf,
    mesh_training_rows: LabelledImages,
    mesh_evaluation_rows: LabelledImages,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., Path]:
    """Convert a network of ``ORDERS``; once each."""
    made: dict[tuple[str, str], Path] = {}

    def bundle(order: str, form: str = "int8") -> Path:
        if (order, form) not in made:
            out = tmp_path_factory.mktemp("bundles") / form
            convert(
                ConvertRequest(
                    model=mesh_run_of(order),
                    out=out,
                    quantization=form,
                    evaluation=mesh_evaluation_rows,
                    calibration=mesh_training_rows,
                    calibration_rows=160,
                )
            )
            made[order, form] = out
        return made[order, form]

    return bundle


@pytest.fixture
def request_fusion(
    mesh_run_of: RunOf,
    mesh_training_rows: LabelledImages,
    mesh_evaluation_rows: LabelledImages,
    tmp_path: Path,
) -> ConvertRequest:
    return ConvertRequest(
        model=mesh_run_of("pixels+mesh"),
        out=tmp_path / "bundle",
        evaluation=mesh_evaluation_rows,
        calibration=mesh_training_rows,
    )


@pytest.fixture(scope="module")
def demo_face() -> tuple[Frame, Face]:
    """A frame of the demo, and the face in it with its blendshapes."""
    mesher, demo = open_mesher(MesherConfig(blendshapes=True)), DemoSource()
    while (frame := demo.read()) is not None:
        if faces := mesher.detect(frame):
            return frame, faces[0]
    pytest.fail("the demo has no face")


def changed_metadata(bundle: Path, out: Path, change: Callable[[dict], object]) -> Path:
    """Copy a bundle with other metadata and good sums."""
    shutil.copytree(bundle, out)
    said = json.loads((out / METADATA).read_bytes())
    change(said)
    (out / METADATA).write_text(json.dumps(said))
    sums = {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}
    (out / SUMS).write_text("".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return out


@pytest.mark.parametrize("order", ORDERS)
def test_both_inputs_have_their_fixed_scales(bundle_of, order):
    """int8 pixels under scale 1 and -128, int8 features under 1/32 and 0, to the last bit."""
    bundle = open_bundle(bundle_of(order))
    graph = read_graph(bundle.model)
    check_full_int8(graph)
    tensors = [graph.tensors[i] for i in graph.inputs]
    told = {tensor.shape: (tensor.scales, tensor.zero_points) for tensor in tensors}
    expected = {(1, FEATURE_COUNT): ((FEATURES.scale,), (FEATURES.zero_point,))}
    if "pixels" in order:
        expected[1, 48, 48, 1] = ((PIXELS.scale,), (PIXELS.zero_point,))
    assert told == expected


@pytest.mark.parametrize("order", ORDERS)
def test_the_metadata_names_the_mesh_input_and_its_norm(bundle_of, order, mesh_norm):
    """The device learns which features, standardised how; what the run wrote, to the last bit."""
    path = bundle_of(order)
    metadata = open_bundle(path).metadata
    assert (metadata.schema_version, metadata.output_kind) == (4, "logits")
    assert metadata.mesh_input is not None
    assert metadata.mesh_input.features_id == FEATURES_ID
    assert metadata.mesh_input.tensor.quantization == FEATURES
    assert metadata.mesh_input.norm == mesh_norm
    assert (metadata.input is not None) == ("pixels" in order)
    assert len((path / METADATA).read_text().splitlines()) < 120


@pytest.mark.parametrize("order", ORDERS)
def test_int8_loses_next_to_nothing_against_keras(bundle_of, order, mesh_evaluation_rows):
    """On all rows, those without a face included, both give the same answers."""
    path = bundle_of(order)
    comparison = decode_report((path / PARITY).read_bytes(), PARITY).comparison
    assert comparison.keras.accuracy > 0.85
    assert comparison.agreement >= 0.97
    assert comparison.mean_difference < 0.01
    rows = mesh_evaluation_rows
    labels, probabilities = tflite_probabilities(path, rows.images, rows.mesh)
    assert labels == EMOTIONS
    right = probabilities.argmax(axis=1) == rows.labels
    assert right.mean() == pytest.approx(comparison.tflite.accuracy)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("form", "tolerance"), [("float32", 1e-4), ("fp16", 0.01), ("dynamic", 0.2)]
)
def test_float_forms_take_float_features(bundle_of, order, form, tolerance):
    """The other forms take the same features, standardised and clipped alike, as floats."""
    path = bundle_of(order, form)
    bundle = open_bundle(path)
    assert bundle.metadata.mesh_input is not None
    assert bundle.metadata.mesh_input.tensor.dtype == "float32"
    report = decode_report((path / PARITY).read_bytes(), PARITY)
    assert report.comparison.max_difference < tolerance
    assert check_golden(bundle) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("form", "steps"), [("float32", 0.01), ("int8", 6)])
def test_the_device_computes_what_keras_was_trained_on(
    bundle_of, mesh_run_of, demo_face, order, form, steps
):
    """A real face gives the same scores through the device's path and through Keras'."""
    frame, face = demo_face
    # Without the bundle's temperature, which a part of the training rows alone would make sharp.
    classifier = TfliteClassifier(open_bundle(bundle_of(order, form)), decision=Decision())
    crop = aligned_crop(frame.image, face.points, classifier.template)
    scores = classifier.classify(crop, face).scores
    trained = load_model(mesh_run_of(order))
    features = mesh_features(face.points, face.blendshapes)
    dataset = Dataset(name="demo", split="-", rows=1, fingerprint="-")
    row = LabelledImages(
        crop[None], np.zeros(1, int), EMOTIONS, dataset, "-", features[None].astype(np.float32)
    )
    (expected,) = keras_probabilities(trained.keras, trained.inputs(row))
    assert np.abs(scores - expected).max() <= steps / 256


@pytest.mark.parametrize("order", ["mesh", "pixels+mesh"])
def test_a_run_with_such_a_model_tells_emotions(bundle_of, order, tmp_path):
    """`edgeemo run` switches the blendshapes on by itself, and every frame gives a record."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeemo", "run", "--source", "demo", "--max-frames", "25",
         "--model", bundle_of(order), "--emit", "frame", "--log-dir", tmp_path],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    records = map(json.loads, (tmp_path / "edgeemo.jsonl").read_text().splitlines())
    emotions = [record for record in records if record["kind"] == "emotion"]
    assert emotions
    assert all(sum(record["scores"].values()) == pytest.approx(1, abs=1e-3) for record in emotions)


@pytest.mark.parametrize("order", ORDERS)
def test_golden_vectors_cover_the_norm(bundle_of, order, tmp_path):
    """They hold right after the conversion; with another norm they do not, though sums are good."""
    path = bundle_of(order)
    assert check_golden(open_bundle(path)) == 0

    def shift(said: dict) -> None:
        norm = said["mesh_input"]["norm"]
        norm["mean"] = [
            mean + 3 * scale for mean, scale in zip(norm["mean"], norm["scale"], strict=True)
        ]

    tampered = changed_metadata(path, tmp_path / "tampered", shift)
    assert check_golden(open_bundle(tampered)) > 32


def test_a_conversion_can_be_repeated_to_the_byte(request_fusion):
    """The same run, rows and seed give the same model and the same golden vectors."""
    contents = []
    for _ in range(2):
        convert(request_fusion)
        contents.append(
            [(request_fusion.out / name).read_bytes() for name in (MODEL, "golden.npz")]
        )
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["mesh_input"].update(features_id="mesh-v9"), "mesh features 'mesh-v9', this"),
        (lambda m: m["mesh_input"]["norm"]["mean"].pop(), "mean must be 344 finite numbers"),
        (lambda m: m["mesh_input"]["norm"].update(scale=[0] * 344), "scale must be positive"),
        (lambda m: m.update(schema_version=2), "unknown field `decision`"),
        (
            lambda m: m.update(mesh_input=None),
            "metadata names no mesh input, the model has 'serving_default_mesh:0'",
        ),
        (lambda m: m.update(input=None), "metadata names no input, the model has '.*crop:0'"),
        (
            lambda m: m["mesh_input"]["tensor"].update(scale=0.5),
            "metadata says mesh input scale 0.5, the model has 0.03125",
        ),
    ],
)
def test_metadata_that_contradicts_a_mesh_model_is_refused(bundle_of, tmp_path, change, message):
    """Another definition, another norm or another tensor never classifies; one line says why."""
    path = changed_metadata(bundle_of("pixels+mesh"), tmp_path / "lying", change)
    with pytest.raises(BundleError, match=message) as caught:
        TfliteClassifier.open(path)
    assert "\n" not in str(caught.value)


def test_a_mesh_only_model_has_no_crop_input(bundle_of, tmp_path):
    """Metadata that names a crop for a model without one is refused."""
    crop = {"name": "in", "shape": [1, 48, 48, 1], "dtype": "int8", "scale": 1, "zero_point": -128}
    path = changed_metadata(bundle_of("mesh"), tmp_path / "lying", lambda m: m.update(input=crop))
    with pytest.raises(BundleError, match="metadata names input 'in', the model has no such input"):
        TfliteClassifier.open(path)


def test_a_face_without_blendshapes_is_one_clear_error(bundle_of, demo_face):
    """A mesher that was opened without them is named, with the remedy."""
    frame, face = demo_face
    classifier = TfliteClassifier.open(bundle_of("pixels+mesh"))
    crop = aligned_crop(frame.image, face.points, classifier.template)
    with pytest.raises(InferenceError, match=r"takes blendshapes, the mesher gives none; open"):
        classifier.classify(crop, Face.from_points(face.points))


def test_rows_without_meshes_are_refused_before_the_long_work(request_fusion):
    """Evaluation and calibration rows must be prepared; the remedy is named, nothing is written."""
    for name in ("evaluation", "calibration"):
        rows = replace(getattr(request_fusion, name), mesh=None)
        steps: list[str] = []
        with pytest.raises(ConversionError, match=r"gratings has none; .*--prepared") as caught:
            convert(replace(request_fusion, **{name: rows}), steps.append)
        assert "\n" not in str(caught.value)
        assert [step.split()[0] for step in steps] == ["loading"]
        assert not request_fusion.out.exists()


def test_evaluating_without_meshes_is_refused(bundle_of, mesh_evaluation_rows):
    """A model that takes mesh features says so where rows have none."""
    with pytest.raises(ConversionError, match=r"the data has none; .*--prepared"):
        tflite_probabilities(bundle_of("mesh"), mesh_evaluation_rows.images)


def test_a_bare_file_does_not_tell_its_norm(bundle_of, mesh_evaluation_rows, tmp_path):
    """Without metadata nothing tells how features are standardised: an error, not a guess."""
    rows = mesh_evaluation_rows
    shutil.copy(bundle_of("mesh") / MODEL, tmp_path / "bare.tflite")
    with pytest.raises(InferenceError, match="give the bundle directory instead"):
        tflite_probabilities(tmp_path / "bare.tflite", rows.images, rows.mesh)


def test_a_crop_model_leaves_meshes_alone(run_directory, request_fusion):
    """Prepared rows do not change what a model of crops becomes."""
    convert(replace(request_fusion, model=run_directory))
    metadata = open_bundle(request_fusion.out).metadata
    assert (metadata.schema_version, metadata.mesh_input) == (4, None)
    assert b"mesh_input" not in (request_fusion.out / METADATA).read_bytes()


@pytest.mark.parametrize("norm", [None, {"mean": [0.0], "scale": [1.0]}])
def test_a_run_that_does_not_tell_its_norm_is_refused(mesh_run_of, tmp_path, norm):
    """A missing or short mesh_norm in run.json is one clear line."""
    run = shutil.copytree(mesh_run_of("mesh"), tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**record, "mesh_norm": norm}))
    with pytest.raises(ConversionError, match=r"mesh_norm|mean must be 344") as caught:
        load_model(run)
    assert "\n" not in str(caught.value)
    (run / "run.json").unlink()
    with pytest.raises(ConversionError, match=r"no run\.json with mesh_norm"):
        load_model(run, EMOTIONS)


@pytest.mark.parametrize(
    "shapes", [[(343,)], [(344,), (344,)], [(48, 48, 1), (48, 48, 1)], [(48, 48, 1), (344, 1)]]
)
def test_other_inputs_are_refused(keras, tmp_path, shapes):
    """A network that takes anything else names what it takes and what was expected."""
    inputs = [keras.Input(shape) for shape in shapes]
    flat = [keras.layers.Flatten()(tensor) for tensor in inputs]
    joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
    keras.Model(inputs, keras.layers.Dense(8)(joined)).save(tmp_path / "model.keras")
    with pytest.raises(ConversionError, match=r"inputs have shapes .*\(None, 344\) for mesh"):
        load_model(tmp_path / "model.keras", EMOTIONS)


def test_a_range_short_of_the_ends_is_refused(mesh_run_of, mesh_training_rows):
    """Calibration features that never reach the ends shift the scale: faces would saturate."""
    trained = load_model(mesh_run_of("pixels+mesh"))
    rows = choose_calibration(mesh_training_rows, 64)
    pixels, mesh = calibration_inputs(trained, rows)
    assert (mesh.min(), mesh.max()) == (-4, 4 - 1 / 32)
    content = to_tflite(trained.keras, "int8", (pixels, np.clip(mesh, -2, 2)))
    with pytest.raises(
        ConversionError, match=r"mesh input has scale .* must reach from -4 to 3\.96875"
    ):
        check_full_int8(read_graph(content))


def test_the_calibration_fingerprint_covers_the_meshes(mesh_training_rows):
    """Other features under the same pictures are other calibration data."""
    rows = mesh_training_rows
    digests = {
        choose_calibration(replace(rows, mesh=mesh), 40).dataset.fingerprint
        for mesh in (None, rows.mesh, rows.mesh + 1)
    }
    assert len(digests) == 3


@pytest.mark.parametrize(
    "mesh",
    [np.zeros((800, 343), np.float32), np.zeros((799, 344), np.float32), np.zeros((800, 344))],
)
def test_meshes_of_another_form_can_not_be_rows(training_rows, mesh):
    """Shape and dtype of mesh features are checked where rows are made."""
    with pytest.raises(ValueError, match=r"mesh must be float32 \(800, 344\)"):
        replace(training_rows, mesh=mesh)


@pytest.mark.parametrize("order", ["mesh", "pixels+mesh"])
def test_card_and_inspection_tell_of_the_mesh(bundle_of, order):
    """A reader learns which features the model takes, and whether it takes a crop."""
    path = bundle_of(order)
    card = (path / MODEL_CARD).read_text()
    assert "344 mesh features `mesh-v1`" in card
    assert ("48 x 48 grey pixels" in card) == ("pixels" in order)
    description = describe(open_bundle(path))
    assert description.mesh_input is not None
    assert (description.input is not None) == ("pixels" in order)
    console = Console(width=200, file=io.StringIO())
    console.print(bundle_view(description))
    shown = console.file.getvalue()
    assert "mesh-v1, 344 standardised" in shown
    assert "1 x 344" in shown


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """Class folders of two: the face of the astronaut photo, cut a little differently each time."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)), cv2.IMREAD_GRAYSCALE)
    for label, shift in (("happy", 0), ("sad", 3)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for i in range(4):
            x, y, side = 160 + shift + i, 55 + i, 130
            picture = cv2.resize(photo[y : y + side, x : x + side], (48, 48))
            cv2.imwrite(str(tmp_path / "data" / label / f"{i}.png"), picture)
    return tmp_path / "data"


def test_the_commands_from_pictures_to_a_bundle(faces, mesh_run_of, tmp_path):
    """`data prepare`, then `convert --prepared`; without it, one line names the remedy."""
    from edgeemo.cli.main import main

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return int(ended.value.code or 0)

    prepared, out = tmp_path / "prepared", tmp_path / "bundle"
    options = ("--data", faces, "--out", out, "--max-drop", 100, "--min-agreement", 0)
    command = ("convert", mesh_run_of("pixels+mesh"), *options)
    assert run("data", "prepare", faces, "--out", prepared) == 0
    assert run(*command) == 1
    assert not out.exists()
    assert run(*command, "--prepared", prepared) == 0
    bundle = open_bundle(out)
    assert bundle.metadata.mesh_input is not None
    assert bundle.metadata.calibration_data is not None
    assert bundle.metadata.calibration_data.rows == 8


def test_evaluate_by_the_device_pipeline(bundle_of, faces, tmp_path, capsys):
    """The pipeline gives the meshes that such a model takes, also of corrupted pictures."""
    from edgeemo.cli.main import main

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        return int(ended.value.code or 0)

    prepared, figures = tmp_path / "prepared", tmp_path / "figures.json"
    bundle = bundle_of("pixels+mesh")
    command = ("evaluate", bundle, "--data", faces, "--json", figures)
    assert run("data", "prepare", faces, "--out", prepared) == 0
    assert run(*command, "--prepared", prepared, "--crops", "aligned") == 0
    by_crops = json.loads(figures.read_text())
    assert run(*command, "--pipeline", "--corruptions", "--limit", 8, "--workers", 1) == 0
    through = json.loads(figures.read_text())
    assert through["pipeline"]["classified"] == 8
    assert through["pipeline"]["raw"] is None
    assert through["confusion"] == by_crops["confusion"]
    assert through["ece"] == by_crops["ece"]
    assert len(through["corruptions"]["kinds"]["noise"]["accuracy"]) == 5
    capsys.readouterr()
    assert run(*command, "--corruptions") == 2
    assert "takes mesh features" in capsys.readouterr().err
