"""Half precision: asked for in the models' metadata, where the processor has it."""

import msgspec
import numpy as np
import pytest

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.inference.crash_guard import PACKAGED
from edge.inference.interpreter import TfliteModel
from edge.inference.tflite.flatbuffer import read
from edge.inference.tflite.reduced_precision import with_half_precision
from edge.stages.mesh.litert.mesher import is_in_half_precision
from edge.stages.mesh.litert.taskfile import read_task
from edge.system import machine

pytestmark = pytest.mark.slow

SCHEMA = {
    "Model": {
        "version": "<i4",
        "operator_codes": "[Nothing]",
        "subgraphs": "[Nothing]",
        "description": "string",
        "buffers": "[Buffer]",
        "metadata_buffer": "[<i4]",
        "metadata": "[Metadata]",
    },
    "Buffer": {"data": "[<u1]"},
    "Metadata": {"name": "string", "buffer": "<u4"},
    "Nothing": {},
}


def _models() -> dict[str, bytes]:
    task = msgspec.structs.asdict(read_task(asset_path(FACE_LANDMARKER)))
    task.pop("geometry")
    return task | {"emotions": (PACKAGED / "model.tflite").read_bytes()}


MODELS = _models()


@pytest.mark.parametrize("name", MODELS)
def test_the_entry_is_added_and_nothing_else_changes(name):
    """A reader that checks every offset finds the old model, one buffer and one entry more."""
    before = read(MODELS[name], "Model", SCHEMA)
    after = read(with_half_precision(MODELS[name]), "Model", SCHEMA)
    entries, buffers = after.pop("metadata"), after.pop("buffers")
    *old_entries, entry = entries
    *old_buffers, buffer = buffers
    assert entry["name"] == b"reduced_precision_support"
    assert entry["buffer"] == len(old_buffers)
    assert buffer["data"].tobytes() == b"fp16accfp16"
    assert old_entries == before.pop("metadata", [])
    kept = [one.get("data", np.empty(0)).tobytes() for one in old_buffers]
    assert kept == [one.get("data", np.empty(0)).tobytes() for one in before.pop("buffers")]
    assert str(after) == str(before)


@pytest.mark.parametrize("name", MODELS)
def test_it_is_still_the_same_network(name):
    """Here, where nothing computes in half precision, it gives the same to the last bit."""
    one, other = TfliteModel(MODELS[name]), TfliteModel(with_half_precision(MODELS[name]))
    assert (one.inputs, one.outputs) == (other.inputs, other.outputs)
    rng = np.random.default_rng(3)
    values = [(rng.random(spec.shape) * 100).astype(spec.dtype) for spec in one.inputs]
    for expected, got in zip(one.run(*values), other.run(*values), strict=True):
        np.testing.assert_array_equal(got, expected)


PI_4 = "fp asimd evtstrm crc32 cpuid"
PI_5 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc"


@pytest.mark.parametrize(
    ("architecture", "cores", "has_half", "lacks_atomics"),
    [
        ("aarch64", [PI_4] * 4, False, True),
        ("aarch64", [PI_5] * 4, True, False),
        ("aarch64", [PI_5, PI_5, PI_4, PI_4], False, True),
        ("aarch64", [], False, False),
        ("x86_64", [PI_5], False, False),
    ],
    ids=["Pi 4", "Pi 5", "two kinds of cores", "no features told", "not arm64"],
)
def test_which_processors_have_it(
    monkeypatch, tmp_path, architecture, cores, has_half, lacks_atomics
):
    """Every core must: the scheduler moves threads about."""
    lines = [f"processor\t: {i}\nFeatures\t: {features}\n" for i, features in enumerate(cores)]
    (tmp_path / "cpuinfo").write_text("\n".join(lines), "ascii")
    monkeypatch.setattr(machine, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(machine.platform, "machine", lambda: architecture)
    assert machine.computes_in_half_precision() == has_half
    assert machine.lacks_lse_atomics() == lacks_atomics
    assert is_in_half_precision(MesherConfig(precision="auto")) == has_half
    assert not is_in_half_precision(MesherConfig())
