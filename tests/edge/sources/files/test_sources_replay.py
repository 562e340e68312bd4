"""Folders of pictures as a source."""

import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.errors import CameraError
from edge.records import Frame
from edge.sources.files.image_folder import ReplaySource, natural_key


def _write(path: Path, value: int = 100, channels: int = 3) -> Path:
    shape = (6, 8) if channels == 1 else (6, 8, channels)
    assert cv2.imwrite(str(path), np.full(shape, value, np.uint8))
    return path


def _frames(source: ReplaySource) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_pictures_come_in_natural_order_as_stills(tmp_path: Path) -> None:
    """Stills are cut, named, counted in natural order, and dated by their own file."""
    for number in (10, 9, 1, 2):
        path = _write(tmp_path / f"img{number}.png", number)
        os.utime(path, (1000 + number, 1000 + number))
    frames = _frames(ReplaySource(tmp_path))
    assert [frame.name for frame in frames] == ["img1.png", "img2.png", "img9.png", "img10.png"]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 9, 10]
    assert [frame.captured_at.timestamp() for frame in frames] == [1001, 1002, 1009, 1010]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert all(frame.starts_new_clip for frame in frames)
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()


def test_sequence_has_a_rate(tmp_path: Path) -> None:
    """With fps the pictures continue each other at i / fps from the first file's date."""
    for number in range(4):
        os.utime(_write(tmp_path / f"{number}.jpg"), (5000 + 7 * number,) * 2)
    frames = _frames(ReplaySource(tmp_path, fps=8))
    assert [frame.t_s for frame in frames] == [0, 0.125, 0.25, 0.375]
    assert [frame.captured_at.timestamp() for frame in frames] == [
        5000,
        5000.125,
        5000.25,
        5000.375,
    ]
    assert not any(frame.starts_new_clip for frame in frames)


def test_unreadable_pictures_are_named_and_keep_their_place(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Damaged pictures are skipped with a warning each; the others keep index and time."""
    for number in (0, 2, 4):
        _write(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing more")
    (tmp_path / "3.jpg").write_bytes(b"")
    (tmp_path / "5.png").mkdir()
    frames = _frames(ReplaySource(tmp_path, fps=10))
    assert [frame.index for frame in frames] == [0, 2, 4]
    assert [frame.t_s for frame in frames] == [0, 0.2, 0.4]
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == 3
    for name, message in zip(("1.png", "3.jpg", "5.png"), messages, strict=True):
        assert name in message
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grey_and_transparent_pictures_become_bgr(tmp_path: Path, channels: int) -> None:
    """Grey, colour and transparent files all give three channels."""
    _write(tmp_path / "x.png", 50, channels)
    [frame] = _frames(ReplaySource(tmp_path))
    assert frame.image.shape == (6, 8, 3)
    assert (frame.image == 50).all()


def test_red_is_red(tmp_path: Path) -> None:
    """A red picture has its third channel bright."""
    cv2.imwrite(str(tmp_path / "red.png"), np.full((4, 4, 3), (0, 0, 255), np.uint8))
    [frame] = _frames(ReplaySource(tmp_path))
    assert frame.image[0, 0].tolist() == [0, 0, 255]


def test_single_picture_and_foreign_files(tmp_path: Path) -> None:
    """One picture may be named itself; hidden and foreign files of a folder are skipped."""
    path = _write(tmp_path / "ü 1.PNG")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / ".hidden.png").write_bytes(b"x")
    assert [frame.name for frame in _frames(ReplaySource(path))] == ["ü 1.PNG"]
    assert [frame.name for frame in _frames(ReplaySource(tmp_path))] == ["ü 1.PNG"]


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ([], "holds no picture"),
        (["a.txt"], "holds no picture"),
        (["happy/"], r"subfolders \(happy\)"),
        (["a.png", "b.png"], "none of its 2 pictures"),
    ],
    ids=["empty", "foreign", "subfolders", "damaged"],
)
def test_folder_without_a_picture_is_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    """A folder that can give no frame is refused at once, with its name and the reason."""
    for name in names:
        if name.endswith("/"):
            (tmp_path / name).mkdir()
        else:
            (tmp_path / name).write_bytes(b"x")
    with pytest.raises(CameraError, match=reason) as caught:
        ReplaySource(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_close_ends_and_rate_is_checked(tmp_path: Path) -> None:
    """A closed replay gives nothing; a rate that is not positive is refused."""
    _write(tmp_path / "a.png")
    source = ReplaySource(tmp_path)
    source.close()
    assert source.read() is None
    with pytest.raises(ValueError, match="positive"):
        ReplaySource(tmp_path, fps=0)


@given(st.lists(st.integers(0, 10**12), unique=True), st.text("aB _-.", max_size=5))
def test_natural_order_is_numeric(numbers: list[int], prefix: str) -> None:
    """Names that differ in a number sort by it, whatever stands before."""
    names = [f"{prefix}{number}.png" for number in numbers]
    expected = [f"{prefix}{number}.png" for number in sorted(numbers)]
    assert sorted(names, key=natural_key) == expected


@given(st.lists(st.text(max_size=8)))
def test_any_names_can_be_sorted(names: list[str]) -> None:
    """No mixture of names breaks the order, and where they come in does not matter."""
    ordered = [name.lower() for name in sorted(names, key=natural_key)]
    names.reverse()
    assert ordered == [name.lower() for name in sorted(names, key=natural_key)]


def test_a_fifo_and_a_device_among_pictures_are_not_waited_for(tmp_path: Path) -> None:
    """They are skipped, and the pictures around them are given."""
    for number in (1, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    os.mkfifo(tmp_path / "2.png")
    (tmp_path / "4.png").symlink_to("/dev/zero")
    source = ReplaySource(tmp_path)
    names = []
    while (frame := source.read()) is not None:
        names.append(frame.name)
    assert names == ["1.png", "3.png"]
    assert source.dropped == 2
