"""A bundle's decision in words."""

from edge.contract.metadata import Metadata


def decision_lines(metadata: Metadata) -> list[tuple[str, str]]:
    """Return tau, prior and temperature as names and values, with what they were fitted on."""
    decision = metadata.decision
    fitted = f", fitted on {decision.temperature_from}" if decision.temperature_from else ""
    return [
        ("tau", f"{decision.tau:g}"),
        ("prior", _prior(metadata)),
        ("temperature", f"{decision.temperature:g}{fitted}"),
    ]


def _prior(metadata: Metadata) -> str:
    decision = metadata.decision
    if not decision.prior:
        return "not known"
    pairs = zip(metadata.labels, decision.prior, strict=True)
    return f"{', '.join(f'{label} {share:.3f}' for label, share in pairs)}: {decision.prior_from}"
