"""`edgeemo deploy`: bring releases to devices, ask them, go back, remove."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge.errors import ConfigError
from edgeemo.cli.fleet import (
    AcceptNew,
    Batch,
    Inventory,
    SshConfig,
    Targets,
    run_on,
    show_line,
    targets_of,
)

if TYPE_CHECKING:
    from deploy.operations.push import Options, Outcome
    from deploy.release.archive import Contents
    from deploy.ssh.targets import Target

deploy = typer.Typer(
    help="Bring edgeemo to devices over ssh.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Prefix = Annotated[str, typer.Option(help="Where edgeemo is on the device.")]
Window = Annotated[
    float, typer.Option(help="Seconds that the device watches before it is good.", min=0, max=3600)
]
MaxFail = Annotated[int, typer.Option(help="Stop when more than so many failed.", min=0)]


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(deploy, name="deploy")


@deploy.command()
def push(
    targets: Targets = None,
    inventory: Inventory = None,
    model: Annotated[
        Path | None, typer.Option(help="Model bundle; the packaged one by default.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Becomes the configuration of the devices.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be done.")
    ] = False,
    service: Annotated[
        bool, typer.Option("--service/--no-service", help="Run it under systemd.")
    ] = True,
    units: Annotated[Path | None, typer.Option(help="Folder of edgeemo.service and more.")] = None,
    prefix: Prefix = "/opt/edgeemo",
    window: Window = 60.0,
    batch: Batch = "100%",
    max_fail: MaxFail = 0,
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Bring this edgeemo and a model to devices, with rollback.

    A device watches its new release and goes back by itself when it is not healthy.
    """
    options = _options(prefix, ssh_config, accept_new=accept_new, window=window)
    from dataclasses import replace

    from deploy.operations.push import push as push_one
    from deploy.release.systemd_files import packaged_file

    options = replace(
        options, with_service=service, dry_run=dry_run, constraints=packaged_file("constraints.txt")
    )
    contents = gather_contents(model, config, units, with_service=service)
    chosen = targets_of(targets, inventory)

    def work(target: "Target") -> "Outcome":
        return push_one(target, contents, options, lambda line: show_line(f"{target}: {line}"))

    run_on(chosen, work, batch, max_fail)


@deploy.command()
def status(
    targets: Targets = None,
    inventory: Inventory = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    prefix: Prefix = "/opt/edgeemo",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Show what runs on devices, and why a release did not hold."""
    options = _options(prefix, ssh_config, accept_new=accept_new)
    import json

    from deploy.operations.manage import status as ask
    from deploy.operations.push import Outcome

    def work(target: "Target") -> "Outcome":
        answer = ask(target, options)
        # JSON escapes all that a terminal would obey but this one character.
        text = json.dumps(answer).replace("\x7f", "\\u007f")
        detail = text if as_json else _status_line(answer)
        return Outcome(str(target), "done", detail)

    def report(outcome: "Outcome") -> None:
        if as_json and outcome.is_good:
            print(outcome.detail, flush=True)  # whole, however long
        else:
            show_line(f"{outcome.target}: {outcome.detail}")

    run_on(targets_of(targets, inventory), work, "100%", 0, report)


@deploy.command()
def rollback(
    targets: Targets = None,
    inventory: Inventory = None,
    prefix: Prefix = "/opt/edgeemo",
    window: Window = 60.0,
    batch: Batch = "100%",
    max_fail: MaxFail = 0,
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Go back to the good release before the current one."""
    options = _options(prefix, ssh_config, accept_new=accept_new, window=window)
    from deploy.operations.manage import rollback as go_back

    run_on(targets_of(targets, inventory), lambda target: go_back(target, options), batch, max_fail)


@deploy.command()
def remove(
    targets: Targets = None,
    inventory: Inventory = None,
    purge: Annotated[bool, typer.Option("--purge", help="Delete the logs, too.")] = False,
    prefix: Prefix = "/opt/edgeemo",
    ssh_config: SshConfig = None,
    accept_new: AcceptNew = False,
) -> None:
    """Take edgeemo off devices; their logs stay unless --purge."""
    options = _options(prefix, ssh_config, accept_new=accept_new)
    from deploy.operations.manage import remove as take_off

    run_on(
        targets_of(targets, inventory),
        lambda target: take_off(target, options, purge=purge),
        "100%",
        0,
    )


@deploy.command()
def logs(
    target: Annotated[str, typer.Argument(help="user@host[:port], or @local.")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on showing.")] = False,
    lines: Annotated[int, typer.Option(help="How many to begin with.", min=0)] = 50,
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
    prefix: str, ssh_config: Path | None, *, accept_new: bool, window: float = 60.0
) -> "Options":
    from deploy.ssh.transport import use_gevent

    use_gevent()
    from deploy.operations.push import Options
    from deploy.ssh.targets import check_prefix

    return Options(
        prefix=check_prefix(prefix), window_s=window, ssh_config=ssh_config, accept_new=accept_new
    )


def gather_contents(
    model: Path | None, config: Path | None, units: Path | None, *, with_service: bool
) -> "Contents":
    """Gather what every release holds: checked here, before any device is asked."""
    from deploy.release.archive import Contents
    from deploy.release.systemd_files import packaged_file
    from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
    from edge.config import load_config
    from edge.contract.bundle import bundle_path

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
    return Contents(bundle=bundle_path(model), assets=assets, units=files, config=config)


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
