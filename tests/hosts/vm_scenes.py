"""What is done to edgeemo on a whole emulated PC with a camera, and what must come of it.

    vm_scenes.py DEBIAN [SEED [SCENE...]]     see vm_test.sh; SEED: of the moments at which the
                                              power is cut; SCENE: one after push, as reboot; all
                                              by default

Prints what happened, as plain text; exit 1 at the first thing that should not be. Whatever ends
this script, the PC is switched off and removed.
"""

import json
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from debian_container import HERE, SceneError, must
from debian_container import until as wait_until
from emulated_pc import NAME, PATIENCE_S, EmulatedPc
from service_scenes import check_log

TOP = HERE.parent.parent
LOG = "/var/log/edgeemo"
SYNC_S = 5.0
"""The log is on the disk within a second; here, where a second is long, what is older than this."""
BUILD_S = 1800.0
"""How long a whole push may take: pip is slow in there."""
VIVID = "/sys/bus/platform/drivers/vivid"
WINDOW_S = 90
SLOW = "[Service]\nTimeoutStartSec=600\nWatchdogSec=300\n"
"""An administrator's drop-in: an emulated PC is slower than any device that the unit is for."""
CUTS = (
    ("while the environment is built", "[ $(ls envs | wc -l) -gt 1 ]", 60),
    ("in the preflight", "[ $(ls envs/*/.edgeemo-complete | wc -l) -gt 1 ]", 20),
    ("while the device tries the release", "[ -e pending.json ]", 60),
)
"""When the power is cut: how the device's own files show it, and so many seconds later at most."""


def until(what, name: str) -> float:
    """Wait as long as a slow machine may take."""
    return wait_until(what, name, PATIENCE_S)


class Service:
    """edgeemo inside the PC."""

    def __init__(self, pc: EmulatedPc) -> None:
        self.pc = pc

    def show(self, *names: str) -> dict[str, str]:
        """Return properties of the unit."""
        text = self.pc.try_run(f"systemctl show edgeemo -p {','.join(names)}").stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def identity(self) -> dict[str, str]:
        """Return what changes with every start, by whomever."""
        return self.show("MainPID", "NRestarts")

    def status(self) -> str:
        """Return its status line."""
        return self.show("StatusText").get("StatusText", "")

    def is_running(self) -> bool:
        """Tell whether systemd calls it active and running."""
        return self.show("ActiveState", "SubState") == {
            "ActiveState": "active",
            "SubState": "running",
        }

    def records(self) -> list[dict]:
        """Return all of the log's records; a line that is none is a failure."""
        text = self.pc.run(f"zcat -f $(ls -tr {LOG}/edgeemo*.jsonl*)")
        return [json.loads(line) for line in text.splitlines()]

    def kinds(self, after: int) -> list[str]:
        """Return the kinds of the records after a number."""
        return [record["kind"] for record in self.records() if record["seq"] > after]

    def last_seq(self) -> int:
        """Return the number of the last whole record, or -1."""
        line = self.pc.try_run(f"tail -n 1 {LOG}/edgeemo.jsonl").stdout
        return int(json.loads(line)["seq"]) if line.endswith("\n") else -1

    def wait_for_more(self, count: int = 3) -> None:
        """Wait for new records, which only frames can give rise to."""
        before = self.last_seq()
        until(lambda: self.last_seq() >= before + count, "new records")

    def wait_for(self, kind: str, after: int) -> dict:
        """Wait for a record of this kind after a number, and return it."""
        until(lambda: kind in self.kinds(after), kind)
        return next(r for r in self.records() if r["seq"] > after and r["kind"] == kind)

    def journal(self, lines: int = 200) -> str:
        """Return the last of what it and systemd have said about it in this boot."""
        return self.pc.try_run(f"journalctl -b -u edgeemo -o cat --no-pager -n {lines}").stdout


class Pusher:
    """``edgeemo deploy push`` from a checkout of its own, in which a next version can be made."""

    def __init__(self, pc: EmulatedPc, folder: Path) -> None:
        self.pc = pc
        self._top = folder / "checkout"
        self._top.mkdir()
        for name in ("edge", "deploy", "systemd", "constraints.txt"):
            source, target = TOP / name, self._top / name
            ignored = shutil.ignore_patterns("__pycache__")
            copy = shutil.copyfile if source.is_file() else shutil.copytree
            copy(source, target, **({} if source.is_file() else {"ignore": ignored}))
        self._config = folder / "camera.toml"
        self.configure("first")

    def configure(self, device: str) -> None:
        """Make the configuration: the example, the camera, and a record five times a second."""
        text = (TOP / "systemd" / "edgeemo.example.toml").read_text("utf-8")
        for key, value in (
            ("spec", '"/dev/video0"'), ("device", f'"{device}"'), ("health_interval_s", "0.2"),
        ):  # fmt: skip
            text, count = re.subn(rf'(?m)^{key} = ("[^"]*"|[\d.]+)', f"{key} = {value}", text)
            must(count == 1, f"the example has one {key}")
        self._config.write_text(text, "utf-8")

    def next_version(self) -> None:
        """Change the device's package, so that a whole new environment must be built."""
        with (self._top / "edge" / "__init__.py").open("a", encoding="utf-8") as file:
            file.write("\n# the next version\n")

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Begin a push as pi, who must use sudo."""
        return subprocess.Popen(
            [sys.executable, "-m", "edgeemo", "deploy", "push", f"pi@{NAME}", "--ssh-config",
             str(self.pc.ssh_config), "--accept-new", "--config", str(self._config),
             "--window", str(WINDOW_S), *options],
            cwd=self._top, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def push(self, *options: str) -> str:
        """Push and return what was said; it must succeed."""
        process = self.start(*options)
        said, _ = process.communicate(timeout=BUILD_S)
        must(process.returncode == 0, f"push: exit {process.returncode}: {said}")
        return said.strip()


def scene_push(service: Service, pusher: Pusher) -> None:
    """Pushed over ssh to a bare Debian without a network, as a user with sudo."""
    folder = "/etc/systemd/system/edgeemo.service.d"
    service.pc.run(
        f"mkdir -p {folder}; printf '{SLOW}' >{folder}/50-slow.conf".replace("\n", "\\n")
    )
    print(f"cameras: {service.pc.run('ls /dev/video*')}")
    started = time.monotonic()
    print(pusher.push())
    print(f"that took {time.monotonic() - started:.0f} s, of which {WINDOW_S} s on trial")
    must(service.is_running(), "edgeemo runs")
    service.wait_for_more()
    until(lambda: "frames" in service.status(), "a status line")
    print(f"status: {service.status()}")
    camera = re.search(r"/dev/video0: \d+x\d+.*", service.journal())
    print(f"journal: {camera and camera[0]}")
    must("Traceback" not in service.journal(), f"a traceback: {service.journal()}")
    again = pusher.push()
    must(": unchanged: " in again, f"a second push changes something: {again}")
    print(again)


def scene_by_hand(service: Service, _: Pusher) -> None:
    """Runs by hand, without a service manager: a camera, an unplugged one, none."""
    service.pc.run("systemctl stop edgeemo")
    run = "cd /tmp; EDGEEMO_ASSETS=/opt/edgeemo/current/assets /opt/edgeemo/current/bin/edgeemo run"
    service.pc.run(f"{run} --source 0 --max-frames 10 --log-dir seen")
    last = json.loads(service.pc.run("tail -n 1 /tmp/seen/edgeemo.jsonl"))
    must((last["kind"], last["frames"]) == ("service_stopped", 10), f"last: {last}")
    print("ten frames of camera 0")
    done = service.pc.try_run(
        f"( until [ -s /tmp/lost/edgeemo.jsonl ]; do sleep 1; done; sleep 8;"
        f" echo vivid.0 >{VIVID}/unbind ) & {run} --source /dev/video0 --log-dir lost"
    )
    must(done.returncode == 1, f"unplugged: exit {done.returncode}: {done.stderr}")
    kinds = [json.loads(x)["kind"] for x in service.pc.run("cat /tmp/lost/*.jsonl").splitlines()]
    must(kinds[-2:] == ["camera_lost", "service_stopped"], f"unplugged: {kinds[-3:]}")
    print(f"unplugged: {done.stderr.strip().splitlines()[-1]}")
    done = service.pc.try_run(f"{run} --source 0 --log-dir absent")
    must(done.returncode == 1, f"absent: exit {done.returncode}: {done.stderr}")
    print(f"absent: {done.stderr.strip().splitlines()[-1]}")
    service.pc.run(f"echo vivid.0 >{VIVID}/bind; systemctl start --no-block edgeemo")
    until(service.is_running, "edgeemo runs")
    service.wait_for_more()


def scene_unplug(service: Service, _: Pusher) -> None:
    """The camera is unplugged and plugged in again; the service goes on."""
    bind = f"echo vivid.0 >{VIVID}/bind"
    _replug(service, "/dev/video0", bind)
    print("-- while another program holds the old node, so that its number is taken")
    service.pc.run(
        "setsid sh -c 'exec </dev/video0; echo $$ >/tmp/holder; exec sleep 100000'"
        " >/dev/null 2>&1 & until [ -s /tmp/holder ]; do sleep 0.2; done"
    )
    _replug(service, "/dev/video1", bind)
    service.pc.run("kill $(cat /tmp/holder)")
    print("-- and its driver is removed and loaded anew meanwhile")
    _replug(service, "/dev/video0", "rmmod vivid && modprobe vivid")


def _replug(service: Service, node: str, back: str) -> None:
    """Unplug, wait for what must be told, plug in by this command, and see where it is then."""
    before, seq = service.identity(), service.last_seq()
    service.pc.run(f"echo vivid.0 >{VIVID}/unbind")
    lost = service.wait_for("camera_lost", seq)
    until(lambda: "waiting for the camera" in service.status(), "a status line that says so")
    must("camera_restored" not in service.kinds(seq), "nothing is restored yet")
    must(not service.pc.run("ls /dev/video* 2>/dev/null || true"), "it is away")
    service.pc.run(back)
    restored = service.wait_for("camera_restored", seq)
    found = service.pc.run("basename -a /sys/class/video4linux/video*")
    must(found == Path(node).name, f"it came back as {found}, expected {node}")
    service.wait_for_more()
    must(service.identity() == before, f"restarted: {before}, {service.identity()}")
    kinds = service.kinds(seq)
    count = kinds.count("camera_lost"), kinds.count("camera_restored")
    must(count == (1, 1), f"one of each for an outage: {count}")
    print(f"camera_lost: {lost['reason']}")
    print(f"camera_restored as {node} after {restored['outage_s']:.1f} s, the same process")


def scene_reboot(service: Service, _: Pusher) -> None:
    """A reboot: it comes up by itself."""
    seq = service.last_seq()
    took = service.pc.reboot()
    until(service.is_running, "edgeemo runs")
    service.wait_for_more()
    kinds = service.kinds(seq)
    must(kinds.index("service_stopped") < kinds.index("service_started"), "the shutdown was clean")
    print(f"down and up again in {took:.0f} s, edgeemo by itself; {check_log(service)}")


def scene_power_cut(service: Service, _: Pusher) -> None:
    """The power is cut while it logs: the log is whole, the numbers go on."""
    for _again in range(2):
        seen = service.last_seq()
        time.sleep(SYNC_S + random.uniform(0, 1))
        service.pc.power_cut()
        took = service.pc.boot()
        until(service.is_running, "edgeemo runs")
        service.wait_for_more()
        records = service.records()
        starts = [i for i, record in enumerate(records) if record["kind"] == "service_started"]
        last, start = records[starts[-1] - 1], records[starts[-1]]
        must(last["kind"] != "service_stopped", "nobody said good-bye")
        must(last["seq"] >= seen, f"record {seen} was {SYNC_S} s old and is lost: {last['seq']}")
        must(start["seq"] == last["seq"] + 1, f"the numbers go on: {last['seq']}, {start['seq']}")
        print(
            f"up after {took:.0f} s; record {seen} was {SYNC_S:.0f} s old, {last['seq']} is the "
            f"last there; {start['recovered_bytes']} torn bytes cut off; {check_log(service)}"
        )


def scene_power_cut_in_push(service: Service, pusher: Pusher) -> None:
    """The power is cut during a push of the next version, again and again."""
    old = _current(service)
    pusher.next_version()
    new = ""
    for when, condition, most_s in CUTS:
        process, delay_s = pusher.start(), random.uniform(0, most_s)

        def has_come(process=process, condition=condition) -> bool:
            must(process.poll() is None, "the push was over before it could be cut")
            return service.pc.try_run(f"cd /opt/edgeemo && {condition}").returncode == 0

        wait_until(has_come, when, BUILD_S)
        time.sleep(delay_s)
        service.pc.power_cut()
        said, _ = process.communicate(timeout=PATIENCE_S)
        must(process.returncode == 1, f"the push: exit {process.returncode}: {said}")
        print(f"cut {when}, {delay_s:.0f} s later: {said.strip().splitlines()[-1]}")
        new = new or next(iter(re.findall(r"release ([0-9a-f]{16})", said)), "")
        service.pc.boot()
        _must_be_whole(service, {old, new})
    said = pusher.push()
    print(said.splitlines()[-1])
    must(_current(service) == new != old, f"the next push finishes: {said}")
    _must_be_whole(service, {new})
    print(check_log(service))


def _current(service: Service) -> str:
    return Path(service.pc.run("readlink /opt/edgeemo/current")).name


def _must_be_whole(service: Service, allowed: set[str]) -> None:
    """What runs is one of these, every file of it as its manifest says, and it sees the camera."""
    until(service.is_running, "edgeemo runs")
    service.wait_for_more()
    name = _current(service)
    must(name in allowed, f"{name} runs, expected one of {allowed}")
    checked = service.pc.run(
        "cd /opt/edgeemo/current && python3 -c '"
        "import hashlib, json, pathlib\n"
        'files = json.load(open("release.json"))["files"]\n'
        "for entry in files:\n"
        '    path = pathlib.Path(entry["path"])\n'
        '    if path.parts[0] == "wheels":\n'
        '        path = pathlib.Path("../../wheels", entry["sha256"], path.name)\n'
        '    assert hashlib.sha256(path.read_bytes()).hexdigest() == entry["sha256"], path\n'
        "print(len(files))'"
    )
    parts = service.pc.run(
        "cd /opt/edgeemo; ls -d releases/* envs/* wheels/* | cut -d/ -f1 | sort | uniq -c; "
        "ls pending.json 2>/dev/null || true"
    )
    print(f"release {name} runs, {checked} files whole; there: {' '.join(parts.split())}")


SCENES = (
    scene_push, scene_by_hand, scene_unplug, scene_reboot, scene_power_cut, scene_power_cut_in_push,
)  # fmt: skip


def _is_chosen(scene: str, names: list[str]) -> bool:
    return not names or scene.removeprefix("scene_") in {"push", *names}


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main(debian: Path, seed: int, names: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _ended)
    random.seed(seed)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder, EmulatedPc(debian) as pc:
        service, pusher = Service(pc), Pusher(pc, Path(folder))
        print(
            f"== booted: {pc.run('. /etc/os-release; echo $PRETTY_NAME')}, Linux "
            f"{pc.run('uname -r')}, {pc.run('systemctl --version | head -n 1')}; seed {seed}"
        )
        try:
            for scene in (s for s in SCENES if _is_chosen(s.__name__, names)):
                print(f"== {scene.__doc__}")
                scene(service, pusher)
        except (SceneError, subprocess.TimeoutExpired) as failure:
            print(f"FAILED: {failure}")
            print(service.journal(60))
            print(pc.console()[-3000:])
            return 1
    print(f"vm: all scenes as they should be, in {(time.monotonic() - started) / 60:.0f} min")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    words = sys.argv[1:]
    chosen_seed = int(words[1]) if words[1:] else random.randrange(10**6)
    sys.exit(main(Path(words[0]).resolve(), chosen_seed, words[2:]))
