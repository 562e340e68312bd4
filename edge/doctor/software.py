"""edgeemo's own parts: Python, the TFLite runtime, the models."""

import math
import platform
import subprocess
import sys
from importlib import metadata

import msgspec

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import Config
from edge.doctor.report import Check
from edge.inference.golden import check_golden
from edge.inference.interpreter import runtime_name
from edge.runtime.build import decision_of, open_model, resolve_mesher
from edge.system import machine

_CHILD_TIMEOUT_S = 60
_MESHER_PROBE = """
import sys
import msgspec
from edge.runtime.build import open_mesher
from edge.config import MesherConfig
from edge.doctor.meshing import meshing
from edge.errors import EdgeEmoError
config = msgspec.json.decode(sys.argv[1], type=MesherConfig)
try:
    open_mesher(config).close()
    print("" if config.kind == "mediapipe" else meshing(config))
except EdgeEmoError as error:
    sys.exit(str(error))
"""
"""Loads the mesher, and says how it runs."""

_ROUNDING_STEPS = 2
"""What kernels of different processors may differ by; arm64 was seen to differ by 1."""


def python() -> Check:
    """Tell which Python runs, and refuse a 32-bit one, also on a 64-bit kernel."""
    detail = f"{platform.python_version()} on {platform.machine()}"
    if not machine.is_64_bit():
        return Check(
            "python",
            "failure",
            f"{detail}, 32-bit",
            "install the 64-bit Raspberry Pi OS: no TFLite runtime has 32-bit wheels",
        )
    return Check("python", "ok", detail)


def runtime() -> Check:
    """Tell which TFLite runtime can be imported."""
    return Check("TFLite runtime", "ok", runtime_name())


def model(config: Config) -> Check:
    """Verify the bundle's hashes and run its golden inputs."""
    bundle = open_model(config.model)
    decision_of(bundle, config.model)
    steps = check_golden(bundle, num_threads=config.model.threads)
    detail = f"{bundle.metadata.name}, {len(bundle.model):,} bytes, hashes hold"
    if calibration := bundle.metadata.decision.calibration:
        detail += f", calibrated {calibration.summary()}"
    if not math.isfinite(steps):
        return Check(
            "model",
            "failure",
            f"{detail}, golden outputs are not numbers",
            "convert the model again, with --int8 or without --fp16",
        )
    if steps > _ROUNDING_STEPS:
        return Check(
            "model",
            "warning",
            f"{detail}, golden outputs differ by up to {steps:g} output steps",
            "compare the TFLite runtime's version with the one in parity.json",
        )
    if bundle.metadata.forced:
        return Check(
            "model",
            "warning",
            f"{detail}, lost more accuracy in its conversion than its gate allows",
            "MODEL_CARD.md says how much; convert again without --force",
        )
    exactness = f"within {steps:g} of 256 steps" if steps else "equal"
    return Check("model", "ok", f"{detail}, golden outputs {exactness}")


def mesher(config: Config) -> Check:
    """Load the mesher in a process of its own."""
    kind = resolve_mesher(config.mesher.kind)
    # In a child process: a native library that does not suit the processor kills its process.
    child = subprocess.run(
        [sys.executable, "-c", _MESHER_PROBE, msgspec.json.encode(config.mesher).decode()],
        capture_output=True,
        text=True,
        timeout=_CHILD_TIMEOUT_S,
        check=False,
    )
    if child.returncode != 0:
        last = (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]
        remedy = "" if child.returncode > 0 else f"{kind}'s wheel does not suit this processor"
        return Check("mesher", "failure", f"{kind}: {last}", remedy)
    detail = metadata.version(kind) if kind == "mediapipe" else child.stdout.strip()
    return Check("mesher", "ok", f"{kind}, {detail}")


def face_model() -> Check:
    """Tell where the verified face model is."""
    return Check("face model file", "ok", str(asset_path(FACE_LANDMARKER)))
