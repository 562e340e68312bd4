"""What is done to edgeemo as a service of a booted Debian, and what must come of it.

    service_scenes.py DEBIAN PAYLOAD     see service.sh

Prints what happened, as plain text; exit 1 at the first thing that should not be. Whatever ends
this script, the container is shut down and removed.
"""

import json
import re
import shlex
import shutil
import signal
import sys
import time
from pathlib import Path

from debian_container import HERE, Container, SceneError, must, until

LIMIT_EXPOSURE = 1.1
LIMIT_STOP_S = 2.0
LONGEST_SILENCE_S = 10.0
"""Between two signs to a watchdog that waits for 30 s; they are due every 5 s."""
TORN = '{"kind":"emotion"'
LOG = "var/log/edgeemo/edgeemo.jsonl"
CONFIG = "etc/edgeemo/edgeemo.toml"
_PACKAGES = "usr/lib/python3/dist-packages"
_PLAY = "var/cache/edgeemo/play"
_DROP_IN = "etc/systemd/system/edgeemo.service.d"


class Service:
    """edgeemo inside the container."""

    def __init__(self, container: Container) -> None:
        self.container = container

    def show(self, name: str) -> str:
        """Return a property of the unit."""
        return self.container.run(f"systemctl show edgeemo --property {name} --value")

    @property
    def pid(self) -> int:
        """The service's process, as the container counts."""
        return int(self.show("MainPID"))

    def is_running(self) -> bool:
        """Tell whether systemd calls it active and running."""
        return self.show("ActiveState") == "active" and self.show("SubState") == "running"

    def wait_until_back(self, old_pid: int) -> float:
        """Wait for another process than that, and return the seconds."""
        return until(lambda: self.is_running() and self.pid != old_pid, "edgeemo is back")

    def records(self) -> list[dict]:
        """Return the log's records; a line that is none is a failure."""
        text = (self.container.root / LOG).read_text("utf-8")
        must(text.endswith("\n"), "the log ends in a torn line")
        return [json.loads(line) for line in text.splitlines()]

    def wait_for_more(self, count: int = 5) -> None:
        """Wait for new records, which only frames can give rise to."""
        before = self.lines()
        until(lambda: self.lines() >= before + count, "new records")

    def lines(self) -> int:
        """Return how many lines the log has."""
        path = self.container.root / LOG
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def configure(self, device: str, bundle: str = "", spec: str = "demo:live") -> None:
        """Change the installed example, as an administrator would."""
        path = self.container.root / CONFIG
        text = path.read_text("utf-8")
        for key, value in (("spec", spec), ("bundle", bundle), ("device", device)):
            text, count = re.subn(rf'(?m)^{key} = "[^"]*"', f'{key} = "{value}"', text)
            must(count == 1, f"{CONFIG} has one {key}")
        text = re.sub(r'(?m)^emit = "[^"]*"', 'emit = "frame"', text)
        path.write_text(text, "utf-8")

    def journal(self, since: str) -> str:
        """Return what it and systemd have said about it."""
        return self.container.run(
            f"journalctl --unit edgeemo --output cat --since {shlex.quote(since)}"
        )

    def now(self) -> str:
        """Return the time as ``journal`` takes it."""
        return self.container.run("date '+%Y-%m-%d %H:%M:%S'")


def check_log(service: Service) -> str:
    """Every line parses, and no number is missing: each is the next, or a new session's first."""
    records = service.records()
    last: dict[str, int] = {}
    previous = -1
    for record in records:
        session, seq = record["session"], record["seq"]
        allowed = {last[session] + 1} if session in last else {0, previous + 1}
        must(seq in allowed, f"seq {seq} after {previous} in session {session}")
        last[session] = previous = seq
    cut = sum(r.get("recovered_bytes", 0) for r in records)
    counts = f"{len(records)} records of {len(last)} sessions"
    return f"{counts}, no number missing, {cut} torn bytes cut off"


def install(container: Container, payload: Path) -> None:
    """Do what docs/service.md says, with a release made from wheels and nothing else."""
    inside = container.root / "srv" / "payload"
    shutil.copytree(payload, inside)
    must(container.run("ls /sys/class/net") == "lo", "the container must have no network")
    release = "/opt/edgeemo/releases/NAME"
    container.run(
        f"python3 -m venv {release} && {release}/bin/pip --disable-pip-version-check install"
        " --quiet --no-index --find-links /srv/payload/wheels edgeemo"
    )
    container.run("install -D -m 644 -t /var/lib/edgeemo/assets /srv/payload/assets/*")
    page = (HERE.parent.parent / "docs" / "service.md").read_text("utf-8")
    steps = re.search(r"```sh\n(.*?)```", page, re.DOTALL)
    must(steps, "docs/service.md has the steps")
    *steps, start = steps[1].strip().splitlines() if steps else []
    must(start == "systemctl enable --now edgeemo", "the last step starts it")
    container.run("set -e; cd /srv/payload; " + "; ".join(steps))
    Service(container).configure("first")
    container.run(start)
    print(f"installed from {len(list((payload / 'wheels').iterdir()))} wheels, without a network")


def scene_start(service: Service) -> None:
    """It starts, and is what the unit says it is."""
    until(service.is_running, "edgeemo runs")
    service.wait_for_more()
    until(lambda: "frames" in service.show("StatusText"), "a status line")
    print(f"status: {service.show('StatusText')}")
    status = (Path("/proc") / str(outer(service)) / "status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    user = service.container.run(f"ps -o user= -p {service.pid}")
    must(user == "edgeemo", f"it runs as {user}")
    must(int(facts["CapEff"], 16) == int(facts["CapBnd"], 16) == 0, "it has no capability")
    must(facts["NoNewPrivs"] == "1", "it can gain no privilege")
    must(facts["Seccomp"] == "2", "its system calls are filtered")
    for place in ("/etc", "/usr", "/opt/edgeemo", "/var/lib/edgeemo/assets"):
        done = service.container.try_run(f"nsenter --target {service.pid} --mount touch {place}/x")
        must("Read-only file system" in done.stderr, f"{place} is not read-only: {done.stderr}")
    mode = service.container.run("stat -c '%a %U %G' /var/log/edgeemo/edgeemo.jsonl")
    must(mode == "640 edgeemo edgeemo", f"the log is {mode}")
    memory = int(service.show("MemoryCurrent")) / 1e6
    print(f"user {user}, no capability, seccomp, read-only system, log 640, {memory:.0f} MB")


def outer(service: Service) -> int:
    """Return the service's process as this side of the namespaces counts."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                numbers = re.search(r"NSpid:\s+(\d+).*\s(\d+)\n", (entry / "status").read_text())
                if (
                    numbers
                    and int(numbers[2]) == service.pid
                    and b"edgeemo" in (entry / "cmdline").read_bytes()
                ):
                    return int(numbers[1])
            except OSError:
                continue
    raise SceneError("no process of the service")


def scene_security(service: Service) -> None:
    """systemd-analyze judges the running unit."""
    line = service.container.run("systemd-analyze security edgeemo --no-pager").splitlines()[-1]
    figure = float(re.search(r"([\d.]+) \w+", line.split(":")[1])[1])
    print(f"systemd-analyze security edgeemo: {figure} (limit {LIMIT_EXPOSURE})")
    must(figure <= LIMIT_EXPOSURE, "the unit is too exposed")
    must(service.show("StartLimitIntervalUSec") == "0", "it never gives up")


def scene_kill(service: Service) -> None:
    """SIGKILL, the last line torn: a new process, the log whole."""
    for _ in range(3):
        old = service.pid
        service.container.run(f"kill -9 {old}; printf '{TORN}' >> /{LOG}")  # as if in mid-write
        took = service.wait_until_back(old)
        service.wait_for_more()
        print(f"back after {took:.1f} s; {check_log(service)}")
    starts = [r for r in service.records() if r["kind"] == "service_started"]
    cut = [r["recovered_bytes"] for r in starts[-3:]]
    must(cut == [len(TORN)] * 3, f"the torn lines are counted where they are cut off: {cut}")


def scene_hang(service: Service) -> None:
    """SIGSTOP: the watchdog ends it."""
    since, old = service.now(), service.pid
    service.container.run(f"kill -STOP {old}")
    took = service.wait_until_back(old)
    journal = service.journal(since)
    must("Watchdog timeout" in journal, f"no word of the watchdog: {journal}")
    must("Current thread" in journal or "Thread 0x" in journal, f"not told where: {journal}")
    service.wait_for_more()
    print(f"the watchdog ended it and it was back after {took:.1f} s; {check_log(service)}")


def scene_reload(service: Service) -> None:
    """SIGHUP: other names, another model; the camera goes on. What is wrong is refused."""
    pid, sessions = service.pid, len({r["session"] for r in service.records()})
    bundle = "/var/lib/edgeemo/models/mine"
    packaged = "/opt/edgeemo/current/lib/python3*/site-packages/edge/models/default"
    service.container.run(f"cp -r {packaged} {bundle}")
    service.configure("second", bundle)
    service.container.run("systemctl reload edgeemo")
    must(service.is_running() and service.pid == pid, "the same process runs on")
    service.wait_for_more()
    started = [r for r in service.records() if r["kind"] == "service_started"][-1]
    must(started["device"] == "second", "the new name is taken up")
    must(len({r["session"] for r in service.records()}) == sessions + 1, "a session per reload")
    # Frame numbers are the camera's own: one that was opened anew would count from 0.
    before, after = frames_around_the_last_start(service.records())
    must(before < after, f"the camera's frames are counted on: {before}, {after}")
    print(
        f"reloaded in one process: frame {before} under the old model, frame {after} under the new"
    )
    since = service.now()
    service.configure("third", "/var/lib/edgeemo/models/none")
    service.container.run("systemctl reload edgeemo")
    service.wait_for_more()
    must(service.is_running() and service.pid == pid, "the old configuration runs on")
    must("is refused" in service.journal(since), "the refusal is in the journal")
    started = [r for r in service.records() if r["kind"] == "service_started"][-1]
    must(started["device"] == "second", "a refused configuration changes nothing")
    service.configure("second", bundle)
    print("a model that is not there was refused, the old one ran on")


def scene_reload_of_what_can_not_be_used(service: Service) -> None:
    """SIGHUP with every kind of configuration that cannot be used: one line each, nothing more."""
    pid, path = service.pid, service.container.root / CONFIG
    whole = path.read_text("utf-8")
    closed, large = "/var/lib/edgeemo/models/closed", "/var/lib/edgeemo/models/large"
    service.container.run(
        f"install -d -m 700 {closed}; cp -r /var/lib/edgeemo/models/mine {closed}/mine;"
        f" cp -r /var/lib/edgeemo/models/mine {large};"
        f" truncate --size=250M {large}/model.tflite; cd {large}; sha256sum"
        " model.tflite metadata.json parity.json golden.npz MODEL_CARD.md > SHA256SUMS"
    )
    cases = {
        "a bundle in a closed folder": re.sub(
            r'(?m)^bundle = ".*"', f'bundle = "{closed}/mine"', whole
        ),
        "a model of 250 MB": re.sub(r'(?m)^bundle = ".*"', f'bundle = "{large}"', whole),
        "3,000,000,000 threads": re.sub(r"(?m)^threads = 1", "threads = 3000000000", whole),
        "a path of 5,000 characters": re.sub(r'(?m)^bundle = "', f'bundle = "/{"x" * 5000}', whole),
        "brackets in brackets": "x = " + "[" * 4000,
        "no number": re.sub(r"(?m)^fps = 30.0", "fps = nan", whole),
        "no text": "\udcff\udcfe",
        "100 MB": "#" * 100_000_000,
    }
    since = service.now()  # to the second, so lines are counted from here on
    told = service.journal(since).count("the old one stays")
    for what, text in cases.items():
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        service.container.run("systemctl reload edgeemo")
        service.wait_for_more()
        must(service.is_running() and service.pid == pid, f"it runs on after {what}")
        journal = service.journal(since)
        told += 1
        must(journal.count("the old one stays") == told, f"{what} is told in one line: {journal}")
        must("Traceback" not in journal, f"no traceback for {what}")
    for make in ("rm -f {0}", "mkfifo {0}", "rm -f {0}; ln -s /dev/zero {0}", "rm {0}; mkdir {0}"):
        service.container.run(make.format(f"/{CONFIG}"))
        service.container.run("systemctl reload edgeemo")
        service.wait_for_more()
        must(service.is_running() and service.pid == pid, f"it runs on after {make}")
    path.rmdir()
    path.write_text(whole, "utf-8")
    service.container.run(
        f"chown root:edgeemo /{CONFIG}; chmod 600 /{CONFIG}; systemctl reload edgeemo"
    )
    must("Permission denied" in service.show("StatusText"), "a file it may not read is told")
    starts = count_of_starts(service)
    service.container.run(f"chmod 640 /{CONFIG}; systemctl reload edgeemo; rm -r {closed} {large}")
    service.wait_for_more()
    must(count_of_starts(service) == starts + 1, "what can be used is taken up again")
    print(f"{len(cases) + 5} that cannot be used were refused, in one process")


def count_of_starts(service: Service) -> int:
    return sum(record["kind"] == "service_started" for record in service.records())


def scene_other_readers(service: Service) -> None:
    """Each place that docs/logs.md shows for other readers gets records, over a restart, too."""
    page = (HERE.parent.parent / "docs" / "logs.md").read_text("utf-8")
    shown = re.findall(r'(?m)^\| `"((?:journald|stdout|fifo:|unix:)[^"]*)"` \|', page)
    must(len(shown) == 4, f"docs/logs.md shows four: {shown}")
    path = service.container.root / CONFIG
    whole, since = path.read_text("utf-8"), service.now()
    path.write_text(re.sub(r"(?m)^also = \[\]", f"also = {json.dumps(shown)}", whole), "utf-8")
    service.container.run("systemctl restart edgeemo")
    mode = service.container.run("stat -c '%a %U %G' /run/edgeemo /run/edgeemo/records")
    must(
        mode.split("\n") == ["750 edgeemo edgeemo", "640 edgeemo edgeemo"], f"/run/edgeemo: {mode}"
    )
    inode = service.container.run("stat -c %i /run/edgeemo/records")
    for restarted in (False, True):
        if restarted:
            service.container.run("systemctl restart edgeemo")
        service.wait_for_more()
        line = service.container.run("timeout 30 head -n 1 /run/edgeemo/records")
        must("session" in json.loads(line), f"the FIFO gives records: {line}")
        line = service.container.run(
            "timeout 30 python3 -c 'import socket; s = socket.socket(socket.AF_UNIX);"
            ' s.connect("/run/edgeemo/socket"); print(s.makefile().readline())\''
        )
        must("session" in json.loads(line), f"the socket gives records: {line}")
    must(service.container.run("stat -c %i /run/edgeemo/records") == inode, "the FIFO is the same")
    lines = service.container.run(
        f"journalctl -t edgeemo EDGEEMO_KIND=emotion -o json --since {shlex.quote(since)} -n 1"
    )
    must("EDGEEMO_LABEL" in lines, f"the journal has records: {lines}")
    must('"kind":"emotion"' in service.journal(since), "the standard output is in the journal")
    path.write_text(whole, "utf-8")
    service.container.run("systemctl restart edgeemo")
    service.wait_for_more()
    print(f"records went to {', '.join(shown)}; the FIFO outlived a restart")


_FILM = """
import struct, sys
from edge.config import SourceConfig
from edge.sources.select import open_source
film, seen = open_source(SourceConfig("demo")), []
while len(seen) < 30 and (frame := film.read()) is not None:
    seen.append(frame.image)
height, width = seen[0].shape[:2]
with open(sys.argv[1], "wb") as file:
    file.write(struct.pack("<III", width, height, len(seen)) + b"".join(p.tobytes() for p in seen))
"""


def scene_ribbon_camera(service: Service) -> None:
    """A ribbon camera, with Bookworm's own NumPy: its stop hangs for good, and the run goes on."""
    container, since = service.container, service.now()
    packages = container.root / _PACKAGES
    played = HERE.parent / "edge/sources/cameras/fake_picamera2"
    (packages / "picamera2").mkdir()
    shutil.copy(played / "picamera2.py", packages / "picamera2" / "__init__.py")
    shutil.copy(played / "libcamera.py", packages)
    container.run(f"python3 -m zipfile -e /srv/payload/system/simplejpeg*.whl /{_PACKAGES}")
    versions = container.run("python3 -c 'import numpy, simplejpeg; print(numpy.__version__)'")
    play = container.root / _PLAY
    container.run(f"install -d -o edgeemo -g edgeemo /{_PLAY} /{_DROP_IN}")
    film = f"import sys; sys.argv[1:] = ['/{_PLAY}/frames']\n{_FILM}"
    container.run(
        "EDGEEMO_ASSETS=/var/lib/edgeemo/assets "
        f"/opt/edgeemo/current/bin/python -c {shlex.quote(film)}"
    )
    drop_in = container.root / _DROP_IN / "play.conf"
    drop_in.write_text(f"[Service]\nEnvironment=PLAY_CSI=/{_PLAY}\n", "ascii")
    service.configure("ribbon", spec="picamera")
    container.run("systemctl daemon-reload; systemctl restart edgeemo")
    service.wait_for_more()
    pid, child = service.pid, container.run("pgrep -f '[r]ibbon_process.py'")
    python = container.run(f"readlink /proc/{child}/exe")
    must(python.startswith("/usr/bin/python3"), f"the camera's process is the system's: {python}")
    (play / "stuck").touch()
    (play / "loose").touch()
    until(
        lambda: any(r["kind"] == "camera_lost" for r in service.records()), "the loss is recorded"
    )
    (play / "loose").unlink()
    silences = []

    def is_restored() -> bool:
        last_us = int(service.show("WatchdogTimestampMonotonic"))
        silences.append(time.monotonic() - last_us / 1e6)
        return any(r["kind"] == "camera_restored" for r in service.records())

    took = until(is_restored, "the camera is back")
    must(max(silences) < LONGEST_SILENCE_S, f"signs to the watchdog: {max(silences):.1f} s apart")
    must(service.pid == pid, "it is the same process")
    journal = service.journal(since)
    must("its process was ended" in journal, f"what hung is told: {journal}")
    service.wait_for_more()
    replaced = container.run("pgrep -f '[r]ibbon_process.py'")
    must(replaced != child, "the camera's process is another one")
    print(
        f"NumPy {versions}: a stop that hung was killed, the camera back after {took:.1f} s, "
        f"signs to the watchdog at most {max(silences):.1f} s apart"
    )
    started = time.monotonic()
    container.run("systemctl stop edgeemo")
    took = time.monotonic() - started
    must(service.show("Result") == "success", "a clean end")
    must(not container.try_run("pgrep -f '[r]ibbon_process.py'").stdout, "nothing is left")
    must(took < LIMIT_STOP_S, f"the end took {took:.1f} s")
    print(f"ended in {took:.2f} s (limit {LIMIT_STOP_S:.0f} s) while the camera hung")
    drop_in.unlink()
    container.run(f"rm -r /{_PLAY} /{_PACKAGES}/picamera2 /{_PACKAGES}/libcamera.py")
    service.configure("second")
    container.run("systemctl daemon-reload; systemctl start edgeemo")
    service.wait_for_more()


def frames_around_the_last_start(records: list[dict]) -> tuple[int, int]:
    start = max(i for i, record in enumerate(records) if record["kind"] == "service_started")
    old = [
        r["frame"]
        for r in records[:start]
        if r["session"] == records[start - 1]["session"] and "latency_ms" in r
    ]
    new = [r["frame"] for r in records[start:] if "latency_ms" in r]
    return old[-1], new[0]


def scene_stop(service: Service) -> None:
    """SIGTERM: a clean end, in time."""
    for _ in range(3):
        started = time.monotonic()
        service.container.run("systemctl stop edgeemo")
        took = time.monotonic() - started
        must(service.show("Result") == "success", "a clean end")
        last = service.records()[-1]
        must((last["kind"], last["reason"]) == ("service_stopped", "signal"), f"last: {last}")
        print(f"ended in {took:.2f} s (limit {LIMIT_STOP_S:.0f} s); last record: service_stopped")
        must(took < LIMIT_STOP_S, "the end takes too long")
        service.container.run("systemctl start edgeemo")
        service.wait_for_more()


def scene_wrong_configuration(service: Service) -> None:
    """A start that fails is tried again until somebody has corrected what was wrong."""
    since = service.now()
    service.configure("second", "/var/lib/edgeemo/models/none")
    service.container.run("systemctl restart edgeemo || true")
    before = int(service.show("NRestarts"))
    until(lambda: int(service.show("NRestarts")) >= before + 6, "six more attempts")
    must("/var/lib/edgeemo/models/none" in service.journal(since), "the reason is in the journal")
    service.configure("second")
    until(service.is_running, "edgeemo comes back by itself")
    service.wait_for_more()
    print("after six failed starts the configuration was corrected, and it came back by itself")


def scene_reboot(service: Service) -> None:
    """A reboot: it comes up by itself."""
    lines = service.lines()
    took = service.container.reboot()
    until(service.is_running, "edgeemo runs")
    service.wait_for_more()
    kinds = [r["kind"] for r in service.records()[lines - 1 :]]
    must(kinds.index("service_stopped") < kinds.index("service_started"), "the shutdown was clean")
    print(f"down and up again in {took:.1f} s, edgeemo by itself; {check_log(service)}")


SCENES = (
    scene_start, scene_security, scene_kill, scene_hang, scene_reload,
    scene_reload_of_what_can_not_be_used, scene_other_readers, scene_stop, scene_ribbon_camera,
    scene_wrong_configuration, scene_reboot,
)  # fmt: skip


def _last_words(container: Container) -> str:
    try:
        return container.try_run(
            "systemctl status edgeemo; journalctl -u edgeemo | tail -n 40"
        ).stdout
    except SceneError as failure:
        return str(failure)


def _ended(number: int, _: object) -> None:
    raise SystemExit(128 + number)


def main(debian: Path, payload: Path) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _ended)
    with Container(debian) as container:
        service = Service(container)
        print(
            f"== booted: {container.run('. /etc/os-release; echo $PRETTY_NAME')}, "
            f"{container.run('systemctl --version | head -n 1')}"
        )
        try:
            install(container, payload)
            for scene in SCENES:
                print(f"== {scene.__doc__}")
                scene(service)
        except SceneError as failure:
            print(f"FAILED: {failure}")
            print(_last_words(container))
            return 1
    print("service: all scenes as they should be")
    return 0


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    sys.exit(main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()))
