"""docs/log-schema.json and the record classes say the same, for every kind and field."""

import json
from pathlib import Path
from typing import get_args

import jsonschema
import msgspec
import pytest

from edge.contract.logrecord import LogRecord, decode_record, encode_record, json_schema
from edge.contract.mesh_features import BLENDSHAPES
from edge.logs.table import line_for_people

PUBLISHED = json.loads(Path("docs/log-schema.json").read_text("utf-8"))
SCHEMA = jsonschema.Draft202012Validator(PUBLISHED)
HEADER = {
    "schema": 1, "time": "2026-01-31T12:00:00.000Z", "monotonic_s": 1.5, "seq": 7,
    "session": "4be0c1d2a6f7", "device": "a\n\"'><script>'); DROP TABLE records;-- \u001b[31m",
}  # fmt: skip
BOX = [265.6, 167.1, 373.1, 293.8]
KINDS = {
    "service_started": {
        "version": "0.1.0", "source": "demo", "model": "default", "model_sha256": "0f1e",
        "mesher": "litert", "runtime": "ai-edge-litert 2.3.0", "labels": ["neutral"],
        "recovered_bytes": 12, "study": "smiles", "participant": "p07", "condition": "calm",
        "calibration": "for site, bias fitted on mine: 12 pictures of 3 people",
    },
    "track_started": {"track": 1, "box": BOX, "frame": 3, "file": "0.png"},
    "emotion": {
        "track": 1, "label": "happiness", "confidence": 0.9, "scores": {"happiness": 0.9},
        "box": BOX, "head_pose": {"yaw": 1.0, "pitch": 2.0, "roll": 3.0}, "frame": 3,
        "latency_ms": 11.5, "file": "0.png", "quality": "too_turned",
        "eyes": {"right": 0.3, "left": 0.1},
        "blendshapes": dict.fromkeys(BLENDSHAPES, 0.5), "mesh": [[1.0, 2.0, -3.0]] * 478,
    },
    "track_ended": {"track": 1, "duration_s": 2.5, "shares": {"happiness": 1.0}},
    "event": {
        "track": 1, "event": "blink", "duration_s": 0.2, "intensity": 0.7, "degrees": 12.0,
        "frame": 3, "complete": False,
    },
    "marker": {"marker": "task A", "phase": "start"},
    "health": {
        "fps": 10.0, "stage_ms": {"mesh": 9.0}, "frames": 10, "dropped_frames": 1,
        "dropped_records": 2, "rss_mb": 100.0, "temperature_c": 55.0, "throttled": "0x50005",
        "fps_limit": 5.0, "dropped_faces": 3, "disk_free_mb": 512.0,
    },
    "camera_lost": {"reason": "unplugged"},
    "camera_restored": {"outage_s": 3.5},
    "service_stopped": {"reason": "SIGTERM", "frames": 10, "tracks": 1, "records": 7},
}  # fmt: skip
"""One record of every kind with all of its fields."""


def example(kind: str) -> dict:
    return {"kind": kind, **HEADER, **KINDS[kind]}


def is_refused(record: object) -> bool:
    """Tell whether schema and decoder refuse a line; they must agree."""
    try:
        decode_record(json.dumps(record).encode())
    except msgspec.MsgspecError:
        assert not SCHEMA.is_valid(record), record
        return True
    assert SCHEMA.is_valid(record), record
    return False


def test_the_published_schema_is_the_one_of_the_code():
    """`make schema` was run after the last change."""
    assert json.loads(json.dumps(json_schema())) == PUBLISHED


def test_the_examples_are_complete():
    """Every kind is here, with every field that its class has."""
    classes = {kind.__struct_config__.tag: kind for kind in get_args(LogRecord)}
    assert classes.keys() == KINDS.keys()
    for kind, fields in KINDS.items():
        named = {field.name for field in msgspec.structs.fields(classes[kind])}
        assert named == HEADER.keys() | fields.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_validates_and_decodes_to_itself(kind):
    """What the code writes is what the schema describes, hostile names included."""
    record = example(kind)
    SCHEMA.validate(record)
    assert json.loads(encode_record(decode_record(json.dumps(record).encode()))) == record


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_text_stays_one_row_of_the_table(kind):
    """Whatever a string of any kind holds, `logs tail` prints one line of printable characters."""

    def poisoned(value: object) -> object:
        if isinstance(value, str):
            return HEADER["device"] + value
        if isinstance(value, dict):
            return {f"{HEADER['device']}{key}": poisoned(item) for key, item in value.items()}
        return value

    kept = ("kind", "schema", "quality", "event", "phase", "head_pose", "eyes", "blendshapes")
    record = {
        name: value if name in kept else poisoned(value) for name, value in example(kind).items()
    }
    decode_record(json.dumps(record).encode())
    row = line_for_people(json.dumps(record).encode())
    assert row.isprintable()
    assert len(row) < 400
    assert line_for_people(b"\x1b[2J\n\x00" + json.dumps(record).encode()).isprintable()


@pytest.mark.parametrize("kind", KINDS)
def test_schema_and_decoder_refuse_the_same(kind):
    """A field that is missing or of another kind: both know it, and neither is laxer."""
    record = example(kind)
    wrong = [True, {"x": 1}] if kind != "emotion" else [True, [1]]
    refused = 0
    for name in record:
        for value in wrong:
            refused += is_refused({**record, name: value})
        is_refused({key: value for key, value in record.items() if key != name})
    assert refused >= len(HEADER)
    assert is_refused({**record, "kind": "other"})
    assert is_refused({**record, "schema": 2})
