"""Bundles that someone made to do harm, with hashes that hold: one line each, and exit code 1.

EDGEEMO_FUZZ multiplies the number of examples; `make soak` sets it.
"""

import json
import math
import os
import random
import struct
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.config import Config, ModelConfig
from edge.contract.bundle import GOLDEN, METADATA, MODEL, PARITY, SUMS, open_bundle
from edge.contract.decision import Decision
from edge.contract.logrecord import decode_record
from edge.doctor import software
from edge.errors import ConfigError, InferenceError
from edge.inference import crash_guard
from edge.inference.crash_guard import MEMORY, check_loads
from edge.inference.emotion_model import EmotionModel
from edge.inference.golden import (
    MIN_PROBES,
    GoldenVectors,
    Probes,
    compare_golden,
    difference,
    encode_golden,
)
from edge.inference.interpreter import TfliteModel
from edgeemo.cli.main import main

pytestmark = pytest.mark.slow

DATA = Path(__file__).parents[1] / "data"
COMPUTED_SIZE = DATA / "computed_size.tflite"
"""Fills an array as large as the picture is bright: nothing on zeros, 4 GB on a face."""
NOT_A_NUMBER = DATA / "not_a_number.tflite"
"""Float, and its eight probabilities are no numbers."""

TIMES = int(os.environ.get("EDGEEMO_FUZZ", "1"))

KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
ASLEEP = "import time; time.sleep(60)"
TALKATIVE = "import sys; sys.exit('first line\\nlast line')"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    """A cache of this test's own, so that no model is known."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "edgeemo" / "loaded"


def outcome(capfd: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    """Run a command as the shell would; return its exit code and what it says on stderr."""
    capfd.readouterr()
    code: Any = 0
    try:
        main([str(word) for word in words])
    except SystemExit as stop:
        code = stop.code
    return code or 0, capfd.readouterr().err


def assert_told(code: int, told: str) -> None:
    """One line of ours, or nothing at all where the damage does no harm."""
    assert code in (0, 1)
    if code:
        assert told.startswith("edgeemo: error: ")
        assert told.count("\n") == 1
        assert "unexpected" not in told
        assert "Traceback" not in told
        assert told[:-1].isprintable()
    else:
        assert told == ""


def fuzzed(examples: int) -> settings:
    suppressed = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples * TIMES, suppress_health_check=suppressed)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(("\x1b[2J", "\u202e", "int8", "x" * 2000, -(1 << 63), 1 << 64, 1e308)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


def replaced(tree: Any, rng: random.Random, value: Any) -> None:
    """Put a value somewhere into a tree of dictionaries and lists."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = rng.choice(keys)
    if isinstance(tree[key], dict | list) and tree[key] and rng.random() < 0.7:
        replaced(tree[key], rng, value)
    elif rng.random() < 0.1:
        del tree[key]
    else:
        tree[key] = value


@fuzzed(40)
@given(seed=st.integers(0, 1 << 32), value=JSON)
def test_metadata_that_say_anything_are_told_or_true(bundle_path, alter_bundle, capfd, seed, value):
    """Any value anywhere in metadata.json: `inspect` answers in a line, or shows the bundle."""
    whole = (bundle_path / METADATA).read_bytes()
    metadata = json.loads(whole)
    replaced(metadata, random.Random(seed), value)
    try:
        alter_bundle(**{METADATA: json.dumps(metadata).encode("utf-8", "surrogatepass")})
        assert_told(*outcome(capfd, "inspect", bundle_path))
    finally:
        alter_bundle(**{METADATA: whole})


@fuzzed(15)
@given(content=st.binary(max_size=200))
def test_metadata_that_are_no_json_are_told(bundle_path, alter_bundle, capfd, content):
    """Any bytes in place of metadata.json: one line."""
    whole = (bundle_path / METADATA).read_bytes()
    try:
        alter_bundle(**{METADATA: content})
        code, told = outcome(capfd, "inspect", bundle_path)
        assert code == 1
        assert_told(code, told)
    finally:
        alter_bundle(**{METADATA: whole})


@fuzzed(40)
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 3))
def test_a_damaged_model_is_told_or_harmless(bundle_path, alter_bundle, capfd, seed, changes):
    """Bytes changed anywhere, or the rest cut off: `inspect` answers, and this process lives."""
    whole = (bundle_path / MODEL).read_bytes()
    rng, content = random.Random(seed), bytearray(whole)
    for _ in range(changes):
        # The ends of the file are what it says about itself, the middle is weights.
        place = rng.choice((rng.randrange(40_000), len(whole) - 4 - rng.randrange(40_000)))
        wild = (0, 1, 0x7FFFFFFF, 0xFFFFFFFF, rng.randrange(1 << 20))
        struct.pack_into("<I", content, place, rng.choice(wild))
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    try:
        alter_bundle(**{MODEL: bytes(content)})
        assert_told(*outcome(capfd, "inspect", bundle_path))
    finally:
        alter_bundle(**{MODEL: whole})


@pytest.mark.parametrize("name", [METADATA, PARITY])
def test_json_deeper_than_any_reader_goes_is_told(bundle_path, alter_bundle, capfd, name):
    """A hundred thousand brackets are no way to stop the reader of a bundle."""
    alter_bundle(**{name: b"[" * 100_000})
    code, told = outcome(capfd, "inspect", bundle_path)
    assert code == 1
    assert_told(code, told)


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"TFL3" * 100, b"\x10\0\0\0TFL3"])
@pytest.mark.parametrize(
    "command", [("inspect",), ("run", "--source", "demo", "--max-frames", "1", "--model")]
)
def test_a_model_that_is_none_is_told_by_every_command(
    bundle_path, alter_bundle, capfd, tmp_path, command, content
):
    """Whoever opens the bundle says the same: which file, and what to do."""
    path = alter_bundle(**{MODEL: content})
    code, told = outcome(
        capfd, *command, path, *(("--log-dir", tmp_path / "log") if "run" in command else ())
    )
    assert code == 1
    assert_told(code, told)
    assert f"{MODEL}: not a TFLite file" in told
    assert "convert the model again" in told


@pytest.mark.parametrize("name", [MODEL, METADATA, GOLDEN, SUMS])
def test_a_pipe_in_place_of_a_file_is_told_at_once(bundle_path, capfd, name):
    """Nobody waits for a writer who never comes."""
    (bundle_path / name).unlink()
    os.mkfifo(bundle_path / name)
    code, told = outcome(capfd, "inspect", bundle_path)
    assert code == 1
    assert f"{name}: not a file of a bundle; expected a regular one" in told


def test_a_name_that_a_terminal_would_obey_is_refused(bundle_path, alter_bundle, capfd):
    """Control characters in metadata never reach the screen."""
    metadata = json.loads((bundle_path / METADATA).read_bytes())
    path = alter_bundle(**{METADATA: json.dumps({**metadata, "name": "\x1b[2J"}).encode()})
    code, told = outcome(capfd, "inspect", path)
    assert code == 1
    assert_told(code, told)
    assert "name" in told


def test_a_model_is_tried_once_and_remembered(bundle_path, cache, monkeypatch):
    """A child loads what this machine has not seen; its hash and the runtime spare the next."""
    content = (bundle_path / MODEL).read_bytes()
    check_loads(content, "m")
    (mark,) = cache.iterdir()
    assert mark.stat().st_size == 0
    monkeypatch.setattr(crash_guard, "CHILD_PROGRAM", KILLED)
    check_loads(content, "m")
    mark.unlink()
    with pytest.raises(InferenceError, match="crashes"):
        check_loads(content, "m")
    assert not list(cache.iterdir())


@pytest.mark.parametrize(
    ("child", "message"),
    [
        (KILLED, r"^m: crashes the TFLite runtime \(signal 11\); copy the file again"),
        (ASLEEP, r"^m: the TFLite runtime had not run it once after 1 s"),
        (TALKATIVE, "^last line$"),
        ("raise SystemExit(3)", "^m: cannot be loaded"),
    ],
)
def test_a_child_that_does_not_come_back_well_is_one_line(
    bundle_path, monkeypatch, cache, child, message
):
    """What kills or stops the runtime kills or stops the child alone."""
    monkeypatch.setattr(crash_guard, "CHILD_PROGRAM", child)
    monkeypatch.setattr(crash_guard, "TIMEOUT_S", 1 if child == ASLEEP else 40)
    with pytest.raises(InferenceError, match=message):
        check_loads((bundle_path / MODEL).read_bytes(), "m")
    assert not cache.exists()


def test_a_cache_that_can_not_be_written_costs_time_only(bundle_path, tmp_path, monkeypatch):
    """A service without a cache tries its model at each start."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    check_loads((bundle_path / MODEL).read_bytes(), "m")
    monkeypatch.setattr(crash_guard, "CHILD_PROGRAM", KILLED)
    with pytest.raises(InferenceError, match="crashes"):
        check_loads((bundle_path / MODEL).read_bytes(), "m")


def test_a_services_own_cache_is_used(bundle_path, tmp_path, monkeypatch):
    """What systemd gives as CacheDirectory= keeps the mark."""
    monkeypatch.setenv("CACHE_DIRECTORY", str(tmp_path / "service"))
    check_loads((bundle_path / MODEL).read_bytes(), "m")
    assert len(list((tmp_path / "service" / "loaded").iterdir())) == 1


def test_a_size_computed_from_the_picture_is_refused(cache):
    """What a model takes can be known before it sees a face only where the face decides nothing."""
    with pytest.raises(InferenceError, match="FILL: its size depends on the picture") as caught:
        check_loads(COMPUTED_SIZE.read_bytes(), "m")
    assert "\n" not in str(caught.value)
    assert not cache.exists()


def test_the_child_runs_on_faces_with_bounded_memory(cache, monkeypatch):
    """What the look through the file did not see, a face in the child does: 4 GB are not had."""
    monkeypatch.setattr("edge.inference.tflite.verify.check_tflite", len)
    with pytest.raises(InferenceError, match="FILL"):
        check_loads(COMPUTED_SIZE.read_bytes(), "m")
    assert not cache.exists()


def test_the_memory_of_a_model_can_be_set(bundle_path, monkeypatch):
    """Too little for Python itself ends the child; nonsense is a usage error with its name."""
    content = (bundle_path / MODEL).read_bytes()
    monkeypatch.setenv(MEMORY, "1")
    with pytest.raises(InferenceError, match=rf"1 MB that a model may take.* raise {MEMORY}"):
        check_loads(content, "m")
    for wrong in ("0", "-1", "much", "9999999", "1e3"):
        monkeypatch.setenv(MEMORY, wrong)
        with pytest.raises(ConfigError, match=f"{MEMORY}="):
            check_loads(content, "m")


def test_a_child_that_the_kernel_ends_wanted_too_much_memory(bundle_path, monkeypatch):
    """Under a limit of the whole service it is the child that goes, and the reason is told."""
    killed = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    monkeypatch.setattr(crash_guard, "CHILD_PROGRAM", killed)
    with pytest.raises(InferenceError, match="takes more memory than the 1,000 MB"):
        check_loads((bundle_path / MODEL).read_bytes(), "m")


@pytest.fixture
def numberless(bundle_path, alter_bundle) -> Path:
    """A bundle whose model and whose golden outputs are no numbers, and agree in that."""
    model = TfliteModel(NOT_A_NUMBER)
    metadata = json.loads((bundle_path / METADATA).read_bytes())
    tensors = {"input": model.inputs[0], "output": model.outputs[0]}
    metadata |= {name: msgspec.to_builtins(spec) for name, spec in tensors.items()}
    metadata["quantization"] = "float32"
    crops = np.zeros((MIN_PROBES, 48, 48), np.uint8)
    golden = GoldenVectors(Probes(crops), np.full((MIN_PROBES, 8), np.nan, np.float32))
    return alter_bundle(
        **{
            MODEL: NOT_A_NUMBER.read_bytes(),
            METADATA: json.dumps(metadata).encode(),
            GOLDEN: encode_golden(golden),
        }
    )


def test_golden_outputs_that_are_no_numbers_never_agree(numberless, capfd):
    """`inspect`, `doctor` and what a preflight asks: failed, not equal."""
    result = compare_golden(open_bundle(numberless))
    assert (result.steps, result.same_answers, result.probes) == (math.inf, 0, MIN_PROBES)
    code, told = outcome(capfd, "inspect", numberless)
    assert code == 1
    assert_told(code, told)
    assert "golden outputs are not numbers" in told
    check = software.model(Config(model=ModelConfig(bundle=str(numberless))))
    assert (check.status, check.remedy[:7]) == ("failure", "convert")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_one_number_that_is_none_fails_the_comparison(value, which):
    """On either side, in one of all the outputs."""
    sides = [np.full((4, 8), 0.125, np.float32), np.full((4, 8), 0.125, np.float32)]
    assert not_exact(sides) == 0
    sides[which][3, 7] = value
    assert not_exact(sides) == math.inf


def not_exact(sides: list[Any]) -> float:
    model = EmotionModel(TfliteModel(NOT_A_NUMBER))
    return difference(model, Decision(), *sides).steps


def test_a_run_on_a_model_without_numbers_goes_on(numberless, tmp_path, capfd):
    """No emotion is told, no line is one that our own reader refuses, and the end says how many."""
    log = tmp_path / "log"
    words = ("run", "--source", "demo", "--model", numberless, "--max-frames", 9, "--log-dir", log)
    capfd.readouterr()
    main([str(word) for word in words])
    assert "dropped faces" in capfd.readouterr().out
    records = [decode_record(line) for line in (log / "edgeemo.jsonl").read_bytes().splitlines()]
    assert [type(record).__name__ for record in records] == ["ServiceStarted", "ServiceStopped"]
