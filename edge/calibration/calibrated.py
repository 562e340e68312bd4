"""The calibration of a bundle as a whole: pictures in; a bundle out, or a reason and no bundle."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from edge import __version__
from edge.calibration.choose import calibrate
from edge.calibration.judge import Contradiction, Judgement, contradiction, judge
from edge.calibration.pictures import Pictures
from edge.calibration.samples import Labelled
from edge.contract.bundle import METADATA, MODEL_CARD, Bundle, read_file, write_bundle
from edge.contract.decision import Calibration, Intent
from edge.contract.metadata import encode_metadata, schema_version_for
from edge.contract.rehearsal import read_rehearsal
from edge.errors import CalibrationError


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What calibrating on pictures gives.

    Attributes:
        calibration: fitted to all of them.
        judgement: on people held out; None where there is one person only.
        general: the bundle's rehearsal set before; None where it carries none.
        general_after: the same after, for ``general`` each sample under a fit without it.
        labels: in the order of the scores.
    """

    calibration: Calibration
    judgement: Judgement | None
    general: Labelled | None
    general_after: Labelled | None
    labels: tuple[str, ...]


def check_pictures(pictures: Pictures, labels: tuple[str, ...]) -> Contradiction:
    """Refuse pictures of one label, and compare the others' labels with the model's surest answers.

    Raises:
        CalibrationError: one label only.
    """
    present = np.flatnonzero(pictures.samples.counts)
    if len(present) < 2:
        raise CalibrationError(
            f"all {len(pictures.samples)} pictures are {labels[present[0]]}; a calibration needs "
            "pictures of two labels or more"
        )
    return contradiction(pictures.samples, labels)


def calibrated(bundle: Bundle, pictures: Pictures, data: str, intent: Intent) -> Outcome:
    """Fit a calibration and judge it.

    Args:
        bundle: what is calibrated, from its packaged decision on.
        pictures: of two labels or more.
        data: what they are called.
        intent: whom it is for.

    Raises:
        CalibrationError: for general faces, and the bundle carries no rehearsal set.
        BundleError: its rehearsal set is damaged.
    """
    rehearsal = read_rehearsal(bundle)
    if rehearsal is None and intent == "general":
        raise CalibrationError(
            f"{bundle.path}: carries no rehearsal set, which a calibration for general faces needs "
            "so that it does not forget them; convert the model again, or calibrate --for site"
        )
    decision = bundle.metadata.decision
    general = None if rehearsal is None else Labelled.general(rehearsal, decision)
    found = calibrate(pictures.samples, intent, general)
    judgement = judge(pictures.samples, intent, general)
    after = found.general
    if after is None and general is not None:
        after = general.calibrated(found.calibration)
    calibration = msgspec.structs.replace(
        found.calibration,
        data=data,
        fingerprint=pictures.fingerprint,
        gain=None if judgement is None else round(judgement.gain, 6),
        gain_interval=None if judgement is None else judgement.interval,
        general_loss=(
            None if general is None or after is None else general.accuracy - after.accuracy
        ),
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    return Outcome(calibration, judgement, general, after, bundle.metadata.labels)


def refusal(outcome: Outcome, *, names_people: bool) -> str | None:
    """Say why a calibration is not to be written; None where it is."""
    judgement = outcome.judgement
    if judgement is None:
        who = "are of one person" if names_people else "do not say who is in them"
        why = f"the pictures {who}, and nobody can be held out"
        if outcome.calibration.people > 1:
            why = "without one of the people, pictures of one label only are left"
        return (
            f"the gain cannot be judged: {why}; take pictures of others too, with --subject, or "
            "write it all the same with --force"
        )
    if judgement.is_gain:
        return None
    low, high = judgement.interval
    return (
        f"no gain on people held out: accuracy changes by {judgement.gain * 100:+.1f} points "
        f"({low * 100:+.1f} to {high * 100:+.1f}, 95 %); take more pictures, of more people, or "
        "write it all the same with --force"
    )


def write_calibrated(bundle: Bundle, calibration: Calibration, out: Path) -> Bundle:
    """Write a bundle that differs in its decision only.

    Raises:
        BundleError: the bundle has changed on the disk, or ``out`` cannot be written.
    """
    metadata = bundle.metadata
    decision = msgspec.structs.replace(metadata.decision, calibration=calibration)
    metadata = msgspec.structs.replace(
        metadata,
        schema_version=schema_version_for(
            metadata.mesh_input,
            metadata.quantization,
            forced=metadata.forced,
            output_kind=metadata.output_kind,
            decision=decision,
        ),
        decision=decision,
    )
    files = {name: read_file(bundle, name) for name in bundle.sha256}
    files[METADATA] = encode_metadata(metadata)
    card = files[MODEL_CARD].partition(_HEADING.encode())[0].rstrip()
    files[MODEL_CARD] = card + b"\n\n" + _card(calibration, metadata.labels).encode()
    return write_bundle(out, files)


_HEADING = "## Calibrated on pictures of one's own"


def _card(calibration: Calibration, labels: tuple[str, ...]) -> str:
    """Return the model card's part about a calibration."""
    counts = zip(labels, calibration.counts, strict=True)
    told = ", ".join(f"{label} {count}" for label, count in counts if count)
    judged = "It was not judged on people held out."
    if calibration.gain is not None and calibration.gain_interval is not None:
        low, high = (100 * bound for bound in calibration.gain_interval)
        judged = (
            f"On people held out, accuracy changed by {100 * calibration.gain:+.1f} points "
            f"(95 %: {low:+.1f} to {high:+.1f})."
        )
    general = "What it costs on general faces is not known."
    if calibration.general_loss is not None:
        general = (
            f"On the bundle's general samples, accuracy changed by "
            f"{-100 * calibration.general_loss:+.1f} points."
        )
    forced = "\n**It was written with `--force`.**\n" if calibration.forced else ""
    return f"""\
{_HEADING}
{forced}
`edgeemo calibrate` {__version__}, {calibration.created_at}: {calibration.summary()}.
Pictures: {told}. {judged}
{general} All figures above are those before it: the network, its golden vectors
and its parity are as they were.
"""
