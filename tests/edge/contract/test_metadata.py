import json

import msgspec
import pytest

from edge.contract.decision import Decision
from edge.contract.labels import EMOTIONS
from edge.contract.metadata import (
    BundleMetrics,
    Dataset,
    Metadata,
    TensorSpec,
    decode_metadata,
    encode_metadata,
)
from edge.contract.quantize import PIXELS
from edge.errors import BundleError

ROWS = Dataset(name="set", split="Test", rows=10, fingerprint="ab" * 32)
METADATA = Metadata(
    name="model",
    edgeemo_version="1.2.3",
    created_at="2025-01-01T00:00:00Z",
    architecture="compact",
    quantization="int8",
    labels=EMOTIONS,
    input=TensorSpec(name="in", shape=(1, 48, 48, 1), dtype="int8", scale=1.0, zero_point=-128),
    output=TensorSpec(name="out", shape=(1, 8), dtype="int8", scale=1 / 256, zero_point=-128),
    template_id="fer48-v1",
    decision=Decision(temperature=1.25),
    training_run="run-1",
    parameters=1000,
    training_data=ROWS,
    calibration_data=ROWS,
    metrics=BundleMetrics(
        dataset=ROWS,
        protocol="majority",
        accuracy=0.1 + 0.2,  # a number that must survive to the last bit
        balanced_accuracy=1 / 3,
        macro_f1=0.5,
        recall={"fear": 0.25},
    ),
)


def changed(**fields: object) -> bytes:
    return json.dumps({**json.loads(encode_metadata(METADATA)), **fields}).encode()


def tensor(which: str, **fields: object) -> dict[str, object]:
    return {**json.loads(encode_metadata(METADATA))[which], **fields}


def test_metadata_survives_json_to_the_last_bit():
    """What is written is what is read, floats included."""
    assert decode_metadata(encode_metadata(METADATA), "m") == METADATA


def test_a_bundle_past_its_gate_says_so_and_nothing_else_does():
    """The mark is written only where it holds, in a schema that older readers refuse clearly."""
    forced = msgspec.structs.replace(METADATA, forced=True, schema_version=3)
    assert decode_metadata(encode_metadata(forced), "m") == forced
    assert b"forced" not in encode_metadata(METADATA)


def test_the_input_quantisation_is_that_of_pixels():
    """A tensor's scale and zero point come out as the quantisation that the code computes with."""
    assert METADATA.input.quantization == PIXELS
    assert METADATA.template.size == 48


def test_json_ends_in_a_newline_and_is_indented():
    """A person can read the file, and diff it."""
    text = encode_metadata(METADATA).decode()
    assert text.startswith('{\n  "schema_version": 1,\n')
    assert text.endswith("}\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a bundle's metadata"),
        (b"\x89PNG\r\n", "not a bundle's metadata"),
        (b"[1, 2]", "not a bundle's metadata"),
        (b"{}", "not a bundle's metadata"),
        (changed(schema_version=6), "schema version 6, this edgeemo reads 1 to 5; update edgeemo"),
        (changed(schema_version=3), "schema version 3 with no mesh input, int8"),
        (changed(forced=True), "schema version 1 with no mesh input, int8, forced"),
        (changed(quantization="int8-float-io"), "schema version 1 with .*, int8-float-io"),
        (changed(schema_version=0), "schema version 0, .*; convert the model again"),
        (changed(colour="gray"), "unknown field `colour`"),
        (changed(name=""), r"length >= 1 .*\$\.name"),
        (changed(temperature=0), "temperature must lie in 0.01 to 100, got 0"),
        (changed(quantization="int4"), r"\$\.quantization"),
        (changed(color="rgb"), r"\$\.color"),
        (changed(crops="loose"), r"Invalid enum value 'loose' .*\$\.crops"),
        (changed(input=tensor("input", dtype="int16")), r"\$\.input\.dtype"),
        (changed(output=tensor("output", scale=-1)), r"\$\.output\.scale"),
        (changed(labels=[*EMOTIONS[:7], "Bore dom"]), r"impossible labels \['Bore dom'\]"),
        (changed(labels=[*EMOTIONS[:7], "fear"]), "two or more different names"),
        (changed(labels=[]), "two or more different names"),
        (changed(labels=list(EMOTIONS[:7])), r"7 labels do not fit an output of shape \[1, 8\]"),
        (changed(output=tensor("output", shape=[8])), r"8 labels do not fit .* shape \[8\]"),
        (changed(template_id="fer96"), "unknown alignment template 'fer96'"),
        (
            changed(input=tensor("input", shape=[1, 64, 64, 1])),
            r"makes 48-pixel grey crops, the input has shape \[1, 64, 64, 1\]",
        ),
    ],
)
def test_metadata_that_can_not_be_true_is_refused_in_one_line(data, message):
    """Every contradiction is named, with the file that it stands in."""
    with pytest.raises(BundleError, match=message) as caught:
        decode_metadata(data, "some/metadata.json")
    assert str(caught.value).startswith("some/metadata.json: ")
    assert "\n" not in str(caught.value)


def test_only_aligned_crops_are_told():
    """Bundles of raw crops are as they always were; what a model learnt from is read back."""
    assert b'"crops"' not in encode_metadata(METADATA)
    assert decode_metadata(encode_metadata(METADATA), "m").crops == "raw"
    aligned = msgspec.structs.replace(METADATA, crops="aligned")
    assert b'"crops": "aligned"' in encode_metadata(aligned)
    assert decode_metadata(encode_metadata(aligned), "m") == aligned


def test_metadata_can_not_be_changed_in_memory():
    """What was checked stays what was checked."""
    with pytest.raises(AttributeError):
        METADATA.parameters = 2  # type: ignore[misc]


def test_a_subset_of_emotions_is_a_model():
    """Seven classes, as FER2013 has them, are fine when the output has seven values."""
    seven = msgspec.structs.replace(
        METADATA,
        labels=EMOTIONS[:7],
        output=msgspec.structs.replace(METADATA.output, shape=(1, 7)),
    )
    assert decode_metadata(encode_metadata(seven), "m").labels == EMOTIONS[:7]
