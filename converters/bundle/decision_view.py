"""A bundle's decision in words."""

from edge.contract.metadata import Metadata


def decision_lines(metadata: Metadata) -> list[tuple[str, str]]:
    """Return tau, prior, temperature and calibration, with what they were fitted on."""
    decision = metadata.decision
    fitted = f", fitted on {decision.temperature_from}" if decision.temperature_from else ""
    return [
        ("tau", f"{decision.tau:g}"),
        ("prior", _prior(metadata)),
        ("temperature", f"{decision.temperature:g}{fitted}"),
        *_calibration(metadata),
    ]


def _calibration(metadata: Metadata) -> list[tuple[str, str]]:
    calibration = metadata.decision.calibration
    if calibration is None:
        return []
    gain = "not judged on people held out"
    if calibration.gain is not None and calibration.gain_interval is not None:
        low, high = (100 * bound for bound in calibration.gain_interval)
        gain = f"{100 * calibration.gain:+.1f} points ({low:+.1f} to {high:+.1f}, 95 %)"
    if calibration.general_loss is not None:
        gain += f"; general faces {-100 * calibration.general_loss:+.1f} points"
    counts = zip(metadata.labels, calibration.counts, strict=True)
    forced = ", written with --force" if calibration.forced else ""
    return [
        ("calibrated", f"{calibration.summary()}{forced}"),
        ("its pictures", ", ".join(f"{label} {count}" for label, count in counts if count)),
        ("its gain", gain),
    ]


def _prior(metadata: Metadata) -> str:
    decision = metadata.decision
    if not decision.prior:
        return "not known"
    pairs = zip(metadata.labels, decision.prior, strict=True)
    return f"{', '.join(f'{label} {share:.3f}' for label, share in pairs)}: {decision.prior_from}"
