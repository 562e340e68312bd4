"""Manifests: what is read, and what of unknown origin is refused."""

import json
import os
from pathlib import Path

import pytest

from edge.calibration.pictures import labelled_files
from edge.contract import manifest
from edge.contract.labels import in_canonical_order, label_of
from edge.contract.manifest import Entry, is_manifest, picture_of, read_manifest
from edge.errors import CalibrationError, LabelError, ManifestError

CSV = "path,label,subject,split\nhappy/a.png,Happy,anna,train\nsad/b.png,sad,,\n"
JSON = '{"path": "happy/a.png", "label": "Happy", "subject": "anna", "split": "train", "x": 1}\n'


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    """CSV and JSON Lines give equal entries; what else a line holds is left alone."""
    table, lines = tmp_path / "list.csv", tmp_path / "list.jsonl"
    table.write_text(CSV, "utf-8")
    lines.write_text(JSON + '\n{"path": "sad/b.png", "label": "sad"}\n', "utf-8")
    expected = [
        Entry("happy/a.png", "Happy", "anna", "train"),
        Entry("sad/b.png", "sad", None, None),
    ]
    assert read_manifest(table) == read_manifest(lines) == expected


@pytest.mark.parametrize("header", ["image,emotion,person", "File,Expression,Subject"])
def test_other_names_of_columns_are_known(tmp_path: Path, header: str) -> None:
    """Columns are found by any common name, with a byte order mark or without."""
    table = tmp_path / "list.csv"
    table.write_text(f"\ufeff{header}\na.png,fear,bob\n", "utf-8")
    assert is_manifest(table)
    assert read_manifest(table) == [Entry("a.png", "fear", "bob")]


def test_fer2013_is_no_manifest(tmp_path: Path) -> None:
    """Its CSV holds the pictures themselves."""
    table = tmp_path / "fer2013.csv"
    table.write_text("emotion,pixels,Usage\n0,1 2,Training\n")
    assert not is_manifest(table)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"path": "../a.png", "label": "happy"}, "leads out"),
        ({"path": "a/../../b.png", "label": "happy"}, "leads out"),
        ({"path": "/etc/passwd", "label": "happy"}, "leads out"),
        ({"path": "..\\a.png", "label": "happy"}, "leads out"),
        ({"path": ".", "label": "happy"}, "leads out"),
        ({"path": "a\n.png", "label": "happy"}, "control characters"),
        ({"path": "a.png", "label": "\x1b[2J"}, "control characters"),
        ({"path": "", "label": "happy"}, "empty"),
        ({"path": "a" * 2000, "label": "happy"}, "longer than"),
        ({"path": "a.png"}, "label"),
        ({"path": ["a"], "label": "happy"}, "path"),
        ({"path": "a.png", "label": {"b": 1}}, "label"),
    ],
)
def test_hostile_lines_are_refused(tmp_path: Path, line: dict[str, object], message: str) -> None:
    """No path leads out of the folder, no text acts on a terminal; the line is named."""
    lines = tmp_path / "list.jsonl"
    lines.write_text(json.dumps({"path": "ok.png", "label": "sad"}) + "\n" + json.dumps(line))
    with pytest.raises(ManifestError, match=message) as raised:
        read_manifest(lines)
    assert "line 2" in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no column label or path"),
        (b"path,label\n", "no picture"),
        (b"a,b\n1,2\n", "no column label or path"),
        (b"path,label\na.png,happy\na.png,sad\n", "comes twice"),
        (b"path,label\na/b.png,happy\na/./b.png,sad\n", "comes twice"),
        (b"path,label\na/b.png,happy\n./a//b.png,happy\n", "comes twice"),
        (b"path,label\n\xff\xfe.png,happy\n", "UTF-8"),
        (b"path,label\n" + b"x" * 200_000 + b",happy\n", "characters"),
        (b'path,label\n"a.png,happy\n' + b"y" * 140_000, "characters|field"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """In one line that names the file."""
    table = tmp_path / "list.csv"
    table.write_bytes(content)
    with pytest.raises(ManifestError, match=message) as raised:
        read_manifest(table)
    assert str(table) in str(raised.value)


@pytest.mark.parametrize("text", ["[1]", "{", '{"path": 1}', "null", "[" * 20_000])
def test_lines_that_are_no_objects_are_refused(tmp_path: Path, text: str) -> None:
    """Also one that nests deeper than a parser goes."""
    lines = tmp_path / "list.jsonl"
    lines.write_text(text)
    with pytest.raises(ManifestError, match="line 1"):
        read_manifest(lines)


def test_endless_manifests_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By their number of lines, and a huge file before a line of it is read."""
    monkeypatch.setattr(manifest, "MOST_LINES", 3)
    table = tmp_path / "list.csv"
    table.write_text("path,label\n" + "".join(f"{i}.png,sad\n" for i in range(9)))
    with pytest.raises(ManifestError, match="more than 3 lines"):
        read_manifest(table)
    huge = tmp_path / "huge.csv"
    with huge.open("wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(ManifestError, match="bytes; at most"):
        read_manifest(huge)


def test_links_are_not_followed(tmp_path: Path) -> None:
    """Neither as the picture nor on the way to it."""
    root, outside = tmp_path / "mine", tmp_path / "outside"
    (root / "happy").mkdir(parents=True)
    outside.mkdir()
    (outside / "a.png").write_bytes(b"x")
    (root / "happy" / "a.png").write_bytes(b"x")
    (root / "happy" / "link.png").symlink_to(outside / "a.png")
    (root / "far").symlink_to(outside)
    assert picture_of(root, Entry("happy/a.png", "happy")) == root / "happy" / "a.png"
    for path in ("happy/link.png", "far/a.png"):
        with pytest.raises(ManifestError, match="link"):
            picture_of(root, Entry(path, "happy"))
    with pytest.raises(ManifestError, match="No such file"):
        picture_of(root, Entry("happy/none.png", "happy"))


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Happy", "happiness"),
        ("engaged", "engaged"),
        ("Very Bored", "very-bored"),
        ("pain_2", "pain_2"),
        ("joyful", "happiness"),
    ],
)
def test_classes_of_ones_own_have_names_of_their_own(name: str, label: str) -> None:
    """An emotion has its canonical name, whatever is mapped its label, others their own."""
    assert label_of(name, {"joyful": "happiness"}) == label


@pytest.mark.parametrize(
    "name", ["hapy", "surpriise", "angerr", "3", "", "uncertain", "a/b", "ä" * 3]
)
def test_what_looks_mistyped_or_cannot_be_a_class_is_refused(name: str) -> None:
    """A slip of the pen makes no class; `--map` says that a name is meant."""
    with pytest.raises(LabelError):
        label_of(name)


def test_a_name_near_an_emotion_can_be_meant() -> None:
    """`--map sadistic=sadistic`."""
    assert label_of("surpriced", {"surpriced": "surpriced"}) == "surpriced"


def test_own_classes_follow_the_emotions() -> None:
    """The eight keep their order, others come by the alphabet."""
    mixed = ["pain", "fear", "bored", "happiness"]
    assert in_canonical_order(mixed) == ("happiness", "fear", "bored", "pain")


@pytest.mark.parametrize("kind", ["pipe", "folder", "link to nothing"])
def test_what_only_bears_the_manifests_name_is_refused(tmp_path: Path, kind: str) -> None:
    """It is not passed over: who is in the pictures would be lost without a word."""
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / "a.png").write_bytes(b"")
    place = tmp_path / "manifest.jsonl"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "gone")
    with pytest.raises(ManifestError, match=r"manifest\.jsonl: "):
        labelled_files(tmp_path, {})


@pytest.mark.parametrize("header", ["path;label", "path\tlabel", "file no,what"])
def test_a_table_with_other_columns_is_told_what_is_expected(tmp_path: Path, header: str) -> None:
    """The file is there; its first line is what is wrong."""
    table = tmp_path / "list.csv"
    table.write_text(f"{header}\n")
    with pytest.raises(CalibrationError, match="first line has path and label, separated by"):
        labelled_files(table, {})
