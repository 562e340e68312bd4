"""A checkpoint is there whole or not at all, and the newest whole one is found."""

import errno
import logging
import os
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from host_training.atomic import RESUME, write_atomically
from host_training.errors import TrainingError
from host_training.training.checkpoint import (
    Checkpoint,
    EpochRow,
    best_row,
    load_newest,
    save_checkpoint,
)

BITS = min(int(os.environ.get("EDGEEMO_FUZZ", "1")), 8)


def row(epoch: int, val_accuracy: float = 0.5) -> EpochRow:
    return EpochRow(
        epoch=epoch,
        learning_rate=1e-3,
        loss=1.0,
        accuracy=0.5,
        val_loss=1.0,
        val_accuracy=val_accuracy,
        val_balanced_accuracy=0.5,
        seconds=1.0,
    )


def checkpoint(*accuracies: float) -> Checkpoint:
    arrays = (np.full((3, 2), len(accuracies), np.float32), np.array(7, np.int64))
    return Checkpoint(arrays, tuple(row(i, a) for i, a in enumerate(accuracies, 1)))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_comes_back_as_it_was(tmp_path: Path) -> None:
    """Arrays keep their order, shape, dtype and values; the history its rows."""
    saved = checkpoint(0.1, 0.2)
    save_checkpoint(tmp_path, saved)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert loaded.history == saved.history
    for a, b in zip(loaded.arrays, saved.arrays, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_many_variables_keep_their_order(tmp_path: Path) -> None:
    """Order holds beyond ten variables, where names sort differently from numbers."""
    saved = Checkpoint(tuple(np.array(i) for i in range(120)), (row(1),))
    save_checkpoint(tmp_path, saved)
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert [int(array) for array in loaded.arrays] == list(range(120))


def test_keeps_the_last_two_and_the_best(tmp_path: Path) -> None:
    """Of five epochs with the best in the second, the second, fourth and fifth stay."""
    accuracies = [0.1, 0.9, 0.3, 0.4, 0.5]
    for n in range(1, 6):
        save_checkpoint(tmp_path, checkpoint(*accuracies[:n]))
    assert names(tmp_path) == ["epoch-0002.npz", "epoch-0004.npz", "epoch-0005.npz"]


@pytest.mark.parametrize("kept", [0.0, 0.4, 0.95])
def test_a_damaged_file_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: float
) -> None:
    """When the newest file is cut off, the one before is taken, and a warning names the newest."""
    save_checkpoint(tmp_path, checkpoint(0.1))
    newest = save_checkpoint(tmp_path, checkpoint(0.1, 0.2))
    data = newest.read_bytes()
    newest.write_bytes(data[: int(len(data) * kept)])
    with caplog.at_level(logging.WARNING):
        loaded = load_newest(tmp_path)
    assert loaded is not None
    assert len(loaded.history) == 1
    assert "epoch-0002.npz: damaged" in caplog.text


def test_one_flipped_byte_is_damage(tmp_path: Path) -> None:
    """A checkpoint whose weights changed on the disk is not trained on."""
    path = save_checkpoint(tmp_path, checkpoint(0.1))
    data = bytearray(path.read_bytes())
    place = data.find(np.full((3, 2), 1, np.float32).tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    assert load_newest(tmp_path) is None


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    """Without a checkpoint there is nothing to resume from, and that is no error here."""
    assert load_newest(tmp_path) is None


def test_a_full_disk_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """A write that fails half-way leaves the old file, no half file, and one clear line."""
    target = tmp_path / "epoch-0001.npz"
    target.write_bytes(b"old")

    def fill_up(file: IO[bytes]) -> None:
        file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(TrainingError, match=r"No space left on device.*--resume"):
        write_atomically(target, fill_up, remedy=RESUME)
    assert names(tmp_path) == ["epoch-0001.npz"]
    assert target.read_bytes() == b"old"


def test_the_earlier_of_equals_is_best() -> None:
    """Two epochs of the same accuracy: the earlier is chosen, so that it never changes later."""
    assert best_row((row(1, 0.5), row(2, 0.7), row(3, 0.7))).epoch == 2


def test_any_byte_may_be_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whichever byte of the newest changes: it is read as it was, or the one before is taken.

    Some 2,000 damaged files; EDGEEMO_FUZZ changes more bits of each byte. Nothing is raised, and
    never is a part of a checkpoint taken for the whole.
    """
    caplog.set_level(logging.CRITICAL)
    save_checkpoint(tmp_path, checkpoint(0.1))
    saved = Checkpoint((*checkpoint(0.1, 0.2).arrays, np.arange(3)), checkpoint(0.1, 0.2).history)
    saved = Checkpoint(saved.arrays, saved.history, saved.arrays[:1])
    newest = save_checkpoint(tmp_path, saved)
    data = newest.read_bytes()
    passed_over = 0
    for place, byte in enumerate(data):
        for bit in range(place, place + BITS):
            changed = byte ^ (1 << bit % 8)
            newest.write_bytes(data[:place] + bytes([changed]) + data[place + 1 :])
            loaded = load_newest(tmp_path)
            assert loaded is not None
            if len(loaded.history) == 1:
                passed_over += 1
                continue
            assert loaded.history == saved.history
            for group in ("arrays", "average"):
                pairs = zip(getattr(loaded, group), getattr(saved, group), strict=True)
                assert all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)
    assert passed_over > len(data) * BITS / 2


@pytest.mark.parametrize("missing", ["variable_0000", "variable_0001", "average_0000", "history"])
def test_a_missing_array_is_damage(tmp_path: Path, missing: str) -> None:
    """A whole zip without one of its members is no checkpoint."""
    whole = checkpoint(0.1)
    path = save_checkpoint(tmp_path, Checkpoint(whole.arrays, whole.history, whole.arrays))
    with np.load(path) as members:
        left = {name: members[name] for name in members.files if name != missing}
    np.savez(path, **left)
    assert load_newest(tmp_path) is None


def test_a_checkpoint_of_an_older_version_is_read(tmp_path: Path) -> None:
    """One that does not tell how many arrays it has goes on, too."""
    path = save_checkpoint(tmp_path, checkpoint(0.1))
    with np.load(path) as members:
        np.savez(path, **{name: members[name] for name in members.files if name != "counts"})
    loaded = load_newest(tmp_path)
    assert loaded is not None
    assert len(loaded.arrays) == 2
