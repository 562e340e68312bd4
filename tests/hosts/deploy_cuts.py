"""Pushes that are cut at every step in turn: the workstation killed, the remote side, the device.

Each step is recognised from outside, by what is on the device's disk and what runs there; nothing
in edgeemo knows that it is being watched.
"""

import os
import signal
import subprocess
from collections.abc import Callable

from debian_container import until
from deploy_device import STAGING, Device, seen
from stage import WINDOW, Stage, must_hold

Moment = tuple[str, Callable[[], object]]


def moments_before_the_switch(device: Device, old: str) -> list[Moment]:
    """Return the steps of a push of new wheels until it is built, in order."""
    staging, prefix = device.root / STAGING, device.prefix
    made = {path.name for path in (prefix / "envs").glob("*")}
    there = device.releases()

    def new(folder: str, known: set[str], inside: str) -> bool:
        return any(p.parent.name not in known for p in (prefix / folder).glob(f"*/{inside}"))

    return [
        ("asking for facts", lambda: device.processes("python3 - /opt/edgeemo")),
        ("sending a file", lambda: any(staging.glob("*.part"))),
        ("making the environment", lambda: new("envs", made, "pyvenv.cfg")),
        ("installing the wheels", lambda: device.processes("/pip install --no-index")),
        ("building the release", lambda: new("releases", there, "bin")),
        ("comparing golden outputs", lambda: device.processes("-I -c")),
        ("watching the demo's face", lambda: device.processes("run --source demo --max-frames")),
    ]


def moments_after_it(device: Device, old: str) -> list[Moment]:
    """Return the steps from the notice of what is tried to the verdict."""
    process = device.service.pid
    return [
        ("noting what is tried", device.is_deciding),
        ("switching", lambda: device.current != old),
        ("restarting", lambda: device.current != old and device.service.pid not in {0, process}),
    ]


def cut(stage: Stage, moment: Moment, how: str, *words: str) -> None:
    """Begin a push and cut it at that moment, by kill -9 of one side."""
    name, what = moment
    with stage.station.start("push", "pi", *WINDOW, *words) as process:
        seen(what, process, name)
        if how == "workstation":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            stage.device.kill_remote_side()
        stage.station.forget(process)
    must_hold(process.returncode, f"it was cut in time, while {name}; this machine is too busy")


def scene_remote_side(stage: Stage) -> None:
    """The remote shell and program are killed at every step of a push of new code, in turn."""
    device = stage.device
    old, process = device.current, device.service.pid
    stage.change_code("second")
    names = []
    for moment in moments_before_the_switch(device, old):
        cut(stage, moment, "device")
        must_hold(device.current == old, f"{old} is current, after a cut while {moment[0]}")
        must_hold(device.service.pid == process, f"it runs on, after a cut while {moment[0]}")
        names.append(moment[0])
    device.must_be_whole({old})
    print(f"cut while: {', '.join(names)}; the old release ran on in one process")
    print(stage.push().splitlines()[-1])
    device.must_be_whole(device.releases() - {old})


def scene_workstation(stage: Stage) -> None:
    """The workstation is killed while it sends, and while the device builds."""
    device = stage.device
    old, process = device.current, device.service.pid
    stage.change_code("third")
    moments = moments_before_the_switch(device, old)
    for moment in (moments[0], moments[1], moments[3]):
        cut(stage, moment, "workstation")
        must_hold(device.current == old, f"{old} is current, after a cut while {moment[0]}")
        must_hold(device.service.pid == process, f"it runs on, after a cut while {moment[0]}")
    print("cut while: asking for facts, sending a file, installing the wheels")
    print(stage.push().splitlines()[-1])
    device.must_be_whole(device.releases() - {old})


def scene_trial(stage: Stage) -> None:
    """The workstation is killed while the device tries a release: it goes on by itself."""
    device = stage.device
    for step in range(3):
        old = device.current
        words = stage.other_units(f"trial {step}")
        moment = moments_after_it(device, old)[step]
        cut(stage, moment, "workstation", *words)
        device.wait_for_verdict()
        must_hold(device.current != old, f"the new release is there, cut while {moment[0]}")
        device.must_be_whole({device.good[-1]})
        said = stage.push(*words)
        must_hold("unchanged" in said, f"the next push has nothing to do: {said}")
        print(f"cut while {moment[0]}: decided by the device, the next push had nothing to do")


def scene_watcher(stage: Stage) -> None:
    """The device's own watcher is killed in mid-trial, then its power is cut: it goes on."""
    device = stage.device
    for what in ("kill -9 of the watcher", "power cut"):
        old = device.current
        words = stage.other_units(what)
        cut(stage, ("switching", lambda old=old: device.current != old), "workstation", *words)
        if what == "power cut":
            took = device.container.power_cut()
            print(f"power cut in mid-trial, up again in {took:.1f} s")
            device.container.run("systemctl start ssh")
        else:
            # A child of it has its command line, too, until it runs what it was made for.
            watcher = min(device.processes("agent.pyz watch"))
            subprocess.run(["kill", "-9", str(watcher)], check=True)
        took = device.wait_for_verdict()
        must_hold(device.current == device.good[-1] != old, f"good after a {what}")
        device.must_be_whole({device.current})
        until(device.service.is_running, "it runs")
        print(f"{what} in mid-trial: the device went on and found it good after {took:.0f} s")
