"""A bundle whose network ends in its logits: `data/logits`, made by the conversion's own tests."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from edge.config import Config, ModelConfig
from edge.contract.bundle import METADATA, MODEL, SUMS, open_bundle
from edge.contract.metadata import decode_metadata, encode_metadata
from edge.contract.quantize import pixels_to_int8
from edge.doctor import software
from edge.errors import BundleError, ConfigError
from edge.inference.emotion_model import EmotionModel
from edge.inference.golden import Probes, compare_golden, difference, run_probes
from edge.inference.interpreter import TfliteModel
from edge.runtime.build import decision_of
from edge.stages.classify import TfliteClassifier
from edge.testing.fakes import make_face

LOGITS = Path(__file__).parents[1] / "data" / "logits"
SOFTMAX = Path(__file__).parents[3] / "docs" / "trained" / "fer7-g" / "bundle"
"""A bundle of version 0.1, which ends in a softmax."""
FACE = make_face((100, 100, 200, 220))
CROP = np.random.default_rng(3).integers(0, 256, (48, 48)).astype(np.uint8)


def changed(bundle: Path, folder: Path, **fields: object) -> Path:
    """Copy a bundle, with other metadata and hashes that hold."""
    shutil.copytree(bundle, folder)
    before = (folder / METADATA).read_bytes()
    metadata = json.loads(before) | fields
    if metadata["schema_version"] == 4:
        metadata.pop("temperature", None)
    after = json.dumps(metadata).encode()
    (folder / METADATA).write_bytes(after)
    old, new = (hashlib.sha256(data).hexdigest() for data in (before, after))
    (folder / SUMS).write_text((folder / SUMS).read_text().replace(old, new))
    return folder


def test_scores_are_the_softmax_of_the_adjusted_logits():
    """Dequantised, less tau times the logarithm of the prior, divided by the temperature."""
    bundle = open_bundle(LOGITS)
    metadata, decision = bundle.metadata, bundle.metadata.decision
    assert (metadata.output_kind, decision.tau) == ("logits", 0.25)
    (raw,) = TfliteModel(LOGITS / MODEL).run(pixels_to_int8(CROP)[None, :, :, None])
    logits = (raw[0].astype(float) - metadata.output.zero_point) * metadata.output.scale
    moved = (logits - 0.25 * np.log(decision.prior)) / decision.temperature
    expected = np.exp(moved) / np.exp(moved).sum()
    scores = TfliteClassifier(bundle).classify(CROP, FACE).scores
    np.testing.assert_allclose(scores, expected, rtol=1e-5)


def test_another_decision_replaces_the_bundles_own():
    """A configured tau gives a rarer emotion more."""
    bundle = open_bundle(LOGITS)
    shares = []
    for tau in (0.0, 2.0):
        decision = decision_of(bundle, ModelConfig(tau=tau))
        assert decision.temperature == bundle.metadata.decision.temperature
        scores = TfliteClassifier(bundle, decision=decision).classify(CROP, FACE).scores
        shares.append(scores[bundle.metadata.labels.index("contempt")])
    assert shares[1] > shares[0]
    assert decision_of(bundle, ModelConfig()) == bundle.metadata.decision


def test_a_tau_without_a_prior_is_a_mistake_of_the_configuration():
    """`run` and `doctor` both say what is missing; tau 0 asks for nothing."""
    assert decision_of(open_bundle(SOFTMAX), ModelConfig(tau=0.0)).tau == 0
    config = Config(model=ModelConfig(bundle=str(SOFTMAX), tau=0.5))
    with pytest.raises(ConfigError, match=r"model\.tau 0\.5: .* does not say how frequent"):
        software.model(config)


@pytest.mark.parametrize("path", [LOGITS, SOFTMAX])
def test_golden_outputs_hold_for_both_kinds(path):
    """Raw outputs are compared as they come, answers after the decision, on both kernels."""
    bundle = open_bundle(path)
    result = compare_golden(bundle)
    assert result.steps <= 2
    assert result.same_answers == result.probes == 64
    model = EmotionModel(
        TfliteModel(bundle.model, kernels="builtin"), output_kind=bundle.metadata.output_kind
    )
    with np.load(path / "golden.npz") as arrays:
        crops, expected = arrays["crops"], arrays["outputs_builtin"]
    actual = run_probes(model, Probes(crops))
    assert difference(model, bundle.metadata.decision, actual, expected).steps <= 2


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        (LOGITS, {"output_kind": "probabilities"}, "says that it gives probabilities, its output"),
        (
            SOFTMAX,
            {"schema_version": 4, "output_kind": "logits"},
            r"says that it gives logits, its output reaches from 0 to 0\.996",
        ),
    ],
)
def test_metadata_that_mistake_the_output_are_refused(path, fields, message, tmp_path):
    """A softmax of a softmax, or none at all, would be sure of the wrong things."""
    with pytest.raises(BundleError, match=message):
        TfliteClassifier.open(changed(path, tmp_path / "bundle", **fields))


@pytest.mark.parametrize("path", [LOGITS, SOFTMAX])
def test_metadata_of_both_schemas_survive(path):
    """What is written is what is read, and an old bundle stays in its own schema."""
    data = (path / METADATA).read_bytes()
    metadata = decode_metadata(data, METADATA)
    assert json.loads(encode_metadata(metadata)) == json.loads(data)
    assert ("decision" in json.loads(data)) == (metadata.schema_version == 4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"decision": {"tau": 0.5}}, "tau 0.5 needs a prior"),
        ({"decision": {"tau": 9, "prior": [0.5] * 2}}, "tau must lie in 0 to 2"),
        ({"decision": {"prior": [0.5, 0.5]}}, "8 labels do not fit a prior of 2"),
        ({"decision": {"prior": [1.0] * 8}}, "shares that sum to 1"),
        ({"decision": {"temperature": 0}}, "temperature must lie in"),
        ({"decision": {"bias": 1}}, "unknown field `bias`"),
        ({"decision": {"prior_from": "a\x1b[2Jb"}}, r"\$\.decision\.prior_from"),
        ({"schema_version": 3}, "unknown field"),
        ({"temperature": 1.0}, "unknown field `temperature`"),
        ({"output_kind": "votes"}, r"Invalid enum value 'votes' - at `\$\.output_kind`"),
    ],
)
def test_decisions_that_can_not_be_are_refused_in_one_line(fields, message):
    """Hashes that hold do not make a decision sensible."""
    data = json.loads((LOGITS / METADATA).read_bytes()) | fields
    with pytest.raises(BundleError, match=message) as caught:
        decode_metadata(json.dumps(data).encode(), METADATA)
    assert "\n" not in str(caught.value)
