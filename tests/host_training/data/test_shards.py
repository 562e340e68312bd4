"""Samples in shards are the samples in memory, read from the disk as they are asked for."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import ConfigError
from edgeemo.cli.main import main
from host_training.config import TrainConfig
from host_training.data.load import load_samples
from host_training.data.partition import partition
from host_training.data.samples import Samples, first_rows
from host_training.data.shards import in_memory, read_part, read_shards, write_shards
from host_training.data.stored_images import StoredImages
from host_training.errors import DataError
from host_training.training.batches import TrainingBatches


@pytest.fixture
def stored(striped: Samples, tmp_path: Path) -> Samples:
    """Return the striped samples, from shards of seven."""
    write_shards(striped, tmp_path / "shards", 7, (1, 1))
    return read_shards(tmp_path / "shards")


def equal(one: Samples, other: Samples) -> None:
    for name in ("images", "targets", "class_ids", "split"):
        np.testing.assert_array_equal(np.asarray(getattr(one, name)), getattr(other, name))
    assert one.labels == other.labels
    assert one.protocol == other.protocol
    assert one.fingerprint() == other.fingerprint()


def test_shards_hold_the_very_samples(stored: Samples, striped: Samples) -> None:
    """Everything comes back, and the pictures are not in memory."""
    assert isinstance(stored.images, StoredImages)
    equal(stored, striped)
    np.testing.assert_array_equal(first_rows(stored.images), first_rows(striped.images))


@given(st.data())
def test_pictures_are_indexed_as_an_array_is(tmp_path_factory: object, data: st.DataObject) -> None:
    """Numbers in any order and number, slices, masks and masks of masks give the same pictures."""
    images, stored = given_images(tmp_path_factory)
    rows = data.draw(st.lists(st.integers(-len(images), len(images) - 1), max_size=40))
    np.testing.assert_array_equal(stored[np.array(rows, int)], images[np.array(rows, int)])
    start, stop = (data.draw(st.integers(-3, len(images) + 3)) for _ in range(2))
    np.testing.assert_array_equal(stored[start:stop], images[start:stop])
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=20, max_size=20)))
    part, expected = stored[mask], images[mask]
    assert part.shape == expected.shape
    np.testing.assert_array_equal(np.asarray(part), expected)
    if len(part):
        np.testing.assert_array_equal(part[len(part) - 1], expected[-1])
        inner = np.arange(len(part)) % 2 == 0
        np.testing.assert_array_equal(np.asarray(part[inner]), expected[inner])


CACHE: dict[str, tuple[np.ndarray, StoredImages]] = {}


def given_images(factory: object) -> tuple[np.ndarray, StoredImages]:
    if "made" not in CACHE:
        folder = factory.mktemp("indexed")  # type: ignore[attr-defined]
        generator = np.random.default_rng(0)
        images = generator.integers(0, 256, (20, 48, 48)).astype(np.uint8)
        hard = np.arange(20) % 2
        samples = Samples(
            images=images,
            targets=np.eye(2, dtype=np.float32)[hard],
            labels=("neutral", "happiness"),
            class_ids=hard,
            split=np.array(["Training"] * 20),
            name="made",
            form="made up",
            protocol="labels",
        )
        write_shards(samples, folder, 6, (1, 1))
        CACHE["made"] = images, read_shards(folder).images  # type: ignore[assignment]
    return CACHE["made"]


def test_training_takes_the_same_batches_from_the_disk(stored: Samples, striped: Samples) -> None:
    """Division, order, views and targets are those of the samples in memory, to the bit."""
    config = TrainConfig(batch_size=16, seed=3, mixup=0.2)
    parts = [partition(samples, seed=3) for samples in (stored, striped)]
    assert parts[0].remarks == parts[1].remarks
    assert isinstance(parts[0].training.images, StoredImages)
    assert isinstance(parts[0].validation.images, np.ndarray)
    equal(parts[0].validation, parts[1].validation)
    for epoch in (0, 1):
        both = (TrainingBatches(part.training, config).epoch(epoch) for part in parts)
        for one, other in zip(*both, strict=True):
            np.testing.assert_array_equal(one.inputs["pixels"], other.inputs["pixels"])
            np.testing.assert_array_equal(one.targets, other.targets)


def test_parts_of_several_machines_are_one_data_set(striped: Samples, tmp_path: Path) -> None:
    """Each writes its part; all together they are what one would have written."""
    for part in (3, 1, 2):
        write_shards(striped, tmp_path, 10, (part, 3))
    equal(load_samples(tmp_path), striped)


def test_a_missing_part_is_named(striped: Samples, tmp_path: Path) -> None:
    """Samples are not left out in silence."""
    write_shards(striped, tmp_path, 10, (1, 3))
    write_shards(striped, tmp_path, 10, (3, 3))
    with pytest.raises(DataError, match="part 2/3 is missing"):
        read_shards(tmp_path)


def test_parts_of_other_data_are_refused(striped: Samples, tmp_path: Path) -> None:
    """Parts belong together, or are not read."""
    write_shards(striped, tmp_path, 10, (1, 2))
    write_shards(replace(striped, class_ids=striped.class_ids[::-1]), tmp_path, 10, (2, 2))
    with pytest.raises(DataError, match="of other data"):
        read_shards(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("pictures-00000007.npy", b"\x93NUMPY", "not the 7 pictures of a shard"),
        ("pictures-00000007.npy", None, "No such file"),
        ("samples-00000014.npz", b"PK", "not the samples of a shard"),
        ("part-00001-of-00001.json", b"{", "not the record of a part"),
    ],
)
def test_damaged_files_are_named(
    striped: Samples, tmp_path: Path, name: str, content: bytes | None, told: str
) -> None:
    """A file that is damaged or gone is named, with what to do."""
    write_shards(striped, tmp_path, 7, (1, 1))
    (tmp_path / name).unlink() if content is None else (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=told) as refused:
        read_shards(tmp_path)
    assert name in str(refused.value)


def test_a_file_that_is_cut_off_later_is_named(striped: Samples, tmp_path: Path) -> None:
    """Pictures that go while training reads them are an error, not grey."""
    write_shards(striped, tmp_path, 64, (1, 1))
    samples = read_shards(tmp_path)
    path = tmp_path / "pictures-00000000.npy"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match="has been cut off"):
        samples.images[np.array([63])]


def test_another_format_is_refused(striped: Samples, tmp_path: Path) -> None:
    """Shards of a later edgeemo are not read by guess."""
    record = write_shards(striped, tmp_path, 64, (1, 1))
    later = msgspec.to_builtins(record) | {"format_version": 2}
    (tmp_path / "part-00001-of-00001.json").write_text(json.dumps(later))
    with pytest.raises(DataError, match="of format 2, this edgeemo reads 1"):
        read_shards(tmp_path)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2", ""])
def test_parts_are_refused(text: str) -> None:
    """A part is a number from 1 of so many."""
    with pytest.raises(ConfigError, match="--shard"):
        read_part(text)


def test_in_memory(stored: Samples, striped: Samples) -> None:
    """Samples on the disk can be taken into memory whole."""
    assert isinstance(in_memory(stored).images, np.ndarray)
    equal(in_memory(stored), striped)


def test_the_command_writes_shards_that_the_command_reads(
    tmp_path: Path, write_folders: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Two machines' parts of a folder of pictures are audited as the folder is."""
    pictures = write_folders(tmp_path / "faces", ("happiness", "sadness"), 6)
    out = tmp_path / "shards"
    for part in ("1/2", "2/2"):
        words = ["--out", str(out), "--shards", "4", "--shard", part]
        command("data", "prepare", str(pictures), *words)
    assert "6 samples in 2 shards" in capsys.readouterr().out
    command("data", "audit", str(out), "--no-near")
    shown = capsys.readouterr().out
    assert "class folders, in 4 shards, 12 samples" in shown
    equal(load_samples(out), load_samples(pictures))


def command(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code in (0, None)


def test_shards_take_no_other_labels(striped: Samples, tmp_path: Path) -> None:
    """Labels are in the shards: others beside them would be left out in silence."""
    write_shards(striped, tmp_path, 64, (1, 1))
    with pytest.raises(ConfigError, match="shards hold their labels"):
        load_samples(tmp_path, labels=tmp_path / "votes.csv")
    with pytest.raises(ConfigError, match="only labels is possible"):
        load_samples(tmp_path, protocol="majority")
