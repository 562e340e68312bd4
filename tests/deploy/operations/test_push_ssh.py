"""The whole way, over a real sshd, with real wheels, pip, models and runs of the pipeline.

The tests of this module tell one story, in order, on one device.
"""

import hashlib
import os
import shutil
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.calibrated import calibrated_bundle

DEFAULT = Path("edge/models/default")


def bundle_like_default(folder: Path, **arrays: np.ndarray) -> Path:
    """Another bundle with sums that hold; ``arrays`` replace golden ones."""
    shutil.copytree(DEFAULT, folder)
    with (folder / "MODEL_CARD.md").open("a") as card:
        card.write("\nAnother one.\n")
    if arrays:
        with np.load(folder / "golden.npz") as golden:
            np.savez_compressed(folder / "golden.npz", **{**golden, **arrays})
    names = sorted(path.name for path in folder.iterdir() if path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def current(box) -> str:
    return (box.prefix / "current").readlink().name


def assert_clean(done: subprocess.CompletedProcess[str], box) -> None:
    """No key, no path of a key, and no traceback in what is printed."""
    said = done.stdout + done.stderr
    for secret in ("PRIVATE KEY", str(box.ssh_config.parent), "Traceback", str(Path.home())):
        assert secret not in said


def test_a_dry_run_changes_nothing(box):
    """It says what would be done; the device has neither a prefix nor a file afterwards."""
    done = box.push("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "send" in done.stdout
    assert "switch current from nothing" in done.stdout
    assert not box.prefix.exists()
    assert not box.staging.exists()


def test_a_push_that_is_killed_while_it_builds_leaves_no_release(box):
    """Kill -9 of the workstation's side: nothing is switched, and the device is not blocked."""
    with subprocess.Popen(
        [*box.command("push", "box", "--no-service")], stdout=subprocess.PIPE, text=True
    ) as process:
        while not box.prefix.exists() and process.poll() is None:
            pass
        os.kill(process.pid, signal.SIGKILL)
    assert not (box.prefix / "current").exists()


def test_a_push_arrives_and_the_second_one_changes_nothing(box):
    """The next push finishes what was cut; the same again is said to be there."""
    for _ in range(30):  # what the dead push started on the device may still be building
        done = box.push()
        if "another deployment is at work" not in done.stdout:
            break
        subprocess.run(["sleep", "2"], check=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "runs and is good" in done.stdout
    before = current(box)
    again = box.push()
    assert "unchanged" in again.stdout
    assert current(box) == before
    assert not box.staging.exists()
    assert_clean(done, box)


def test_what_differs_and_what_was_altered_is_told(box, tmp_path):
    """Nothing after a push; then another model's files, and what somebody has changed there."""
    same = box.run("diff", "box", "--no-service")
    assert same.stdout == "box:\n  a push would change nothing\n", same.stderr
    model = box.prefix / "current" / "model" / "MODEL_CARD.md"
    before = model.read_bytes()
    model.write_bytes(before + b"x")
    try:
        other = bundle_like_default(tmp_path / "other")
        said = box.run("diff", "box", "--no-service", "--model", str(other)).stdout
        assert f"release {current(box)} -> " in said
        assert "changed: model/MODEL_CARD.md" in said
        assert "package" not in said
        assert "altered: " in said
        table = box.run("status", "box", "gone", "--drift")
        assert table.returncode == 1
        assert "1 files altered" in table.stdout
        assert table.stdout.index("gone") < table.stdout.index("altered")
    finally:
        model.write_bytes(before)


def test_the_device_needs_nothing_of_the_workstation(box):
    """The released command runs by itself, with an empty environment and without the network."""
    program = box.prefix / "current" / "bin" / "edgeemo"
    done = subprocess.run(
        [str(program), "--version"], env={}, cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("edgeemo ")


def test_another_model_travels_alone(box, tmp_path):
    """Golden vectors hold, a few files go over, and no environment is built."""
    environments = set((box.prefix / "envs").iterdir())
    before = current(box)
    done = box.push("--model", str(bundle_like_default(tmp_path / "other")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "send 3 files" in done.stdout
    assert current(box) != before
    assert set((box.prefix / "envs").iterdir()) == environments


def test_a_calibrated_bundle_travels_alone_is_named_and_rolled_back(box, tmp_path):
    """Its network and golden vectors are those that are there; the device says what decides."""
    before = current(box)
    calibrated_bundle(tmp_path / "calibrated")
    done = box.push("--model", str(tmp_path / "calibrated"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "send 4 files" in done.stdout  # metadata, model card, checksums, and the release's list
    assert current(box) != before
    program = box.prefix / "current" / "bin" / "edgeemo"
    (model,) = (box.prefix / "current").glob("**/metadata.json")
    words = ["doctor", "--json", "--model", str(model.parent)]
    told = subprocess.run(
        [str(program), *words], env={}, cwd="/", capture_output=True, text=True, check=False
    )
    assert "bias fitted on mine" in told.stdout
    done = box.run("rollback", "box", "--window", "1")
    assert done.returncode == 0, done.stdout
    assert current(box) == before


def test_wrong_golden_outputs_are_never_switched_to(box, tmp_path):
    """The preflight refuses on the device, what ran runs on, and nothing is left of it."""
    before, releases = current(box), set((box.prefix / "releases").iterdir())
    with np.load(DEFAULT / "golden.npz") as golden:
        wrong = np.roll(golden["outputs"], 1, axis=1)
    done = box.push("--model", str(bundle_like_default(tmp_path / "wrong", outputs=wrong)))
    assert done.returncode == 1
    assert "golden outputs differ" in done.stdout
    assert current(box) == before
    assert set((box.prefix / "releases").iterdir()) == releases


def test_a_rollback_goes_to_the_good_release_before(box):
    """And status tells which one runs."""
    before = current(box)
    done = box.run("rollback", "box", "--window", "1")
    assert done.returncode == 0, done.stdout
    assert current(box) != before
    assert current(box) in box.run("status", "box").stdout


def test_one_bad_device_does_not_hinder_the_others(box):
    """A line for each, the unreachable one named, and the exit code says that not all is well."""
    done = box.run("push", "gone", "box", "--no-service", "--window", "1", "--dry-run")
    assert done.returncode == 1
    assert "gone: failed: cannot be reached" in done.stdout
    assert "box: unchanged" in done.stdout
    assert_clean(done, box)


def test_a_fleet_stops_when_too_many_fail(box):
    """With batches of one, the devices after the failure are not tried, and are told so."""
    done = box.run("push", "gone", "box", "--no-service", "--batch", "1", "--dry-run")
    assert "box: not tried" in done.stdout
    assert "1 failed; 1 not tried" in done.stdout


def test_a_changed_host_key_is_refused(box, sshd, tmp_path):
    """Nothing is sent to a machine that says to be another one."""
    folder, port = sshd
    strange = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "k")], check=False
    )
    assert strange.returncode == 0
    known = tmp_path / "known"
    known.write_text(f"[127.0.0.1]:{port} {(tmp_path / 'k.pub').read_text()}")
    config = tmp_path / "config"
    text = (folder / "config").read_text().replace(str(folder / "known_hosts"), str(known))
    config.write_text(text)
    done = subprocess.run(
        [*box.command("status", "box"), "--ssh-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "host key has changed" in done.stdout
    known.write_text("")
    done = subprocess.run(
        [*box.command("status", "box"), "--ssh-config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "host key is not known" in done.stdout


@pytest.mark.parametrize("hostile", ["box;touch pwned", "$(touch pwned)", "-oProxyCommand=x"])
def test_no_name_is_a_command(box, tmp_path, hostile):
    """Host names and prefixes that a shell would act on are refused before anything connects."""
    command = box.command("status", "--", hostile)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert not Path("pwned").exists()


def test_removing_leaves_nothing(box):
    """Prefix and staging are gone, and a second removal has nothing to do."""
    done = box.run("remove", "box")
    assert done.returncode == 0, done.stdout
    assert not box.prefix.exists()
    assert not box.staging.exists()
    assert "unchanged" in box.run("remove", "box").stdout


def test_this_machine_is_a_device_too(box, tmp_path, monkeypatch):
    """@local goes the same way without ssh: plan, status, the same words."""
    monkeypatch.setenv(
        "XDG_CACHE_HOME", os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    )
    done = box.run("push", "@local", "--no-service", "--dry-run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "@local: planned" in done.stdout
    assert "edgeemo is not there" in box.run("status", "@local").stdout
