"""What films are told to lack, and what whole ones are not: holes, short files, trims, changes."""

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.errors import CameraError
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.files.avi import repeated_frames
from edge.sources.files.mp4 import shown_share
from edge.sources.files.opencv_film import OpenCvFilm
from edge.sources.files.recording import Extent, recorded_at
from edge.sources.files.survey import parameters_in

if HAS_AV := find_spec("av") is not None:
    from edge.sources.files.av_film import AvFilm

Opener = Callable[[Path], FrameSource]
both = pytest.mark.parametrize("opener", [OpenCvFilm, *([AvFilm] if HAS_AV else [])])
needs_av = pytest.mark.skipif(not HAS_AV, reason="PyAV is not installed: edgeemo[video]")
FRAMES = 75


def written(path: Path, code: str, size_wh: tuple[int, int] = (128, 96)) -> Path:
    """Write a film of noise, so that every frame takes as much room as the others."""
    rng = np.random.default_rng(3)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*code), 25, size_wh)
    assert writer.isOpened(), (path, code)
    for _ in range(FRAMES):
        writer.write(rng.integers(0, 255, (*size_wh[::-1], 3), np.uint8))
    writer.release()
    return path


def read_all(source: FrameSource) -> list[Frame]:
    frames = list(iter(source.read, None))
    assert source.read() is None
    source.close()
    return frames


def with_hole(path: Path) -> Path:
    """Overwrite a tenth of a file with zeros, as a card does that lost some of its blocks."""
    data = bytearray(path.read_bytes())
    size = len(data) // 10
    start = round(len(data) * 0.45)
    data[start : start + size] = bytes(size)
    path.write_bytes(data)
    return path


def shortened(path: Path) -> Path:
    """Take a tenth of a file out of its middle."""
    data = path.read_bytes()
    start = round(len(data) * 0.45)
    path.write_bytes(data[:start] + data[start + len(data) // 10 :])
    return path


@both
@pytest.mark.parametrize(
    ("suffix", "code"),
    [
        (".mkv", "mp4v"), (".mkv", "MJPG"), (".mkv", "FFV1"), (".webm", "VP80"),
        (".ts", "mp4v"), (".mpg", "mpg2"), (".flv", "FLV1"), (".wmv", "WMV2"),
    ],
)  # fmt: skip
def test_a_hole_is_counted_where_the_container_has_no_index(
    tmp_path: Path, opener: Opener, suffix: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames that a damaged stretch took along are missing by their times: counted and told."""
    source = opener(with_hole(written(tmp_path / f"film{suffix}", code)))
    frames = read_all(source)
    assert FRAMES // 2 <= len(frames) <= FRAMES - 3
    assert abs(len(frames) + source.dropped - FRAMES) <= 2
    assert any(str(source.dropped) in record.getMessage() for record in caplog.records)


@both
@pytest.mark.parametrize(
    ("name", "code"),
    [("film.avi", "mp4v"), ("film.avi", "MJPG"), ("film.avi", "HFYU"), ("film.mxf", "mpg2")],
)
@pytest.mark.parametrize("damage", [with_hole, shortened], ids=["a hole", "cut out"])
def test_a_film_that_counts_its_frames_and_lost_some_is_called_damaged(
    tmp_path: Path,
    opener: Opener,
    name: str,
    code: str,
    damage: Callable[[Path], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its frames have no times of their own, but its header counts them."""
    source = opener(damage(written(tmp_path / name, code)))
    frames = read_all(source)
    assert len(frames) < FRAMES
    told = " ".join(record.getMessage() for record in caplog.records)
    assert f"its header announces {FRAMES}: the file is cut off or damaged" in told


@needs_av
@pytest.mark.parametrize("step", [2, 5])
@both
def test_a_film_without_its_repeated_frames_raises_no_alarm(
    tmp_path: Path, opener: Opener, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A screen recording leaves out what does not change: its steps are long, and it is whole."""
    path = timed(tmp_path / "screen.mkv", [i * step if i % 3 else i * step + 1 for i in range(40)])
    source = opener(path)
    assert len(read_all(source)) == 40
    assert (source.dropped, caplog.records) == (0, [])


@needs_av
@pytest.mark.parametrize("step", [1, 2, 5])
@both
def test_an_avi_that_repeats_frames_by_empty_chunks_is_whole(
    tmp_path: Path, opener: Opener, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Its header counts a chunk for each moment, also where the picture before is shown again."""
    times = [i * step for i in range(30)]
    path = timed(tmp_path / "screen.avi", times, "mjpeg", "yuvj420p")
    assert repeated_frames(path) == 29 * (step - 1)
    source = opener(path)
    assert [round(25 * frame.t_s) for frame in read_all(source)] == times
    assert (source.dropped, caplog.records) == (0, [])


@pytest.mark.parametrize("cut", [3, 11, 40, 60])
def test_an_avi_of_which_little_is_left_counts_nothing(tmp_path: Path, cut: int) -> None:
    """Headers that end early, and files that are no AVI, have no index to count in."""
    path = written(tmp_path / "film.avi", "MJPG", (32, 32))
    data = path.read_bytes()
    path.write_bytes(data[:cut])
    assert repeated_frames(path) == 0
    path.write_bytes(b"JUNK" + data[4:])
    assert repeated_frames(path) == 0


def gif(path: Path, pictures: int = 20, size: int = 48) -> Path:
    """Write an animated GIF of noise, without compression: each pixel is a code of 8 bits."""
    rng = np.random.default_rng(1)
    parts = [struct.pack("<6s2H3B", b"GIF89a", size, size, 0xF6, 0, 0), bytes(range(128)) * 3]
    for _ in range(pictures):
        pixels = rng.integers(0, 127, size * size, np.uint8).tobytes()
        runs = [b"\x80" + pixels[i : i + 100] for i in range(0, len(pixels), 100)]
        codes = b"".join(runs) + b"\x81"
        blocks = [codes[i : i + 255] for i in range(0, len(codes), 255)]
        parts += [
            b"\x21\xf9\x04\x00\x04\x00\x00\x00",
            struct.pack("<B4HB", 44, 0, 0, size, size, 0),
        ]
        parts += [b"\x07", *(bytes([len(block)]) + block for block in blocks), b"\x00"]
    path.write_bytes(b"".join(parts) + b"\x3b")
    return path


@both
@pytest.mark.parametrize(
    ("damage", "is_told"),
    [
        (lambda data: data, False),
        (lambda data: data[:-1], False),  # many end without a trailer
        (lambda data: data + b"appended by somebody", False),
        (lambda data: data[: len(data) // 2], True),
        (lambda data: data[:20_000] + bytes(5_000) + data[25_000:], True),
        (lambda data: data.replace(b"\x00\x21\xf9", b"\x00\x3b\x21\xf9", 9), True),
    ],
    ids=["whole", "no trailer", "appended", "half", "zeros", "false trailer"],
)
def test_a_gif_that_is_damaged_is_told(
    tmp_path: Path,
    opener: Opener,
    damage: Callable[[bytes], bytes],
    is_told: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """FFmpeg ends at the first damage as if that were the film's end."""
    path = gif(tmp_path / "film.gif")
    path.write_bytes(damage(path.read_bytes()))
    frames = read_all(opener(path))
    told = " ".join(record.getMessage() for record in caplog.records)
    assert (len(frames) < 20) is is_told
    assert ("the file is cut off or damaged" in told) is is_told


@needs_av
def test_a_hole_in_a_dv_film_makes_no_pictures(tmp_path: Path) -> None:
    """Its decoder makes pictures of whatever it gets: frames without their header are damaged."""
    import av

    path = tmp_path / "tape.dv"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("dvvideo", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        for i in range(12):
            image = np.full((576, 720, 3), 10 * i, np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        film.mux(stream.encode())
    data, frame = path.read_bytes(), 144_000
    assert len(data) == 12 * frame
    path.write_bytes(data[: 4 * frame] + bytes(2 * frame) + data[6 * frame :])
    source = AvFilm(path)
    frames = read_all(source)
    assert source.dropped >= 2
    assert len({frame.size_hw for frame in frames}) == 1
    levels = {round(float(frame.image.mean()), -1) for frame in frames}
    assert levels <= {10.0 * i for i in range(12) if i not in (4, 5)}


@needs_av
@pytest.mark.parametrize("suffix", [".mkv", ".ts"])
@both
def test_a_film_whose_times_begin_late_is_whole(
    tmp_path: Path, opener: Opener, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Some containers tell the end's time, some the duration: neither makes it a file cut off."""
    path = timed(tmp_path / f"late{suffix}", list(range(250, 290)))
    source = opener(path)
    frames = read_all(source)
    assert len(frames) == 40
    assert frames[-1].t_s == pytest.approx(39 / 25, abs=0.01)
    assert (source.dropped, caplog.records) == (0, [])


def timed(path: Path, times: list[int], codec: str = "libx264", pixels: str = "yuv420p") -> Path:
    """Write pictures that come at these times, in 25ths of a second; of H.264 with B-frames."""
    import av

    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 128, 96, pixels
        stream.codec_context.time_base = Fraction(1, 25)
        for i, time in enumerate(times):
            image = np.full((96, 128, 3), 5 * i % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts = time
            film.mux(stream.encode(frame))
        film.mux(stream.encode())
    return path


@both
def test_a_film_that_a_phone_trimmed_is_whole(
    tmp_path: Path, opener: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    """An edit list shows a part of the frames; the others are hidden, and not lost."""
    path = written(tmp_path / "film.mp4", "mp4v")
    data = bytearray(path.read_bytes())
    assert shown_share(path) == 1
    at = data.index(b"elst") + 12
    units, media, rate = struct.unpack_from(">IiI", data, at)
    struct.pack_into(">IiI", data, at, units // 3, media, rate)
    path.write_bytes(data)
    assert shown_share(path) == pytest.approx(1 / 3, abs=0.01)
    source = opener(path)
    assert FRAMES // 3 <= len(read_all(source)) < FRAMES
    assert (source.dropped, caplog.records) == (0, [])


@pytest.mark.parametrize("damage", [b"elst", b"mdhd", b"mvhd", b"edts", b"hdlr", b"trak"])
@pytest.mark.parametrize("value", [0, 255])
def test_a_damaged_edit_list_is_no_harm(tmp_path: Path, damage: bytes, value: int) -> None:
    """Whatever stands in the boxes, there is a share between 0 and 1."""
    path = written(tmp_path / "film.mp4", "mp4v")
    data = bytearray(path.read_bytes())
    at = data.index(damage)
    for end in (at, at + 40):
        data[end - 4 : end] = bytes([value] * 4)
        data[at + 4 : at + 40] = bytes([value] * 36)
        path.write_bytes(data)
        assert 0 <= shown_share(path) <= 1


@pytest.mark.parametrize(
    ("extent", "told"),
    [
        (Extent(75, 75), ""),
        (Extent(74, 75), ""),
        (Extent(73, 75), "73 frames, its header announces 75"),
        (Extent(75, 0), ""),
        (Extent(75, 0, 2.8, 3.0), ""),
        (Extent(75, 0, 2.4, 3.0), "2.4 s, its header announces 3"),
        (Extent(10, 10, 0.2, 3.0), ""),
    ],
)
def test_how_short_a_film_is(extent: Extent, told: str) -> None:
    """A count of frames is exact; a duration is not, and says nothing beside a count."""
    assert extent.shortage() == told


@pytest.mark.parametrize(("suffix", "code"), [(".flv", "FLV1"), (".mov", "png "), (".3gp", "s263")])
def test_a_codec_whose_frames_tell_their_own_size_may_not_change_it(
    tmp_path: Path, suffix: str, code: str
) -> None:
    """What the first packet says of its pictures, one of another size says otherwise."""
    sizes = [(176, 144), (352, 288)]
    told = set()
    for i, size_wh in enumerate(sizes):
        path = tmp_path / f"{i}{suffix}"
        written(path, code, size_wh)
        film = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_FORMAT, -1])
        number = int(film.get(cv2.CAP_PROP_FOURCC))
        name = number.to_bytes(4, "little").decode()
        packets = []
        while film.grab():
            packets.append(parameters_in(name, film.retrieve()[1].tobytes()))
        assert len(set(packets) - {b""}) == 1, (name, set(packets))
        told |= set(packets) - {b""}
    assert len(told) == len(sizes)


@needs_av
@pytest.mark.parametrize(
    ("codec", "pixels", "suffix"),
    [
        ("flv", "yuv420p", ".flv"),
        ("png", "rgb24", ".mov"),
        ("h263", "yuv420p", ".3gp"),
        ("prores_ks", "yuv422p10le", ".mov"),
    ],
)
def test_a_film_whose_frames_change_their_size_is_refused_by_opencv(
    tmp_path: Path, codec: str, pixels: str, suffix: str
) -> None:
    """Its header tells the first size only; PyAV follows, and OpenCV would show ghosts."""
    import av

    path = tmp_path / f"film{suffix}"
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25)
        for part, (width, height) in enumerate([(176, 144), (352, 288)]):
            if part == 0:
                stream.width, stream.height, stream.pix_fmt = width, height, pixels
                encoder = stream.codec_context
            else:
                encoder = av.CodecContext.create(codec, "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, pixels
                encoder.time_base = Fraction(1, 25)
            image = np.full((height, width, 3), 90, np.uint8)
            packets = []
            for i in range(10):
                picture = av.VideoFrame.from_ndarray(image, format="bgr24")
                picture.pts = i
                packets += encoder.encode(picture.reformat(format=pixels))
            for packet in [*packets, *encoder.encode(None)]:
                packet.stream = stream
                packet.pts += part * 10
                packet.dts = packet.pts
                film.mux(packet)
    with pytest.raises(CameraError, match="its pictures become others at frame 10 "):
        OpenCvFilm(path)
    heights = [frame.size_hw[0] for frame in read_all(AvFilm(path))]
    assert heights == [144] * 10 + [288] * 10


@pytest.mark.parametrize(
    ("make", "told"),
    [(os.mkfifo, "not a regular file"), (os.mkdir, "not a regular file"), (None, "no such file")],
    ids=["a FIFO", "a folder", "nothing"],
)
def test_what_is_no_film_is_not_waited_for(tmp_path: Path, make, told: str) -> None:
    """A FIFO has no beginning until somebody writes: it is refused, and called what it is."""
    path = tmp_path / "film.mp4"
    if make is not None:
        make(path)
    with pytest.raises(CameraError, match=told):
        recorded_at(path)


def test_a_huge_film_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch) -> None:
    """A file of some kilobytes may hold pictures of gigabytes; their size is known before."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25.0, (64, 48))
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    OpenCvFilm(path).close()
    monkeypatch.setattr("edge.sources.files.opencv_film.MOST_PIXELS", 64 * 48 - 1)
    with pytest.raises(CameraError, match="too large: 64x48 pixels"):
        OpenCvFilm(path)
