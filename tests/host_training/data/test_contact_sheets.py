"""Contact sheets show the rows that they say they show."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from host_training.data.contact_sheets import contact_sheet, write_sheets
from host_training.data.load import one_hot
from host_training.data.near_duplicates import near_pairs
from host_training.data.samples import Samples
from host_training.errors import DataError


@pytest.fixture
def data() -> Samples:
    """Return 200 happy rows, 3 neutral ones that are near duplicates, and one without an answer."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (204, 48, 48), np.uint8)
    images[201:203] = images[200] // 2, images[200] // 2 + 40
    class_ids = np.array([1] * 200 + [0] * 3 + [-1])
    return Samples(
        images=images,
        targets=one_hot(class_ids, 3),
        labels=("neutral", "happiness", "surprise"),
        class_ids=class_ids,
        split=np.array(["Training"] * 204),
        name="made",
        form="made up",
        protocol="labels",
    )


def shown_in(sheet: NDArray[np.uint8], image: NDArray[np.uint8]) -> bool:
    """Tell whether a picture stands in a sheet, enlarged by whole pixels."""
    tile = np.repeat(np.repeat(image, 2, axis=0), 2, axis=1)
    return bool(cv2.matchTemplate(sheet, tile, cv2.TM_SQDIFF_NORMED).min() < 1e-3)


def test_a_sheet_for_each_class(tmp_path: Path, data: Samples) -> None:
    """Each class with rows has a sheet of its own rows; the same call gives the same bytes."""
    files = write_sheets(data, tmp_path / "a")
    assert sorted(file.name for file in files) == ["excluded.png", "happiness.png", "neutral.png"]
    neutral = cv2.imread(str(tmp_path / "a" / "neutral.png"), cv2.IMREAD_GRAYSCALE)
    assert all(shown_in(neutral, image) for image in data.images[200:203])
    assert not shown_in(neutral, data.images[0])
    happy = cv2.imread(str(tmp_path / "a" / "happiness.png"), cv2.IMREAD_GRAYSCALE)
    assert sum(shown_in(happy, image) for image in data.images[:200]) == 120
    for file in write_sheets(data, tmp_path / "b"):
        assert file.read_bytes() == (tmp_path / "a" / file.name).read_bytes()


def test_sheets_of_pairs_and_of_missing_faces(tmp_path: Path, data: Samples) -> None:
    """Near duplicates stand side by side; pictures without a face have their own sheet."""
    found = np.arange(204) > 1
    near = near_pairs(data.images)
    assert near.pairs.tolist() == [[200, 201], [200, 202], [201, 202]]
    files = {file.stem: file for file in write_sheets(data, tmp_path, near, found)}
    pairs = cv2.imread(str(files["near_duplicates"]), cv2.IMREAD_GRAYSCALE)
    side_by_side = np.hstack([data.images[200], data.images[201]])
    assert shown_in(pairs, side_by_side)
    missing = cv2.imread(str(files["without_face"]), cv2.IMREAD_GRAYSCALE)
    assert [shown_in(missing, data.images[i]) for i in range(3)] == [True, True, False]


def test_the_title_is_never_cut_off() -> None:
    """A sheet is as wide as its title, even with one tile."""
    tile = np.zeros((96, 96), np.uint8)
    sheet = contact_sheet([tile], ["1"], "a title that is a good deal longer than a tile is wide")
    assert sheet.shape[1] > 300
    assert (sheet[:, -4:] == 255).all()


def test_a_folder_that_can_not_be_made(tmp_path: Path, data: Samples) -> None:
    """A path below a file is one line."""
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be made"):
        write_sheets(data, tmp_path / "file" / "sheets")
