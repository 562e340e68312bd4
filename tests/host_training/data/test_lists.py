"""Lists of labelled pictures, made here in the forms that are handed out; none is shipped."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.capture.folder import CaptureFolder, Taken
from edgeemo.cli.options import note_samples
from host_training.data.label_studio import write_tasks
from host_training.data.load import load_samples
from host_training.errors import DataError


def picture(path: Path, value: int = 100) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(value)
    cv2.imwrite(str(path), rng.integers(0, 255, (60, 50, 3), np.uint8))


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def manifest(folder: Path) -> Path:
    lines = [
        ("a/1.png", "happy", "anna", "train"),
        ("a/2.png", "engaged", "anna", "val"),
        ("a/3.png", "joyful", "ben", "test"),
    ]
    for number, (path, *_) in enumerate(lines):
        picture(folder / path, number)
    names = ("path", "label", "subject", "split")
    text = "".join(json.dumps(dict(zip(names, line, strict=True))) + "\n" for line in lines)
    write(folder / "manifest.jsonl", text)
    return folder


def test_a_manifest_gives_labels_people_and_splits(tmp_path: Path) -> None:
    """By its file or its folder; own classes stand behind the emotions, names are mapped."""
    folder = manifest(tmp_path / "mine")
    for data in (folder, folder / "manifest.jsonl"):
        samples = load_samples(data, names={"joyful": "happiness"})
        assert samples.labels == ("happiness", "engaged")
        assert samples.class_ids.tolist() == [0, 1, 0]
        assert samples.split.tolist() == ["Training", "Validation", "Test"]
        assert samples.subjects is not None
        assert samples.subjects.tolist() == ["anna", "anna", "ben"]
        assert "manifest" in samples.form
        assert "2 subjects" in samples.form


def raf_list(folder: Path) -> Path:
    for number, name in enumerate(("train_00001", "train_00002", "test_0001")):
        picture(folder / "Image" / "aligned" / f"{name}_aligned.jpg", number)
    write(
        folder / "EmoLabel" / "list_patition_label.txt",
        "train_00001.jpg 5\ntrain_00002.jpg 4\ntest_0001.jpg 7\n",
    )
    return folder


def raf_tables(folder: Path) -> Path:
    for number, name in enumerate(("train/5/a.jpg", "train/4/b.jpg", "test/7/c.jpg")):
        picture(folder / "DATASET" / name, number)
    write(folder / "train_labels.csv", "image,label\na.jpg,5\nb.jpg,4\n")
    write(folder / "test_labels.csv", "image,label\nc.jpg,7\n")
    return folder


def affectnet_tables(folder: Path) -> Path:
    for number, name in enumerate(("1/a.jpg", "1/b.jpg", "2/c.jpg")):
        picture(folder / "Manually_Annotated_Images" / name, number)
    head = "subDirectory_filePath,face_x,expression,valence\n"
    write(folder / "training.csv", f"{head}1/a.jpg,0,2,0\n1/b.jpg,0,1,0\n9/none.jpg,0,10,0\n")
    write(folder / "validation.csv", f"{head}2/c.jpg,0,0,0\n")
    return folder


def affectnet_arrays(folder: Path) -> Path:
    sets = (("train_set", "0", "2"), ("train_set", "1", "1"), ("val_set", "2", "0"))
    for number, (part, name, label) in enumerate(sets):
        picture(folder / part / "images" / f"{name}.jpg", number)
        (folder / part / "annotations").mkdir(exist_ok=True)
        np.save(folder / part / "annotations" / f"{name}_exp.npy", np.array(label))
    return folder


@pytest.mark.parametrize(
    ("make", "form", "last"),
    [
        (raf_list, "RAF-DB list", "Test"),
        (raf_tables, "RAF-DB tables", "Test"),
        (affectnet_tables, "AffectNet tables", "Validation"),
        (affectnet_arrays, "AffectNet arrays", "Validation"),
    ],
)
def test_published_forms_are_read(tmp_path: Path, make: object, form: str, last: str) -> None:
    """Their numbers become the same emotions, their parts splits; what it was taken for is said."""
    samples = load_samples(make(tmp_path / "data"))  # type: ignore[operator]
    assert samples.form.startswith(form)
    named = [samples.labels[i] for i in samples.class_ids]
    assert named == ["sadness", "happiness", "neutral"]
    assert samples.split.tolist() == ["Training", "Training", last]
    assert samples.images.shape == (3, 48, 48)


@pytest.mark.parametrize(
    ("make", "file", "text", "message"),
    [
        (raf_list, "EmoLabel/list_patition_label.txt", "train_00001.jpg 9\n", "expected 1 to 7"),
        (raf_list, "EmoLabel/list_patition_label.txt", "../../x.jpg 1\n", "No such file"),
        (raf_tables, "train_labels.csv", "image,label\n../a.jpg,5\n", "leads out"),
        (raf_tables, "train_labels.csv", "image\na.jpg\n", "no column label"),
        (affectnet_tables, "training.csv", "subDirectory_filePath,expression\na,x\n", "0 to 7"),
        (
            affectnet_tables,
            "training.csv",
            "subDirectory_filePath,expression\n/etc/hostname,1\n",
            "leads out",
        ),
    ],
)
def test_damaged_and_hostile_lists_are_refused(
    tmp_path: Path, make: object, file: str, text: str, message: str
) -> None:
    """With the file and the line."""
    folder = make(tmp_path / "data")  # type: ignore[operator]
    write(folder / file, text)
    with pytest.raises(DataError, match=message):
        load_samples(folder)


def test_label_studio_there_and_back(tmp_path: Path) -> None:
    """What is exported is read again: pictures, labels, people, without what nobody labelled."""
    folder = manifest(tmp_path / "mine")
    samples = load_samples(folder, names={"joyful": "happiness"})
    out = folder / "tasks.json"
    write_tasks(samples, folder, out)
    assert '<Choice value="engaged"/>' in (folder / "tasks.xml").read_text()
    tasks = json.loads(out.read_text())
    tasks.append({"data": {"image": "a/1.png"}, "annotations": []})
    tasks[1]["annotations"][0]["result"][0]["value"]["choices"] = ["bored"]
    out.write_text(json.dumps(tasks))
    back = load_samples(out)
    assert back.form.startswith("Label Studio export")
    assert [back.labels[i] for i in back.class_ids] == ["happiness", "bored", "happiness"]
    assert back.subjects is not None
    assert samples.subjects is not None
    assert back.subjects.tolist() == samples.subjects.tolist()
    np.testing.assert_array_equal(back.images, samples.images)


@pytest.mark.parametrize(
    ("image", "choices", "message"),
    [
        ("/data/local-files/?d=../secret.png", ["sad"], "leads out"),
        ("/etc/passwd", ["sad"], "leads out"),
        ("https://example.org/a.png", ["sad"], "not beside the export"),
        (7, ["sad"], "no data.image"),
        ("a/1.png", ["sad", "happy"], "two labels"),
        ("a/1.png", [], "no task in it has a label"),
        ("a/1.png", ["hapy"], "mistyped"),
    ],
)
def test_hostile_exports_are_refused(
    tmp_path: Path, image: object, choices: list[str], message: str
) -> None:
    """No path leads out, nothing is fetched, and a task has one label."""
    result = [{"type": "choices", "value": {"choices": choices}}]
    task = {"data": {"image": image}, "annotations": [{"result": result}]}
    write(tmp_path / "export.json", json.dumps([task]))
    with pytest.raises(DataError, match=message):
        load_samples(tmp_path / "export.json")


def test_an_exports_subject_acts_on_no_terminal(tmp_path: Path) -> None:
    """It is shown as a manifest's is, and refused as one."""
    result = [{"type": "choices", "value": {"choices": ["sad"]}}]
    data = {"image": "a/1.png", "subject": "\x1b[2Janna"}
    write(
        tmp_path / "export.json", json.dumps([{"data": data, "annotations": [{"result": result}]}])
    )
    with pytest.raises(DataError, match="control characters"):
        load_samples(tmp_path / "export.json")


def test_own_classes_are_read_and_slips_are_not(tmp_path: Path, write_folders: object) -> None:
    """Any class folders do; a mistyped emotion and a lonely foreign folder are named."""
    data = write_folders(tmp_path / "own", ["engaged", "bored", "Happy"], 2)  # type: ignore[operator]
    assert load_samples(data).labels == ("happiness", "bored", "engaged")
    assert load_samples(data, names={"bored": "neutral"}).labels[0] == "neutral"
    slip = write_folders(tmp_path / "slip", ["hapy", "sad"], 1)  # type: ignore[operator]
    with pytest.raises(DataError, match="mistyped"):
        load_samples(slip)
    two = write_folders(tmp_path / "two", ["happy", "joyful"], 1)  # type: ignore[operator]
    with pytest.raises(DataError, match="both mean happiness"):
        load_samples(two, names={"joyful": "happiness"})


def test_what_is_made_from_captured_pictures_is_written_down(tmp_path: Path) -> None:
    """`capture --forget` names it; a manifest of somebody else's is left as it is."""
    folder = CaptureFolder(tmp_path / "mine")
    line = Taken(
        path="happiness/anna-0123abcd-0001.png",
        label="happiness",
        subject="anna",
        time="2026-11-30T12:00:00Z",
        session="0123abcd",
        camera="0",
        quality="ok",
        consent="...",
        consent_time="2026-11-30T12:00:00Z",
    )
    with folder.opened() as lines:
        folder.keep(np.zeros((48, 48, 3), np.uint8), line, lines)
    samples = load_samples(folder.path)
    note_samples("run", tmp_path / "run", folder.path, samples)
    (made,) = folder.derived()
    assert (made.what, made.people) == ("run", ("anna",))
    assert made.fingerprint == samples.fingerprint().fingerprint
    other = manifest(tmp_path / "other")
    note_samples("run", tmp_path / "run", other, load_samples(other))
    assert not (other / "derived.jsonl").exists()
