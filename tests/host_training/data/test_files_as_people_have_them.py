"""Data sets as people have them: names that say little, CSVs that are none, damage in one file."""

import bz2
import gzip
import io
import json
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from host_training.data.fer2013 import read_fer2013
from host_training.data.ferplus import read_votes
from host_training.data.load import load_samples
from host_training.errors import DataError

Write = Callable[..., Path]


def picture(value: int, suffix: str = ".png") -> bytes:
    there, data = cv2.imencode(suffix, np.full((48, 48, 3), value, np.uint8))
    assert there
    return data.tobytes()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


HUGE = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 32000, 32000, 8, 0, 0, 0, 0))
    + chunk(b"IEND", b"")
)


def test_pictures_of_a_class_are_told_by_their_content(tmp_path: Path) -> None:
    """Unusual, upper-case, missing and wrong suffixes give the same rows as the usual ones."""
    names = ("a.jfif", "B.JPG", "c", "d.txt", "e.tiff")
    forms = (".jpg", ".jpg", ".png", ".bmp", ".webp")
    for label, value in (("happy", 200), ("sad", 60)):
        (tmp_path / label).mkdir()
        for name, form in zip(names, forms, strict=True):
            (tmp_path / label / name).write_bytes(picture(value, form))
    (tmp_path / "sad" / "LIESMICH").write_text("beside")
    samples = load_samples(tmp_path)
    assert samples.counts() == {"happiness": 5, "sadness": 5}
    assert samples.images.min(axis=(1, 2)).tolist() == [200] * 5 + [60] * 5
    assert "1 other file beside the pictures ignored" in samples.form


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_phones_picture_is_learnt_from_upright(tmp_path: Path, orientation: int) -> None:
    """What the device turns upright the data set turns upright, by the same code."""
    scene = np.zeros((48, 48, 3), np.uint8)
    scene[:24] = 255
    stored = np.rot90(scene) if orientation == 6 else scene
    jpeg = cv2.imencode(".jpg", np.ascontiguousarray(stored))[1].tobytes()
    body = b"Exif\0\0II" + struct.pack("<HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)
    data = jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "a").write_bytes(data)
    [image, _] = load_samples(tmp_path).images
    assert (image[2].mean() > 250, image[45].mean() < 5) == (True, True)


def test_damaged_and_too_large_pictures_are_left_out(
    tmp_path: Path, write_folders: Write, caplog: pytest.LogCaptureFixture
) -> None:
    """Each is named with the reason, all are counted, and the rest is read."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 2)
    (data / "sad" / "huge.png").write_bytes(HUGE)
    (data / "happy" / "cut.jpg").write_bytes(picture(100, ".jpg")[:-30])
    samples = load_samples(data)
    assert samples.counts() == {"happiness": 2, "sadness": 2}
    assert samples.form.endswith("2 unreadable pictures skipped")
    told = sorted(record.getMessage() for record in caplog.records)
    assert "cut.jpg: not a readable picture (cut off" in told[0]
    assert "huge.png: not a readable picture (too large: 32000x32000 pixels" in told[1]


def test_a_class_of_damaged_pictures_is_refused(tmp_path: Path, write_folders: Write) -> None:
    """A class that would be empty is not left out in silence."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 1)
    (data / "angry").mkdir()
    (data / "angry" / "a.png").write_bytes(HUGE)
    with pytest.raises(DataError, match="angry: none of its 1 pictures can be read"):
        load_samples(data)


@pytest.mark.parametrize(
    ("pictures", "happy", "sad", "refused"),
    [
        (5, 0, 3, None),  # a mishap, however small the data is
        (5, 0, 4, r"sad: 4 of 9 pictures cannot be read \(0\.png, 1\.png"),
        (100, 5, 5, None),
        (100, 6, 0, r"happy: 6 of 106 pictures cannot be read"),
        (5, 3, 2, r"data: 5 of 15 pictures cannot be read"),  # each class's few are many in all
    ],
)
def test_data_that_lost_much_is_refused(
    tmp_path: Path, write_folders: Write, pictures: int, happy: int, sad: int, refused: str | None
) -> None:
    """Over 5 %, and more than three, of a class or of all cannot be read: no figure of the rest."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], pictures, "whole-{i}.png")
    for label, broken in (("happy", happy), ("sad", sad)):
        for i in range(broken):
            (data / label / f"{i}.png").write_bytes([b"", b"<html>404</html>", HUGE][i % 3])
    if refused is None:
        assert load_samples(data).counts() == {"happiness": pictures, "sadness": pictures}
    else:
        with pytest.raises(DataError, match=refused):
            load_samples(data)


PIXELS = " ".join(["7"] * 2304)
PLAIN = f"emotion,pixels,Usage\n3,{PIXELS},Training\n0,{PIXELS},PublicTest\n"

LINE, QUOTED, QUOTED_LINE = "\n", '","', '"\n"'

READ = {
    "plain": PLAIN.encode(),
    "gzip": gzip.compress(PLAIN.encode()),
    "UTF-8 with BOM": PLAIN.encode("utf-8-sig"),
    "UTF-16": PLAIN.encode("utf-16"),
    "UTF-16 big end first": b"\xfe\xff" + PLAIN.encode("utf-16-be"),
    "gzip of UTF-16": gzip.compress(PLAIN.encode("utf-16")),
    "CRLF": PLAIN.replace("\n", "\r\n").encode(),
    "CR": PLAIN.replace("\n", "\r").encode(),
    "no last line end": PLAIN.rstrip().encode(),
    "semicolons": PLAIN.replace(",", ";").encode(),
    "tabs": PLAIN.replace(",", "\t").encode(),
    "quoted pixels": PLAIN.replace(PIXELS, f'"{PIXELS}"').encode(),
    "all quoted": f'"{PLAIN.rstrip().replace(",", QUOTED).replace(LINE, QUOTED_LINE)}"'.encode(),
    "blanks after commas": PLAIN.replace(",", ", ").replace(PIXELS, f'"{PIXELS}"').encode(),
    "a blank line": PLAIN.replace("\n0,", "\n\n0,").encode(),
    "blank lines everywhere": PLAIN.replace("\n", "\n\n  \n").join(("\n\n", "\r\n")).encode(),
    "empty cells": PLAIN.replace("\n0,", "\n,,\n0,").encode() + b",,\n",
}


@pytest.mark.parametrize("form", READ)
def test_csvs_as_programs_write_them(tmp_path: Path, form: str) -> None:
    """Encodings, separators, quotes, line ends and blank lines change nothing in what is read."""
    path = tmp_path / "fer2013.csv"
    path.write_bytes(READ[form])
    rows = read_fer2013(path)
    assert rows.images.shape == (2, 48, 48)
    assert (rows.images == 7).all()
    assert rows.emotions is not None
    assert rows.emotions.tolist() == [3, 0]
    assert rows.usage == ("Training", "PublicTest")


def test_blank_lines_do_not_part_votes_from_pictures(tmp_path: Path, write_votes: Write) -> None:
    """Row i of the votes stays row i of the pictures, wherever an editor left a blank line."""
    votes = write_votes(
        tmp_path / "votes.csv",
        [("Training", [0, 10] + [0] * 8), ("PublicTest", [10] + [0] * 9)],
    )
    votes.write_text(votes.read_text().replace("\n", "\n\n"))
    assert read_votes(votes)[1].argmax(axis=1).tolist() == [1, 0]


def tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        about = tarfile.TarInfo("fer2013/fer2013.csv")
        about.size = len(PLAIN)
        archive.addfile(about, io.BytesIO(PLAIN.encode()))
    return file.getvalue()


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, PLAIN)
    return file.getvalue()


REFUSED = {
    "tar": (tar("w"), "a tar archive; unpack it"),
    "tar.gz": (tar("w:gz"), "a gzip file of a tar archive; unpack it"),
    "tar.bz2": (tar("w:bz2"), "a bzip2 file; unpack it"),
    "tar.xz": (tar("w:xz"), "an xz file; unpack it"),
    "bz2": (bz2.compress(PLAIN.encode()), "a bzip2 file"),
    "xz": (lzma.compress(PLAIN.encode()), "an xz file"),
    "zip": (zipped("fer2013.csv"), "a zip archive; unpack it"),
    "zip.gz": (gzip.compress(zipped("fer2013.csv")), "a gzip file of a zip archive"),
    "gz.gz": (gzip.compress(gzip.compress(b"x")), "a gzip file of a gzip file; unpack it"),
    "xlsx": (zipped("[Content_Types].xml"), "an Excel workbook; save it as CSV"),
    "xls": (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600),
        "an old Excel or Word file; save it as CSV",
    ),
    "npz": (zipped("images.npy"), "a NumPy archive"),
    "npy": (b"\x93NUMPY\x01\0", "a NumPy array"),
    "7z": (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
    "rar": (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
    "zst": (b"\x28\xb5\x2f\xfd\x04", "a Zstandard file"),
    "parquet": (b"PAR1\x15\x04", "a Parquet file"),
    "hdf5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "pickle": (b"\x80\x04\x95\x10", "a pickle"),
    "picture": (picture(1), "a picture; give the folder"),
    "html": (b"<!DOCTYPE html>\n<html><head><title>Login</title>", "a web page"),
    "html with BOM": (b"\xef\xbb\xbf\n  <HTML>", "a web page"),
    "json": (json.dumps({"emotion": [3]}).encode(), "JSON"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
    "binary": (b"emotion\0,pixels\0\n", "binary, or UTF-16 without a byte-order mark"),
    "UTF-16 without BOM": (PLAIN.encode("utf-16-le"), "UTF-16 without a byte-order mark"),
}


@pytest.mark.parametrize("form", REFUSED)
@pytest.mark.parametrize("read", [read_fer2013, read_votes], ids=["pictures", "votes"])
def test_what_is_no_csv_is_named(tmp_path: Path, form: str, read: Callable[[Path], object]) -> None:
    """One line says what the file is and what to do, for pictures and votes alike."""
    content, told = REFUSED[form]
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"data.csv: not a CSV text file.*{told}"):
        read(path)


@pytest.mark.parametrize("content", [b" ", b"emotion,pixels,Usage\n3,"], ids=["blank", "begun"])
def test_an_endless_line_is_not_read_whole(tmp_path: Path, content: bytes) -> None:
    """A megabyte of gzip that unpacks to one line of a gigabyte takes no gigabyte."""
    path = tmp_path / "data.csv.gz"
    with gzip.open(path, "wb", 1) as file:
        file.write(content)
        for _ in range(100):
            file.write(b"7 " * 500_000)
    tracemalloc.start()
    with pytest.raises(DataError, match="a line of more than 131,072 characters"):
        read_fer2013(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
