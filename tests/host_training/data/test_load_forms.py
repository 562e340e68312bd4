"""The form of a data set is recognised, said, and never guessed in silence."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError, EdgeEmoError
from host_training.data.audit import audit
from host_training.data.load import load_samples
from host_training.data.partition import partition
from host_training.errors import DataError
from host_training.metrics.predict import rows_to_measure

Write = Callable[..., Path]
HAPPY = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0]
SPLIT = [5, 5, 0, 0, 0, 0, 0, 0, 0, 0]


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), np.uint8)


@pytest.fixture
def fer(tmp_path: Path, write_csv: Write) -> Path:
    rows = [(3, image(0), "Training"), (0, image(1), "Training"), (6, image(2), "PublicTest")]
    return write_csv(tmp_path / "fer2013.csv", rows)


def test_fer2013_labels_become_canonical(fer: Path) -> None:
    """FER2013's numbers become the seven canonical names, in canonical order."""
    samples = load_samples(fer)
    assert [samples.labels[i] for i in samples.class_ids] == ["happiness", "anger", "neutral"]
    assert samples.labels == EMOTIONS[:-1]
    np.testing.assert_array_equal(samples.targets.argmax(axis=1), samples.class_ids)
    assert (samples.protocol, samples.splits) == ("fer2013", ("Training", "PublicTest"))


def test_votes_make_majority_the_default(fer: Path, tmp_path: Path, write_votes: Write) -> None:
    """With votes the labels are FER+'s eight; a row without a majority still is a target."""
    votes = write_votes(
        tmp_path / "votes.csv", [("Training", HAPPY), ("Training", SPLIT), ("PublicTest", HAPPY)]
    )
    samples = load_samples(fer, votes)
    assert (samples.labels, samples.protocol) == (EMOTIONS, "majority")
    assert samples.measurable.tolist() == [True, False, True]
    assert samples.trainable.all()
    assert "FER+ votes" in samples.form
    own = load_samples(fer, votes, "fer2013")
    assert own.labels == EMOTIONS[:-1]
    assert [own.labels[i] for i in own.class_ids] == ["happiness", "anger", "neutral"]
    assert own.votes is not None
    assert own.votes.tolist() == [HAPPY, SPLIT, HAPPY]
    assert own.split_rows("PublicTest").votes is not None


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("Training", HAPPY)], "1 rows of votes for 3 pictures"),
        (
            [("Training", HAPPY), ("PublicTest", HAPPY), ("PublicTest", HAPPY)],
            "row 2: Usage 'PublicTest', the picture's row says 'Training'",
        ),
        ([("Training", HAPPY), ("Training", [-1] * 10), ("PublicTest", HAPPY)], "row 2: negative"),
        ([("Training", HAPPY), ("Training", ["x"] * 10)], "row 2: not ten numbers"),
    ],
)
def test_votes_that_do_not_belong(
    fer: Path, tmp_path: Path, write_votes: Write, rows: list[tuple[str, list[int]]], message: str
) -> None:
    """Votes of other rows, in another order or damaged are refused, the row named."""
    with pytest.raises(DataError, match=message):
        load_samples(fer, write_votes(tmp_path / "votes.csv", rows))


def test_the_challenge_pair(tmp_path: Path, write_csv: Write) -> None:
    """A folder with train.csv and test_with_emotions.csv is one data set with two splits."""
    for name, number in (("train", 2), ("test_with_emotions", 1)):
        path = write_csv(tmp_path / f"{name}.csv", [(0, image(i), "") for i in range(number)])
        lines = [line.rstrip(",") for line in path.read_text().splitlines()]
        path.write_text("\n".join(["emotion,pixels", *lines[1:]]))
    samples = load_samples(tmp_path)
    assert samples.split.tolist() == ["Training", "Training", "Test"]
    assert samples.form == "FER2013 CSV: train.csv and test_with_emotions.csv"


def write_challenge_file(path: Path, rows: int, *, labels: bool = True) -> None:
    """Write one of the challenge's files, which have no Usage column."""
    first = "0," if labels else ""
    lines = [f"{first}{' '.join(map(str, image(i).ravel()))}" for i in range(rows)]
    path.write_text("\n".join(["emotion,pixels" if labels else "pixels", *lines]))


def test_one_file_a_split(tmp_path: Path) -> None:
    """Of a plain and a gzipped copy, and of a test file with and without labels, one is read."""
    write_challenge_file(tmp_path / "train.csv", 3)
    (tmp_path / "train.csv.gz").write_bytes(gzip.compress((tmp_path / "train.csv").read_bytes()))
    write_challenge_file(tmp_path / "test.csv", 2, labels=False)
    samples = load_samples(tmp_path)
    assert samples.form == "FER2013 CSV: train.csv and test.csv (no labels)"
    assert samples.split.tolist() == ["Training"] * 3 + ["Test"] * 2
    assert samples.measurable.tolist() == samples.trainable.tolist() == [True] * 3 + [False] * 2
    write_challenge_file(tmp_path / "test_with_emotions.csv", 2)
    samples = load_samples(tmp_path)
    assert samples.form == "FER2013 CSV: train.csv and test_with_emotions.csv"
    assert samples.measurable.all()


def test_rows_without_labels(tmp_path: Path) -> None:
    """A test.csv is read and can be audited; what needs answers says that there are none."""
    write_challenge_file(tmp_path / "test.csv", 2, labels=False)
    samples = load_samples(tmp_path / "test.csv")
    assert (samples.form, samples.splits) == ("FER2013 CSV: test.csv (no labels)", ("Test",))
    counts = audit(samples).splits["Test"]
    assert (counts.rows, counts.measurable, counts.trainable) == (2, 0, 0)
    for use in (partition, lambda rows: rows_to_measure(rows, None)):
        with pytest.raises(
            DataError, match=r"test\.csv \(no labels\): none of the 2 samples has a label"
        ):
            use(samples)


def test_votes_are_answers_for_rows_without_labels(tmp_path: Path, write_votes: Write) -> None:
    """FER+ votes label a file that has no emotions of its own."""
    path = tmp_path / "fer.csv"
    zeros = " ".join(["0"] * 2304)
    path.write_text(f"pixels,Usage\n{zeros},Training\n")
    samples = load_samples(path, write_votes(tmp_path / "votes.csv", [("Training", HAPPY)]))
    assert samples.counts()["happiness"] == 1


def test_votes_of_rows_without_a_name(fer: Path, tmp_path: Path) -> None:
    """The published votes name no picture where there was no face; such rows count like others."""
    path = tmp_path / "fer2013new.csv"
    head = (
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    )
    rows = ["Training,fer0000000.png,0,10,0,0,0,0,0,0,0,0", "Training,,0,0,0,0,0,0,0,0,0,10"]
    path.write_text("\n".join([head, *rows, "PublicTest,fer0000002.png,10,0,0,0,0,0,0,0,0,0\n"]))
    samples = load_samples(fer, path)
    assert samples.measurable.tolist() == [True, False, True]
    assert samples.trainable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("happy", "sad"),
    [("happy", "sad"), ("Happiness", "SADNESS"), ("3_happy", "04-sad"), ("3. Happy", "4 sad")],
)
def test_spellings_of_class_folders(
    tmp_path: Path, write_folders: Write, happy: str, sad: str
) -> None:
    """Class folders may be adjectives, nouns, in any case, and numbered."""
    samples = load_samples(write_folders(tmp_path / "data", [happy, sad], 2))
    assert samples.counts() == {"happiness": 2, "sadness": 2}
    assert (samples.form, samples.splits) == ("class folders", ("Training",))


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("train", "test"), ("Training", "Test")),
        (("Train", "valid", "Test"), ("Training", "Validation", "Test")),
        (("training", "public_test", "PrivateTest"), ("Training", "PublicTest", "PrivateTest")),
    ],
)
def test_split_folders(
    tmp_path: Path, write_folders: Write, folders: tuple[str, ...], splits: tuple[str, ...]
) -> None:
    """Folders of splits above the class folders are recognised and said, training first."""
    for number, folder in enumerate(folders, 1):
        write_folders(tmp_path / "data" / folder, ["happy", "sad"], number)
    samples = load_samples(tmp_path / "data")
    assert samples.splits == splits
    for number, (folder, split) in enumerate(zip(folders, splits, strict=True), 1):
        assert samples.split_rows(split).counts() == {"happiness": number, "sadness": number}
        assert f"{folder} as {split}" in samples.form
    assert samples.form.startswith("class folders in split folders (")


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (["happy", "Happiness", "sad"], "both mean happiness"),
        (["3", "4"], "3: a number is no emotion"),
        (["train/happy", "sad"], r"split folders \(train\) beside others \(sad\)"),
        (["train/happy", "Training/sad"], "two folders for one split"),
        (["train/elated"], "elated: unknown emotion"),
        (["test"], "test: no class folders"),
    ],
)
def test_folders_that_contradict_each_other(
    tmp_path: Path, folders: list[str], message: str
) -> None:
    """Two folders of one class or split, mixed layouts and bare numbers are named, not guessed."""
    for folder in folders:
        (tmp_path / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        load_samples(tmp_path)


def test_a_folder_that_holds_a_table(tmp_path: Path, write_csv: Write) -> None:
    """Who gives the folder of a CSV is told the file to give."""
    write_csv(tmp_path / "fer2013.csv", [(0, image(0), "Training")])
    with pytest.raises(DataError, match=r"it holds fer2013\.csv: give that file"):
        load_samples(tmp_path)


def test_other_files_are_counted(tmp_path: Path, write_folders: Write) -> None:
    """What lies beside the pictures and is none is ignored, and said to be."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 1)
    (data / "happy" / "Thumbs.db").write_bytes(b"x")
    (data / "sad" / "more.png").mkdir()
    (data / "sad" / ".DS_Store").write_bytes(b"x")
    assert "2 other files beside the pictures ignored" in load_samples(data).form


def test_ck_names_give_subjects(tmp_path: Path, write_folders: Write) -> None:
    """CK+ file names are recognised, and only there subjects are known."""
    name = "S0{i:02d}_00{kind}_0000000{i}.png"
    samples = load_samples(write_folders(tmp_path / "ck", ["Happy", "sadness"], 3, name))
    assert samples.subjects is not None
    assert sorted(set(samples.subjects.tolist())) == ["S000", "S001", "S002"]
    assert "subjects" in samples.form
    assert samples.counts() == {"happiness": 3, "sadness": 3}
    plain = load_samples(write_folders(tmp_path / "plain", ["happy", "sad"], 3))
    assert plain.subjects is None


@pytest.mark.parametrize(
    ("folder", "message"),
    [
        (None, "no such file or folder"),
        ("", "no class folders"),
        ("happy", "happy: no picture"),
        ("elated", "elated: unknown emotion"),
    ],
)
def test_folders_that_are_no_data_set(tmp_path: Path, folder: str | None, message: str) -> None:
    """An absent folder, an empty one, an empty class and one that is no emotion are named."""
    data = tmp_path / "data"
    if folder is not None:
        (data / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        load_samples(data)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "an empty file"),
        (b"not a picture", "a text file"),
        (b"<html>404</html>", "a web page"),
    ],
)
def test_an_unreadable_picture_is_named(
    tmp_path: Path,
    write_folders: Write,
    content: bytes,
    reason: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is skipped, counted and named, the rest is read, and no decoder writes to the terminal."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 2)
    (data / "sad" / "broken.png").write_bytes(content)
    samples = load_samples(data)
    assert samples.counts() == {"happiness": 2, "sadness": 2}
    assert samples.form.endswith("1 unreadable picture skipped")
    [record] = caplog.records
    assert f"broken.png: not a readable picture ({reason}" in record.getMessage()
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("labels", "protocol", "message"),
    [
        (False, "majority", "--protocol majority: without --labels"),
        (False, "labels", "--protocol labels"),
        (True, "labels", "with FER\\+ votes only majority, plurality, fer2013"),
    ],
)
def test_protocols_that_the_data_does_not_allow(
    fer: Path, tmp_path: Path, write_votes: Write, labels: bool, protocol: str, message: str
) -> None:
    """A protocol that needs votes is bad usage without them, and the other way round."""
    usage = ["Training", "Training", "PublicTest"]
    votes = write_votes(tmp_path / "votes.csv", [(name, HAPPY) for name in usage])
    with pytest.raises(ConfigError, match=message):
        load_samples(fer, votes if labels else None, protocol)


def test_votes_for_folders_are_bad_usage(tmp_path: Path, write_folders: Write) -> None:
    """Votes cannot belong to class folders."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 1)
    with pytest.raises(EdgeEmoError, match="--labels"):
        load_samples(data, tmp_path / "votes.csv")


def test_pictures_of_any_size_and_colour(tmp_path: Path) -> None:
    """A large colour picture becomes grey and 48 x 48 by area, which keeps its mean."""
    import cv2

    big = np.random.default_rng(0).integers(0, 256, (480, 480, 3), np.uint8)
    for label in ("happy", "sad"):
        (tmp_path / label).mkdir()
        cv2.imwrite(str(tmp_path / label / "a.png"), big)
    images = load_samples(tmp_path).images
    grey = cv2.cvtColor(big, cv2.COLOR_BGR2GRAY)
    blocks = grey.reshape(48, 10, 48, 10).mean(axis=(1, 3))
    assert np.abs(images[0] - blocks).max() <= 1


@pytest.mark.parametrize(
    "beside", ["__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".git"]
)
def test_folders_that_others_left_are_no_classes(
    tmp_path: Path, write_folders: Write, beside: str
) -> None:
    """Archives, network drives and systems leave folders of their own beside the classes."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 2)
    (data / beside).mkdir()
    (data / beside / "._0.png").write_bytes(b"\0\5\x16\7")
    assert load_samples(data).counts() == {"happiness": 2, "sadness": 2}


@pytest.mark.parametrize("inner", ["train", "happy"])
def test_a_folder_around_the_data_is_named(
    tmp_path: Path, write_folders: Write, inner: str
) -> None:
    """An archive unpacks into one folder more: the message says which to give."""
    write_folders(tmp_path / "archive" / "images" / inner, ["happy", "sad"], 2)
    archive = tmp_path / "archive"
    with pytest.raises(DataError, match=rf"its folders \({inner}\) are meant, give {archive}/im"):
        load_samples(archive)


def test_a_table_without_its_header_is_told_in_a_line(tmp_path: Path) -> None:
    """A row of pixels is taken for the header: of its numbers a few are shown."""
    (tmp_path / "fer2013.csv").write_text(f"0,{'70 ' * 2303}70,Training\n" * 2)
    with pytest.raises(DataError, match="no column 'emotion', its header has 0, 70 70") as told:
        load_samples(tmp_path / "fer2013.csv")
    assert len(str(told.value)) < 500
