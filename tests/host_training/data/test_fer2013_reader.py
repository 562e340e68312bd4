"""The FER2013 reader takes every circulating form and names the row that is wrong."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host_training.data.fer2013 import read_fer2013
from host_training.errors import DataError

ZEROS = " ".join(["0"] * 2304)
Write = Callable[..., Path]


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.csv.gz"])
@pytest.mark.parametrize("header", ["emotion,pixels,Usage", " emotion, pixels , Usage"])
def test_reads_pixels_exactly(tmp_path: Path, write_csv: Write, name: str, header: str) -> None:
    """Pixels, numbers and splits come back as written, gzipped and with blanks in the header."""
    rows = [(3, image(0), "Training"), (6, image(1), "PublicTest")]
    read = read_fer2013(write_csv(tmp_path / name, rows, header))
    np.testing.assert_array_equal(read.images, [image(0), image(1)])
    assert read.emotions.tolist() == [3, 6]
    assert read.usage == ("Training", "PublicTest")


def test_columns_are_found_by_name(tmp_path: Path) -> None:
    """The order of the columns does not matter (icml_face_data.csv has Usage in the middle)."""
    path = tmp_path / "icml_face_data.csv"
    path.write_text(f"emotion, Usage, pixels\n2,PrivateTest,{ZEROS}\n")
    read = read_fer2013(path)
    assert (read.emotions.tolist(), read.usage) == ([2], ("PrivateTest",))


def test_no_usage_column(tmp_path: Path) -> None:
    """The challenge's files without splits are read as such."""
    path = tmp_path / "train.csv"
    path.write_text(f"emotion,pixels\n0,{ZEROS}\n")
    assert read_fer2013(path).usage is None


@pytest.mark.parametrize(
    ("header", "row", "usage"),
    [("pixels", ZEROS, None), (" Usage, pixels", f"Test,{ZEROS}", "Test")],
)
def test_no_labels(tmp_path: Path, header: str, row: str, usage: str | None) -> None:
    """The challenge's test.csv, with pictures alone or with their split, has no emotions."""
    path = tmp_path / "test.csv"
    path.write_text(f"{header}\n{row}\n")
    read = read_fer2013(path)
    assert read.emotions is None
    assert read.images.shape == (1, 48, 48)
    assert read.usage == (None if usage is None else (usage,))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (f"0,{ZEROS} 0,Training", "row 2: 2305 pixels, expected 48 x 48 = 2304"),
        ("0,1 2 3,Training", "row 2: 3 pixels"),
        ("0,,Training", "row 2: 0 pixels"),
        (f"0,256{ZEROS[1:]},Training", "row 2: pixel 256, expected 0..255"),
        (f"0,-1{ZEROS[1:]},Training", "row 2: pixel -1"),
        (f"0,x{ZEROS[1:]},Training", "row 2: the pixels are not all whole numbers"),
        (f"0,1.5{ZEROS[1:]},Training", "row 2: the pixels are not all whole numbers"),
        (f"7,{ZEROS},Training", "row 2: unknown emotion number '7'"),
        (f"-1,{ZEROS},Training", "row 2: unknown emotion number '-1'"),
        (f"happy,{ZEROS},Training", "row 2: unknown emotion number 'happy'"),
        (f"0,{ZEROS}", "row 2: 2 columns, the header has 3"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, message: str) -> None:
    """A row that is not a picture with a known emotion is an error that names the row."""
    path = tmp_path / "fer2013.csv"
    path.write_text(f"emotion,pixels,Usage\n1,{ZEROS},Training\n{row}\n")
    with pytest.raises(DataError, match=message):
        read_fer2013(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"emotion,pixels,Usage\n", "no rows"),
        (b"emotions,pixels\n0,1 2 3\n", "no column 'emotion'"),
        (b"pixels\n1 2 3\n", "row 1: 3 pixels"),
        (b"emotion,Usage\n1,Training\n", "no column 'pixels'"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "not a CSV text file|no column"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """What is not a FER2013 CSV at all is said to be so."""
    path = tmp_path / "fer2013.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_fer2013(path)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_truncated_archive_is_refused(tmp_path: Path, write_csv: Write, kept: float) -> None:
    """No rows come from a gzip file that was cut off, wherever it was cut."""
    path = write_csv(tmp_path / "fer2013.csv.gz", [(0, image(i), "Training") for i in range(9)])
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match="truncated or damaged gzip"):
        read_fer2013(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path that leads nowhere is in the message."""
    with pytest.raises(DataError, match=r"nowhere\.csv: cannot be read"):
        read_fer2013(tmp_path / "nowhere.csv")
