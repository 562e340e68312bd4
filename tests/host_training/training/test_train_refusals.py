"""Data that cannot be trained on ends `edgeemo train` before anything is written."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeemo.cli.main import main

Write = Callable[..., Path]
Break = Callable[[Path, Write, Write, Write], list[Path]]

FLAT = np.full((48, 48), 9, np.uint8)
ROWS = [(kind % 2, FLAT + np.uint8(kind), "Training") for kind in range(8)]


def wrong_row(folder: Path, write_csv: Write, _folders: Write, _votes: Write) -> list[Path]:
    path = write_csv(folder / "fer2013.csv", ROWS)
    path.write_text(path.read_text().replace(" 10", " ten", 1))
    return [path]


def truncated(folder: Path, write_csv: Write, _folders: Write, _votes: Write) -> list[Path]:
    path = write_csv(folder / "fer2013.csv.gz", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    return [path]


def empty_class(folder: Path, _csv: Write, write_folders: Write, _votes: Write) -> list[Path]:
    path = write_folders(folder / "data", ["happy", "sad"], 4)
    (path / "angry").mkdir()
    return [path]


def one_class(folder: Path, _csv: Write, write_folders: Write, _votes: Write) -> list[Path]:
    return [write_folders(folder / "data", ["happy"], 4)]


def one_class_split(folder: Path, _csv: Write, write_folders: Write, _votes: Write) -> list[Path]:
    write_folders(folder / "data" / "train", ["happy", "sad"], 4)
    write_folders(folder / "data" / "val", ["sad"], 4)
    return [folder / "data"]


def too_few_votes(
    folder: Path, write_csv: Write, _folders: Write, write_votes: Write
) -> list[Path]:
    votes = [("Training", [0, 9, 0, 0, 0, 0, 0, 0, 0, 1])] * 7
    return [write_csv(folder / "fer2013.csv", ROWS), write_votes(folder / "votes.csv", votes)]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (wrong_row, "row 2: the pixels are not all whole numbers"),
        (truncated, "truncated or damaged gzip file"),
        (empty_class, "angry: no picture in it"),
        (one_class, "training samples show 1 labels (happiness); a classifier needs two or more"),
        (one_class_split, "validation samples show 1 labels (sadness)"),
        (too_few_votes, "7 rows of votes for 8 pictures"),
    ],
)
def test_nothing_is_written(
    tmp_path: Path,
    write_csv: Write,
    write_folders: Write,
    write_votes: Write,
    capsys: pytest.CaptureFixture[str],
    make: Break,
    message: str,
) -> None:
    """The fault is told in one line, and there is no run, nor anything half-made beside it."""
    data, *labels = make(tmp_path, write_csv, write_folders, write_votes)
    runs = tmp_path / "runs"
    runs.mkdir()
    arguments = ["train", "--data", str(data), "--out", str(runs / "run")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, *(part for path in labels for part in ("--labels", str(path)))])
    assert ended.value.code == 1
    errors = capsys.readouterr().err
    assert errors.startswith("edgeemo: error: ")
    assert errors.count("\n") == 1
    assert message in errors
    assert list(runs.iterdir()) == []
