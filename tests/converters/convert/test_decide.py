import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from converters.bundle.inspect import describe
from converters.convert.convert import convert
from converters.convert.decide import TAUS, largest_tau
from converters.convert.int8_predict import tflite_probabilities
from converters.convert.strip_softmax import strip_softmax
from converters.errors import ConversionError
from converters.labelled_images import LabelledImages
from converters.parity.check import decode_report
from converters.request import ConvertRequest, Prior
from converters.tflite.conversion import to_tflite
from converters.tflite.flatbuffer import read_graph
from edge.contract.bundle import MODEL_CARD, PARITY, open_bundle
from edge.contract.decision import Decision, leading, softmax
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError
from edge.inference.golden import check_golden
from edge.inference.interpreter import TfliteModel
from edgeemo.cli.app import app
from edgeemo.cli.main import main
from host_training.architectures import ARCHITECTURES, build
from host_training.data.samples import Samples
from host_training.evaluation.evaluate import Question, evaluate_in_full
from host_training.metrics.predict import adjusted
from host_training.runs.provenance import origin_of_bundle

PRIOR = Prior(
    shares=dict(zip(EMOTIONS, (0.33, 0.27, 0.12, 0.14, 0.09, 0.01, 0.03, 0.01), strict=True)),
    source="mean target of gratings Training",
)


@pytest.fixture(scope="module")
def hard_rows(evaluation_rows: LabelledImages) -> LabelledImages:
    """The evaluation rows under so much noise that the model errs."""
    noise = np.random.default_rng(5).normal(0, 60, evaluation_rows.images.shape)
    images = np.clip(evaluation_rows.images + noise, 0, 255).astype(np.uint8)
    return replace(evaluation_rows, images=images)


@pytest.fixture
def request_tau(run_directory, training_rows, hard_rows, tmp_path) -> ConvertRequest:
    return ConvertRequest(
        model=run_directory,
        out=tmp_path / "bundle",
        evaluation=hard_rows,
        calibration=training_rows,
        calibration_rows=80,
        tau=0.5,
        prior=PRIOR,
        force=True,
    )


def samples_of(rows: LabelledImages) -> Samples:
    return Samples(
        images=rows.images,
        targets=np.eye(len(rows.label_names), dtype=np.float32)[rows.labels],
        labels=rows.label_names,
        class_ids=rows.labels.astype(np.int64),
        split=np.full(len(rows), rows.dataset.split),
        name=rows.dataset.name,
        form="gratings",
        protocol=rows.protocol,
    )


def evaluated(bundle: Path, rows: LabelledImages) -> Any:
    origin = origin_of_bundle(open_bundle(bundle))

    def predict(samples: Samples) -> Any:
        return tflite_probabilities(bundle, samples.images, decided=False)

    under_tau = adjusted(predict, origin.decision)
    return evaluate_in_full(samples_of(rows), Question(), under_tau, origin).figures


@pytest.mark.parametrize("form", ["int8", "int8-float-io", "fp16", "float32"])
def test_the_record_and_evaluate_agree_to_the_digit(request_tau, hard_rows, form):
    """What the bundle says of itself is what `evaluate` measures of it, under its decision."""
    report = convert(replace(request_tau, quantization=form))
    bundle = open_bundle(request_tau.out)
    figures = evaluated(request_tau.out, hard_rows)
    told, recorded = bundle.metadata.metrics, report.comparison.tflite
    assert bundle.metadata.decision == report.decision
    assert (figures.tau, bundle.metadata.decision.tau) == (0.5, 0.5)
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        expected = getattr(figures, name)
        assert getattr(told, name) == pytest.approx(expected, abs=1e-12)
        assert getattr(recorded, name) == pytest.approx(expected, abs=1e-12)
    assert recorded.ece == pytest.approx(figures.ece, abs=1e-9)
    assert told.recall == {label: row.recall for label, row in figures.per_class.items()}
    assert figures.own_temperature == bundle.metadata.decision.temperature
    assert 0.3 < figures.accuracy < 0.95


def test_tau_moves_the_figures_towards_the_rare(request_tau, hard_rows):
    """Disgust and contempt are named more often, happiness less often."""
    answered = {}
    for tau in (0.0, 1.0):
        convert(replace(request_tau, tau=tau))
        counts = np.sum(evaluated(request_tau.out, hard_rows).confusion, axis=0)
        answered[tau] = dict(zip(EMOTIONS, counts, strict=True))
    for rare in ("disgust", "contempt"):
        assert answered[1.0][rare] > answered[0.0][rare]
    assert answered[1.0]["happiness"] < answered[0.0]["happiness"]


def test_the_decision_stands_in_every_record(request_tau):
    """Metadata, report, model card and inspect tell tau, prior, temperature and their samples."""
    convert(request_tau)
    bundle = open_bundle(request_tau.out)
    decision = bundle.metadata.decision
    assert bundle.metadata.schema_version == 4
    assert decision.prior == tuple(PRIOR.shares.values())
    assert decision.prior_from == PRIOR.source
    assert decision.temperature_from == "400 clean samples of gratings PublicTest"
    assert decode_report((request_tau.out / PARITY).read_bytes(), PARITY).decision == decision
    card = (request_tau.out / MODEL_CARD).read_text()
    assert "| tau | 0.5 |" in card
    assert f"fitted on {decision.temperature_from} |" in card
    assert "contempt 0.010: mean target of gratings Training |" in card
    assert describe(bundle).metadata.decision == decision
    assert check_golden(bundle) == 0


def test_auto_is_the_largest_tau_within_the_gate(request_tau, hard_rows):
    """The rule of docs/decisions.md: each larger tau of the twenty costs more than --max-drop."""
    gate = replace_gate(request_tau, 0.02)
    convert(replace(gate, tau="auto"))
    decision = open_bundle(request_tau.out).metadata.decision
    _, raw = tflite_probabilities(request_tau.out, hard_rows.images, decided=False)

    def accuracy(tau: float) -> float:
        given = leading(decision.with_tau(tau).adjusted(raw))
        return float((given == hard_rows.labels).mean())

    allowed = [tau for tau in TAUS if accuracy(0) - accuracy(tau) <= 0.02 + 1e-9]
    assert decision.tau == max(allowed)
    assert 0 < decision.tau < 1


def replace_gate(request: ConvertRequest, max_drop: float) -> ConvertRequest:
    from msgspec.structs import replace as with_fields

    return replace(request, gate=with_fields(request.gate, max_drop=max_drop))


def test_a_drop_that_is_met_exactly_is_allowed():
    """One sample of two hundred is half a point, and not a bit more."""
    prior = (0.9, 0.1)
    probabilities = np.tile(np.array([[0.9, 0.1]]), (200, 1))
    probabilities[0] = (0.6, 0.4)  # turns over first, at a tau of 0.2
    answers = np.zeros(200, np.int64)
    decision = Decision(prior=prior)
    assert largest_tau(probabilities, answers, decision, 0.005) == 0.95
    assert largest_tau(probabilities, answers, decision, 0.0049) == 0.15


def test_corrupted_samples_temper_the_answers(request_tau, hard_rows, evaluation_rows):
    """The temperature is fitted on both, and the record says so."""
    convert(replace(request_tau, evaluation=evaluation_rows, tau=0.0))
    clean = open_bundle(request_tau.out).metadata.decision
    convert(replace(request_tau, evaluation=evaluation_rows, tau=0.0, corrupted=hard_rows))
    robust = open_bundle(request_tau.out).metadata.decision
    assert robust.temperature > clean.temperature
    assert robust.temperature_from.endswith("gratings PublicTest, and each corrupted once")


def test_a_model_that_takes_meshes_is_tempered_on_clean_samples(
    request_tau, mesh_run_of, mesh_evaluation_rows, mesh_training_rows
):
    """A corrupted picture beside the mesh of the clean one is nothing that a device sees."""
    rows = mesh_evaluation_rows
    given = replace(request_tau, evaluation=rows, calibration=mesh_training_rows, corrupted=rows)
    with pytest.raises(ConversionError, match=r"takes mesh features, .* --temperature-on clean"):
        convert(replace(given, model=mesh_run_of("pixels+mesh")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": None}, "tau 0.5 needs a prior"),
        ({"prior": None, "tau": "auto"}, "tau auto needs a prior"),
        ({"tau": 3.0}, "tau must lie in 0 to 2, got 3"),
    ],
)
def test_a_tau_that_can_not_be_applied_is_refused(request_tau, changes, message):
    """No bundle is written."""
    with pytest.raises(ConversionError, match=message):
        convert(replace(request_tau, **changes))
    assert not request_tau.out.exists()


def test_a_model_measured_on_what_it_learnt_keeps_the_runs_temperature(request_tau, training_rows):
    """It is surer of those samples: a temperature fitted on them would be too low."""
    convert(replace(request_tau, evaluation=training_rows))
    decision = open_bundle(request_tau.out).metadata.decision
    assert decision.temperature == 1.0
    assert decision.temperature_from == "held-out samples of the training run, at tau 0"


@pytest.mark.parametrize("form", ["int8", "int8-float-io", "fp16", "dynamic", "float32"])
def test_the_logits_are_those_before_the_softmax(model, training_rows, evaluation_rows, form):
    """The same numbers: a softmax of them is what the whole file gives, within its rounding."""
    calibration = training_rows.images[:80, ..., None].astype(np.float32)
    calibration[0, 0, :2, 0] = (0, 255)
    whole = to_tflite(model, form, [calibration])
    stripped, kind = strip_softmax(whole)
    assert kind == "logits"
    assert "SOFTMAX" in read_graph(whole).operation_counts()
    assert "SOFTMAX" not in read_graph(stripped).operation_counts()
    before, after = TfliteModel(whole), TfliteModel(stripped)
    for image in evaluation_rows.images[:20]:
        pixels = image[None, :, :, None]
        crop = pixels.astype(np.float32)
        if before.inputs[0].dtype == "int8":
            crop = (pixels.astype(np.int16) - 128).astype(np.int8)
        (given,), (logits,) = before.run(crop), after.run(crop)
        np.testing.assert_allclose(softmax(real(logits, after)), real(given, before), atol=1 / 256)


def real(values: np.ndarray, model: TfliteModel) -> np.ndarray:
    (spec,) = model.outputs
    return (values.astype(np.float64) - spec.zero_point) * spec.scale


@pytest.mark.parametrize("last", ["layer", "activation", "function", "nested"])
def test_a_foreign_models_softmax_is_found_however_it_was_written(keras, last):
    """A layer, an activation, a function, inside a model: TFLite has one softmax for them all."""
    layers = keras.layers
    inputs = keras.Input((48, 48, 1))
    x = layers.Flatten()(inputs)
    if last == "activation":
        outputs = layers.Dense(8, activation="softmax")(x)
    elif last == "function":
        outputs = keras.ops.softmax(layers.Dense(8)(x))
    elif last == "nested":
        outputs = keras.Sequential([layers.Dense(8), layers.Softmax()])(x)
    else:
        outputs = layers.Softmax()(layers.Dense(8)(x))
    content, kind = strip_softmax(to_tflite(keras.Model(inputs, outputs), "float32"))
    assert kind == "logits"
    assert read_graph(content).operations[-1].name == "FULLY_CONNECTED"


@pytest.mark.parametrize("name", sorted(ARCHITECTURES))
def test_every_architecture_gives_logits(name):
    """The registry's networks end in one dense layer when they are converted."""
    content, kind = strip_softmax(to_tflite(build(name, 8, inference=True), "float32"))
    assert kind == "logits"
    assert read_graph(content).operations[-1].name == "FULLY_CONNECTED"


@pytest.mark.parametrize("last", ["sharpened", "rescaled", "sigmoid"])
def test_what_is_no_plain_softmax_at_the_end_stays(keras, last):
    """Such a model gives probabilities, its file is left as it is, to the byte."""
    layers, ops = keras.layers, keras.ops
    inputs = keras.Input((48, 48, 1))
    logits = layers.Dense(8)(layers.Flatten()(inputs))
    if last == "sharpened":
        exp = ops.exp(logits)
        outputs = exp / (ops.sum(exp, axis=-1, keepdims=True) + 0.01)
    elif last == "rescaled":
        outputs = ops.softmax(logits) * 0.9 + 0.1 / 8
    else:
        outputs = ops.sigmoid(logits)
    content = to_tflite(keras.Model(inputs, outputs), "float32")
    assert strip_softmax(content) == (content, "probabilities")


def test_a_model_without_a_plain_softmax_is_converted_with_probabilities(
    keras, model, training_rows, hard_rows, tmp_path, request_tau
):
    """Its bundle says so, in a schema that older readers know unless it has a prior."""
    from tests.converters.conftest import save_run

    network = keras.Model(model.inputs, model.outputs[0] * 0.9 + 0.1 / 8)
    run = save_run(network, tmp_path / "run", training_rows)
    convert(replace(request_tau, model=run))
    metadata = open_bundle(request_tau.out).metadata
    assert (metadata.output_kind, metadata.decision.tau) == ("probabilities", 0.5)
    figures = evaluated(request_tau.out, hard_rows)
    assert metadata.metrics.accuracy == pytest.approx(figures.accuracy, abs=1e-12)


def test_tau_on_the_command_line_is_checked(tmp_path):
    """Neither a number nor auto, or out of bounds: one line, exit code 2, before any work."""
    model = tmp_path / "model.keras"
    model.touch()
    for text in ("much", "-1", "2.5", "nan"):
        line = ["convert", str(model), "--data", str(tmp_path), "--out", "out", f"--tau={text}"]
        result = CliRunner().invoke(app, line)
        assert isinstance(result.exception, ConfigError)
        assert f"--tau {text}: expected a number from 0 to 2, or auto" in str(result.exception)


@pytest.fixture
def folders(training_rows: LabelledImages, hard_rows: LabelledImages, tmp_path: Path) -> Path:
    """The gratings as class folders below split folders, contempt and disgust rarer in training."""
    for split, rows in (("train", training_rows), ("test", hard_rows)):
        for number, (image, label) in enumerate(zip(rows.images, rows.labels, strict=True)):
            name = EMOTIONS[label]
            if split == "test" or name not in ("contempt", "disgust") or number % 80 < 8:
                folder = tmp_path / "data" / split / name
                folder.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(folder / f"{number:04d}.png"), image)
    return tmp_path / "data"


def test_on_the_command_line_the_record_and_evaluate_agree(
    run_directory, folders, tmp_path, capsys
):
    """`convert --tau auto`, then `evaluate`: the same digits; prior, tau and samples are told."""
    out, figures = tmp_path / "bundle", tmp_path / "figures.json"
    options = ["--data", folders, "--split", "Test"]
    command("convert", run_directory, *options, "--out", out, "--tau", "auto", "--max-drop", 3)
    metadata = open_bundle(out).metadata
    decision = metadata.decision
    assert decision.tau > 0
    assert sum(decision.prior) == pytest.approx(1, abs=1e-5)
    assert decision.prior[EMOTIONS.index("contempt")] == pytest.approx(10 / 620, abs=1e-6)
    assert decision.prior_from.endswith("Training, 620 samples")
    assert decision.temperature_from.endswith("Test, and each corrupted once")
    assert f"all figures at tau {decision.tau:g}" in capsys.readouterr().out
    command("evaluate", out, *options, "--json", figures)
    measured = json.loads(figures.read_text())
    assert measured["tau"] == decision.tau
    assert measured["accuracy"] == pytest.approx(metadata.metrics.accuracy, abs=1e-12)
    assert measured["balanced_accuracy"] == pytest.approx(
        metadata.metrics.balanced_accuracy, abs=1e-12
    )
    report = decode_report((out / PARITY).read_bytes(), PARITY)
    assert measured["ece"] == pytest.approx(report.comparison.tflite.ece, abs=1e-9)
    capsys.readouterr()
    command("inspect", out)
    shown = " ".join(capsys.readouterr().out.split())
    assert f"tau {decision.tau:g}" in shown
    assert "output logits, int8" in shown
    options += ["--out", out, "--temperature-on", "clean", "--max-drop", 3]
    command("convert", run_directory, *options)
    clean = open_bundle(out).metadata.decision
    assert clean.tau == 0
    assert clean.prior == decision.prior
    assert clean.temperature < decision.temperature


def command(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert not ended.value.code
