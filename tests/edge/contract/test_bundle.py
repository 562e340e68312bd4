import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.contract import bundle as bundle_module
from edge.contract.bundle import FILES, KNOWN, METADATA, MODEL, SUMS, open_bundle, write_bundle
from edge.errors import BundleError

KILL = """
import os, signal, sys
from pathlib import Path
from edge.contract import bundle

real, done = os.fsync, []

def sync_then_die(descriptor):
    real(descriptor)
    done.append(descriptor)
    if len(done) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = sync_then_die
if sys.argv[4] == "no-exchange":
    bundle._exchange = lambda first, second: False
source, target = map(Path, sys.argv[1:3])
bundle.write_bundle(target, {name: (source / name).read_bytes() for name in bundle.KNOWN})
"""

LOOP = """
import sys
import time
from pathlib import Path
from edge.contract import bundle

source, target = map(Path, sys.argv[1:])
files = {name: (source / name).read_bytes() for name in bundle.KNOWN}
for number in range(10_000):
    bundle.write_bundle(target, {**files, "MODEL_CARD.md": b"# %d\\n" % number})
    print(number, flush=True)
"""


def contents(path: Path) -> dict[str, bytes]:
    return {name: (path / name).read_bytes() for name in KNOWN}


def listing(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_a_bundle_survives_the_way_to_disk_and_back(bundle_path, tmp_path):
    """What was written is what is opened, with the same digest."""
    files = contents(bundle_path)
    written = write_bundle(tmp_path / "deep" / "copy", files)
    assert contents(written.path) == files
    assert written.model == files[MODEL]
    assert written.digest == open_bundle(bundle_path).digest
    assert listing(tmp_path / "deep") == ["copy"]


def test_the_sums_are_those_of_sha256sum(bundle_path):
    """A bundle can be checked on a machine without edgeemo."""
    command = shutil.which("sha256sum") or pytest.fail("coreutils are missing")
    subprocess.run([command, "--check", "--strict", SUMS], cwd=bundle_path, check=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_found(bundle_path, name, place, bit):
    """Whichever bit of whichever file is flipped: the bundle does not open, the file is named."""
    path = bundle_path / name
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[int(place * len(whole))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        with pytest.raises(BundleError, match=f"{name}: altered: SHA-256"):
            open_bundle(bundle_path)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", [*FILES, SUMS])
def test_a_missing_file_is_named(bundle_path, name):
    """A bundle without one of its files does not open."""
    (bundle_path / name).unlink()
    with pytest.raises(BundleError, match=f"{name}: No such file"):
        open_bundle(bundle_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "does not list model.tflite"),
        ("nonsense\n", "line 1 is not"),
        (f"{'a' * 64}  ../../etc/passwd\n", "line 1 is not"),
        (f"{'a' * 63}  {MODEL}\n", "line 1 is not"),
        ("\x00\xff\n", "line 1 is not"),
    ],
)
def test_sums_that_are_no_sums_are_refused(bundle_path, text, message):
    """The list of hashes may name the bundle's own files only, each with a whole hash."""
    (bundle_path / SUMS).write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=message):
        open_bundle(bundle_path)


def test_what_is_not_a_directory_is_no_bundle(bundle_path, tmp_path):
    """A file or nothing at all is refused with what a bundle is."""
    for path in (bundle_path / MODEL, tmp_path / "nothing"):
        with pytest.raises(BundleError, match="no such bundle; expected a directory"):
            open_bundle(path)


def test_metadata_with_the_right_hash_is_still_checked(alter_bundle):
    """Good hashes do not make bad metadata good."""
    with pytest.raises(BundleError, match="not a bundle's metadata"):
        open_bundle(alter_bundle(**{METADATA: b"{}"}))


def test_the_digest_tells_bundles_apart(bundle_path, alter_bundle):
    """Another model card is another bundle."""
    before = open_bundle(bundle_path).digest
    assert open_bundle(alter_bundle(**{"MODEL_CARD.md": b"# other\n"})).digest != before


def test_an_older_bundle_is_replaced_whole(bundle_path):
    """Writing over a bundle leaves the new one and nothing beside it."""
    files = {**contents(bundle_path), "MODEL_CARD.md": b"# newer\n"}
    write_bundle(bundle_path, files)
    assert contents(bundle_path) == files
    assert listing(bundle_path.parent) == ["bundle"]


def test_a_folder_that_is_no_bundle_is_left_alone(bundle_path, tmp_path):
    """A wrong --out does not cost the user's files."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"jpg")
    with pytest.raises(BundleError, match="exists and is not a bundle; choose another --out"):
        write_bundle(folder, contents(bundle_path))
    assert listing(folder) == ["holiday.jpg"]


@pytest.mark.parametrize("name", FILES)
def test_an_incomplete_bundle_is_not_written(bundle_path, tmp_path, name):
    """All files or none."""
    files = contents(bundle_path)
    del files[name]
    with pytest.raises(BundleError, match="a bundle has the files"):
        write_bundle(tmp_path / "out", files)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_leaves_the_older_bundle(bundle_path, monkeypatch):
    """When the disk refuses half-way, the older bundle is as it was and no debris remains."""
    before = contents(bundle_path)
    calls = []

    def refuse_the_third(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(bundle_module.os, "fsync", refuse_the_third)
    with pytest.raises(BundleError, match=r"cannot be written \(No space left on device\)"):
        write_bundle(bundle_path, {**before, "MODEL_CARD.md": b"# newer\n"})
    assert contents(bundle_path) == before
    assert listing(bundle_path.parent) == ["bundle"]


def kill_after(syncs: int, source: Path, target: Path, *, exchange: bool = True) -> None:
    way = "exchange" if exchange else "no-exchange"
    killed = subprocess.run(
        [sys.executable, "-c", KILL, source, target, str(syncs), way],
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("syncs", range(1, len(KNOWN) + 2))
def test_a_kill_before_the_swap_leaves_nothing_half(bundle_path, tmp_path, exists, syncs):
    """After SIGKILL at any file there is the older bundle, or none: no part of the new one."""
    target = tmp_path / "out"
    if exists:
        write_bundle(target, {**contents(bundle_path), "MODEL_CARD.md": b"# older\n"})
    kill_after(syncs, bundle_path, target)
    assert target.exists() == exists
    if exists:
        open_bundle(target)
        assert (target / "MODEL_CARD.md").read_bytes() == b"# older\n"


@pytest.mark.parametrize("exchange", [True, False])
@pytest.mark.parametrize("exists", [False, True])
def test_a_kill_right_after_the_swap_leaves_the_whole_new_one(
    bundle_path, tmp_path, exists, exchange
):
    """Once the new bundle has its name it is complete, whichever way it got there."""
    target = tmp_path / "out"
    if exists:
        write_bundle(target, {**contents(bundle_path), "MODEL_CARD.md": b"# older\n"})
    kill_after(len(KNOWN) + 2, bundle_path, target, exchange=exchange)
    assert open_bundle(target).digest == open_bundle(bundle_path).digest


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_whole_bundle(bundle_path, tmp_path):
    """A bundle that is replaced over and over is there, whole, whenever its writer is killed."""
    target = tmp_path / "out"
    for number in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", LOOP, bundle_path, target], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()  # the first one is written
            time.sleep(0.003 * number)
            writer.kill()
        open_bundle(target)


def test_what_a_killed_writer_began_is_removed(bundle_path, tmp_path):
    """The next writer clears up after a dead one; what a living one is writing stays."""
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    dead, alive = (tmp_path / f".out.{pid}-ab" for pid in (int(done.stdout), os.getppid()))
    other = tmp_path / ".out.notes"
    for folder in (dead, alive, other):
        folder.mkdir()
    write_bundle(tmp_path / "out", contents(bundle_path))
    left = {path.name for path in tmp_path.iterdir()} - {bundle_path.name}
    assert left == {"out", alive.name, other.name}


def test_an_unwritable_place_is_one_clear_line(bundle_path, tmp_path):
    """A parent that is a file cannot hold a bundle, and the message says which path."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BundleError, match="file/out: cannot be written"):
        write_bundle(tmp_path / "file" / "out", contents(bundle_path))
