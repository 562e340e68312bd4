"""What the device does by itself, with power cuts between any two steps."""

import json
from pathlib import Path

import pytest

from deploy.device.activate import MOST_ATTEMPTS, activate, prune, resume, rollback, watch
from deploy.device.install import install
from deploy.device.layout import DeviceError, Layout, read_json, switch, write_json
from deploy.device.preflight import check_hashes
from deploy.device.remove import remove

GOOD, OTHER, BAD = "a" * 16, "c" * 16, "b" * 16


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A device where GOOD runs, and BAD was built whole but cannot run (it has no program)."""
    layout = Layout(tmp_path / "opt")
    for name in (GOOD, OTHER, BAD):
        release = layout.release(name)
        (layout.envs / name).mkdir(parents=True)
        (release / "bin").mkdir(parents=True)
        (release / "bin" / "edgeemo").write_text("#!/bin/sh\nexit 7\n")
        (release / "bin" / "edgeemo").chmod(0o755)
        switch(release / "env", f"../../envs/{name}")
        write_json(release / "release.json", {"files": []})
    (layout.release(GOOD) / "bin" / "edgeemo").write_text("#!/bin/sh\nexit 0\n")
    switch(layout.current, f"releases/{GOOD}")
    write_json(layout.state, {"good": [OTHER, GOOD], "service": "none"})
    return layout


def pend(layout: Layout, **more: object) -> None:
    write_json(layout.pending, {"release": BAD, "window_s": 0, "attempts": 0, **more})


def test_a_release_that_fails_is_left_by_the_device_itself(layout):
    """Nobody is asked: the last good release is current again, and the reason is kept."""
    pend(layout)
    watch(layout)
    assert layout.current_name() == GOOD
    assert "exit status 7" in read_json(layout.state)["failed"][BAD]["problem"]
    assert not layout.pending.exists()


def test_a_release_that_holds_becomes_the_good_one(layout):
    """What was good before stays, to go back to."""
    (layout.release(BAD) / "bin" / "edgeemo").write_text("#!/bin/sh\nexit 0\n")
    pend(layout)
    watch(layout)
    assert layout.current_name() == BAD
    assert read_json(layout.state)["good"] == [OTHER, GOOD, BAD]


def test_going_back_that_was_cut_is_finished(layout):
    """Power lost after the verdict, before the switch back: the next start goes back."""
    switch(layout.current, f"releases/{BAD}")
    pend(layout, problem="it hung", attempts=1)
    watch(layout)
    assert layout.current_name() == GOOD
    assert read_json(layout.state)["failed"][BAD]["problem"] == "it hung"


def test_a_release_that_takes_the_device_down_is_given_up(layout):
    """After so many attempts that ended with the device, it is not tried again."""
    switch(layout.current, f"releases/{BAD}")
    pend(layout, attempts=MOST_ATTEMPTS)
    watch(layout)
    assert layout.current_name() == GOOD
    assert "went down" in read_json(layout.state)["failed"][BAD]["problem"]


def test_a_first_release_that_fails_leaves_nothing_running(layout):
    """Without a good one before, there is no current at all."""
    write_json(layout.state, {"service": "none"})
    layout.current.unlink()
    pend(layout)
    watch(layout)
    assert layout.current_name() is None
    assert BAD in read_json(layout.state)["failed"]


def test_a_half_built_release_is_never_tried(layout):
    """Without the file that is written last, a release does not count."""
    (layout.release(BAD) / "release.json").unlink()
    with pytest.raises(DeviceError, match="not here as a whole"):
        activate(layout, BAD, 1, "none")
    assert not layout.pending.exists()


def test_pruning_keeps_what_runs_and_what_was_good(layout):
    """Only what is neither goes, with its environment."""
    prune(layout)
    assert {path.name for path in layout.releases.iterdir()} == {GOOD, OTHER}
    assert {path.name for path in layout.envs.iterdir()} == {GOOD, OTHER}


def go_back(layout: Layout) -> str:
    """Roll back and wait for the device's verdict; return what runs then."""
    name = rollback(layout, 0)
    watch(layout)
    assert layout.current_name() == name
    return name


def test_going_back_once_more_goes_further_back(layout, tmp_path, monkeypatch):
    """What a person has left is not returned to; at the end there is a clear word."""
    agent = tmp_path / "agent.pyz"
    agent.write_text("")
    monkeypatch.setattr("sys.argv", [str(agent)])
    for name in (OTHER, BAD):
        (layout.release(name) / "bin" / "edgeemo").write_text("#!/bin/sh\nexit 0\n")
    write_json(layout.state, {"good": [OTHER, BAD, GOOD], "service": "none"})
    assert [go_back(layout), go_back(layout)] == [BAD, OTHER]
    assert read_json(layout.state)["good"] == [OTHER]
    with pytest.raises(DeviceError, match="no earlier good release"):
        rollback(layout, 0)


def test_a_rollback_that_fails_returns_to_what_ran(layout):
    """Neither the release gone back to nor its place in the line decides, but what ran before."""
    write_json(layout.state, {"good": [BAD, OTHER, GOOD], "service": "none"})
    pend(layout, is_back=True)
    watch(layout)
    assert layout.current_name() == GOOD
    assert read_json(layout.state)["good"] == [BAD, OTHER, GOOD]


def test_a_trial_whose_start_was_cut_can_be_resumed(layout):
    """Pending, and nobody at work: the next push has the device decide."""
    layout.agent.write_text("")
    pend(layout)
    with pytest.raises(DeviceError, match="another release is being tried"):
        activate(layout, GOOD, 0, "none")
    resume(layout)
    watch(layout)
    assert layout.current_name() == GOOD
    assert not layout.pending.exists()


def test_there_must_be_something_to_go_back_to(layout):
    """A rollback without an earlier good release is refused."""
    write_json(layout.state, {"good": [GOOD], "service": "none"})
    with pytest.raises(DeviceError, match="no earlier good release"):
        rollback(layout, 1)


@pytest.mark.parametrize("name", ["../../etc", "", "A" * 16, "a" * 15, "a" * 15 + "/"])
def test_a_release_name_is_no_path(layout, name):
    """Nothing but sixteen hexadecimal digits becomes a folder."""
    with pytest.raises(DeviceError, match="is no release"):
        layout.release(name)


def test_removing_refuses_a_folder_that_is_not_edgeemos(layout):
    """A prefix that holds something else is not deleted."""
    (layout.prefix / "thesis.odt").write_text("years of work")
    with pytest.raises(DeviceError, match=r"thesis\.odt"):
        remove(layout, purge=True)
    assert (layout.prefix / "thesis.odt").exists()


def stage(folder: Path, files: dict[str, bytes], manifest: dict[str, object]) -> str:
    import hashlib

    folder.mkdir()
    entries = []
    for path, content in files.items():
        sha256 = hashlib.sha256(content).hexdigest()
        (folder / sha256).write_bytes(content)
        entries.append({"path": path, "sha256": sha256, "size": len(content)})
    text = json.dumps({**manifest, "files": entries}).encode()
    digest = hashlib.sha256(text).hexdigest()
    (folder / digest).write_bytes(text)
    return digest


def test_an_altered_file_is_not_installed(layout, tmp_path):
    """Whatever is not what the manifest says is deleted, and nothing is built of it."""
    digest = stage(tmp_path / "in", {"wheels/x.whl": b"x"}, {"python": "3.11"})
    for path in (tmp_path / "in").iterdir():
        if path.name != digest:
            path.write_bytes(b"y")
    with pytest.raises(DeviceError, match="altered"):
        install(layout, digest, tmp_path / "in")
    assert not layout.is_whole(digest[:16])
    assert layout.current_name() == GOOD


def test_an_altered_manifest_is_not_followed(layout, tmp_path):
    """The identity of a release is the hash of its list of files."""
    digest = stage(tmp_path / "in", {}, {"python": "3.11"})
    (tmp_path / "in" / digest).write_text('{"files": []}')
    with pytest.raises(DeviceError, match="altered"):
        install(layout, digest, tmp_path / "in")


def test_an_altered_model_does_not_pass(tmp_path):
    """Every file that SHA256SUMS names is compared."""
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  model.tflite\n")
    (tmp_path / "model.tflite").write_bytes(b"something else")
    with pytest.raises(DeviceError, match=r"model\.tflite"):
        check_hashes(tmp_path)
