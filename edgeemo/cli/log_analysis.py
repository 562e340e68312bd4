"""`edgeemo logs ...` on a workstation: query, export, report and collect many devices' logs."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from edge.errors import ConfigError
from edgeemo.cli import study as studies
from edgeemo.cli.fleet import (
    AcceptNew,
    Batch,
    Groups,
    Inventory,
    SshConfig,
    Targets,
    run_on,
    targets_of,
)
from edgeemo.cli.logs import DEFAULT_ROOT, Root
from edgeemo.cli.options import JsonFile, show
from edgeemo.cli.places import in_a_folder

if TYPE_CHECKING:
    from edgeemo.analysis.database import Logs
    from edgeemo.analysis.studies.export import Study

Since = Annotated[
    str | None,
    typer.Option(
        help="From this time: 2026-01-31, 2026-01-31T12:00 (UTC), or 30s, 90min, 24h, 7d, 2w ago."
    ),
]
Until = Annotated[str | None, typer.Option(help="Until this time, in the same forms.")]
Devices = Annotated[
    list[str] | None, typer.Option("--device", help="Only this device; may be given again.")
]
Sessions = Annotated[
    list[str] | None, typer.Option("--session", help="Only this session; may be given again.")
]
Labels = Annotated[
    list[str] | None, typer.Option("--label", help="Only this emotion; may be given again.")
]
MinConfidence = Annotated[
    float, typer.Option(min=0, max=1, help="Only emotions with at least this confidence.")
]
By = Literal["total", "hour", "weekday", "track", "segment", "session", "device", "file", "quality"]


def register(logs: typer.Typer) -> None:
    """Add the commands to the group."""
    from edgeemo.cli.log_store import fleet, sessions, store

    for command in (
        summary, export, report, collect, store, sessions, fleet, studies.agree,
    ):  # fmt: skip
        logs.command()(command)


def summary(
    root: Root = DEFAULT_ROOT,
    since: Since = None,
    until: Until = None,
    by: Annotated[
        By,
        typer.Option(
            help="What a line of the table is; segment: what markers cut out; file: a picture or "
            "film."
        ),
    ] = "total",
    rows: Annotated[int, typer.Option(min=1, help="Maximum number of lines to show.")] = 50,
    device: Devices = None,
    session: Sessions = None,
    label: Labels = None,
    min_confidence: MinConfidence = 0.0,
    json_file: JsonFile = None,
) -> None:
    """Show times, tracks, emotions, speed and losses."""
    from edgeemo.analysis.summary import summarise
    from edgeemo.analysis.summary_table import remarks, summary_table, total_lines

    chosen = (device, session, label, min_confidence)
    with logs_of(root, since, until, *chosen) as logs:
        summaries = summarise(logs, by)
    if by == "total":
        print("\n".join(total_lines(summaries)))
    else:
        show(summary_table(summaries, by, rows))
    for remark in remarks(summaries, rows):
        print(remark)
    if json_file is not None:
        write_json(json_file, summaries)


def export(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The file to write.", callback=in_a_folder)
    ],
    root: Root = DEFAULT_ROOT,
    form: Annotated[
        Literal["csv", "parquet", "json"] | None,
        typer.Option("--format", help="By default from the suffix of --out; json is JSON Lines."),
    ] = None,
    kind: Annotated[
        Literal[
            "emotion", "event", "marker", "track_ended", "health", "service_started",
            "service_stopped",
        ],
        typer.Option(help="Which records."),
    ] = "emotion",
    study: Annotated[
        Literal["long", "wide", "elan", "bids"] | None,
        typer.Option(
            "--as",
            help="Instead of records: figures of each face in each segment (long, wide: CSV or "
            "TSV), ELAN tiers, or BIDS events.",
        ),
    ] = None,
    session: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this session; may be given again. With --as: one, by the beginning of its "
            "id."
        ),
    ] = None,
    since: Since = None,
    until: Until = None,
    device: Devices = None,
    label: Labels = None,
    min_confidence: MinConfidence = 0.0,
) -> None:  # fmt: skip
    """Export records as a table or in formats for studies."""
    if study is not None:
        _export_study(out, root, study, session, since, until)
        return
    from edgeemo.analysis.export import export as write
    from edgeemo.analysis.export import format_of

    form = format_of(out, form)
    chosen = (device, session, label, min_confidence)
    with logs_of(root, since, until, *chosen, own_scores=True) as logs:
        count = write(logs, kind, form, out)
    print(f"{out}: {count:,} records")


def _export_study(
    out: Path,
    root: Path,
    study: "Study",
    sessions: list[str] | None,
    since: str | None,
    until: str | None,
) -> None:
    from edgeemo.analysis.studies.export import check_name, export_study

    check_name(out, study)
    if since is not None or until is not None:
        raise ConfigError(
            "--as takes whole sessions; leave out --since and --until, give --session"
        )
    if len(sessions or ()) > 1:
        raise ConfigError(f"--as takes one session, not {len(sessions or ())}; give --session once")
    with logs_of(root) as logs:
        for path in export_study(logs, study, out, sessions[0] if sessions else None):
            print(path)


def report(
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The HTML file to write.", callback=in_a_folder)
    ],
    root: Root = DEFAULT_ROOT,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write a self-contained HTML report with plots."""
    if out.suffix.lower() not in {".html", ".htm"}:
        raise ConfigError(f"--out {out}: the report is HTML; expected a name that ends in .html")
    from edgeemo.analysis.report import write_report

    with logs_of(root, since, until) as logs:
        write_report(logs, out, str(root))
    print(f"report: {out}")


def collect(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Directory for a folder per device; created if needed."),
    ],
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    log_dir: Annotated[
        str, typer.Option(help="Log directory on the devices.")
    ] = "/var/log/edgeemo",
    batch: Batch = "32",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
    no_store: Annotated[
        bool, typer.Option("--no-store", help="Do not update the Parquet store; see logs store.")
    ] = False,
) -> None:
    """Copy new log records from devices over ssh, verified.

    Run the same command again to resume. New records are then stored as Parquet.
    """
    from deploy.ssh.transport import use_gevent

    use_gevent()
    from deploy.logs.collect import check_log_dir, collecting
    from deploy.logs.collect import collect as collect_one
    from deploy.operations.push import Options
    from edgeemo.cli.log_store import store_collected

    options = Options(ssh_config=ssh_config, accept_new=accept_new)
    chosen, place = targets_of(targets, inventory, group), check_log_dir(log_dir)
    try:
        with collecting(out, chosen):
            run_on(chosen, lambda one: collect_one(one, options, place, out), batch, len(chosen))
    finally:
        if not no_store:
            store_collected(out)


def logs_of(
    root: Path,
    since: str | None = None,
    until: str | None = None,
    devices: list[str] | None = None,
    sessions: list[str] | None = None,
    labels: list[str] | None = None,
    min_confidence: float = 0.0,
    *,
    own_scores: bool = False,
) -> "Logs":
    """Return what is asked for of the logs below a folder, see ``open_logs``."""
    from edgeemo.analysis.database import Choice
    from edgeemo.analysis.store import open_logs
    from edgeemo.analysis.time_range import parse_span

    span = parse_span(since, until, datetime.now(UTC))
    choice = Choice(
        span, tuple(devices or ()), tuple(sessions or ()), tuple(labels or ()), min_confidence
    )
    logs = open_logs(root, choice, own_scores=own_scores)
    if logs.remark:
        print(logs.remark, file=sys.stderr)
    return logs


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON.

    Raises:
        LogError: it cannot be written.
    """
    import msgspec

    from edge.errors import LogError

    try:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    except OSError as error:
        raise LogError(f"{path}: cannot be written ({error.strerror})") from error
