import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from rich.console import Console

from converters.bundle.inspect import bundle_view, describe
from converters.bundle.model_card import model_card
from converters.convert.convert import convert
from converters.convert.int8_predict import tflite_probabilities
from converters.errors import ConversionError
from converters.parity.check import decode_report
from converters.parity.gate import Gate
from converters.parity.plot import parity_png
from converters.request import ConvertRequest
from converters.tflite.flatbuffer import check_full_int8, check_int8_float_io, read_graph
from edge.config import load_config
from edge.contract.align import FER48
from edge.contract.bundle import MODEL, MODEL_CARD, PARITY, open_bundle
from edge.contract.decision import softmax
from edge.contract.labels import EMOTIONS
from edge.contract.quantize import PIXELS, pixels_to_int8
from edge.doctor import examine
from edge.errors import InferenceError
from edge.inference.golden import check_golden
from edge.inference.interpreter import TfliteModel
from edge.stages.classify import TfliteClassifier
from edge.testing.fakes import make_face
from host_training.runs.known_pictures import PICTURES, KnownPictures, picture_numbers
from host_training.runs.provenance import origin_of_bundle


@pytest.fixture
def request_int8(run_directory, training_rows, evaluation_rows, tmp_path) -> ConvertRequest:
    return ConvertRequest(
        model=run_directory,
        out=tmp_path / "bundle",
        evaluation=evaluation_rows,
        calibration=training_rows,
        calibration_rows=80,
    )


@pytest.fixture(scope="module")
def int8_bundle(run_directory, training_rows, evaluation_rows, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "tiny-int8"
    convert(
        ConvertRequest(
            model=run_directory,
            out=out,
            evaluation=evaluation_rows,
            calibration=training_rows,
            calibration_rows=80,
            temperature=1.5,
        )
    )
    return out


def listing(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_the_bundle_holds_a_full_integer_model(int8_bundle):
    """int8 in with scale 1 and zero point -128, int8 out, integers and built-in ops between."""
    bundle = open_bundle(int8_bundle)
    graph = read_graph(bundle.model)
    check_full_int8(graph)
    assert bundle.metadata.input.quantization == PIXELS
    assert bundle.metadata.input.shape == (1, 48, 48, 1)
    assert (bundle.metadata.output.dtype, bundle.metadata.output_kind) == ("int8", "logits")
    operations = set(graph.operation_counts())
    assert {"CONV_2D", "FULLY_CONNECTED"} <= operations
    assert "SOFTMAX" not in operations


def test_the_bundle_tells_where_the_model_came_from(int8_bundle, training_rows, evaluation_rows):
    """Run, rows and figures in the metadata are those of this conversion."""
    metadata = open_bundle(int8_bundle).metadata
    report = decode_report((int8_bundle / PARITY).read_bytes(), PARITY)
    assert (metadata.name, metadata.training_run) == ("tiny-int8", "tiny-0001")
    assert metadata.training_data == training_rows.dataset
    assert metadata.calibration_data is not None
    assert metadata.calibration_data.rows == 80
    assert metadata.metrics.dataset == report.dataset == evaluation_rows.dataset
    assert metadata.metrics.accuracy == report.comparison.tflite.accuracy
    assert metadata.parameters == report.parameters > 0
    assert report.size_bytes == (int8_bundle / MODEL).stat().st_size


def test_the_report_is_measured_on_every_row(int8_bundle, evaluation_rows):
    """The figures of the TFLite model are those of running it again over all rows."""
    report = decode_report((int8_bundle / PARITY).read_bytes(), PARITY)
    labels, probabilities = tflite_probabilities(int8_bundle, evaluation_rows.images)
    right = probabilities.argmax(axis=1) == evaluation_rows.labels
    assert labels == EMOTIONS
    assert report.dataset.rows == len(right) == 400
    assert report.comparison.tflite.accuracy == pytest.approx(right.mean())
    assert report.comparison.keras.accuracy > 0.9
    assert report.comparison.agreement >= 0.97
    assert 0 < report.comparison.mean_difference < 0.02


def test_device_and_evaluation_give_the_same_scores(int8_bundle, evaluation_rows):
    """What `evaluate` measures is what the classifier on the device answers, tempered alike."""
    _, probabilities = tflite_probabilities(int8_bundle, evaluation_rows.images[:20])
    classifier = TfliteClassifier.open(int8_bundle)
    face = make_face((0, 0, 48, 48))
    scores = [classifier.classify(crop, face).scores for crop in evaluation_rows.images[:20]]
    assert np.array_equal(probabilities, np.stack(scores))


def test_the_golden_vectors_hold(int8_bundle):
    """Right after the conversion this machine computes them exactly."""
    assert check_golden(open_bundle(int8_bundle)) == 0


def test_a_bare_file_gives_untempered_outputs(int8_bundle, evaluation_rows, tmp_path):
    """Without metadata there are no labels; that it gives logits stands in the file itself."""
    bare = tmp_path / "bare.tflite"
    bare.write_bytes((int8_bundle / MODEL).read_bytes())
    labels, probabilities = tflite_probabilities(bare, evaluation_rows.images[:5])
    assert labels is None
    raw, output = [], open_bundle(int8_bundle).metadata.output
    for image in evaluation_rows.images[:5]:
        (given,) = TfliteModel(bare).run(pixels_to_int8(image[None, :, :, None]))
        raw.append((given[0].astype(int) - output.zero_point) * output.scale)
    np.testing.assert_allclose(probabilities, softmax(np.array(raw)), atol=1e-6)
    bare.write_bytes(bare.read_bytes()[:-500])
    with pytest.raises(InferenceError, match=r"bare\.tflite: not a (model|TFLite file)"):
        tflite_probabilities(bare, evaluation_rows.images[:5])


@pytest.mark.parametrize(
    ("form", "tolerance"), [("float32", 1e-4), ("fp16", 0.01), ("dynamic", 0.2)]
)
def test_float_forms_take_pixels_as_they_are(request_int8, form, tolerance):
    """The other forms run on the same device code, with float pixels 0 to 255."""
    request = replace(request_int8, quantization=form, calibration=None)
    report = convert(request)
    bundle = open_bundle(request.out)
    assert bundle.metadata.input.dtype == bundle.metadata.output.dtype == "float32"
    assert bundle.metadata.calibration_data is None
    assert report.comparison.max_difference < tolerance
    assert check_golden(bundle) == pytest.approx(0, abs=1e-3)
    classifier = TfliteClassifier(bundle)
    scores = classifier.classify(request.evaluation.images[0], make_face((0, 0, 48, 48))).scores
    assert scores.sum() == pytest.approx(1, abs=1e-5)


def test_a_conversion_can_be_repeated_to_the_byte(request_int8, int8_bundle):
    """The same run, rows and seed give the same model and the same golden vectors."""
    convert(replace(request_int8, name="tiny-int8"))
    for name in (MODEL, "golden.npz"):
        assert (request_int8.out / name).read_bytes() == (int8_bundle / name).read_bytes()


def test_the_report_says_what_the_conversion_costs(request_int8, int8_bundle, model):
    """Size, multiplications and time stand beside those of the float file, from the same run."""
    report = decode_report((int8_bundle / PARITY).read_bytes(), PARITY)
    assert report.size_bytes == (int8_bundle / MODEL).stat().st_size
    convolutions = 24 * 24 * 12 * 49 + 12 * 12 * 16 * 12 * 9
    assert report.macs == convolutions + 16 * 8
    assert report.parameters == model.count_params()
    assert report.latency is not None
    assert report.latency.threads == 1
    low, high = report.latency.ratio_interval
    assert 0 < low <= report.latency.ratio <= high
    float_report = convert(replace(request_int8, quantization="float32", calibration=None))
    assert float_report.latency is None
    metadata_bytes = float_report.size_bytes - report.float_size_bytes
    assert 0 < metadata_bytes < 3000
    assert float_report.float_size_bytes == float_report.size_bytes


def test_the_file_tells_other_tools_what_it_is(int8_bundle):
    """Labels, pixels and name are inside the TFLite file, and inspect shows and compares them."""
    description = describe(open_bundle(int8_bundle))
    inside = description.file_metadata
    assert inside is not None
    assert (inside.name, inside.labels) == ("tiny-int8", EMOTIONS)
    assert (inside.mean, inside.std) == (0, 1)
    console = Console(file=io.StringIO(), width=120)
    console.print(bundle_view(description))
    assert "tiny-int8, 8 labels, pixels less 0 by 1" in console.file.getvalue()


def test_the_picture_of_the_report_lies_beside_the_bundle(int8_bundle):
    """A person sees what changed without reading JSON, and the device carries no picture."""
    picture = int8_bundle.with_name("tiny-int8.parity.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    report = decode_report((int8_bundle / PARITY).read_bytes(), PARITY)
    assert parity_png(report) == picture


def test_a_model_that_quantises_badly_is_not_written(request_int8, fragile_run):
    """Past the gate: an error with the figures, a kept report, no bundle."""
    request = replace(request_int8, model=fragile_run)
    with pytest.raises(ConversionError, match=r"loses \d+\.\d+ points .* agrees .* on") as caught:
        convert(request)
    report_path = request.out.with_name("bundle.parity.json")
    report = decode_report(report_path.read_bytes(), "report")
    assert str(report_path) in str(caught.value)
    assert not report.passed
    assert report.comparison.keras.accuracy > 0.9
    assert report.comparison.tflite.accuracy < 0.6
    assert report.comparison.mcnemar_p < 0.001
    assert listing(request.out.parent) == ["bundle.parity.json", "bundle.parity.png"]


def test_a_whole_last_layer_out_of_scale_loses_nothing(request_int8, saturated_run):
    """Its int8 scale grows with it: answers, probabilities and calibration stay."""
    comparison = convert(replace(request_int8, model=saturated_run)).comparison
    assert comparison.agreement >= 0.99
    assert comparison.mean_difference < 0.005
    assert comparison.keras.ece == pytest.approx(comparison.tflite.ece, abs=0.005)


def test_a_last_layer_out_of_scale_is_refused(request_int8, scaled_run):
    """One logit a thousand times too large leaves the others no steps in int8: no bundle."""
    with pytest.raises(ConversionError, match=r"agrees with Keras on \d+\.\d+% .* No bundle"):
        convert(replace(request_int8, model=scaled_run))
    assert not request_int8.out.exists()


def test_a_forced_bundle_is_marked_everywhere(request_int8, fragile_run, tmp_path):
    """Past the gate, --force writes; metadata, report, card, inspect and doctor say so."""
    told: list[str] = []
    report = convert(replace(request_int8, model=fragile_run, force=True), told.append)
    bundle = open_bundle(request_int8.out)
    assert not report.passed
    assert bundle.metadata.forced
    assert bundle.metadata.schema_version == 4
    assert any(line.startswith("FORCED: the int8 model loses") for line in told)
    assert "did not meet the gate" in (request_int8.out / MODEL_CARD).read_text()
    console = Console(file=io.StringIO(), width=120)
    console.print(bundle_view(describe(bundle)))
    assert "NOT met: written with --force" in console.file.getvalue()
    config = tmp_path / "config.toml"
    config.write_text(f'[model]\nbundle = "{request_int8.out}"\n')
    (check,) = [check for check in examine(load_config(config)) if check.name == "model"]
    assert check.status == "warning"
    assert "lost more accuracy" in check.detail


def test_what_chance_explains_is_written_with_a_warning(request_int8):
    """Past a limit and no more than chance: a bundle, and the warning wherever one looks."""
    told: list[str] = []
    report = convert(replace(request_int8, gate=Gate(max_drop=-0.1)), told.append)
    assert report.passed
    bundle = open_bundle(request_int8.out)
    assert not bundle.metadata.forced
    (warning,) = [line for line in told if line.startswith("WARNING: ")]
    for part in ("points of accuracy", "-10.00 may be lost", "no more than chance", "would decide"):
        assert part in warning
    console = Console(file=io.StringIO(), width=300)
    console.print(bundle_view(describe(bundle)))
    shown = console.file.getvalue()
    assert shown.count("met, with a warning") == 1
    card = (request_int8.out / MODEL_CARD).read_text()
    for text in (shown, card):
        assert warning.removeprefix("WARNING: ") in text


def test_force_marks_nothing_that_meets_the_gate(request_int8):
    """A good conversion is not called a forced one."""
    report = convert(replace(request_int8, force=True))
    assert report.passed
    assert not open_bundle(request_int8.out).metadata.forced


def test_integers_between_float_ends(request_int8, int8_bundle):
    """Floats in and out, the same integers between as full int8, and the same answers."""
    report = convert(replace(request_int8, quantization="int8-float-io"))
    bundle, full = open_bundle(request_int8.out), open_bundle(int8_bundle)
    assert bundle.metadata.input.dtype == bundle.metadata.output.dtype == "float32"
    assert bundle.metadata.schema_version == 4
    graph = read_graph(bundle.model)
    check_int8_float_io(graph)
    assert graph.operation_counts() == {
        **read_graph(full.model).operation_counts(), "QUANTIZE": 1, "DEQUANTIZE": 1,
    }  # fmt: skip
    with pytest.raises(ConversionError, match="not full int8"):
        check_full_int8(graph)
    with pytest.raises(ConversionError, match="expected a FLOAT32 end"):
        check_int8_float_io(read_graph(full.model))
    assert report.comparison.agreement >= 0.97
    assert check_golden(bundle) == 0


def test_a_refused_conversion_leaves_the_older_bundle(request_int8, int8_bundle):
    """The bundle in use stays when its successor fails; a later success clears the report."""
    convert(request_int8)
    older = open_bundle(request_int8.out).digest
    with pytest.raises(ConversionError, match=r"allowed are -100\.00 points"):
        convert(replace(request_int8, gate=Gate(max_drop=-1, significance=1)))
    assert open_bundle(request_int8.out).digest == older
    kept = ["bundle", "bundle.parity.json", "bundle.parity.png"]
    assert listing(request_int8.out.parent) == kept
    convert(request_int8)
    assert listing(request_int8.out.parent) == ["bundle", "bundle.parity.png"]


@pytest.mark.parametrize("step", ["loading", "converting", "comparing", "writing"])
def test_an_interrupted_conversion_leaves_nothing(request_int8, step):
    """Ctrl-C at any step leaves neither a bundle nor debris."""

    def interrupt(message: str) -> None:
        if message.startswith(step):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(request_int8, interrupt)
    picture = ["bundle.parity.png"] if step == "writing" else []
    assert listing(request_int8.out.parent) == picture


def bad_requests() -> Iterator[object]:
    def case(name: str, change: object, message: str) -> object:
        return pytest.param(change, message, id=name)

    yield case(
        "no-calibration",
        lambda r: replace(r, calibration=None),
        "int8 needs calibration samples, got none",
    )
    yield case(
        "empty-calibration",
        lambda r: replace(r, calibration=r.calibration[:0]),
        "calibration needs real training samples, got 0",
    )
    yield case(
        "no-evaluation",
        lambda r: replace(r, evaluation=r.evaluation[:0]),
        "parity needs evaluation samples, got none",
    )
    yield case(
        "other-size",
        lambda r: replace(
            r, evaluation=replace(r.evaluation, images=np.zeros((400, 32, 32), np.uint8))
        ),
        r"pictures of \[32, 32\] pixels, the model takes \[48, 48\]",
    )
    yield case(
        "other-emotions",
        lambda r: replace(
            r, evaluation=replace(r.evaluation, label_names=(*EMOTIONS[:7], "boredom"))
        ),
        "has samples of boredom, the model knows neutral",
    )


@pytest.mark.parametrize(("change", "message"), list(bad_requests()))
def test_rows_that_do_not_fit_are_named(request_int8, change, message):
    """Missing, empty or foreign rows end the conversion with one clear line and no bundle."""
    with pytest.raises(ConversionError, match=message) as caught:
        convert(change(request_int8))
    assert "\n" not in str(caught.value)
    assert listing(request_int8.out.parent) == []


def test_the_model_card_carries_figures_limits_and_law(int8_bundle):
    """The card states protocol, split, every recall, the cost of int8, limits and the law."""
    card = (int8_bundle / MODEL_CARD).read_text()
    comparison = decode_report((int8_bundle / PARITY).read_bytes(), PARITY).comparison
    for text in (
        "# tiny-int8",
        "gratings | Training | 800",
        "gratings | PublicTest | 400",
        "`majority`",
        f"**{comparison.tflite.accuracy:.2%}**",
        f"{comparison.agreement:.2%}",
        "(EU) 2024/1689, Article 5(1)(f)",
        "What a person feels",
        "only their owner can tell",
        "learnt from the pictures as they are",
        "For whom it was not made",
    ):
        assert text in card
    for label, recall in comparison.tflite.recall.items():
        assert f"| {label} | {comparison.keras.recall[label]:.1%} | {recall:.1%} |" in card


def test_the_model_card_names_what_is_hardly_recognised(int8_bundle):
    """Expressions with a recall under 40 % are named among what the model cannot do."""
    metadata = open_bundle(int8_bundle).metadata
    report = decode_report((int8_bundle / PARITY).read_bytes(), PARITY)
    assert "misses most faces" not in model_card(metadata, report)
    recall = report.comparison.tflite.recall | {"fear": 0.399, "anger": 0.4}
    poor = msgspec.structs.replace(report.comparison.tflite, recall=recall)
    comparison = msgspec.structs.replace(report.comparison, tflite=poor)
    card = model_card(metadata, msgspec.structs.replace(report, comparison=comparison))
    assert "- It misses most faces that show fear (recall 40%).\n" in card
    recall = {name: share for name, share in recall.items() if name != "contempt"}
    seven = msgspec.structs.replace(report.comparison.tflite, recall=recall)
    comparison = msgspec.structs.replace(report.comparison, keras=seven, tflite=seven)
    card = model_card(metadata, msgspec.structs.replace(report, comparison=comparison))
    assert "| contempt | n/a | n/a |" in card
    assert "- How well it recognises contempt was not measured.\n" in card


@pytest.mark.parametrize(
    ("learnt", "validated", "told"),
    [
        (300, 60, "learnt from 300, 60 chose its\nbest epoch, 40 are new to it"),
        (0, 400, "learnt from 0, 400 chose its best epoch, 0 are new"),
        (0, 0, "400 are new to it"),
    ],
)
def test_the_model_card_says_what_was_seen(
    request_int8, run_directory, evaluation_rows, tmp_path, learnt, validated, told
):
    """By the very pictures, whatever the split is called; and the figures of the new ones."""
    run = shutil.copytree(run_directory, tmp_path / "run")
    fingerprint = json.loads((run / "run.json").read_text())["training_data"]["fingerprint"]
    keys = picture_numbers(evaluation_rows.images)
    known = KnownPictures(
        np.sort(keys[:learnt]), np.sort(keys[learnt : learnt + validated]), fingerprint
    )
    (run / PICTURES).write_bytes(known.encode())
    report = convert(replace(request_int8, model=run))
    card = (request_int8.out / MODEL_CARD).read_text()
    assert " ".join(told.split()) in " ".join(card.split())
    counts = (report.seen.training, report.seen.validation, report.seen.unseen)
    assert counts == (learnt, validated, 400 - learnt - validated)
    new = report.seen.unseen
    assert (report.unseen is None) is (new == 0)
    assert ("that are new to it:**" in card) is (0 < new < 400)
    assert ("flatter" in card) is bool(learnt or validated)
    beside = request_int8.out.with_name(f"bundle.{PICTURES}")
    assert beside.read_bytes() == known.encode()
    origin = origin_of_bundle(open_bundle(request_int8.out))
    assert origin.known.places(evaluation_rows.images).sum() == learnt + 2 * validated


def test_what_the_crops_were_travels(request_int8, int8_bundle, tmp_path):
    """A bundle tells, and its card says, whether its model learnt from aligned crops."""
    assert open_bundle(int8_bundle).metadata.crops == "raw"
    rows = replace(request_int8.evaluation, crops="aligned")
    convert(replace(request_int8, evaluation=rows, out=tmp_path / "aligned"))
    assert open_bundle(tmp_path / "aligned").metadata.crops == "aligned"
    assert "the device's own code had aligned" in (tmp_path / "aligned" / MODEL_CARD).read_text()
    assert TfliteClassifier.open(tmp_path / "aligned").template is FER48
