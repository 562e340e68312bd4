"""What a fleet's pushes are watched by: canaries, drift, differences, trouble, pauses."""

import base64
import gzip
import hashlib
import io
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.device.drift import drift
from deploy.device.recent import recent
from deploy.facts import Facts
from deploy.operations.canary import Recent, worse
from deploy.operations.compare import changes
from deploy.operations.fleet import run_fleet
from deploy.operations.push import Outcome
from deploy.operations.trouble import by_trouble
from deploy.release.archive import Item, Release
from deploy.ssh.targets import parse_target
from edgeemo.cli import fleet as cli
from edgeemo.cli.fleet_status import show_table

NAME = "a" * 16


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A device's prefix with a release of a model, a unit, and an environment with one package."""
    release = tmp_path / "opt" / "releases" / NAME
    files = {"model/model.tflite": b"model", "units/edgeemo.service": b"ExecStart=/opt/edgeemo/x"}
    for name, content in files.items():
        (release / name).parent.mkdir(parents=True)
        (release / name).write_bytes(content)
    site = release / "env" / "lib" / "python3.11" / "site-packages"
    (site / "edge-0.2.dist-info").mkdir(parents=True)
    (site / "edge.py").write_bytes(b"code")
    told = base64.urlsafe_b64encode(hashlib.sha256(b"code").digest()).rstrip(b"=").decode()
    (site / "edge-0.2.dist-info" / "RECORD").write_text(
        f"edge.py,sha256={told},4\nedge-0.2.dist-info/RECORD,,\n"
    )
    listed = [{"path": name, "sha256": sha(content)} for name, content in files.items()]
    listed.append({"path": "wheels/edge-0.2.whl", "sha256": "0" * 64})
    (release / "release.json").write_text(json.dumps({"files": listed}))
    (tmp_path / "opt" / "state.json").write_text('{"service": "none"}')
    (tmp_path / "opt" / "current").symlink_to(f"releases/{NAME}")
    return tmp_path / "opt"


def test_a_device_as_it_was_pushed_has_not_drifted(prefix):
    """Model, units and packages are looked at; wheels, which were unpacked, are not."""
    found = drift(prefix)
    assert (found["files"], found["altered"], found["missing"]) == (3, [], [])


@pytest.mark.parametrize("name", ["model/model.tflite", "env/lib/python3.11/site-packages/edge.py"])
def test_an_altered_and_a_missing_file_are_named(prefix, name):
    """Whatever part of the release it is of."""
    path = prefix / "current" / name
    path.write_bytes(b"other")
    assert drift(prefix)["altered"] == [str(path)]
    path.unlink()
    assert (drift(prefix)["altered"], drift(prefix)["missing"]) == ([], [str(path)])


def test_an_altered_unit_is_named(prefix, tmp_path, monkeypatch):
    """What was installed for the service is compared as it was installed: with its own prefix."""
    place = tmp_path / "edgeemo.service"
    monkeypatch.setattr("deploy.device.drift.PLACES", {"units/edgeemo.service": str(place)})
    (prefix / "state.json").write_text('{"service": "systemd"}')
    place.write_text(f"ExecStart={prefix}/x")
    assert drift(prefix)["altered"] == []
    place.write_text(f"ExecStart={prefix}/y")
    assert drift(prefix)["altered"] == [str(place)]


def line(seq: int, ago_s: float, **fields: object) -> bytes:
    time = datetime.now(UTC) - timedelta(seconds=ago_s)
    text = time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": text, "seq": seq, **fields}).encode() + b"\n"


def test_a_log_tells_how_a_service_did_of_late(tmp_path):
    """Over rotation and compression, whatever is damaged; what is older does not count."""
    old = [line(0, 5000, kind="health", fps=1.0), line(1, 300, kind="health", fps=8.0)]
    (tmp_path / "edgeemo-000001-20260101T000000Z.jsonl.gz").write_bytes(
        gzip.compress(b"".join(old))
    )
    lines = [
        line(2, 200, kind="health", fps=10.0, temperature_c=60.5),
        line(5, 100, kind="health", fps=12.0, temperature_c=None),
        line(6, 50, kind="emotion", label="uncertain"),
        line(7, 40, kind="emotion", label="fear"),
        line(8, 30, kind="camera_lost", reason="x"),
        b"no json\n[1]\n" + b"[" * 3000 + b"\n",
    ]
    (tmp_path / "edgeemo.jsonl").write_bytes(b"".join(lines))
    assert recent(tmp_path, 600) == {
        "records": 6, "lost": 2, "fps": 10.0, "temperature_c": 60.5, "emotions": 2, "uncertain": 1,
        "outages": 1,
    }  # fmt: skip
    assert recent(tmp_path / "none", 600)["records"] == 0


WELL = Recent(
    records=1000, lost=0, fps=10.0, temperature_c=60.0, emotions=500, uncertain=50, outages=0
)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, ""),
        ({"fps": 8.5, "temperature_c": 65.0, "uncertain": 100}, ""),
        ({"fps": 7.0}, "7.0 frames/s, 10.0 before"),
        ({"fps": None, "temperature_c": None, "emotions": 3}, ""),
        ({"temperature_c": 75.0}, "75 °C, 60 °C before"),
        ({"uncertain": 300}, "60% uncertain, 10% before"),
        ({"lost": 3}, "3 records lost, 0 before"),
        ({"outages": 1}, "the camera was lost 1 times, 0 before"),
        ({"records": 0}, "nothing was logged"),
    ],
)
def test_a_canary_that_does_worse_is_told(changed, told):
    """Speed, heat, uncertainty, losses and the camera; small changes are no news."""
    after = Recent(**{name: getattr(WELL, name) for name in WELL.__struct_fields__} | changed)
    assert "; ".join(worse(WELL, after)) == told


def test_what_was_not_known_before_is_not_compared():
    """A device that has just been installed has no past."""
    nothing = Recent(
        records=0, lost=0, fps=None, temperature_c=None, emotions=0, uncertain=0, outages=0
    )
    assert list(worse(nothing, WELL)) == []


def facts_with(files: dict[str, str]) -> Facts:
    listed = [{"path": path, "sha256": sha_, "size": 1} for path, sha_ in files.items()]
    return Facts(
        machine="aarch64", bits=64, os="Debian", python=(3, 11, 2), libc=("glibc", "2.36"),
        free_bytes=1 << 33, writable=True, user="pi", root=False, groups=[], sudo=True,
        systemd=True, venv=True, cameras=[], staging="/home/pi/.cache/edgeemo-deploy", staged={},
        present=True, wheels=[], releases=[NAME], current=NAME,
        release={"version": "0.1", "model": "old", "files": listed}, state={}, pending=None,
        service={},
    )  # fmt: skip


def test_a_difference_is_told_by_packages_and_files():
    """Versions before and after, another build, the model, and what is new, changed or gone."""
    before = {
        "wheels/numpy-2.1.0-cp311.whl": "1" * 64, "wheels/rich-1-py3.whl": "2" * 64,
        "wheels/same-1-py3.whl": "3" * 64, "wheels/built-1-py3.whl": "4" * 64,
        "model/model.tflite": "5" * 64, "units/edgeemo.service": "6" * 64,
        "config/edgeemo.toml": "7" * 64,
    }  # fmt: skip
    after = {
        "wheels/numpy-2.2.0-cp311.whl": "8" * 64, "wheels/msgspec-1-py3.whl": "9" * 64,
        "wheels/same-1-py3.whl": "3" * 64, "wheels/built-1-py3.whl": "a" * 64,
        "model/model.tflite": "b" * 64, "units/edgeemo.service": "6" * 64,
        "assets/face.task": "c" * 64,
    }  # fmt: skip
    items = tuple(Item(path, sha_, 1, b"") for path, sha_ in after.items())
    first, *rest = changes(facts_with(before), Release(items, b"{}", "d" * 64, "new"))
    assert first.startswith(f"release {NAME} -> ")
    assert rest == [
        "package built: 1, another build",
        "package msgspec: none -> 1",
        "package numpy: 2.1.0 -> 2.2.0",
        "package rich: 1 -> none",
        "model old -> new",
        "new: assets/face.task",
        "gone: config/edgeemo.toml",
        "changed: model/model.tflite",
    ]


def answer(target: str, **changed: object) -> dict[str, object]:
    return {
        "target": target, "os": "Debian", "python": "3.11", "current": NAME, "version": "0.2",
        "model": "m", "good": [NAME], "trying": None, "failed": {}, "free_mb": 9000,
        "service": {"ActiveState": "active", "SubState": "running", "NRestarts": "0"},
    } | changed  # fmt: skip


def test_those_in_trouble_come_first(capsys):
    """One that cannot be asked above all, then by how much is amiss; text stays text."""
    answers = [
        answer("well"),
        answer("well-too"),
        answer("old", current="b" * 16, good=["b" * 16]),
        answer("ill", free_mb=90, service={"ActiveState": "failed", "NRestarts": "4"}, drift=2),
        {"target": "gone", "error": "cannot be reached\x1b[2J[bold]"},
        answer("none", current=None),
        answer("bad", failed={"c" * 16: {"problem": "it hung"}}),
    ]
    found = {one["target"]: troubles for one, troubles in by_trouble(answers)}
    assert list(found)[:2] == ["gone", "ill"]
    assert list(found)[-2:] == ["well", "well-too"]
    assert found["ill"] == [
        "service failed", "restarted 4 times", "2 files altered", "90 MB free",
    ]  # fmt: skip
    assert found["old"] == ["not the release that most have"]
    assert found["none"] == ["edgeemo is not there"]
    assert found["bad"] == [f"{'c' * 16} did not hold: it hung"]
    show_table(answers)
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "cannot be reached" in said
    assert "[bold]" in said
    assert "5 of 7 are in trouble" in said


def test_where_no_terminal_is_a_row_is_a_line(capsys):
    """In a pipe or a file nothing is folded, cut to a width or filled with blanks."""
    problem = " ".join(f"part-{number}" for number in range(20))
    show_table([answer("well"), {"target": "pi@" + "far." * 30 + "lab", "error": problem}])
    heading, far, well, count = capsys.readouterr().out.splitlines()
    assert far.startswith("pi@far.")
    assert far.endswith("part-19")
    assert well.startswith("well ")
    assert well == well.rstrip()
    assert heading.endswith("trouble")
    assert count == "1 of 2 is in trouble"


def test_a_pause_ends_the_batch_and_begins_no_other(capsys):
    """The first Ctrl-C lets those at work finish; the same call later goes on."""
    targets = [parse_target(f"pi-{number}") for number in range(6)]

    def work(target):
        if target.host == "pi-1":
            os.kill(os.getpid(), signal.SIGINT)
        return Outcome(str(target), "done", "well")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(cli.typer.Exit):
        cli.run_on(targets, work, "2", 0)
    said = capsys.readouterr().out
    assert said.count(": done: ") == 2
    assert said.count(": not tried: paused; the same command goes on") == 4
    assert "pausing" in said
    assert signal.getsignal(signal.SIGINT) is before
    assert len(run_fleet(targets, work=lambda one: Outcome(str(one), "done", ""), batch=2,
                         max_fail=0, report=lambda _: None)) == 6  # fmt: skip


@pytest.mark.parametrize("text", ["pa'ss word\n", "pa'ss word"])
def test_the_password_of_sudo_can_come_by_a_pipe(monkeypatch, text):
    """A terminal is asked without an echo; from a password manager it is read."""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert cli.sudo_password(ask=True) == "pa'ss word"
    assert cli.sudo_password(ask=False) is None
