"""`edgeemo deploy`: bring releases to devices, ask them, go back, remove."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge.errors import ConfigError
from edgeemo.cli.fleet import (
    AcceptNew,
    AskSudo,
    Batch,
    Groups,
    Inventory,
    SshConfig,
    Targets,
    run_on,
    show_line,
    sudo_password,
    targets_of,
)

if TYPE_CHECKING:
    from deploy.operations.push import Options, Outcome
    from deploy.release.archive import Contents
    from deploy.ssh.targets import Target

deploy = typer.Typer(
    help="Deploy edgeemo to devices over ssh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Prefix = Annotated[str, typer.Option(help="Installation directory on the device.")]
Window = Annotated[
    float,
    typer.Option(help="Seconds a new release is watched before it is accepted.", min=0, max=3600),
]
Model = Annotated[Path | None, typer.Option(help="Model bundle; the packaged one by default.")]
DeviceConfig = Annotated[
    Path | None, typer.Option(help="Configuration file to install on the devices.")
]
WithService = Annotated[bool, typer.Option("--service/--no-service", help="Run it under systemd.")]
Units = Annotated[Path | None, typer.Option(help="Folder with edgeemo.service and related units.")]
MaxFail = Annotated[int, typer.Option(help="Stop after more than this many failures.", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(deploy, name="deploy")


@deploy.command()
def push(
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    model: Model = None,
    config: DeviceConfig = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be done.")
    ] = False,
    service: WithService = True,
    units: Units = None,
    prefix: Prefix = "/opt/edgeemo",
    window: Window = 60.0,
    batch: Batch = "100%",
    max_fail: MaxFail = 0,
    canary: Annotated[
        int,
        typer.Option(help="Devices to push to first; their logs decide whether to go on.", min=0),
    ] = 0,
    bake: Annotated[
        float,
        typer.Option(help="Seconds that a canary runs before it is compared.", min=60, max=86400),
    ] = 600.0,
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
    ask_sudo_password: AskSudo = False,
) -> None:
    """Install this version and a model on devices.

    A device watches its new release and rolls back automatically if it is unhealthy.

    Ctrl-C pauses after the current batch. Run the same command again to continue.
    """
    options = _options(
        prefix, ssh_config, accept_new=accept_new, window=window, ask=ask_sudo_password
    )
    from dataclasses import replace

    from deploy.operations.canary import push_canary
    from deploy.operations.push import push as push_one
    from deploy.release.systemd_files import packaged_file

    options = replace(
        options, with_service=service, dry_run=dry_run, constraints=packaged_file("constraints.txt")
    )
    contents = gather_contents(model, config, units, with_service=service)
    chosen = targets_of(targets, inventory, group)
    if canary and not service:
        raise ConfigError(f"--canary {canary} compares what services log; leave out --no-service")

    def work(target: "Target") -> "Outcome":
        return push_one(target, contents, options, lambda line: show_line(f"{target}: {line}"))

    def try_out(target: "Target") -> "Outcome":
        return push_canary(
            target, contents, options, bake, lambda line: show_line(f"{target}: {line}")
        )

    first = [] if dry_run else chosen[:canary]
    if first:
        left = len(chosen) - len(first)
        run_on(first, try_out, "100%", 0, left=f"{left} others were not begun" if left else "")
    if rest := chosen[len(first) :]:
        run_on(rest, work, batch, max_fail)


@deploy.command()
def diff(
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    model: Model = None,
    config: DeviceConfig = None,
    service: WithService = True,
    units: Units = None,
    prefix: Prefix = "/opt/edgeemo",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Show what a push would change, and drift on the devices.

    Exit code 1 where a device cannot be asked. Devices with the same answer are shown together.
    """
    options = _options(prefix, ssh_config, accept_new=accept_new)
    from dataclasses import replace

    from deploy.operations.compare import difference
    from deploy.operations.push import Outcome
    from deploy.release.systemd_files import packaged_file

    options = replace(options, with_service=service, constraints=packaged_file("constraints.txt"))
    contents = gather_contents(model, config, units, with_service=service)
    found: dict[tuple[str, ...], list[str]] = {}

    def work(target: "Target") -> "Outcome":
        answer = difference(target, contents, options)
        altered = () if answer.drift is None else answer.drift.lines()
        said = (*(answer.lines or ["a push would change nothing"]), *altered)
        found.setdefault(said, []).append(str(target))
        return Outcome(str(target), "done", "")

    def report(outcome: "Outcome") -> None:
        if not outcome.is_good:
            show_line(f"{outcome.target}: {outcome.detail}")

    try:
        run_on(targets_of(targets, inventory, group), work, "100%", 0, report)
    finally:
        for said, names in found.items():
            print(f"{', '.join(sorted(names))}:")
            for line in said:
                show_line(line, indent="  ")


@deploy.command()
def status(
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    drift: Annotated[
        bool, typer.Option("--drift", help="Also compare files with those of the release.")
    ] = False,
    prefix: Prefix = "/opt/edgeemo",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Show what runs on devices, and why a release was rolled back.

    Several devices are a table, those in trouble first.
    """
    options = _options(prefix, ssh_config, accept_new=accept_new)
    import json

    from deploy.operations.manage import status as ask
    from deploy.operations.push import Outcome

    chosen = targets_of(targets, inventory, group)
    answers: dict[str, dict[str, Any]] = {}
    is_table = len(chosen) > 1 and not as_json

    def work(target: "Target") -> "Outcome":
        answer = ask(target, options, with_drift=drift)
        answers[str(target)] = answer
        # JSON escapes all that a terminal would obey but this one character.
        text = json.dumps(answer).replace("\x7f", "\\u007f")
        detail = text if as_json else _status_line(answer)
        return Outcome(str(target), "done", detail)

    def report(outcome: "Outcome") -> None:
        if as_json and outcome.is_good:
            print(outcome.detail, flush=True)  # whole, however long
        elif not is_table:
            show_line(f"{outcome.target}: {outcome.detail}")
        elif not outcome.is_good:
            answers[outcome.target] = {"target": outcome.target, "error": outcome.detail}

    try:
        run_on(chosen, work, "100%", 0, report)
    finally:
        if is_table and answers:
            from edgeemo.cli.fleet_status import show_table

            show_table(list(answers.values()))


@deploy.command()
def rollback(
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    prefix: Prefix = "/opt/edgeemo",
    window: Window = 60.0,
    batch: Batch = "100%",
    max_fail: MaxFail = 0,
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
    ask_sudo_password: AskSudo = False,
) -> None:
    """Roll back to the previous good release."""
    options = _options(
        prefix, ssh_config, accept_new=accept_new, window=window, ask=ask_sudo_password
    )
    from deploy.operations.manage import rollback as go_back

    run_on(
        targets_of(targets, inventory, group),
        lambda target: go_back(target, options),
        batch,
        max_fail,
    )


@deploy.command()
def remove(
    targets: Targets = None,
    inventory: Inventory = None,
    group: Groups = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the logs, too.")] = False,
    prefix: Prefix = "/opt/edgeemo",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
    ask_sudo_password: AskSudo = False,
) -> None:
    """Remove edgeemo from devices; logs are kept unless --purge."""
    options = _options(prefix, ssh_config, accept_new=accept_new, ask=ask_sudo_password)
    from deploy.operations.manage import remove as take_off

    run_on(
        targets_of(targets, inventory, group),
        lambda target: take_off(target, options, purge=purge),
        "100%",
        0,
    )


@deploy.command()
def logs(
    target: Annotated[str, typer.Argument(help="user@host[:port], or @local.")],
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Keep following the journal.")
    ] = False,
    lines: Annotated[int, typer.Option(help="Number of lines to start with.", min=0)] = 50,
    ssh_config: SshConfig = None,
) -> None:
    """Show the service's diagnostics from a device's journal."""
    from deploy.operations.manage import follow_logs
    from deploy.operations.push import Options
    from deploy.ssh.targets import parse_target

    options = Options(ssh_config=ssh_config)
    code = follow_logs(parse_target(target), options, show_line, follow=follow, lines=lines)
    raise typer.Exit(int(code != 0))  # ssh's own 255 is a failure like any other


def _options(
    prefix: str,
    ssh_config: Path | None,
    *,
    accept_new: bool,
    window: float = 60.0,
    ask: bool = False,
) -> "Options":
    password = sudo_password(ask=ask)
    from deploy.ssh.transport import use_gevent

    use_gevent()
    from deploy.operations.push import Options
    from deploy.ssh.targets import check_prefix

    return Options(
        prefix=check_prefix(prefix),
        window_s=window,
        ssh_config=ssh_config,
        accept_new=accept_new,
        sudo_password=password,
    )


def gather_contents(
    model: Path | None, config: Path | None, units: Path | None, *, with_service: bool
) -> "Contents":
    """Gather what every release holds: checked here, before any device is asked."""
    from deploy.release.archive import Contents
    from deploy.release.systemd_files import packaged_file
    from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
    from edge.config import load_config
    from edge.contract.bundle import bundle_path, open_bundle

    bundle = open_bundle(bundle_path(model)).path
    if config is not None:
        load_config(config)
    files = {}
    if with_service:
        folder = units or packaged_file("systemd")
        found = sorted(folder.rglob("*")) if folder else []
        files = {str(path.relative_to(folder or "")): path for path in found if path.is_file()}
        if "edgeemo.service" not in files:
            raise ConfigError(
                f"{folder or 'no folder of units'}: no edgeemo.service there; give --units DIR, "
                "or --no-service"
            )
    assets = {asset.name: asset_path(asset) for asset in (FACE_LANDMARKER, ASTRONAUT)}
    return Contents(bundle=bundle, assets=assets, units=files, config=config)


def _status_line(answer: "dict[str, object]") -> str:
    if not answer["current"] and not answer["failed"] and not answer["trying"]:
        return f"edgeemo is not there ({answer['os']}, Python {answer['python']})"
    words = [f"release {answer['current']}, edgeemo {answer['version']}, model {answer['model']}"]
    service = answer["service"]
    if isinstance(service, dict) and service:
        words.append(f"service {service.get('ActiveState')} ({service.get('SubState')})")
    if answer["trying"]:
        words.append(f"trying {answer['trying']}")
    if isinstance(failed := answer["failed"], dict):
        words += [f"{name} did not hold: {why.get('problem')}" for name, why in failed.items()]
    return "; ".join(words)
