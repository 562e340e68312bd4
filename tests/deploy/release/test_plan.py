"""From facts to what is done: pure, so every case is a table."""

import json
import subprocess
import sys

import msgspec
import pytest

from deploy.errors import DeployError
from deploy.facts import Facts, decode, probe
from deploy.operations.fleet import batch_size
from deploy.release.archive import Item, Release
from deploy.release.plan import make_plan, plan_lines
from deploy.release.wheelhouse import Kind, kind_of

WHEEL = Item("wheels/numpy-2-x.whl", "a" * 64, 16_000_000, b"")
AGENT = Item("agent.pyz", "b" * 64, 40_000, b"")
MODEL = Item("model/model.tflite", "c" * 64, 900_000, b"")
OTHER_MODEL = Item("model/model.tflite", "d" * 64, 900_000, b"")


def release_of(*items: Item) -> Release:
    files = [{"path": item.path, "sha256": item.sha256, "size": item.size} for item in items]
    return Release(items, json.dumps({"files": files}).encode(), AGENT.sha256, "default")


RELEASE = release_of(AGENT, MODEL, WHEEL)

PI = Facts(
    machine="aarch64",
    bits=64,
    os="Debian GNU/Linux 12 (bookworm)",
    python=(3, 11, 2),
    libc=("glibc", "2.36"),
    free_bytes=10_000_000_000,
    writable=False,
    user="pi",
    root=False,
    groups=["video"],
    sudo=True,
    systemd=True,
    venv=True,
    cameras=["video0"],
    staging="/home/pi/.cache/edgeemo-deploy",
    staged={},
    present=False,
    wheels=[],
    releases=[],
    current=None,
    release={},
    state={},
    pending=None,
    service={},
)


def running(release: Release) -> Facts:
    """The Pi with a good release on it."""
    return msgspec.structs.replace(
        PI,
        present=True,
        wheels=[WHEEL.sha256],
        releases=[release.name],
        current=release.name,
        release=json.loads(release.manifest),
        state={"good": [release.name], "service": "systemd"},
    )


def plan_for(facts: Facts, release: Release = RELEASE, *, with_service: bool = True):
    return make_plan(facts, release, with_service=with_service, window_s=60)


def test_a_new_device_gets_everything():
    """All files go over, a release is built, switched to and run as root."""
    plan = plan_for(PI)
    assert (plan.install, plan.activate, plan.sudo, plan.reload) == (True, True, True, False)
    assert set(plan.send) == set(RELEASE.items)


def test_a_second_push_is_nothing():
    """What is there and good is left alone, and said to be."""
    plan = plan_for(running(RELEASE))
    assert plan.is_nothing
    assert plan_lines(plan, running(RELEASE), RELEASE)[0].startswith("nothing to do")


def test_another_model_sends_the_model_and_reloads():
    """Neither wheels nor unchanged files travel, and the service keeps its camera."""
    plan = plan_for(running(RELEASE), release_of(AGENT, OTHER_MODEL, WHEEL))
    assert {item.path for item in plan.send} == {"agent.pyz", "model/model.tflite"}
    assert plan.reload


def test_what_was_sent_before_a_cut_is_not_sent_again():
    """A staged file counts when it is whole, by its size."""
    half = msgspec.structs.replace(PI, staged={WHEEL.sha256: 5, MODEL.sha256: MODEL.size})
    assert {item.path for item in plan_for(half).send} == {"agent.pyz", WHEEL.path}


def test_a_release_that_is_not_the_good_one_is_activated():
    """A release that was built, but never found good, is tried."""
    facts = msgspec.structs.replace(running(RELEASE), state={"good": ["0" * 16]})
    plan = plan_for(facts)
    assert (plan.install, plan.activate) == (False, True)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bits": 32, "machine": "aarch64"}, "32-bit userland"),
        ({"machine": "riscv64"}, "riscv64 processor"),
        ({"libc": ("unknown", "")}, "glibc"),
        ({"python": (3, 9, 2)}, r"Python 3\.9"),
        ({"python": (3, 14, 0)}, r"Python 3\.14"),
        ({"venv": False}, "venv"),
        ({"free_bytes": 60_000_000}, "MB free"),
        ({"sudo": False}, "sudo"),
        ({"systemd": False}, "--no-service"),
        ({"pending": {"release": "0" * 16}}, "being tried"),
    ],
)
def test_a_device_that_does_not_suit_is_refused_with_the_reason(change, words):
    """Nothing is sent, and one line says what is wrong."""
    import re

    plan = plan_for(msgspec.structs.replace(PI, **change))
    assert re.search(words, plan.refusal)
    assert not plan.send
    assert not plan.install
    assert not plan.activate


def test_no_root_is_needed_for_a_prefix_of_ones_own():
    """Without a service, and where the user may write, sudo is not asked for."""
    facts = msgspec.structs.replace(PI, sudo=False, writable=True, systemd=False)
    plan = plan_for(facts, with_service=False)
    assert not plan.refusal
    assert not plan.sudo


@pytest.mark.parametrize(
    ("kind", "first", "last"),
    [
        (Kind("aarch64", "3.11", 36), "manylinux_2_36_aarch64", "manylinux2014_aarch64"),
        (Kind("x86_64", "3.13", 41), "manylinux_2_41_x86_64", "manylinux1_x86_64"),
    ],
)
def test_platform_tags_are_those_of_the_devices_glibc(kind, first, last):
    """From the device's own glibc down to the oldest tag, and none that is newer."""
    assert (kind.tags()[0], kind.tags()[-1]) == (first, last)


def test_an_unknown_glibc_is_an_error():
    """Wheels are not guessed for."""
    with pytest.raises(DeployError, match="glibc"):
        kind_of(msgspec.structs.replace(PI, libc=("glibc", "?")))


def test_the_probe_runs_on_a_bare_python_and_is_understood():
    """The program that gathers the facts needs the standard library only, and changes nothing."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-", "/nowhere/edgeemo"],
        input=probe(),
        capture_output=True,
        text=True,
        check=True,
    )
    facts = decode("a greeting of the login shell\n" + done.stdout)
    assert facts.python == sys.version_info[:3]
    assert (facts.present, facts.current, facts.releases) == (False, None, [])


def test_facts_that_are_none_are_an_error():
    """A shell that answers something else is named as the cause."""
    with pytest.raises(DeployError, match="not its facts"):
        decode("bash: python3: command not found")


@pytest.mark.parametrize(
    ("text", "count", "size"), [("10%", 50, 5), ("10%", 3, 1), ("4", 50, 4), ("100%", 7, 7)]
)
def test_a_batch_is_a_number_or_a_share(text, count, size):
    """At least one device is done at a time."""
    assert batch_size(text, count) == size


@pytest.mark.parametrize("text", ["0", "-1", "110%", "ten", "5%%", ""])
def test_a_wrong_batch_is_refused(text):
    """Neither none nor more than all."""
    with pytest.raises(DeployError, match="--batch"):
        batch_size(text, 10)
