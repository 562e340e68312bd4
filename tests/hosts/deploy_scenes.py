"""What `edgeemo deploy` is made to go through, with a booted Debian at the other end of a wire.

    deploy_scenes.py DEBIAN PAYLOAD TOOL     see service.sh

TOOL: an environment with edgeemo installed from its wheel. Prints what happened, as plain text;
exit 1 at the first thing that should not be. Whatever ends this script, nothing stays.
"""

import hashlib
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import deploy_cuts as cuts
import deploy_failures as failures
import deploy_live as live
from debian_container import Container, SceneError, must, until
from deploy_device import PASSWORD, STAGING, Device
from service_scenes import frames_around_the_last_start
from stage import WINDOW, Stage
from workstation import Wire, Workstation


def scene_dry_run(stage: Stage) -> None:
    """A dry run says what would be done, and changes nothing."""
    said = stage.push("--dry-run")
    must("switch current from nothing" in said, f"it says so: {said}")
    changed = stage.device.files() - stage.before
    must(not {path for path in changed if "edgeemo" in path}, f"nothing new: {changed}")
    print(said)


def scene_first_push(stage: Stage) -> None:
    """A first push to a bare device without internet, pip or python3-venv, as a user with sudo."""
    device = stage.device
    must(device.container.try_run("python3 -m pip --version").returncode, "it has no pip")
    must(device.container.try_run("ip route get 1.1.1.1").returncode, "it has no internet")
    started = time.monotonic()
    said = stage.push("--config", str(write_config(stage, "first")))
    print(said)
    print(f"took {time.monotonic() - started:.0f} s, {WINDOW[1]} s of it watched by the device")
    device.must_be_whole({device.good[-1]})
    mode = device.container.run("stat -c '%a %U %G' /etc/edgeemo/edgeemo.toml")
    must(mode == "640 root edgeemo", f"the configuration is {mode}")
    must(not (device.root / STAGING).exists(), "what was sent is in its place")
    arguments = device.container.run(f"tr '\\0' ' ' < /proc/{device.service.pid}/cmdline")
    must("--log-dir /var/log/edgeemo" in arguments, f"it logs where it may: {arguments}")


def write_config(stage: Stage, device: str) -> Path:
    """Write a configuration for devices."""
    path = stage.station.folder / f"{device}.toml"
    path.write_text(f'[source]\nspec = "demo:live"\n[log]\ndevice = "{device}"\nemit = "frame"\n')
    return path


def scene_second_push(stage: Stage) -> None:
    """The same once more: nothing is done, and it says so."""
    device = stage.device
    config = str(write_config(stage, "first"))
    process, before = device.service.pid, device.files()
    print(said := stage.push("--config", config))
    must("unchanged" in said, said)
    changed = {path for path in device.files() ^ before if "/log/" not in path}
    must(device.service.pid == process and not changed, f"nothing has changed: {changed}")


def scene_model_only(stage: Stage) -> None:
    """Another model: a megabyte, taken up by the running process, which keeps its camera."""
    device = stage.device
    process, model = device.service.pid, stage.model("another")
    said = stage.push("--model", str(model))
    print(said)
    must("re-read the model" in said, "it is a reload")
    must(device.service.pid == process, "the same process runs on")
    device.must_be_whole({device.good[-1]})
    records = device.service.records()
    started = [r for r in records if r["kind"] == "service_started"][-1]
    digest = hashlib.sha256((model / "model.tflite").read_bytes()).hexdigest()
    must(started["model_sha256"] == digest, f"the new bytes are what runs: {started}")
    before, after = frames_around_the_last_start(records)
    must(before < after, f"the camera's frames are counted on: {before}, {after}")
    print(f"process {process} runs on; frame {before} under the old model, {after} under the new")


def scene_sudo_password(stage: Stage) -> None:
    """A user whose sudo wants a password: asked for once, and nowhere to be seen."""
    device, station = stage.device, stage.station
    words = ("push", "asked", *WINDOW, "--model", str(stage.model("asked")))
    said = station.deploy(*words, code=1)
    must("give --ask-sudo-password" in said, f"the remedy is told: {said}")
    said = station.deploy(*words, "--ask-sudo-password", code=1, stdin="wrong\n")
    must("sudo did not accept the password" in said, f"a wrong one is told: {said}")
    print(said)
    with station.start(*words, "--ask-sudo-password", stdin=f"{PASSWORD}\n") as process:
        looks = 0
        while process.poll() is None:
            must(not (seen := device.knows(PASSWORD)), f"the password is in {seen}")
            looks += 1
        said = station.forget(process)
    must(process.returncode == 0 and ": done: " in said, f"it was pushed: {said}")
    must(PASSWORD not in "".join(station.said), "the password is printed")
    device.must_be_whole({device.good[-1]})
    inside = f"grep -rslF -- {shlex.quote(PASSWORD)} /etc /home /opt /root /run /tmp /var"
    found = device.container.try_run(inside).stdout
    must(not found, f"the password is in {found}")
    must(PASSWORD not in device.container.run("journalctl --no-pager"), "it is in the journal")
    print(said.splitlines()[-1])
    print(f"in {looks} looks at all processes, in every file and the journal: no password")


def scene_care(stage: Stage) -> None:
    """A canary, drift and differences, on the device itself."""
    device, station = stage.device, stage.station
    words = (*WINDOW, "--model", str(stage.model("canary")), "--canary", "1", "--bake", "70")
    said = station.deploy("push", "pi", *words)
    must("; since: " in said and "frames/s" in said, f"how it does is told: {said}")
    print(said.splitlines()[-1])
    said = station.deploy("diff", "pi", "--model", str(stage.model("canary")))
    must("a push would change nothing" in said, f"nothing differs: {said}")
    altered = device.prefix / "current/model/model.tflite"
    before = altered.read_bytes()
    altered.write_bytes(before + b"x")
    said = station.deploy("diff", "pi", "--model", str(stage.model("next")))
    must("model/model.tflite" in said and "altered: " in said, f"both are told: {said}")
    print(said)
    said = station.deploy("status", "pi", "gone", "--drift", code=1)
    must("1 files altered" in said and "2 of 2 are in trouble" in said, f"the table: {said}")
    print(said)
    altered.write_bytes(before)


def scene_rollback(stage: Stage) -> None:
    """Back by hand, once and once more: further back each time, and a clear word at the end."""
    device = stage.device
    good = device.good
    must(len(good) >= 3, f"there are releases to go back to: {good}")
    for number in (2, 3):
        print(stage.station.deploy("rollback", "pi", *WINDOW))
        must(device.current == device.good[-1] == good[-number], f"{device.good} of {good}")
        device.must_be_whole({good[-number]})
    said = stage.station.deploy("rollback", "pi", *WINDOW, code=1)
    must("no earlier good release" in said, said)
    print(said)


def scene_logs(stage: Stage) -> None:
    """`deploy logs` shows the journal of the device."""
    said = stage.station.deploy("logs", "pi", "--lines", "5")
    must(len(said.splitlines()) >= 2, f"lines of the journal: {said}")


def scene_remove(stage: Stage) -> None:
    """Removal leaves the logs and their owner; with --purge it leaves nothing at all."""
    device = stage.device
    print(stage.station.deploy("remove", "pi"))
    left = {path for path in device.files() - stage.before if _is_ours(path)}
    logs = {path for path in left if path.startswith("/var/log/edgeemo")}
    must(logs and left == logs, f"only logs are left: {sorted(left - logs)[:9]}")
    units = device.container.try_run("systemctl list-unit-files 'edgeemo*' --no-legend").stdout
    must(not units, f"no unit is left: {units}")
    print(said := stage.station.deploy("remove", "pi"))
    must("unchanged" in said, said)


def _is_ours(path: str) -> bool:
    """Tell whether something new is not just what a system writes when it is used."""
    return not path.startswith(
        ("/etc/group", "/etc/gshadow", "/etc/passwd", "/etc/shadow", "/etc/sub")
    )


def scene_local(stage: Stage) -> None:
    """`push @local`: the same by itself, on a machine without a workstation, then --purge."""
    device = stage.device
    shutil.copytree(stage.payload, device.root / "srv/payload", dirs_exist_ok=True)
    environment = "PIP_NO_INDEX=1 PIP_FIND_LINKS='/srv/payload/wheels /srv/payload/tool'"
    run = device.container.run
    pip = "python3 $(echo /srv/payload/wheels/pip-*.whl)/pip"
    run(f"cd /srv && {environment} {pip} install -q --target /srv/tool 'edgeemo[deploy]' pip")
    command = f"{environment} EDGEEMO_ASSETS=/srv/payload/assets HOME=/srv PYTHONPATH=/srv/tool"
    command += " python3 -m edgeemo deploy"
    said = run(f"cd /srv && {command} push @local --window 6")
    stage.station.said.append(said)
    print(said)
    until(device.service.is_running, "the service runs")
    print(run(f"cd /srv && {command} remove @local --purge"))
    left = {path for path in device.files() - stage.before if _is_ours(path)}
    left = {path for path in left if not path.startswith("/srv/")}
    must(not left, f"nothing is left: {sorted(left)[:9]}")
    must(device.container.try_run("id edgeemo").returncode, "nor is the user")


SCENES: tuple[Callable[[Stage], None], ...] = (
    scene_dry_run, scene_first_push, scene_second_push, live.scene_page, live.scene_denied,
    scene_model_only, scene_sudo_password, scene_care,
    cuts.scene_remote_side, cuts.scene_workstation, cuts.scene_trial, cuts.scene_watcher,
    failures.scene_bad_releases, failures.scene_bad_reload, failures.scene_wrong_golden,
    failures.scene_host_vanishes, failures.scene_second_push_meanwhile,
    failures.scene_one_of_five, failures.scene_refusals, failures.scene_injection,
    scene_rollback, scene_logs, scene_remove, scene_local,
)  # fmt: skip


def last_words(device: Device) -> str:
    """What the device has to say when something is not as it should be."""
    shown = "systemctl status --full edgeemo edgeemo-deploy; journalctl -n 60"
    try:
        state = device.json("state.json"), device.json("pending.json")
        return f"{state}\n{device.container.try_run(shown).stdout}"
    except SceneError as failure:
        return str(failure)


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def play(stage: Stage, scenes: tuple[Callable[[Stage], None], ...]) -> None:
    """Play scenes one after the other."""
    for scene in scenes:
        began = time.monotonic()
        print(f"== {scene.__doc__}")
        scene(stage)
        print(f"[{scene.__name__}: {time.monotonic() - began:.0f} s]", file=sys.stderr)
    stage.station.check_discretion()


def main(debian: Path, payload: Path, tool: Path) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _ended)
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="edgeemo-scenes-") as folder,
        Wire() as wire,
        Container(debian, wire.lay(0)) as container,
    ):
        device = Device(container)
        station = Workstation(wire, Path(folder), tool / "bin" / "edgeemo")
        station.make_keys(device.prepare(debian.with_name("service-debian32")), device.authorized())
        device.let_in()
        stage = Stage(device, station, payload, tool, device.files())
        print(f"== deploy over ssh: {container.run('. /etc/os-release; echo $PRETTY_NAME')}")
        try:
            play(stage, SCENES)
        except SceneError as failure:
            print(f"FAILED: {failure}")
            print(last_words(device))
            return 1
        finally:
            stage.change_code("")
    print(f"deploy: all scenes as they should be, in {time.monotonic() - started:.0f} s")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(*(Path(word).absolute() for word in sys.argv[1:4])))
