"""A bundle as `edgeemo calibrate` writes one, without its pictures."""

from pathlib import Path

from edge.calibration.calibrated import write_calibrated
from edge.contract.bundle import Bundle, open_bundle
from edge.contract.decision import Calibration

DEFAULT = Path("edge/models/default")


def calibrated_bundle(out: Path) -> Bundle:
    """Write the packaged bundle with happiness and surprise weighed anew; return it."""
    packaged = open_bundle(DEFAULT.resolve())
    k = len(packaged.metadata.labels)
    fitted = tuple(label in ("happiness", "surprise") for label in packaged.metadata.labels)
    calibration = Calibration(
        intent="site",
        form="bias",
        fitted=fitted,
        weights=tuple(tuple(float(i == j) for j in range(k)) for i in range(k)),
        biases=tuple(0.5 if is_in else 0.0 for is_in in fitted),
        data="mine",
        fingerprint="ab" * 32,
        samples=40,
        people=4,
        counts=tuple(20 if is_in else 0 for is_in in fitted),
        gain=0.05,
        gain_interval=(0.01, 0.09),
        created_at="2026-11-30T12:00:00Z",
    )
    return write_calibrated(packaged, calibration, out)
