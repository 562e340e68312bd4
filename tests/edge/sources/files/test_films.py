"""Films of every kind through every decoder: upright, square, whole, and timed by themselves."""

import itertools
import logging
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError
from edge.protocols import FrameSource
from edge.records import Frame
from edge.sources.files.mp4 import display_matrix
from edge.sources.files.opencv_film import OpenCvFilm
from edge.sources.files.survey import survey
from edge.sources.files.upright import Turn, square_size_wh
from edge.sources.select import open_source
from edge.text import escaped, unescaped

if HAS_AV := find_spec("av") is not None:
    from edge.sources.files.av_film import AvFilm

Opener = Callable[[Path], FrameSource]
OPENERS: list[Opener] = [OpenCvFilm, *([AvFilm] if HAS_AV else [])]
both = pytest.mark.parametrize("opener", OPENERS)
needs_av = pytest.mark.skipif(not HAS_AV, reason="PyAV is not installed: edgeemo[video]")
ONE = 1 << 16


def scene(index: int = 0, size_hw: tuple[int, int] = (48, 64)) -> np.ndarray:
    """Return a picture whose quarters differ: no turn and no mirror image of it is like it."""
    height, width = size_hw
    picture = np.empty((height, width, 3), np.uint8)
    for (row, column), value in zip(
        itertools.product((0, 1), (0, 1)), (30, 90, 150, 210), strict=True
    ):
        rows = slice(row * height // 2, (row + 1) * height // 2)
        columns = slice(column * width // 2, (column + 1) * width // 2)
        picture[rows, columns] = value + index % 8
    return picture


def write(path: Path, pictures: Sequence[np.ndarray], code: str = "mp4v", fps: float = 25) -> Path:
    size_wh = pictures[0].shape[1], pictures[0].shape[0]
    fourcc = cv2.VideoWriter.fourcc(*code)
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, fourcc, fps, size_wh)
    assert writer.isOpened(), (path, code)
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


def read_all(source: FrameSource) -> list[Frame]:
    frames = list(iter(source.read, None))
    assert source.read() is None
    source.close()
    source.close()
    return frames


def is_scene(frame: Frame, index: int = 0) -> bool:
    """Tell whether a frame shows the scene, as well as a film can keep it."""
    expected = scene(index, frame.size_hw).astype(int)
    inner = np.abs(frame.image.astype(int) - expected)[4:-4, 4:-4]
    return float(np.median(inner)) < 6 and float(np.mean(inner)) < 12


def boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        (size,) = struct.unpack_from(">I", data, start)
        yield data[start + 4 : start + 8], start, start + size
        start += size


def find(data: bytes, *names: bytes) -> list[int]:
    """Return where the boxes of a path begin."""
    starts, begin, end = [], 0, len(data)
    for name in names:
        begin, end = next((a, b) for found, a, b in boxes(data, begin, end) if found == name)
        starts.append(begin)
        begin += {b"stsd": 16, b"mp4v": 86}.get(name, 8)
    return starts


def with_matrix(path: Path, a: int, b: int, c: int, d: int) -> Path:
    """Give an MP4 of one track a display matrix, as a phone does."""
    data = bytearray(path.read_bytes())
    header = find(bytes(data), b"moov", b"trak", b"tkhd")[-1]
    struct.pack_into(">9i", data, header + 8 + 40, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def with_aspect(path: Path, across: int, down: int) -> Path:
    """Give an MP4 whose index is last the aspect of its pixels."""
    data = bytearray(path.read_bytes())
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mp4v")
    starts = find(bytes(data), *names)
    entry = starts[-1]
    for name, start, _ in boxes(
        bytes(data), entry + 86, entry + struct.unpack_from(">I", data, entry)[0]
    ):
        if name == b"pasp":
            struct.pack_into(">II", data, start + 8, across, down)
            break
    else:
        for start in starts:
            struct.pack_into(">I", data, start, struct.unpack_from(">I", data, start)[0] + 16)
        data[entry + 86 : entry + 86] = struct.pack(">I4sII", 16, b"pasp", across, down)
    path.write_bytes(data)
    return path


MATRICES = [
    (ONE, 0, 0, ONE), (0, ONE, -ONE, 0), (-ONE, 0, 0, -ONE), (0, -ONE, ONE, 0),
    (-ONE, 0, 0, ONE), (ONE, 0, 0, -ONE), (0, ONE, ONE, 0), (0, -ONE, -ONE, 0),
]  # fmt: skip


def stored(shown: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Return the picture that a matrix turns into ``shown``: x' = a x + c y, y' = b x + d y."""
    a, b, c, d = (value // ONE for value in matrix)
    height, width = shown.shape[:2] if a else shown.shape[1::-1]
    y, x = np.mgrid[:height, :width]
    across, down = a * x + c * y, b * x + d * y
    return np.ascontiguousarray(shown[down - down.min(), across - across.min()])


@both
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("matrix", MATRICES, ids=str)
def test_films_are_upright(tmp_path: Path, opener: Opener, suffix: str, matrix) -> None:
    """Turned by quarters, mirrored, or both: the picture is the scene, in its own size."""
    path = write(tmp_path / f"film{suffix}", [stored(scene(), matrix)] * 3)
    frames = read_all(opener(with_matrix(path, *matrix)))
    assert [frame.size_hw for frame in frames] == [(48, 64)] * 3
    assert all(map(is_scene, frames))


@needs_av
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_matroska_films_are_upright(tmp_path: Path, degrees: int) -> None:
    """A Matroska film has an angle of its own kind; both decoders turn by it, and the same way."""
    import av

    film = write(tmp_path / "film.mp4", [scene(i) for i in range(3)])
    with av.open(str(film)) as source, av.open(str(tmp_path / "film.mkv"), "w") as copy:
        stream = copy.add_stream_from_template(source.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)
    frames = [read_all(opener(tmp_path / "film.mkv")) for opener in OPENERS]
    assert frames[0][0].size_hw == ((48, 64) if degrees % 180 == 0 else (64, 48))
    assert is_scene(frames[0][0]) == (degrees == 0)
    for one, other in zip(*frames, strict=True):
        assert np.abs(one.image.astype(int) - other.image).mean() < 1


@both
@pytest.mark.parametrize(
    ("aspect", "stored_hw", "size_hw"),
    [
        ((64, 45), (48, 64), (48, 91)),
        ((2, 1), (48, 64), (48, 128)),
        ((1, 2), (48, 64), (96, 64)),
        ((8, 9), (48, 64), (54, 64)),
        ((1, 1), (48, 64), (48, 64)),
        ((1001, 1000), (48, 64), (48, 64)),
        ((1, 5000), (48, 64), (48, 64)),
        ((0, 1), (48, 64), (48, 64)),
    ],
)
def test_pixels_are_square(tmp_path: Path, opener: Opener, aspect, stored_hw, size_hw) -> None:
    """Wide and narrow pixels are stretched; what no camera has is not believed."""
    path = write(tmp_path / "film.mp4", [scene(0, stored_hw)] * 3)
    frames = read_all(opener(with_aspect(path, *aspect)))
    assert [frame.size_hw for frame in frames] == [size_hw] * 3
    assert all(map(is_scene, frames))


@both
def test_turned_and_squeezed(tmp_path: Path, opener: Opener) -> None:
    """The aspect is that of the stored pixels: it is applied before the turn."""
    path = write(
        tmp_path / "film.mp4", [stored(scene(0, (128, 64)), MATRICES[1])[:, ::2].copy()] * 2
    )
    path = with_matrix(with_aspect(path, 2, 1), *MATRICES[1])
    frames = read_all(opener(path))
    assert [frame.size_hw for frame in frames] == [(128, 64)] * 2
    assert all(map(is_scene, frames))


@pytest.mark.parametrize(
    ("degrees", "turn"),
    [(0, Turn()), (90, Turn(True, True, False)), (180, Turn(False, True, True)),
     (270, Turn(True, False, True)), (-90, Turn(True, False, True)), (float("nan"), Turn())],
)  # fmt: skip
def test_angles(degrees: float, turn: Turn) -> None:
    """Degrees count clockwise, and an angle that is none turns nothing."""
    assert Turn.of_degrees(degrees) == turn
    picture = scene()
    assert np.array_equal(
        turn.apply(picture), np.rot90(picture, -round(np.nan_to_num(degrees) / 90))
    )


def test_a_matrix_that_is_none_turns_nothing() -> None:
    """Too short, all zeros, askew: upright, or the nearest quarter."""
    assert Turn.of_matrix(b"\0" * 8) == Turn.of_matrix(b"\0" * 36) == Turn()
    askew = struct.pack("=9i", 46340, 46341, 0, -46341, 46340, 0, 0, 0, 1 << 30)
    assert Turn.of_matrix(askew) in {Turn(), Turn(True, True, False)}
    assert square_size_wh((64, 48), Fraction(-2)) == (64, 48)


def test_an_mp4_is_searched_without_harm(tmp_path: Path) -> None:
    """The index of a film may be damaged in every byte: there is a matrix, or none."""
    whole = write(tmp_path / "film.mp4", [scene()]).read_bytes()
    start = find(whole, b"moov")[0]
    path = tmp_path / "damaged.mp4"
    for at in range(start, start + 240):
        path.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert len(display_matrix(path)) in {0, 36}
    path.write_bytes(b"")
    assert display_matrix(path) == b""


KINDS = [(".mp4", "mp4v"), (".mov", "mp4v"), (".avi", "MJPG"), (".avi", "mp4v"), (".mkv", "mp4v"),
         (".mkv", "MJPG"), (".webm", "VP80"), (".ts", "mp4v"), (".flv", "FLV1")]  # fmt: skip


@both
@pytest.mark.parametrize(("suffix", "code"), KINDS)
def test_whole_films_raise_no_alarm(
    tmp_path: Path, opener: Opener, suffix: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Every container gives every frame, at its time, and not a word of damage."""
    path = write(tmp_path / f"film{suffix}", [scene(i) for i in range(20)], code)
    source = opener(path)
    frames = read_all(source)
    assert len(frames) == 20
    assert [frame.index for frame in frames] == list(range(20))
    np.testing.assert_allclose([frame.t_s for frame in frames], np.arange(20) / 25, atol=2e-3)
    assert source.fps == pytest.approx(25, rel=1e-3)
    assert source.dropped == 0
    assert caplog.records == []


def damaged(path: Path) -> Path:
    """Overwrite a tenth of a film's pictures, in the middle."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(5)
    size = len(data) // 10
    start = len(data) * 4 // 10
    data[start : start + size] = rng.integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(data)
    return path


@both
@pytest.mark.parametrize("code", ["mp4v", "MJPG"])
def test_what_follows_damage_is_read(
    tmp_path: Path, opener: Opener, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Frames behind a damaged stretch come with their own times; the loss is counted and told."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(60)]
    path = damaged(write(tmp_path / "film.mp4", noise, code))
    source = opener(path)
    frames = read_all(source)
    assert 45 <= len(frames) <= 60
    assert frames[-1].t_s == pytest.approx(59 / 25, abs=0.05)
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()
    if source.dropped:
        [record] = caplog.records
        assert f"{source.dropped} damaged frames" in record.getMessage()
    else:
        assert caplog.records == []
    assert len(frames) + source.dropped <= 61


@needs_av
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
@pytest.mark.parametrize("place", [0.0, 0.45])
def test_a_hole_in_a_transport_stream_is_counted(
    tmp_path: Path, codec: str, place: float, caplog: pytest.LogCaptureFixture
) -> None:
    """What a hole has taken along is told, wherever it is, also at the very beginning."""
    import av

    rng = np.random.default_rng(3)
    path = tmp_path / "film.ts"
    with av.open(str(path), "w") as film:
        stream = film.add_stream(codec, rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(75):
            noise = rng.integers(0, 255, (96, 128, 3), np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="bgr24")))
        film.mux(stream.encode())
    whole = AvFilm(path)
    assert (len(read_all(whole)), whole.dropped, caplog.records) == (75, 0, [])
    data = bytearray(path.read_bytes())
    start, size = round(len(data) * place), len(data) // 10
    data[start : start + size] = rng.integers(0, 256, size, np.uint8).tobytes()
    path.write_bytes(data)
    source = AvFilm(path)
    frames = read_all(source)
    assert 50 <= len(frames) < 75
    if place:
        assert 3 <= source.dropped <= 75 - len(frames) + 1
        [record] = caplog.records
        assert f"{source.dropped} damaged frames skipped" in record.getMessage()


@both
@pytest.mark.parametrize("suffix", [".mkv", ".ts", ".avi"])
def test_cut_off_films_give_what_they_have(tmp_path: Path, opener: Opener, suffix: str) -> None:
    """A recording that breaks off is read as far as it goes, in every container that allows it."""
    path = write(
        tmp_path / f"film{suffix}",
        [scene(i) for i in range(40)],
        "MJPG" if suffix == ".avi" else "mp4v",
    )
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    assert 10 < len(read_all(opener(path))) < 40


def joined(folder: Path, sizes: Sequence[tuple[int, int]]) -> Path:
    """Join transport streams of other sizes to one, as a tuner's recording is."""
    parts = [
        write(folder / f"{i}.ts", [scene(j, size) for j in range(12)])
        for i, size in enumerate(sizes)
    ]
    path = folder / "joined.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


SIZES = [(96, 128), (48, 64), (64, 96)]


@pytest.mark.parametrize("code", ["mp4v", "VP80"])
def test_a_film_that_changes_its_size_is_refused_by_opencv(tmp_path: Path, code: str) -> None:
    """OpenCV would show pictures made of two: one line that says so, and what does better."""
    path = joined(tmp_path, SIZES)
    with pytest.raises(CameraError, match=r"become others at frame 12.*edgeemo\[video\]"):
        OpenCvFilm(path)
    whole = survey(str(write(tmp_path / "one.webm", [scene(i) for i in range(40)], "VP80")))
    assert whole.changes_at is None
    assert whole.packets == 40


@needs_av
def test_a_film_that_changes_its_size_is_followed(tmp_path: Path) -> None:
    """With PyAV all of it is read: each picture in its own size, a cut where it changes."""
    frames = read_all(AvFilm(joined(tmp_path, SIZES)))
    assert [size for size, _ in itertools.groupby(frame.size_hw for frame in frames)] == SIZES
    assert len([frame for frame in frames if frame.starts_new_clip]) == 2
    assert len(frames) >= 34
    assert all(is_scene(frame, frame.index % 12) for frame in frames)
    assert (np.diff([frame.t_s for frame in frames]) > 0).all()


@both
def test_a_motion_jpeg_may_change_its_pixel_format(tmp_path: Path, opener: Opener) -> None:
    """4:2:2, 4:2:0, 4:4:4 and grey by turns: each is decoded as what it is."""
    film = b""
    for index in range(40):
        sampling = (0x211111, 0x221111, 0x111111)[index // 4 % 3]
        picture = scene(index) if index % 7 else cv2.cvtColor(scene(index), cv2.COLOR_BGR2GRAY)
        _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
        film += data.tobytes()
    path = tmp_path / "film.mjpeg"
    path.write_bytes(film)
    frames = read_all(opener(path))
    assert len(frames) == 40
    assert all(is_scene(frame, index) for index, frame in enumerate(frames))


@both
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty, 0 bytes"),
        (b"this is no video\n" * 500, "a text file, not a video"),
        (None, "not one frame"),
    ],
    ids=["empty", "text", "without index"],
)
def test_what_is_no_film_is_one_line(tmp_path: Path, opener: Opener, content, reason: str) -> None:
    """Empty, foreign and cut-off files give one line with the file's name."""
    if content is None:
        whole = write(tmp_path / "whole.mp4", [scene(i) for i in range(20)]).read_bytes()
        content = whole[: len(whole) // 2]
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    with pytest.raises(CameraError, match=reason) as caught:
        opener(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def sound() -> bytes:
    """Return a second of silence as a WAV file."""
    data = bytes(16_000)
    form = struct.pack("<HHIIHH", 1, 1, 8000, 16_000, 2, 16)
    body = (
        b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


@both
def test_sound_alone_is_no_film(tmp_path: Path, opener: Opener) -> None:
    """An audio file is refused in one line that says what it is."""
    path = tmp_path / "song.mp4"
    path.write_bytes(sound())
    with pytest.raises(CameraError, match="only sound"):
        opener(path)


NAMES = ["k\udce9.avi", "\udcff\udcfe.avi", "a\nb.avi", "-x.avi", "😀.avi", "12:30.avi",
         "concat:a.avi", "%03d.avi", "back\\slash.avi", "x" * 251 + ".avi", " .avi"]  # fmt: skip


@both
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_films_of_any_name_are_read(tmp_path: Path, opener: Opener, name: str) -> None:
    """Bytes that are no UTF-8, line breaks, dashes, what looks like a protocol or a pattern."""
    folder = tmp_path / "d\udcfc"
    folder.mkdir()
    write(tmp_path / "film.avi", [scene(i) for i in range(5)], "MJPG").rename(folder / name)
    assert len(read_all(opener(folder / name))) == 5
    source = open_source(SourceConfig(str(folder / name), every_n=2))
    assert len(read_all(source)) == 3


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_records_carry_any_name_reversibly(name: str) -> None:
    """What a record says of a name is UTF-8, and gives the name back."""
    text = escaped(name)
    assert text.encode("utf-8")
    assert unescaped(text) == name
    assert os.fsencode(unescaped(escaped(name))) == os.fsencode(name)
    literal = escaped(text)
    assert literal != text or "\\" not in text
    assert unescaped(literal) == text


@both
def test_variable_rates_keep_their_times(tmp_path: Path, opener: Opener) -> None:
    """A phone's film has no rate: the times of its frames are its own."""
    path = write(tmp_path / "film.mp4", [scene(i) for i in range(10)])
    data = bytearray(path.read_bytes())
    names = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts")
    start = find(bytes(data), *names)[-1]
    (count,) = struct.unpack_from(">I", data, start + 12)
    assert count == 1
    tick = struct.unpack_from(">I", data, start + 20)[0]
    # The one entry becomes two: four frames as before, six that last three times as long.
    starts = find(bytes(data), *names)
    for at in starts:
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + 8)
    struct.pack_into(">I", data, start + 12, 2)
    struct.pack_into(">II", data, start + 16, 4, tick)
    data[start + 24 : start + 24] = struct.pack(">II", 6, 3 * tick)
    path.write_bytes(data.replace(b"edts", b"skip"))  # it tells of the old length
    times = [frame.t_s for frame in read_all(opener(path))]
    expected = np.cumsum([0, 1, 1, 1, 1, 3, 3, 3, 3, 3]) / 25
    np.testing.assert_allclose(times, expected, atol=2e-3)


def test_the_best_decoder_is_taken(tmp_path: Path) -> None:
    """PyAV where it is installed, else OpenCV."""
    path = write(tmp_path / "film.avi", [scene()], "MJPG")
    source = open_source(SourceConfig(str(path)))
    assert type(source) is OPENERS[-1]
    source.close()


def test_a_codec_that_opencv_lacks_is_named(tmp_path: Path, monkeypatch, caplog) -> None:
    """AV1 is not a recording that was cut off: the line names it, and what decodes it."""
    caplog.set_level(logging.WARNING)
    path = write(tmp_path / "film.mkv", [scene()] * 3)
    data = path.read_bytes().replace(b"V_MPEG4/ISO/ASP", b"V_AV1\0\0\0\0\0\0\0\0\0\0")
    path.write_bytes(data)
    with pytest.raises(CameraError, match=r"codec is AV1.*edgeemo\[video\]"):
        OpenCvFilm(path)
