"""`data prepare`: every picture is meshed once, whatever happens to the process in between."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.contract.align import aligned_crop
from edge.contract.mesh_features import FEATURE_COUNT, mesh_features
from edge.records import Face, Frame
from edge.stages.mesh.litert import LitertMesher
from edge.testing.fakes import FakeMesher, make_face
from edgeemo.cli.main import main
from host_training.data.find_faces import (
    BATCH,
    Pictures,
    find_faces,
    mesh_in_batches,
    mesh_pictures,
)
from host_training.data.load import load_samples, one_hot
from host_training.data.picture_progress import ConsolePictureProgress
from host_training.data.prepare import prepare_pictures
from host_training.data.prepared import (
    Meshes,
    Recipe,
    faces_found,
    read_record,
    with_prepared,
)
from host_training.data.samples import Samples, picture_keys
from host_training.errors import DataError, TrainingError

RECIPE = Recipe(mesher="litert", model_sha256="0" * 64, min_detection=0.5, min_presence=0.5)
FACES = 6


def device_mesher() -> LitertMesher:
    """The mesher of `edgeemo run`; a module's function, so that other processes can open it."""
    config = MesherConfig(max_faces=1, blendshapes=True)
    return LitertMesher(asset_path(FACE_LANDMARKER), config)


def face_pictures(number: int) -> NDArray[np.uint8]:
    """Cut the astronaut's face out at 48 pixels, each time a little otherwise."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)), cv2.IMREAD_GRAYSCALE)
    pictures = []
    for i in range(number):
        x, y, side = 160 + 2 * (i % 5), 60 + 2 * (i % 7), 130 + i
        part = photo[y : y + side, x : x + side]
        pictures.append(cv2.resize(part, (48, 48), interpolation=cv2.INTER_AREA))
    return np.stack(pictures)


def noise(number: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (number, 48, 48), np.uint8)


def samples(images: NDArray[np.uint8]) -> Samples:
    """Label pictures in turn; the last third is a split of its own."""
    n = len(images)
    class_ids = np.arange(n) % 2
    return Samples(
        images=images,
        targets=one_hot(class_ids, 2),
        labels=("neutral", "happiness"),
        class_ids=class_ids,
        split=np.array(["Training"] * (n - n // 3) + ["PublicTest"] * (n // 3)),
        name="made",
        form="made up",
        protocol="labels",
    )


class Counting:
    """A mesher that finds a face where the first pixel is 255, and counts what it is shown."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.seen = 0
        self._stop_after = stop_after

    def __call__(self) -> FakeMesher:
        """Open it, as a ``MakeMesher`` does."""
        return FakeMesher(self._script)

    def _script(self, frame: Frame) -> Sequence[Face]:
        if self.seen == self._stop_after:
            raise KeyboardInterrupt
        self.seen += 1
        if frame.image[0, 0, 0] != 255:
            return ()
        blendshapes = np.full(52, frame.image[0, 1, 0] / 255, np.float32)
        return (msgspec.structs.replace(make_face((8, 8, 40, 40)), blendshapes=blendshapes),)


def run(data: Samples, out: Path, mesher: Counting, **changes: object) -> tuple[dict, str]:
    """Prepare in this process; return the record and what was printed."""
    console = Console(width=200)
    recipe = msgspec.structs.replace(RECIPE, **changes)
    with console.capture() as shown:
        record = prepare_pictures(data, out, recipe, mesher, 1, ConsolePictureProgress(console))
    return msgspec.to_builtins(record), shown.get()


@pytest.fixture
def marked() -> Samples:
    """Return 600 rows, 500 of them distinct; every third picture has a face."""
    images = noise(600)
    images[:, 0, 0] = np.where(np.arange(600) % 3 == 0, 255, 0)
    images[500:] = images[:100]
    return samples(images)


def test_the_devices_own_mesh_and_crop(tmp_path: Path) -> None:
    """What is stored is, to the bit, what the device's mesher and alignment give."""
    data = samples(np.concatenate([face_pictures(FACES), noise(3)]))
    record = prepare_pictures(
        data, tmp_path, RECIPE, device_mesher, 1, ConsolePictureProgress(Console(quiet=True))
    )
    assert (record.rows_with_face, record.pictures) == (FACES, FACES + 3)
    mesher = device_mesher()
    result = with_prepared(data, tmp_path, "aligned")
    assert result.mesh is not None
    assert (result.mesh.dtype, result.mesh.shape) == (np.float32, (FACES + 3, FEATURE_COUNT))
    for i in range(FACES):
        bgr = cv2.cvtColor(data.images[i], cv2.COLOR_GRAY2BGR)
        frame = Frame(bgr, 0, 0.0, datetime(2026, 1, 1, tzinfo=UTC), starts_new_clip=True)
        (face,) = mesher.detect(frame)
        assert face.blendshapes is not None
        np.testing.assert_array_equal(result.mesh[i], mesh_features(face.points, face.blendshapes))
        np.testing.assert_array_equal(result.images[i], aligned_crop(data.images[i], face.points))
    np.testing.assert_array_equal(result.images[FACES:], data.images[FACES:])
    assert np.isnan(result.mesh[FACES:]).all()
    both = with_prepared(data, tmp_path, "both")
    assert both.aligned is not None
    np.testing.assert_array_equal(both.aligned, result.images)
    np.testing.assert_array_equal(both.images, data.images)


def test_a_picture_with_room_around_the_face_is_meshed_in_full(tmp_path: Path) -> None:
    """In 48 pixels its face is too small; the crop is cut from the file, as a device would."""
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    wide = cv2.copyMakeBorder(photo, 200, 200, 200, 200, cv2.BORDER_REPLICATE)
    for label in ("happy", "sad"):
        (tmp_path / "own" / label).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "own" / label / "face.png"), wide)
        wide = wide[:, ::-1].copy()
    data = load_samples(tmp_path / "own")
    quiet = ConsolePictureProgress(Console(quiet=True))
    assert not find_faces(Pictures(data.images), device_mesher, 1, quiet).any()
    assert find_faces(Pictures.of(data), device_mesher, 1, quiet).all()
    record = prepare_pictures(data, tmp_path / "out", RECIPE, device_mesher, 1, quiet)
    assert record is not None
    assert record.rows_with_face == 2
    frame = Frame(wide, 0, 0.0, datetime(2026, 1, 1, tzinfo=UTC), starts_new_clip=True)
    (face,) = device_mesher().detect(frame)
    crop = aligned_crop(cv2.cvtColor(wide, cv2.COLOR_BGR2GRAY), face.points)
    place = data.labels.index("happiness")
    seen = with_prepared(data, tmp_path / "out", "aligned")
    np.testing.assert_array_equal(seen.images[seen.class_ids == place][0], crop)
    (tmp_path / "own" / "sad" / "face.png").unlink()
    with pytest.raises(DataError, match=r"face\.png"):
        prepare_pictures(data, tmp_path / "again", RECIPE, device_mesher, 1, quiet)


def test_parts_of_several_machines_are_put_together(tmp_path: Path, marked: Samples) -> None:
    """Every picture is meshed by one machine; together they are what one would have made."""
    joined, quiet = tmp_path / "joined", ConsolePictureProgress(Console(quiet=True))
    seen = []
    for part in (1, 2, 3):
        own, mesher = tmp_path / str(part), Counting()
        assert prepare_pictures(marked, own, RECIPE, mesher, 1, quiet, (part, 3)) is None
        assert not (own / "prepared.json").exists()
        shutil.copytree(own, joined, dirs_exist_ok=True)
        seen.append(mesher.seen)
    assert sum(seen) == 500
    assert max(seen) - min(seen) <= 1
    again, whole = Counting(), Counting()
    record, _ = run(marked, joined, again)
    assert again.seen == 0
    assert record == run(marked, tmp_path / "whole", whole)[0]


def test_raw_crops_leave_the_pictures(tmp_path: Path, marked: Samples) -> None:
    """With raw crops only the mesh is added; rows of one picture get one mesh, in any order."""
    run(marked, tmp_path, Counting())
    result = with_prepared(marked, tmp_path)
    assert result.images is marked.images
    assert result.mesh is not None
    np.testing.assert_array_equal(np.isfinite(result.mesh[:, 0]), marked.images[:, 0, 0] == 255)
    np.testing.assert_array_equal(result.mesh[500:], result.mesh[:100])
    backwards = marked.where(np.ones(600, bool))
    backwards = replace(backwards, images=marked.images[::-1])
    again = with_prepared(backwards, tmp_path).mesh
    assert again is not None
    np.testing.assert_array_equal(again, result.mesh[::-1])


def test_what_had_no_face_is_counted(tmp_path: Path, marked: Samples) -> None:
    """Rows without a face are counted by split and class, and those without a label apart."""
    data = replace(marked, class_ids=np.where(np.arange(600) < 6, -1, marked.class_ids))
    record, _ = run(data, tmp_path, Counting())
    missing = marked.images[:, 0, 0] != 255
    expected = {
        split: {
            label: int((missing & (data.class_ids == i) & (data.split == split)).sum())
            for i, label in enumerate(data.labels)
        }
        for split in ("Training", "PublicTest")
    }
    expected["Training"]["excluded"] = 4
    assert record["rows_without_face"] == expected
    assert record["rows_with_face"] == 600 - int(missing.sum())
    np.testing.assert_array_equal(faces_found(data, tmp_path), ~missing)
    assert json.loads((tmp_path / "prepared.json").read_text()) == record


def test_nothing_is_done_twice(tmp_path: Path, marked: Samples) -> None:
    """Again costs no look at a picture, and added rows cost only themselves."""
    first, again, more = Counting(), Counting(), Counting()
    run(marked, tmp_path, first)
    assert first.seen == 500  # the other 100 are copies
    _, shown = run(marked, tmp_path, again)
    assert again.seen == 0
    assert "500 distinct pictures in 600 samples, 500 of them prepared already" in shown
    record, _ = run(samples(np.concatenate([marked.images, noise(7, seed=5)])), tmp_path, more)
    assert (more.seen, record["pictures"]) == (7, 507)


def test_another_recipe_starts_afresh(tmp_path: Path, marked: Samples) -> None:
    """Another face model's results are never taken for this one's; both stay."""
    run(marked, tmp_path, Counting())
    other = Counting()
    record, _ = run(marked, tmp_path, other, model_sha256="1" * 64)
    assert other.seen == 500
    assert read_record(tmp_path).recipe.model_sha256 == record["recipe"]["model_sha256"] == "1" * 64
    back = Counting()
    run(marked, tmp_path, back)
    assert back.seen == 0


def test_interrupted_and_continued(tmp_path: Path, marked: Samples) -> None:
    """Ctrl-C is one line, keeps whole batches, and leaves no record that says it is complete."""
    with pytest.raises(DataError, match="run the same command again to continue"):
        run(marked, tmp_path, Counting(stop_after=BATCH + 10))
    with pytest.raises(DataError, match=r"prepared\.json: cannot be read"):
        with_prepared(marked, tmp_path)
    rest = Counting()
    _, shown = run(marked, tmp_path, rest)
    assert rest.seen == 500 - BATCH
    assert f"{BATCH} of them prepared already" in shown


def test_pictures_that_are_not_there(tmp_path: Path, marked: Samples) -> None:
    """Rows of other data are an error that counts them and tells the remedy."""
    run(marked, tmp_path, Counting())
    other = samples(np.concatenate([marked.images[:4], noise(3, seed=8)]))
    for use in (with_prepared, faces_found):
        with pytest.raises(DataError, match=r"3 pictures of made are not in .* data prepare"):
            use(other, tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data[:0],
        lambda data: data[:4000] + bytes([data[4000] ^ 255]) + data[4001:],
    ],
    ids=["cut off", "empty", "one bit"],
)
def test_a_damaged_file_is_named(
    tmp_path: Path, marked: Samples, damage: Callable[[bytes], bytes]
) -> None:
    """A file that was damaged later is never read as data; deleting it and running again heals."""
    run(marked, tmp_path, Counting())
    before = with_prepared(marked, tmp_path, "aligned")
    file = sorted(tmp_path.glob("meshes-*/*.npz"))[0]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=rf"{file.name}: damaged .* delete it"):
        with_prepared(marked, tmp_path)
    file.unlink()
    run(marked, tmp_path, Counting())
    after = with_prepared(marked, tmp_path, "aligned")
    np.testing.assert_array_equal(before.images, after.images)
    np.testing.assert_array_equal(before.mesh, after.mesh)


def test_half_written_files_are_not_read(tmp_path: Path, marked: Samples) -> None:
    """What a killed writer left is neither read nor kept."""
    (tmp_path / f"meshes-{RECIPE.digest()}").mkdir()
    leftover = tmp_path / f"meshes-{RECIPE.digest()}" / ".0123.npz.99"
    leftover.write_bytes(b"PK half of it")
    assert Meshes(tmp_path, RECIPE).found() == {}
    run(marked, tmp_path, Counting())
    assert not leftover.exists()


def test_a_full_disk(tmp_path: Path, marked: Samples) -> None:
    """A disk that refuses is one line, and what was written before stays good."""
    import resource

    keys = picture_keys(marked.images[:2])
    meshed = mesh_pictures(Pictures(marked.images[:2]), Counting()())
    meshes = Meshes(tmp_path, RECIPE)
    meshes.path.mkdir()
    meshes.add(keys, meshed)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # bytes a file may have
        with pytest.raises(TrainingError, match=r"cannot be written .* it continues"):
            run(marked, tmp_path, Counting())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert len(meshes.found()) == 2
    rest = Counting()
    run(marked, tmp_path, rest)
    assert rest.seen == 498


def test_one_at_a_time(tmp_path: Path, marked: Samples) -> None:
    """A second process in the same folder is turned away with one line."""
    import fcntl

    run(marked, tmp_path, Counting())
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process is preparing"):
            run(marked, tmp_path, Counting())
    run(marked, tmp_path, Counting())


def test_a_mesh_without_size_is_no_face() -> None:
    """A mesh whose points coincide gives no crop and counts as no face."""
    face = make_face((8, 8, 40, 40))
    point = Face.from_points(np.zeros_like(face.points), np.zeros(52, np.float32))
    meshed = mesh_pictures(Pictures(noise(1)), FakeMesher(lambda _: (point,)))
    assert not meshed.found.any()
    np.testing.assert_array_equal(meshed.crops, noise(1))


def broken_mesher() -> LitertMesher:
    return LitertMesher(Path("nowhere.task"), MesherConfig())


def dying_mesher() -> FakeMesher:
    return FakeMesher(lambda _: os._exit(3))


def test_many_processes_give_what_one_gives() -> None:
    """Two workers give the same results in the same order as this process."""
    images = np.concatenate([face_pictures(FACES), noise(2 * BATCH)])
    rows = np.arange(len(images))[::-1].copy()
    one = list(mesh_in_batches(Pictures(images), rows, device_mesher, 1))
    two = list(mesh_in_batches(Pictures(images), rows, device_mesher, 2))
    assert len(one) == len(two) == 3
    for (rows_1, here), (rows_2, there) in zip(one, two, strict=True):
        np.testing.assert_array_equal(rows_1, rows_2)
        for name in ("found", "points", "blendshapes", "crops"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name))
    assert sum(int(meshed.found.sum()) for _, meshed in one) == FACES


def test_a_worker_that_fails() -> None:
    """A mesher that cannot be opened tells why; a worker that dies does not hang the rest."""
    images = noise(2 * BATCH)
    with pytest.raises(Exception, match=r"nowhere\.task: cannot be read"):
        list(mesh_in_batches(Pictures(images), np.arange(len(images)), broken_mesher, 2))
    with pytest.raises(DataError, match="a worker process died"):
        list(mesh_in_batches(Pictures(images), np.arange(len(images)), dying_mesher, 2))


def write_pictures(folder: Path, number: int) -> Path:
    """Write class folders of pictures without a face, which are meshed fastest, and a few with."""
    faces = face_pictures(2 * FACES)
    for place, label in enumerate(("happy", "sad")):
        (folder / label).mkdir(parents=True)
        own = faces[place * FACES : (place + 1) * FACES]
        for i, image in enumerate(np.concatenate([own, noise(number // 2 - FACES, place)])):
            cv2.imwrite(str(folder / label / f"{i:04d}.png"), image)
    return folder


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_resumed(
    tmp_path: Path, workers: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """After SIGKILL no worker is left behind, and the next run does only what is missing."""
    data, out = write_pictures(tmp_path / "data", 5 * BATCH), tmp_path / "out"
    arguments = ["data", "prepare", str(data), "--out", str(out), "--workers", str(workers)]
    with subprocess.Popen(
        [sys.executable, "-m", "edgeemo", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    ) as process:
        while not list(out.glob("meshes-*/[!.]*.npz")) and process.poll() is None:
            time.sleep(0.01)
        workers_left = children(process.pid)
        process.send_signal(signal.SIGKILL)
        _, complaints = process.communicate()
    assert process.returncode == -signal.SIGKILL, complaints.decode()
    deadline = time.monotonic() + 20
    while any(map(is_running, workers_left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, workers_left))

    files = {file: file.read_bytes() for file in out.glob("meshes-*/[!.]*.npz")}
    assert 1 <= len(files) < 5
    assert not (out / "prepared.json").exists()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert not ended.value.code
    shown = " ".join(capsys.readouterr().out.split())
    assert f"{5 * BATCH} distinct pictures in {5 * BATCH} samples, {len(files) * BATCH} of" in shown
    assert f"face found in {2 * FACES} of {5 * BATCH} samples" in shown
    assert all(file.read_bytes() == content for file, content in files.items())
    result = with_prepared(load_samples(data), out, "aligned")
    assert result.mesh is not None
    assert int(np.isfinite(result.mesh).all(axis=1).sum()) == 2 * FACES


def test_the_record_of_another_version(tmp_path: Path, marked: Samples) -> None:
    """A prepared.json that is not of this form is said to be so, with the remedy."""
    run(marked, tmp_path, Counting())
    (tmp_path / "prepared.json").write_text("{}")
    with pytest.raises(DataError, match=r"damaged or of another version .* data prepare"):
        with_prepared(marked, tmp_path)
