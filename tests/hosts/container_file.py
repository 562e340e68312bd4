"""Play deploy/container/Containerfile in a Debian made by debootstrap, and use the result.

    container_file.py BUILD     root only; needs debootstrap; BUILD keeps the bare Debian

No container engine and no registry is needed: a step is what `podman build` would run in the same
root, as the same user, in namespaces of its own. Then the container's own command runs, without
any camera, and is asked what an engine would ask: is it healthy, who is it, does it end when told.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
CONTEXT = TOP / "deploy" / "container"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PATIENCE_S = 300


class Container:
    """A root, and what its file has said so far: user, environment, command, health check."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.user = "root"
        self.environment = {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"}
        self.said: dict[str, list[str]] = {}

    def words(self, command: list[str]) -> list[str]:
        """Return what runs a command inside, as the user that the file has named."""
        inside = ["chroot", str(self.root)]
        if self.user != "root":
            inside += ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"]
        return [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
            "bash", "-c", 'mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; exec "$@"',
            str(self.root), "env", "-i", *(f"{k}={v}" for k, v in self.environment.items()),
            *inside, *command,
        ]  # fmt: skip

    def run(self, command: list[str], *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside, and return what it printed."""
        done = subprocess.run(self.words(command), capture_output=True, text=True, check=False)
        if check and done.returncode:
            sys.exit(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        return done

    def play(self, instruction: str, rest: str, context: Path) -> None:
        """Do what an instruction says.

        An unknown one ends the program: what is not played is not tested.
        """
        match instruction:
            case "RUN":
                self.run(["/bin/sh", "-c", rest])
            case "COPY":
                self.copy(context, *rest.split())
            case "USER":
                self.user = rest
            case "ENV":
                self.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
            case "ENTRYPOINT" | "CMD":
                self.said[instruction] = json.loads(rest)
            case "HEALTHCHECK":
                self.said[instruction] = ["/bin/sh", "-c", rest.partition(" CMD ")[2]]
            case "VOLUME" | "STOPSIGNAL":
                self.said[instruction] = [rest]
            case _:
                sys.exit(f"{instruction}: not known here")

    def copy(self, context: Path, pattern: str, target: str) -> None:
        """Copy what a pattern finds beside the file."""
        place = self.root / target.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        for path in list(context.glob(pattern)) or sys.exit(f"COPY {pattern}: nothing there"):
            shutil.copy(path, place)

    def is_healthy(self) -> bool:
        """Tell what the engine would: the health check's exit code."""
        return self.run(self.said["HEALTHCHECK"], check=False).returncode == 0


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions with what follows each, continued lines joined."""
    plain = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(str.strip, plain.splitlines()):
        name, _, rest = line.strip().partition(" ")
        yield name, rest.strip()


def bare_debian(build: Path, suite: str) -> Path:
    """Return a minimal root of a suite, made once."""
    root = build / f"container-{suite}"
    if not root.is_dir():
        places = [Path("/etc/apt/sources.list"), *Path("/etc/apt/sources.list.d").glob("*")]
        known = "\n".join(path.read_text() for path in places if path.is_file())
        lines = [line for line in known.splitlines() if re.match(r"deb |URIs:", line)]
        mirror = next(m[0] for line in lines if "security" not in line
                      and (m := re.search(r"https?://\S+", line)))  # fmt: skip
        part = root.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", suite, str(part), mirror]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        part.rename(root)
    return root


def main(build: Path) -> None:
    """Build, run, ask."""
    context, root = build / "container-context", build / f"container-root-{os.getpid()}"
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(CONTEXT, context)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(context), str(TOP)]
    subprocess.run(pip, check=True)
    (origin, base), *steps = instructions((context / "Containerfile").read_text())
    suite = re.search(r"debian:(\w+)", base)
    if origin != "FROM" or suite is None:
        sys.exit(f"{origin} {base}: expected FROM ...debian:SUITE")
    try:
        # Not by Python, which would read /dev/zero to its end.
        subprocess.run(["cp", "-a", bare_debian(build, suite[1]), root], check=True)
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", root / "etc")
        container = Container(root)
        container.environment |= network(root)
        for instruction, rest in steps:
            print(f"{instruction} {rest[:100]}", flush=True)
            container.play(instruction, rest, context)
        for name in network(root):
            del container.environment[name]
        use(container)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print("container: built from Debian, runs as no root, is healthy, ends as it should")


def network(root: Path) -> dict[str, str]:
    """Return what this machine's pip is told, for the build only; an engine passes proxies so."""
    certificates = root / "etc/ssl/certs/ca-certificates.crt"
    certificates.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy("/etc/ssl/certs/ca-certificates.crt", certificates)
    told = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    return told | {"PIP_CERT": "/etc/ssl/certs/ca-certificates.crt", "PIP_DEFAULT_TIMEOUT": "180"}


def use(container: Container) -> None:
    """Run the container's own command as an engine would, without a camera."""
    log = container.root / "var/log/edgeemo/edgeemo.jsonl"
    said = container.said
    expect(said["VOLUME"] == ["/var/log/edgeemo"], "the log is a volume")
    expect(not container.is_healthy(), "unhealthy before it runs")
    command = container.words([*said["ENTRYPOINT"], *said["CMD"]])
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait(log.is_file, "a log")
            expect(container.is_healthy(), "healthy while it runs, without a camera, too")
            child = inner(process.pid, "edgeemo")
            uid = Path(f"/proc/{child}").stat().st_uid
            expect(uid != 0, f"uid {uid}, not root")
            old = time.time() - 600
            os.utime(log, (old, old))
            expect(
                not container.is_healthy(),
                "unhealthy once nothing has been written for ten minutes",
            )
            os.kill(child, getattr(signal, said["STOPSIGNAL"][0]))
            process.wait(PATIENCE_S)
        finally:
            process.kill()
    records = [json.loads(line) for line in log.read_text().splitlines()]
    kinds = [record["kind"] for record in records]
    expect(kinds[0] == "service_started", "the log begins")
    expect("camera_lost" in kinds, "the absent camera is in the log")
    expect(records[-1]["kind"] == "service_stopped", "the log ends")
    container.run(["sh", "-c", "! touch /opt/edgeemo/x 2>/dev/null"])
    shown = container.run([*said["ENTRYPOINT"], "config", "example"]).stdout
    expect("[source]" in shown, "other commands run by the entry point")


def inner(outer: int, name: str) -> int:
    """Return the process of a name below another one."""
    for entry in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(re.findall(r"^(\w+):\t(.*)$", entry.read_text(), re.MULTILINE))
            above, pid = int(fields["PPid"]), int(entry.parent.name)
            while above > 1 and above != outer:
                above = int(
                    re.search(r"^PPid:\t(\d+)", Path(f"/proc/{above}/status").read_text(), re.M)[1]
                )
        except (OSError, KeyError, TypeError):  # gone meanwhile
            continue
        if above == outer and fields["Name"].startswith(name):
            return pid
    sys.exit(f"no process {name}")


def wait(condition: object, what: str) -> None:
    """Wait for something; ends the program if it does not come."""
    until = time.monotonic() + PATIENCE_S
    while not condition():  # type: ignore[operator]
        if time.monotonic() > until:
            sys.exit(f"{what}: did not come in {PATIENCE_S} s")
        time.sleep(0.5)


def expect(is_so: bool, what: str) -> None:
    """Print what holds; ends the program if it does not."""
    if not is_so:
        sys.exit(f"NOT SO: {what}")
    print(f"  {what}", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
