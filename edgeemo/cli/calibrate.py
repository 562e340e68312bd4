"""`edgeemo calibrate`: fit a bundle's decision to labelled pictures of one's own."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.contract.decision import Intent
from edge.errors import CalibrationError, ConfigError
from edgeemo.cli.places import in_a_folder

if TYPE_CHECKING:
    from edge.calibration.calibrated import Outcome
    from edge.calibration.judge import Contradiction
    from edge.calibration.pictures import Pictures
    from edge.calibration.samples import Labelled
    from edge.contract.bundle import Bundle

Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME=LABEL",
        help="Map a class name of your own to a label: joyful=happiness. Repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(calibrate)


def calibrate(
    bundle: Annotated[
        Path, typer.Argument(help="A bundle directory; `default`: the packaged one.")
    ],
    data: Annotated[
        Path,
        typer.Option(help="A folder of `edgeemo capture`, class folders, or a manifest's file."),
    ],
    out: Annotated[Path, typer.Option(help="The bundle directory to write.")],
    intent: Annotated[
        Intent,
        typer.Option(
            "--for",
            help="site: these people and this camera. general: any faces, these among them; the "
            "bundle's general samples are rehearsed so that they are not forgotten.",
        ),
    ] = "site",
    names: Map = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Write the bundle even without a gain; it is marked as forced."
        ),
    ] = False,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the calibration as JSON.", callback=in_a_folder),
    ] = None,
) -> None:
    """Fit a bundle's decision to labelled pictures.

    The network stays as it is. The gain is judged on people held out, and without one nothing is
    written. Runs on a device, too.
    """
    import msgspec
    from rich.console import Console

    from edge.calibration.calibrated import calibrated, check_pictures, refusal, write_calibrated
    from edge.contract.bundle import bundle_path, check_target, open_bundle

    screen = Console()
    check_target(out)
    opened = open_bundle(bundle_path(bundle))
    pictures = _pictures(opened, data, read_map(names), screen)
    labels = opened.metadata.labels
    contradiction = check_pictures(pictures, labels)
    if contradiction.is_refused:
        _refuse(pictures, contradiction, out, labels, data, force=force)
    with screen.status("fitting"):
        outcome = calibrated(opened, pictures, data.resolve().name, intent)
    _show(outcome, screen)
    reason = refusal(outcome, names_people=pictures.names_people)
    if reason is not None and not force:
        raise CalibrationError(reason)
    calibration = msgspec.structs.replace(
        outcome.calibration, forced=reason is not None or contradiction.is_refused
    )
    if reason is not None:
        _report(screen, f"FORCED: {reason}")
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(calibration)) + b"\n")
    write_calibrated(opened, calibration, out)
    people = tuple(map(str, pictures.samples.persons))
    note_made("bundle", out, data, pictures.fingerprint, people)
    _report(screen, f"bundle: {out}")


def note_made(what: str, out: Path, data: Path, fingerprint: str, people: tuple[str, ...]) -> None:
    """Write down beside captured pictures what was made from them, for `capture --forget`."""
    from datetime import UTC, datetime

    from edge.capture.folder import Derived, note_derived

    derived = Derived(
        what=what,
        path=str(out.resolve()),
        fingerprint=fingerprint,
        people=people,
        time=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    note_derived(data if data.is_dir() else data.parent, derived)


def read_map(names: list[str] | None) -> dict[str, str]:
    """Return labels by foreign names, from `NAME=LABEL` each.

    Raises:
        ConfigError: one of them is not of that form, or two say different things.
    """
    from edge.contract.labels import label_of
    from edge.errors import LabelError

    found: dict[str, str] = {}
    for text in names or ():
        name, separator, label = (part.strip() for part in text.partition("="))
        try:
            if not (name and separator):
                raise ConfigError(f"--map {text}: expected NAME=LABEL, such as joyful=happiness")
            label = label_of(label, {label: label})
        except LabelError as error:
            raise ConfigError(f"--map {text}: {error}") from error
        if found.setdefault(name, label) != label:
            raise ConfigError(f"--map {text}: {name} was mapped to {found[name]} before; give one")
    return found


def _pictures(bundle: "Bundle", data: Path, names: dict[str, str], screen: Any) -> "Pictures":
    """Look at all pictures with the device's pipeline."""
    from rich.progress import Progress

    from edge.assets.store import FACE_LANDMARKER, asset_path
    from edge.calibration.pictures import labelled_files, look_at
    from edge.calibration.still import Stills
    from edge.config import Config
    from edge.inference.emotion_model import open_emotion_model
    from edge.runtime.build import compose_pipeline

    files = labelled_files(data, names)
    asset_path(FACE_LANDMARKER)
    model = open_emotion_model(bundle)
    blendshapes = model.mesh_input is not None
    make = partial(compose_pipeline, Config(), blendshapes=blendshapes)
    stills = Stills(make, bundle.metadata.template)
    try:
        with Progress(console=screen, transient=True) as progress:
            task = progress.add_task("looking at pictures", total=len(files))
            found = look_at(files, bundle, model, stills, partial(progress.advance, task))
    finally:
        stills.close()
    people = len(found.samples.persons) if found.names_people else "unnamed"
    _report(
        screen, f"pictures: {len(found.samples):,} of {len(files):,} classified, people: {people}"
    )
    for reason, count in sorted(found.left_out.items()):
        _report(screen, f"left out: {count:,} {reason.replace('_', ' ')}")
    return found


def _refuse(
    pictures: "Pictures",
    found: "Contradiction",
    out: Path,
    labels: tuple[str, ...],
    data: Path,
    *,
    force: bool,
) -> None:
    """Show the pictures whose labels contradict the model; refuse them unless forced."""
    from edge.calibration.sheet import write_sheet

    sheet = out.with_name(f"{out.name}.contradicted.png")
    write_sheet(sheet, pictures, found, labels)
    people = {str(pictures.samples.people[i]) for i in found.contradicted.nonzero()[0]}
    note_made("pictures", sheet, data, pictures.fingerprint, tuple(sorted(people)))
    if force:
        return
    files = [pictures.files[i].path.name for i in found.contradicted.nonzero()[0]]
    more = f" and {len(files) - 3} more" if len(files) > 3 else ""
    raise CalibrationError(
        f"the labels contradict the model where it is hardly ever wrong: of {found.sure} pictures "
        f"that it is sure are happiness or surprise, {len(files)} are labelled otherwise "
        f"({', '.join(files[:3])}{more}); look at them in {sheet}, correct the labels, or --force"
    )


def _show(outcome: "Outcome", screen: Any) -> None:
    """Print what is gained on people held out, and what it costs."""
    calibration, judgement = outcome.calibration, outcome.judgement
    share = calibration.rehearsal_share
    rehearsed = f", rehearsal {share:.0%} of the weight" if share else ""
    _report(screen, f"fit: for {calibration.intent}, {calibration.form}{rehearsed}")
    lacking = [
        name for name, is_in in zip(outcome.labels, calibration.fitted, strict=True) if not is_in
    ]
    if lacking:
        _report(screen, f"not in the pictures, so decided as before: {', '.join(lacking)}")
    table = _figures(outcome, lacking=bool(lacking))
    if table.row_count:
        screen.print(table)
    if judgement is not None:
        low, high = (100 * bound for bound in judgement.interval)
        people = len(judgement.before.persons)
        _report(
            screen,
            f"gain on people held out: {100 * judgement.gain:+.1f} points "
            f"({low:+.1f} to {high:+.1f}, 95 %, {people} people)",
        )
    if outcome.general is None:
        _report(screen, "general faces: not known, the bundle carries no rehearsal set")


def _figures(outcome: "Outcome", *, lacking: bool) -> Any:
    """Return right answers before and after as a table."""
    from rich.table import Table

    table = Table("per cent", "before", "after", title="Right answers", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    if outcome.judgement is not None:
        before, after = outcome.judgement.before, outcome.judgement.after
        table.add_row("people held out", _percent(before.accuracy), _percent(after.accuracy))
        balanced = before.balanced_accuracy, after.balanced_accuracy
        table.add_row("  mean over labels", *map(_percent, balanced))
        if lacking:
            among = before.among_present().accuracy, after.among_present().accuracy
            table.add_row("  among the labels in the pictures", *map(_percent, among))
        _add_recalls(table, before, after, outcome.labels)
    if outcome.general is not None and outcome.general_after is not None:
        general = outcome.general.accuracy, outcome.general_after.accuracy
        table.add_row("general faces (learnt samples)", *map(_percent, general))
    return table


def _add_recalls(
    table: Any, before: "Labelled", after: "Labelled", labels: tuple[str, ...]
) -> None:
    later = after.recall
    for label, recall in before.recall.items():
        table.add_row(f"    {labels[label]}", _percent(recall), _percent(later[label]))


def _percent(value: float) -> str:
    return f"{value * 100:.1f}"


def _report(screen: Any, line: str) -> None:
    screen.print(line, highlight=False, markup=False, soft_wrap=True)
