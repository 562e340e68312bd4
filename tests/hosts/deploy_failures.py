"""Releases that do not hold, devices that do not suit, names that are no names."""

import json
import os
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from debian_container import Container, until
from deploy_device import Device, seen
from stage import WINDOW, Stage, must_hold, with_sums

_BAD = {
    "crash": "the service ended after",
    "hang": "the service was not up after",
    "eat": "as at its memory limit of 537 MB",
}


def scene_bad_releases(stage: Stage) -> None:
    """Releases that crash, hang or eat their memory as a service: back by the device itself."""
    device = stage.device
    for bug, reason in _BAD.items():
        old = device.current
        model = stage.model(f"BUG {bug}")
        said = stage.push("--model", str(model), *stage.other_units(bug), code=1)
        line = said.splitlines()[-1]
        must_hold("rolled back" in line and reason in line, f"the reason is told: {said}")
        must_hold(f"went back to {old}" in line, f"it says to what: {line}")
        device.must_be_whole({old})
        name = line.split("release ")[1].split(":")[0]
        must_hold(name not in device.releases(), "nothing of it stays")
        status = stage.station.deploy("status", "pi")
        must_hold(f"{name} did not hold" in status and reason in status, f"status: {status}")
        print(line)


def scene_bad_reload(stage: Stage) -> None:
    """A model that the running service refuses to take up: it keeps the old one, in one process."""
    device = stage.device
    stage.push()  # the shipped units, so that the next one differs in its model only
    old, process = device.current, device.service.pid
    said = stage.push("--model", str(stage.model("BUG crash")), code=1).splitlines()
    must_hold(any("re-read the model" in line for line in said), f"it is a reload: {said}")
    must_hold("reload refused" in said[-1], f"the reason is told: {said}")
    device.must_be_whole({old})
    must_hold(device.service.pid == process, "the process that ran runs on")
    until(lambda: "refused" not in device.service.show("StatusText"), "nothing is refused any more")
    print(said[-1])


def scene_wrong_golden(stage: Stage) -> None:
    """A model that answers otherwise than it must on this device is never switched to."""
    device = stage.device
    old, process, there = device.current, device.service.pid, device.releases()
    model = stage.model("wrong golden")
    with np.load(model / "golden.npz") as golden:
        wrong = {**golden, "outputs": np.roll(golden["outputs"], 1, axis=1)}
    np.savez_compressed(model / "golden.npz", **wrong)
    said = stage.push("--model", str(with_sums(model)), code=1).splitlines()
    must_hold("golden outputs differ" in said[-1], f"the reason is told: {said}")
    must_hold((device.current, device.service.pid) == (old, process), "what ran runs on")
    must_hold(device.releases() == there, "nothing of it stays")
    status = stage.station.deploy("status", "pi")
    must_hold("golden outputs differ" in status, f"status: {status}")
    print(said[-1])


def scene_host_vanishes(stage: Stage) -> None:
    """The wire is cut while a release that hangs is tried: the device goes back by itself."""
    device, wire = stage.device, stage.station.wire
    old = device.current
    words = ("--model", str(stage.model("BUG hang")), *stage.other_units("wire"))
    with stage.station.start("push", "pi", *WINDOW, *words) as process:
        seen(lambda: device.current != old, process, "the switch")
        wire.cut()
        began = time.monotonic()
        device.wait_for_verdict()
        device.must_be_whole({old})
        print(f"the device was back after {time.monotonic() - began:.0f} s, on its own")
        said = stage.station.forget(process).splitlines()
        took = time.monotonic() - began
    wire.mend()
    must_hold("the device continues on its own" in said[-1], f"the workstation says so: {said}")
    must_hold("was not up" in stage.station.deploy("status", "pi"), "the reason is kept")
    print(f"after {took:.0f} s the workstation said: {said[-1]}")


def scene_refusals(stage: Stage) -> None:
    """Devices that do not suit: a clear line each, and nothing is touched."""
    device = stage.device
    before = device.files()
    expected = {
        "impostor": "its host key has changed",
        "stranger": "its host key is not known",
        "gone": "cannot be reached",
        "plain": "may not use sudo without a password",
        "old32": "a 32-bit userland",
        "i686": "a i686 processor",
    }
    prefix = ("--prefix", "/opt/other")
    said = stage.station.deploy("push", *expected, *prefix, "--max-fail", "9", code=1)
    for name, reason in expected.items():
        line = next(line for line in said.splitlines() if line.startswith(f"{name}: failed: "))
        must_hold(reason in line, f"{name}: {reason}; it is said: {line}")
        print(line)
    device.container.run("mkdir /mnt/small && mount -t tmpfs -o size=20m none /mnt/small")
    line = stage.push("--prefix", "/mnt/small/edgeemo", code=1)
    must_hold("MB free, the release needs" in line, f"too little disk: {line}")
    print(line)
    device.container.run("umount /mnt/small && rmdir /mnt/small")
    cache = "/home/cramped/.cache"
    device.container.run(
        f"mkdir {cache} && mount -t tmpfs -o size=9m none {cache} && chown cramped: {cache}"
    )
    line = stage.push(*prefix, to="cramped", code=1).splitlines()[-1]
    must_hold("the disk is full" in line or "No space left" in line, f"a full disk: {line}")
    print(line)
    device.container.run(f"umount {cache} && rmdir {cache}")
    changed = {path for path in device.files() ^ before if "/log/" not in path}
    must_hold(not changed, f"the devices are as they were: {changed}")


def scene_one_of_five(stage: Stage) -> None:
    """One bad device among five: the four others are done, and each has its line."""
    device, wire = stage.device, stage.station.wire
    names = ("pi", "pi1", "gone", "pi2", "pi3")
    words = ("--model", str(stage.model("fleet")), "--max-fail", "9")
    with ExitStack() as stack:
        devices = [device]
        for number in (1, 2, 3):  # as the first one is by now
            other = Container(device.root, wire.lay(number), number)
            devices.append(Device(stack.enter_context(other)))
            other.run("systemctl start ssh")
        said = stage.station.deploy("push", *names, *WINDOW, *words, code=1).splitlines()
        print("\n".join(line for line in said if ": done: " in line or ": failed: " in line))
        print(said[-1])
        must_hold(said[-1] == "4 done; 1 failed", f"four of five: {said}")
        must_hold(len({one.current for one in devices}) == 1, "all four run the same")
        for one in devices:
            one.must_be_whole({device.current})
        print(stage.station.deploy("push", *names, *WINDOW, *words, code=1).splitlines()[-1])
        must_hold("4 unchanged; 1 failed" in stage.station.said[-1], "what is done is left alone")


def scene_injection(stage: Stage) -> None:
    """Host names, prefixes and device names that a shell would act on stay what they are."""
    device = stage.device
    trap = "touch /tmp/pwned"
    for name in (f"pi;{trap}", f"$({trap})", f"`{trap}`", f"-oProxyCommand={trap}", "pi\n" + trap):
        stage.station.deploy("status", "--", name, code=1)
    for prefix in (f"/opt/$({trap})", f"/opt/x;{trap}", "/opt/../etc", "/opt/a b", "opt"):
        stage.push("--prefix", prefix, code=1)
    name = f'$({trap})`{trap}`;{trap};"%n\\n'
    text = '[source]\nspec = "demo:live"\n[log]\nemit = "frame"\ndevice = '
    # A refusal names the operator's file; the path of the station's folder may never be shown.
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "hostile.toml"
        config.write_text(text + json.dumps(f"{name}\u001b[2J"))
        stage.push("--config", str(config), code=2)  # no control characters in a name
        config.write_text(text + json.dumps(name))
        print(stage.push("--config", str(config)).splitlines()[-1])
    started = [r for r in device.service.records() if r["kind"] == "service_started"][-1]
    must_hold(started["device"] == name, "a device name is text, in the log as in the file")
    said = stage.station.deploy("status", "pi")
    must_hold("\u001b" not in said, "no control character is printed")
    done = device.container.try_run("ls /tmp/pwned")
    must_hold(done.returncode and not os.path.exists("/tmp/pwned"), "nothing was run")  # noqa: PTH110
    print("five host names, five prefixes, one device name: nothing was run")


def scene_second_push_meanwhile(stage: Stage) -> None:
    """A push that finds another one at work waits for it, then does its own."""
    device = stage.device
    words = stage.other_units("one"), stage.other_units("two")
    with stage.station.start("push", "pi", *WINDOW, *words[0]) as first:
        seen(device.is_deciding, first, "the trial of the first")
        second = stage.push(*words[1])
        must_hold("done" in stage.station.forget(first), "the first is done")
    must_hold("still being tried; waiting" in second, f"the second has waited: {second}")
    print(second.splitlines()[0])
    print(second.splitlines()[-1])
