"""A device that lies, prints without end, or does not answer: it fails alone, and soon."""

import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from deploy.errors import ConnectionLostError, DeployError
from deploy.facts import LONGEST_WINDOW_S, decode, probe
from deploy.logs.collect import collect
from deploy.operations import push
from deploy.operations.manage import follow_logs
from deploy.operations.push import Options, Outcome
from deploy.release.archive import Item, Release, agent_program
from deploy.release.plan import make_plan, plan_lines
from deploy.release.wheelhouse import kind_of
from deploy.ssh import stream
from deploy.ssh.agent import agent_command
from deploy.ssh.stream import Output, local_stream
from deploy.ssh.targets import Target
from edgeemo.cli.fleet import run_on, show_line

BELL = "\x1b]0;owned\x07\x1b[2J\u202e\x9b31m\x7f\rinvisible\ud800"
A, B = "a" * 16, "b" * 16
AGENT = Item("agent.pyz", hashlib.sha256(agent_program()).hexdigest(), 40_000, agent_program())


def facts(**changed: object) -> str:
    """Return what an honest Pi prints, but for what is changed."""
    return json.dumps(
        {
            "machine": "aarch64", "bits": 64, "os": "Debian", "python": [3, 11, 2],
            "libc": ["glibc", "2.36"], "free_bytes": 10**10, "writable": False, "user": "pi",
            "root": False, "groups": ["video"], "sudo": True, "systemd": True, "venv": True,
            "cameras": ["video0"], "staging": "/home/pi/.cache/edgeemo-deploy",
            "staged": {}, "present": True, "wheels": [], "releases": [], "current": None,
            "release": {}, "state": {}, "pending": None, "service": {}, **changed,
        }
    )  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"state": {"good": 5}},
        {"state": {"good": [1]}},
        {"state": {"good": ["../../etc"]}},
        {"state": {"failed": ["x"]}},
        {"state": {"failed": {A: "x"}}},
        {"state": {"failed": {A: {"problem": "x" * 100_000}}}},
        {"state": []},
        {"pending": ["x"]},
        {"pending": {"release": A, "window_s": "soon"}},
        {"pending": {"release": A, "window_s": -1}},
        {"release": {"files": ["x"]}},
        {"release": {"files": [{"path": "x"}]}},
        {"release": {"files": [{"path": 1, "sha256": "0" * 64, "size": 1}]}},
        {"release": {"version": {}}},
        {"libc": ["glibc"]},
        {"libc": "glibc 2.36"},
        {"python": [3, 11]},
        {"python": [3, 10**100, 0]},
        {"bits": "64"},
        {"free_bytes": -1},
        {"free_bytes": 10**40},
        {"staging": "somewhere"},
        {"staging": "/a\n/b"},
        {"staged": {"x": 1}},
        {"staged": {"0" * 64: 10**30}},
        {"wheels": ["x"]},
        {"releases": [None]},
        {"current": {}},
        {"current": "x" * 100_000},
        {"groups": ["x"] * 100_000},
        {"cameras": {"a": 1}},
        {"service": {"ActiveState": None}},
        {"service": {str(number): "" for number in range(1000)}},
        {"user": "x" * 100_000},
        {"root": "yes"},
    ],
    ids=lambda changed: f"{changed}"[:60],
)  # fmt: skip
def test_facts_of_another_form_are_refused(changed):
    """Everything that is used later has its type and its bounds; anything else is one error."""
    assert decode(facts()).machine == "aarch64"
    with pytest.raises(DeployError, match="not its facts"):
        decode(facts(**changed))


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "5", "{}", "[" * 100_000, '{"a":' * 100_000, '{"bits": 1e999}', '"\\ud800"'],
    ids=lambda text: text[:20],
)
def test_what_is_no_facts_at_all_is_refused(text):
    """Neither too deep nor too large for a number."""
    with pytest.raises(DeployError, match="not its facts"):
        decode(text)


@pytest.mark.parametrize("version", ["2.300000000", "2.1e9", "2.-1", "2.٣٦", "2.36\n", "3.0", "2."])
def test_a_version_that_no_glibc_has_is_refused(version):
    """A list of platforms up to it would take the memory of the workstation."""
    with pytest.raises(DeployError, match="glibc"):
        kind_of(decode(facts(libc=["glibc", version])))


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("exec yes", "without end"),
        ("exec cat /dev/zero", "without end"),
        ("while :; do printf x; sleep 0.05; done", "too slow"),
        ("exec sleep 600", "no answer within"),
        ("exec >&-; exec sleep 600", "was ended"),
        ("yes >&2 & sleep 0.2; kill $!; exit 1", "y"),
        ("printf 'an \\033[31merror\\n' >&2; exit 1", r"an \\x1b\[31merror"),
    ],
)
def test_a_command_is_bounded_in_bytes_and_time(monkeypatch, script, told):
    """Endless, dripping, silent, closed but alive, endless complaints, complaints with colours."""
    monkeypatch.setattr(stream, "TIMEOUT_S", 0.5)
    with (
        pytest.raises(DeployError, match=told) as caught,
        local_stream(["sh", "-c", script], b"", 0.5) as output,
    ):
        output.rest()
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("script", "is_lost"),
    [("kill -9 $$", True), ("echo no room >&2; exit 1", False)],
)
def test_what_was_done_is_known_unless_the_connection_ends(script: str, is_lost: bool):
    """A refusal is an answer; a command that ends without a status gave none."""
    with pytest.raises(DeployError) as caught, local_stream(["sh", "-c", script], b"") as output:
        output.rest()
    assert isinstance(caught.value, ConnectionLostError) == is_lost


def test_an_answer_without_end_is_read_no_further_than_its_bound():
    """A megabyte, whatever the speed at which it comes."""

    class Endless:
        given = 0

        def read1(self, size: int, /) -> bytes:
            self.given += size
            return bytes(size)

    endless = Endless()
    with pytest.raises(DeployError, match="without end"):
        Output(endless).rest()
    assert endless.given < 2 << 20


def test_a_line_without_end_is_no_line(monkeypatch):
    """It is given up at its bound, not kept in memory for ever."""
    monkeypatch.setattr(stream, "LONGEST_LINE", 1 << 20)
    with open("/dev/zero", "rb") as zeros, pytest.raises(EOFError):  # noqa: PTH123
        Output(zeros).line()


def test_reading_goes_on_where_it_stopped():
    """Lines, counted bytes and the rest, however they come."""
    output = Output(io.BytesIO(b"one\ntwo\n12345rest"))
    assert (output.line(), output.line(), output.read(5)) == (b"one\n", b"two\n", b"12345")
    assert output.rest() == b"rest"
    with pytest.raises(EOFError):
        output.line()


def test_a_trial_without_end_is_not_waited_for(monkeypatch):
    """A device may say that its release is on trial for a million years."""
    monkeypatch.setattr(
        push, "read_facts", lambda *_: decode(facts(pending={"release": A, "window_s": 1e300}))
    )
    monkeypatch.setattr(push, "POLL_S", 0.0)
    monkeypatch.setattr(push, "PATIENCE_S", -LONGEST_WINDOW_S - 1)
    with pytest.raises(DeployError, match="no verdict in time"):
        push.wait_for_verdict(SimpleNamespace(), "/opt/edgeemo", 1e300)


def test_one_device_that_breaks_something_leaves_the_others_alone(capsys):
    """Even an error that nobody has foreseen is that device's own."""

    def work(target: Target) -> Outcome:
        if target.host == "liar":
            raise KeyError(BELL)
        return Outcome(str(target), "done", BELL)

    with pytest.raises(typer.Exit):
        run_on([Target("liar"), Target("box")], work, "100%", 0)
    shown = capsys.readouterr().out
    assert "liar: failed: unexpected KeyError" in shown
    assert "box: done" in shown
    assert shown.replace("\n", "").isprintable()


def test_what_a_device_says_is_shown_escaped(capsys):
    """A plan's lines: the names in it are the device's."""
    told = decode(facts(current="x\x1b]0;owned\x07", state={"good": [B]}))
    release = Release((AGENT,), b"{}", AGENT.sha256, "default")
    plan = make_plan(told, release, with_service=True, window_s=60)
    for line in plan_lines(plan, told, release):
        show_line(line)
    shown = capsys.readouterr().out
    assert r"switch current from x\x1b]0;owned\x07" in shown
    assert shown.replace("\n", "").isprintable()


def test_the_journal_is_shown_escaped(tmp_path, monkeypatch, capsys):
    """Line by line, bytes that are no text included; the exit code is ssh's."""
    fake = tmp_path / "ssh"
    fake.write_text("#!/bin/sh\nprintf 'a\\033[2Jb\\377\\n\\007' ; printf 'c\\r' >&2; exit 3\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    code = follow_logs(Target("box"), Options(), show_line, follow=False, lines=5)
    assert code == 3
    shown = capsys.readouterr().out
    assert shown.startswith("a\\x1b[2Jb\ufffd\n")
    assert shown.replace("\n", "").isprintable()


def test_a_listing_without_bounds_is_refused_before_anything_is_sent(tmp_path):
    """10^18 bytes do not fit, and the disk is not filled to find that out."""
    name = "edgeemo-000001-20260101T000000Z.jsonl"
    for size, told in ((10**18, "there is room for"), (10**30, "makes no sense")):
        listing = {"files": [{"name": name, "size": size, "first": "0" * 64}]}

        class Liar:
            asked = 0

            @contextmanager
            def connect(self, _: Target):
                yield self

            @contextmanager
            def stream(self, *_: object, listing=listing, **__: object):
                self.asked += 1
                yield Output(io.BytesIO(json.dumps(listing).encode() + b"\n"))

        liar = Liar()
        with pytest.raises(DeployError, match=told):
            collect(Target("box"), liar, "/var/log/edgeemo", tmp_path / "logs")
        assert liar.asked == 1


def probed(cache: Path, prefix: Path) -> str:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-", str(prefix)],
        input=probe(),
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_what_was_sent_is_known_by_its_content(tmp_path):
    """A file of the right name and size that is another one is not on the device."""
    staging = tmp_path / "cache" / "edgeemo-deploy"
    staging.mkdir(parents=True)
    whole, altered = (hashlib.sha256(text).hexdigest() for text in (b"whole", b"other"))
    (staging / whole).write_bytes(b"whole")
    (staging / altered).write_bytes(b"0ther")
    (staging / ("z" * 64)).write_bytes(b"")
    assert decode(probed(tmp_path / "cache", tmp_path / "opt")).staged == {whole: 5}


def test_strange_names_below_the_prefix_are_no_wheels(tmp_path):
    """They are skipped, and the rest is seen; a link's name may be any bytes."""
    prefix = tmp_path / "opt"
    for folder in ("wheels", "releases"):
        (prefix / folder / "lost+found").mkdir(parents=True)
    (prefix / "wheels" / ("0" * 64)).mkdir()
    (prefix / "releases" / A).mkdir()
    (prefix / "releases" / A / "release.json").write_text("{}")
    (prefix / "current").symlink_to(os.fsdecode(b"releases/\xff\x1b[31m"))
    told = decode(probed(tmp_path, prefix))
    assert (told.wheels, told.releases, told.current) == (["0" * 64], [A], "\\xff\x1b[31m")


def test_the_agent_is_always_sent_and_runs_only_unaltered(tmp_path):
    """Neither its name nor its size makes a program that of this push."""
    told = decode(facts(staging=str(tmp_path), staged={AGENT.sha256: AGENT.size}))
    release = Release((AGENT,), b"{}", AGENT.sha256, "default")
    assert make_plan(told, release, with_service=True, window_s=60).send == (AGENT,)
    program = tmp_path / AGENT.sha256
    words = [*agent_command(told, AGENT.sha256, "remove", str(tmp_path / "opt"))]
    words[0] = sys.executable
    program.write_bytes(agent_program())
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    program.write_bytes(agent_program()[:-1] + b"\x01")
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "has been altered" in done.stderr


# Over a real sshd, whose forced command answers for whatever is asked.


@dataclasses.dataclass
class Liars:
    """Devices that answer what they are told to; ``box`` beside them is honest."""

    folder: Path
    port: int
    config: Path
    keys: list[str] = dataclasses.field(default_factory=list)

    def add(self, name: str, command: str) -> None:
        """Add one that runs ``command`` for whatever is asked."""
        key = self.config.parent / name
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        public = key.with_name(f"{name}.pub").read_text()
        with (self.folder / "authorized").open("a") as file:
            file.write(f'command="{command}" {public}')
        with self.config.open("a") as file:
            file.write(
                f"Host {name}\n  HostName 127.0.0.1\n  Port {self.port}\n  IdentityFile {key}\n"
                f"  IdentitiesOnly yes\n  UserKnownHostsFile {self.folder}/known_hosts\n"
            )

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `edgeemo deploy`."""
        options = ["--ssh-config", str(self.config), "--prefix", str(self.config.parent / "opt")]
        command = [sys.executable, "-m", "edgeemo", "deploy", *words, *options]
        return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def liars(sshd, tmp_path):
    """Keep the sshd of the other tests as it was."""
    folder, port = sshd
    before = (folder / "authorized").read_text()
    shutil.copy(folder / "config", tmp_path / "config")
    yield Liars(folder, port, tmp_path / "config")
    (folder / "authorized").write_text(before)


def test_a_fleet_with_liars_in_it(liars, tmp_path):
    """Each lie is a row, escaped; the honest device answers; the exit code says it."""
    answers = {
        "malformed": facts(state={"good": 5}),
        "coloured": facts(current=BELL[:-1], os=BELL[:-1]),
        "deep": "[" * 100_000,
    }
    for name, answer in answers.items():
        (tmp_path / f"{name}.json").write_text(answer + "\n")
        liars.add(name, f"cat {tmp_path}/{name}.json")
    liars.add("endless", "yes")
    done = liars.run("status", *answers, "endless", "box")
    assert done.returncode == 1
    rows = [line.split(" ")[0] for line in done.stdout.splitlines() if line[0] != " "]
    assert sorted(rows) == sorted(["device", *answers, "endless", "box", "4"])
    text = " ".join(done.stdout.split())
    assert text.count("not its facts") == 2
    assert "without end" in text
    assert r"\x1b" in text
    assert "edgeemo is not there" in text
    assert (done.stdout + done.stderr).replace("\n", "").isprintable()
    done = liars.run("push", "malformed", "--dry-run")
    assert (done.returncode, done.stdout.count("\n")) == (1, 1), done.stdout
    done = liars.run("status", "coloured", "--json")
    assert json.loads(done.stdout)["current"] == BELL[:-1]
    assert done.stdout.replace("\n", "").isprintable()


def test_a_long_answer_is_whole_json(liars, tmp_path):
    """Programs read it: nothing is cut off."""
    problem = "é" * 19_000
    failed = {f"{number:016x}": {"problem": problem, "time": "t"} for number in range(5)}
    (tmp_path / "long.json").write_text(facts(state={"failed": failed}) + "\n")
    liars.add("long", f"cat {tmp_path}/long.json")
    done = liars.run("status", "long", "--json")
    assert done.returncode == 0, done.stdout[-300:]
    assert len(done.stdout) > 500_000
    assert json.loads(done.stdout)["failed"] == failed


_ASK = """
import sys
from pathlib import Path
from deploy.ssh import stream
from deploy.ssh.transport import Device, use_gevent
use_gevent()
from deploy.errors import ConnectionLostError, DeployError
from deploy.ssh.targets import Target
stream.TIMEOUT_S = 1.0
for name in sys.argv[2:]:
    try:
        with Device(Target(name), ssh_config=Path(sys.argv[1]), accept_new=False) as device:
            print(name, "answered", device.run(["true"], timeout_s=1.0))
    except DeployError as error:
        print(name, error)
"""


def test_a_device_over_ssh_is_bounded_in_time(liars, tmp_path):
    """Silent, dripping, ended but not gone, complaining without end: none is waited for."""
    (tmp_path / "words").write_text("no \x1b[2Jroom\n")
    commands = {
        "silent": ("sleep 30", "no answer within 1 s"),
        "drips": ("while :; do printf x; sleep 0.1; done", "too slow"),
        "stays": ("exec >&- 2>&-; sleep 30", "was ended|no answer"),
        "complains": ("yes >&2; exit 1", "no answer within 1 s"),
        "fails": (f"cat {tmp_path}/words >&2; exit 3", r"no \\x1b\[2Jroom"),
    }
    for name, (command, _) in commands.items():
        liars.add(name, command)
    done = subprocess.run(
        [sys.executable, "-c", _ASK, str(liars.config), *commands],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for name, (_, told) in commands.items():
        assert re.search(told, lines.get(name, "")), (name, lines, done.stderr[-2000:])
