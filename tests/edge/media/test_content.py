"""What people give instead of a film or a picture is told by its content, whatever it is called."""

import gzip
import io
import json
import struct
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from edge.config import SourceConfig
from edge.errors import CameraError, PictureError
from edge.media.content import HEAD, is_text
from edge.media.pictures import open_picture
from edge.sources import select
from edge.sources.select import open_source

CSV = "emotion,pixels,Usage\n3,70 80,Training\n" * 400


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, CSV)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("film.mp4"), io.BytesIO())
    return file.getvalue()


WAV = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
OPUS = b"OggS\0\2" + bytes(20) + b"\1\x13OpusHead\1\2" + bytes(30)
FILES = {
    "notes.txt": (b"Dear diary,\nno film today.\n" * 30, "a text file"),
    "umlaut.txt": (("größer, schöner, älter\n" * 400).encode(), "a text file"),
    "windows.txt": (("notes\r\n" * 9).encode("utf-16"), "a text file"),
    "one word": (b"hello", "a text file"),
    "data.csv": (CSV.encode(), "a text file"),
    "films.zip": (zipped("film.mp4"), "a zip archive"),
    "films.tar": (tarred(), "a tar archive"),
    "film.mp4.gz": (gzip.compress(b"film"), "a gzip file"),
    "table.xlsx": (zipped("[Content_Types].xml", "xl/workbook.xml"), "an Excel workbook"),
    "paper.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "a PDF"),
    "film.mp4": (b"<!DOCTYPE html><html><title>Login</title></html>", "a web page"),
    "bom.avi": (b"\xef\xbb\xbf\r\n<HTML><body>", "a web page"),
    "drawing.svg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg">', "an SVG"),
    "commented.svg": (b"<!-- drawn by hand -->\n<svg>", "an SVG drawing"),
    "film.lnk": (b"L\0\0\0\x01\x14\x02\0" + bytes(60), "a shortcut and not the file itself"),
    "film.url": (b"[InternetShortcut]\r\nURL=x", "a shortcut and not the file itself"),
    "film.plist": (b"bplist00" + bytes(60), "a file of macOS's own"),
    "photo.txt": (b"data:image/jpeg;base64,/9j/4AAQSkZJRg==", "a picture as base64 text"),
    "feed.xml": (b'<?xml version="1.0"?>\n<rss>', "an XML file"),
    "song.wav": (WAV, r"only sound \(WAV\)"),
    "song.mp3": (b"ID3\x04\0\0\0\0\0\0" + bytes(500), r"only sound \(MP3\)"),
    "song.ogg": (OPUS, r"only sound \(Ogg\)"),
    "song.mp4": (struct.pack(">I", 28) + b"ftypM4A \0\0\0\0", r"only sound \(M4A\)"),
    "log.json": (json.dumps({"kind": "emotion", "t": 1}).encode(), "JSON"),
    "list.json": (b"[1, 2, 3]\n", "JSON"),
    "model.tflite": (b"\x1c\0\0\0TFL3" + bytes(100), "a TFLite model"),
    "model.keras": (zipped("config.json", "model.weights.h5"), "a Keras model"),
    "weights.h5": (b"\x89HDF\r\n\x1a\n" + bytes(90), "an HDF5 file"),
    "prog": (b"\x7fELF\2\1\1" + bytes(90), "a program"),
}


@pytest.fixture(params=["av", "opencv"])
def decoder(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have films decoded by PyAV, or by OpenCV as where PyAV is not installed."""
    if request.param == "av" and not find_spec("av"):
        pytest.skip("PyAV is not installed: edgeemo[video]")
    monkeypatch.setattr(select, "has_av", lambda: request.param == "av")


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", FILES)
def test_a_source_that_is_no_film_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    """One line names the file and what it is, and says nothing of a recording that was cut off."""
    content, told = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CameraError, match=f"{told}.*, not a video.*; expected a video") as caught:
        open_source(SourceConfig(str(tmp_path / name)))
    assert str(tmp_path / name) in str(caught.value)
    assert ("unpack it" in str(caught.value)) == (name in {"films.zip", "films.tar", "film.mp4.gz"})
    assert "cut off" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("decoder")
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a"])
def test_an_empty_source_is_called_empty(tmp_path: Path, name: str) -> None:
    """There is nothing in it, and that is what is said."""
    (tmp_path / name).touch()
    with pytest.raises(CameraError, match="the file is empty, 0 bytes"):
        open_source(SourceConfig(str(tmp_path / name)))


@pytest.mark.parametrize("name", FILES)
def test_a_picture_that_is_none_is_called_what_it_is(tmp_path: Path, name: str) -> None:
    """The reason names the content; a picture's own damage is another matter."""
    content, told = FILES[name]
    (tmp_path / "a.jpg").write_bytes(content)
    told = told.removeprefix("only ")
    with pytest.raises(PictureError, match=rf"a\.jpg: not a readable picture \({told}"):
        open_picture(tmp_path / "a.jpg")


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"", False),
        (b"\0\0\0\x18ftypmp42", False),
        (b"G@\x11\x10\0", False),
        (b"d\xe9j\xe0 vu", False),
        (b"a" * (HEAD - 1) + "é".encode()[:1], True),
        ("日本語\n".encode(), True),
    ],
)
def test_texts_are_told_from_bytes(head: bytes, expected: bool) -> None:
    """UTF-8 without control characters is text, also where a letter is cut in two at the end."""
    assert is_text(head) is expected
