"""The form of a data set is recognised, said, and never guessed in silence."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge.contract.errors import EdgeEmoError
from edge.contract.labels import EMOTIONS
from edge.errors import ConfigError
from host_training.data.load import load_samples
from host_training.errors import DataError

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
    assert [samples.labels[i] for i in samples.hard] == ["happiness", "anger", "neutral"]
    assert samples.labels == EMOTIONS[:-1]
    np.testing.assert_array_equal(samples.targets.argmax(axis=1), samples.hard)
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
    assert load_samples(fer, votes, "fer2013").labels == EMOTIONS[:-1]


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


@pytest.mark.parametrize("content", [b"", b"not a picture"])
def test_an_unreadable_picture_is_named(
    tmp_path: Path, write_folders: Write, content: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """A damaged picture is an error with its name, and no decoder writes to the terminal."""
    data = write_folders(tmp_path / "data", ["happy", "sad"], 2)
    (data / "sad" / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png: not a readable picture"):
        load_samples(data)
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
    """Votes can not belong to class folders."""
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
