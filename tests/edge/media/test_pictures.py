"""Picture files: what one is, is judged by its content; it comes upright, and within bounds."""

import base64
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edge.errors import CameraError, ConfigError, PictureError
from edge.media.pictures import MEGAPIXELS_VARIABLE, form_of, is_film, open_picture, read_header
from edge.records import Frame
from edge.sources.files.image_folder import ReplaySource
from edge.sources.select import source_kind

RED, GREEN, BLUE, YELLOW = (30, 30, 200), (30, 200, 30), (200, 30, 30), (30, 200, 200)
CORNERS = np.array(((RED, GREEN), (BLUE, YELLOW)), np.uint8)
"""BGR. Whoever turns or mirrors a picture of these four is found out."""
SCENE = np.kron(CORNERS, np.ones((8, 8, 1), np.uint8))

MADE_ELSEWHERE = {
    "still.gif": (
        "R0lGODdhEAAQAIEAAMjIHh7IHsgeHh4eyCwAAAAAEAAQAEAIRgAFCBwoMIDBgwYHKFyoEIDDhw4JEkSIkCFD"
        "iBAlDqR4UGNBjgEsLsT4UGRDkgA8CgAZQCVLlyBhcjQ5ACUAmjZxotRJMiAAOw=="
    ),
    "moving.gif": (
        "R0lGODlhEAAQAIEAAMjIHh7IHsgeHh4eyCH5BAAKAAAALAAAAAAQABAAAAhGAAUIHCgwgMGDBgkSRIhQ4UCG"
        "Bx0WhBhAogCKFSVitLhRI8UBIEOCBECyJEmRIk2aRBlSZUmWI10CgDlA5kyYNmnmxCkzIAAh+QQBCgAEACwA"
        "AAAAEAAQAIHIyB4eyB7IHh4eHsgIRgAHCBwoEIDBgwYJEkSIUOFAhgcdFoQIQOIAihUlYrS4USNFASBDggxA"
        "siRJkSJNmkQZUmVJliNdBoApQOZMmDZp5sQpMyAAOw=="
    ),
    "moving.webp": (
        "UklGRsgAAABXRUJQVlA4WAoAAAACAAAADwAADwAAQU5JTQYAAAAAAAAAAABBTk1GSgAAAAAAAAAAAA8AAA8A"
        "AGQAAAJWUDhMMgAAAC8PwAMAHyAQSEzGGjJigWxykvwXpUAgiXLmseY/6uQBEGYbTXKSJ7n3GUT0Pzb9oK4A"
        "QU5NRkoAAAAAAAAAAAAPAAAPAABkAAAAVlA4TDIAAAAvD8ADAB8gEEhMxhoyYoFscpL8F6VAIIly5rHmP+rk"
        "ARBmG01ykpO89xlE9D9g+0ovAQ=="
    ),
    "cmyk.jpg": (
        "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYH"
        "CQcGBggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgAEAAQBEMRAE0RAFkRAEsRAP/EABYAAQEBAAAAAAAAAAAA"
        "AAAAAAoACf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAOBEMATQBZAEsAAD8A0gY7sd2/gq5VCSFXKoRVBVAq"
        "6f/Z"
    ),
}
"""SCENE in forms that OpenCV does not write, by Pillow; what moves has it upside down next."""

TURNED = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.transpose(1, 0, 2),
    6: lambda image: np.rot90(image, 1),
    7: lambda image: np.rot90(image.transpose(1, 0, 2), 2),
    8: lambda image: np.rot90(image, -1),
}
"""How a picture lies that each orientation of EXIF turns upright: the inverse of the table of
JEITA CP-3451, 4.6.4 A."""


def written(suffix: str, image: NDArray[np.uint8] = SCENE) -> bytes:
    lossless = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    there, data = cv2.imencode(suffix, np.ascontiguousarray(image), lossless)
    assert there
    return data.tobytes()


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(f"{order}HIHHHIHHI", 42, 8, 1, 0x112, 3, 1, orientation, 0, 0)


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def with_exif(data: bytes, orientation: int, order: str = "<") -> bytes:
    """Return a JPEG, PNG or WebP with an orientation in it."""
    body = exif(orientation, order)
    if data[:2] == b"\xff\xd8":
        body = b"Exif\0\0" + body
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    if data[1:4] == b"PNG":
        return data[:33] + chunk(b"eXIf", body) + data[33:]
    height, width = SCENE.shape[:2]
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x08\0\0\0" + sizes + data[12:]
    inner += b"EXIF" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(inner)) + inner


def tiff(image: NDArray[np.uint8], orientation: int) -> bytes:
    """Return an uncompressed TIFF."""
    height, width = image.shape[:2]
    fields = [(0x100, 4, width), (0x101, 4, height), (0x102, 3, 8), (0x103, 3, 1), (0x106, 3, 2)]
    fields += [(0x111, 4, 1000), (0x112, 3, orientation), (0x115, 3, 3), (0x116, 4, height)]
    fields += [(0x117, 4, 3 * width * height)]
    body = b"II*\0" + struct.pack("<IH", 8, len(fields))
    body += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in fields)
    return body.ljust(1000, b"\0") + np.ascontiguousarray(image[..., ::-1]).tobytes()


def moving_png() -> bytes:
    """Return an APNG of SCENE and SCENE upside down."""
    data = written(".png")
    last = written(".png", SCENE[::-1])
    place = struct.pack(">IIIIHHBB", 16, 16, 0, 0, 1, 10, 0, 0)
    middle = chunk(b"acTL", struct.pack(">II", 2, 0)) + chunk(b"fcTL", struct.pack(">I", 0) + place)
    at = last.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", last[at - 8 : at - 4])
    second = chunk(b"fcTL", struct.pack(">I", 1) + place)
    second += chunk(b"fdAT", struct.pack(">I", 2) + last[at : at + length])
    return data[:33] + middle + data[33:-12] + second + data[-12:]


def transparent() -> NDArray[np.uint8]:
    alpha = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    return np.concatenate((SCENE, alpha), axis=2)


def elsewhere(name: str) -> bytes:
    return base64.b64decode(MADE_ELSEWHERE[name])


GREY = np.repeat(cv2.cvtColor(SCENE, cv2.COLOR_BGR2GRAY)[..., None], 3, axis=2)
DEEP = SCENE.astype(np.uint16) * 256 + 77

KINDS = {
    "jpeg": (written(".jpg"), "JPEG", SCENE, 12),
    "png": (written(".png"), "PNG", SCENE, 0),
    "webp": (written(".webp"), "WebP", SCENE, 0),
    "lossy webp": (cv2.imencode(".webp", SCENE, [64, 95])[1].tobytes(), "WebP", SCENE, 40),
    "bmp": (written(".bmp"), "BMP", SCENE, 0),
    "tiff": (written(".tif"), "TIFF", SCENE, 0),
    "ppm": (written(".ppm"), "PNM", SCENE, 0),
    "commented pgm": (b"P5 # by hand\n16 16\n255\n" + GREY[..., 0].tobytes(), "PNM", GREY, 0),
    "grey": (written(".png", GREY[..., 0]), "PNG", GREY, 0),
    "alpha": (written(".png", transparent()), "PNG", SCENE, 0),
    "16 bits png": (written(".png", DEEP), "PNG", SCENE, 0),
    "16 bits tiff": (written(".tif", DEEP), "TIFF", SCENE, 1),
    "16 bits ppm": (written(".ppm", DEEP), "PNM", SCENE, 0),
    "palette": (elsewhere("still.gif"), "GIF", SCENE, 0),
    "cmyk": (elsewhere("cmyk.jpg"), "JPEG", SCENE, 12),
    "moving gif": (elsewhere("moving.gif"), "GIF", SCENE, 0),
    "moving webp": (elsewhere("moving.webp"), "WebP", SCENE, 0),
    "moving png": (moving_png(), "PNG", SCENE, 0),
    "motion jpeg": (written(".jpg") + written(".jpg", SCENE[::-1]), "JPEG", SCENE, 12),
}


def frames(source: ReplaySource) -> list[Frame]:
    return list(iter(source.read, None))


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_every_kind_are_read(tmp_path: Path, kind: str) -> None:
    """Whatever a picture is called, its content says how it is read; of many the first is."""
    data, form, expected, tolerance = KINDS[kind]
    for name in ("a.dat", "a"):
        (tmp_path / name).write_bytes(data)
        picture = open_picture(tmp_path / name)
        assert (picture.form, picture.moves) == (form, "mov" in kind or "motion" in kind)
        assert picture.image.shape == expected.shape
        assert np.abs(picture.image.astype(int) - expected).mean() <= tolerance
        assert (picture.image[2, 2].argmax(), picture.image[13, 2].argmax()) == (
            expected[2, 2].argmax(),
            expected[13, 2].argmax(),
        )


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    "kind", [".jpg", ".jpg MM", ".png", ".png MM", ".webp", ".webp MM", ".tif"]
)
def test_pictures_come_upright(tmp_path: Path, kind: str, orientation: int) -> None:
    """All eight orientations of EXIF, in both byte orders and in every form that carries it."""
    stored = TURNED[orientation](SCENE)
    suffix, _, other = kind.partition(" ")
    data = (
        tiff(stored, orientation)
        if suffix == ".tif"
        else with_exif(written(suffix, stored), orientation, ">" if other else "<")
    )
    (tmp_path / "a").write_bytes(data)
    upright = open_picture(tmp_path / "a").image
    assert np.abs(upright.astype(int) - SCENE)[2::12, 2::12].max() <= 12


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.jfif", "jpeg"),
        ("A.JPG", "jpeg"),
        ("A.TIFF", "tiff"),
        ("b", "png"),
        ("b.jpg", "webp"),
        ("b.mp4", "png"),
        ("c.txt", "bmp"),
        ("c.gif", "palette"),
        ("d.webp", "moving webp"),
    ],
)
def test_a_source_is_a_picture_by_its_content(tmp_path: Path, name: str, kind: str) -> None:
    """Missing, upper-case, unusual and wrong suffixes: by itself and in a folder alike."""
    (tmp_path / name).write_bytes(KINDS[kind][0])
    (tmp_path / "notes.md").write_text("# what lies beside\n")
    assert source_kind(str(tmp_path / name)) == "pictures"
    for source in (ReplaySource(tmp_path / name), ReplaySource(tmp_path)):
        assert [frame.name for frame in frames(source)] == [name]


@pytest.mark.parametrize("kind", ["moving gif", "motion jpeg"])
def test_a_film_named_by_itself_stays_one(tmp_path: Path, kind: str) -> None:
    """An animated GIF and a motion JPEG are films, but in a folder each is one picture."""
    (tmp_path / "a").write_bytes(KINDS[kind][0])
    assert is_film(tmp_path / "a")
    assert source_kind(str(tmp_path / "a")) == "file"
    assert len(frames(ReplaySource(tmp_path))) == 1


def test_what_moves_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """That only the first of several pictures is used is not kept back."""
    (tmp_path / "a.webp").write_bytes(KINDS["moving webp"][0])
    (tmp_path / "b.webp").write_bytes(KINDS["webp"][0])
    frames(ReplaySource(tmp_path))
    [message] = [record.getMessage() for record in caplog.records]
    assert "a.webp: this WebP moves: its first picture is used" in message


def bomb(width: int, height: int) -> dict[str, bytes]:
    """Return small files whose headers claim many pixels."""
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    jpeg = bytearray(written(".jpg"))
    at = jpeg.index(b"\xff\xc0") + 5
    jpeg[at : at + 4] = struct.pack(">HH", height, width)
    bmp = bytearray(written(".bmp"))
    bmp[18:26] = struct.pack("<ii", width, -height)
    gif = bytearray(elsewhere("still.gif"))
    gif[6:10] = struct.pack("<HH", width, height)
    wide_tiff = bytearray(tiff(SCENE, 1))
    wide_tiff[18:22], wide_tiff[30:34] = struct.pack("<I", width), struct.pack("<I", height)
    webp = bytearray(with_exif(written(".webp"), 1))
    webp[24:30] = (max(width, 1) - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return {
        "png": b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + end,
        "jpeg": bytes(jpeg),
        "bmp": bytes(bmp),
        "gif": bytes(gif),
        "tiff": bytes(wide_tiff),
        "webp": bytes(webp),
        "pnm": b"P6\n# a comment\n%d %d\n255\n" % (width, height),
    }


CLAIMS = [
    (form, *claim)
    for form in bomb(9, 9)
    for claim in (
        (32000, 32000, "too large: 32000x32000 pixels, 1024 megapixels, at most 64"),
        (40000, 3, "too large: 40000x3 pixels, at most 32766 a side"),
        (0, 3, "header is damaged"),
    )
    if (form, claim[0]) != ("webp", 0)  # whose header holds the size less one
]


@pytest.mark.parametrize(("form", "width", "height", "reason"), CLAIMS)
def test_what_a_header_claims_is_bounded(
    tmp_path: Path, form: str, width: int, height: int, reason: str
) -> None:
    """The size is judged before a decoder reserves memory for it, and the file is named."""
    (tmp_path / "a.bin").write_bytes(bomb(width, height)[form])
    with pytest.raises(PictureError, match=f"a.bin: not a readable picture .*{reason}"):
        open_picture(tmp_path / "a.bin")


def test_the_bound_can_be_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has larger pictures, or less memory, sets another bound."""
    (tmp_path / "a.png").write_bytes(written(".png"))
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "0.0001")
    with pytest.raises(PictureError, match=MEGAPIXELS_VARIABLE):
        open_picture(tmp_path / "a.png")
    monkeypatch.setenv(MEGAPIXELS_VARIABLE, "0.001")
    assert open_picture(tmp_path / "a.png").image.shape == SCENE.shape
    for wrong in ("many", "-1", "inf", "nan", "0"):
        monkeypatch.setenv(MEGAPIXELS_VARIABLE, wrong)
        with pytest.raises(ConfigError, match=f"{MEGAPIXELS_VARIABLE}={wrong}: expected a number"):
            open_picture(tmp_path / "a.png")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"moving gif"}))
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8, 0.97])
def test_a_picture_that_is_cut_off_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    """A decoder's grey fill is no part of a picture: what breaks off is not read in part."""
    data = KINDS["jpeg" if kind == "motion jpeg" else kind][0]
    (tmp_path / "a").write_bytes(data[: int(share * len(data))])
    with pytest.raises(PictureError, match="a: not a readable picture"):
        open_picture(tmp_path / "a")


def directory(*tags: tuple[int, int]) -> bytes:
    """Return how a TIFF begins whose first directory has these numbers."""
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


def test_a_picture_with_smaller_ones_of_itself_is_no_raw_file(tmp_path: Path) -> None:
    """A TIFF may have sub-directories; a raw file's first directory is that of a thumbnail."""
    (tmp_path / "a.tif").write_bytes(directory((254, 0), (256, 160), (257, 120), (330, 300)))
    assert form_of(tmp_path / "a.tif") == "TIFF"


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"8BPS\0\x01", "Photoshop"),
        (b"\xff\xd8\xff\xf7\0\x0b", "JPEG-LS"),
        (b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0", "a Windows icon"),
        (b"\0\0\x02\0\x01\0\x20\x20\0\0\x01\0", "a Windows cursor"),
        (b"icns\0\0\x10\0", "a macOS icon"),
        (b"DDS \x7c\0\0\0", "DDS"),
        (b"qoif\0\0\0\x10", "QOI"),
        (b"\x0a\x05\x01\x08\0\0", "PCX"),
        (b"Pf\n16 12\n-1.0\n", "PAM or PFM"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript"),
        (b"\x01\0\0\0" + bytes(36) + b" EMF", "a Windows metafile"),
        (bytes(128) + b"DICM\x02\0", "DICOM"),
        (b"gimp xcf v011\0", "GIMP"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera's raw file"),
        (b"II\x1a\0\0\0HEAPCCDR", "a camera's raw file"),
        (b"IIU\0\x18\0\0\0", "a camera's raw file"),
        (b"\0\0\0\x18ftypcrx \0\0\0\x01", "a camera's raw file"),
        (b"FUJIFILMCCD-RAW 0201", "a camera's raw file"),
        (directory((254, 1), (330, 300), (50706, 0x401)), "a camera's raw file"),  # DNG
        (directory((254, 1), (256, 160), (330, 300)), "a camera's raw file"),  # NEF, ARW
    ],
)
def test_forms_that_are_not_read_are_named(tmp_path: Path, head: bytes, form: str) -> None:
    """A phone's picture in a folder is no foreign file: it is named with its form."""
    (tmp_path / "IMG_0001").write_bytes(head)
    assert form_of(tmp_path / "IMG_0001") == form
    told = f"IMG_0001: not a readable picture .{form}, expected .*; convert it to JPEG or PNG"
    with pytest.raises(CameraError, match=told):
        ReplaySource(tmp_path)


def test_one_bad_picture_does_not_end_a_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What is too large, damaged or cut off is named with its own size, counted, and passed."""
    caplog.set_level("INFO")
    for name in ("a.png", "e.png", "g.png"):
        (tmp_path / name).write_bytes(written(".png"))
    (tmp_path / "b.png").write_bytes(bomb(32000, 32000)["png"])
    (tmp_path / "c.jpg").write_bytes(written(".jpg")[:-40])
    (tmp_path / "d.png").write_bytes(b"<!DOCTYPE html>")
    (tmp_path / "f.txt").write_text("beside")
    found = frames(ReplaySource(tmp_path))
    assert [(frame.name, frame.index) for frame in found] == [
        ("a.png", 0),
        ("e.png", 4),
        ("g.png", 5),
    ]
    told = [record.getMessage() for record in caplog.records]
    assert "b.png: not a picture that can be decoded (too large: 32000x32000 pixels" in told[0]
    assert "c.jpg: not a picture that can be decoded (cut off" in told[1]
    assert "d.png: not a picture that can be decoded (a web page, expected BMP" in told[2]
    assert "3 of 6 pictures skipped" in told[3]
    assert "skipped, no pictures: f.txt" in told[4]


@given(
    st.sampled_from(sorted(KINDS)),
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=8),
)
def test_no_damage_is_a_bug(kind: str, damages: list[tuple[float, int]]) -> None:
    """Whatever bytes a header has, it says a size, or that it is damaged."""
    data = bytearray(KINDS[kind][0])
    for place, value in damages:
        data[int(place * (len(data) - 1))] = value
    header = read_header(bytes(data))
    assert header is None or min(header.size_hw) > 0
