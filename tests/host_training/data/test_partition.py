"""A run never learns from what it is judged on."""

import numpy as np
import pytest
from numpy.typing import NDArray

from host_training.config import TrainConfig, decode_config
from host_training.data.load import one_hot
from host_training.data.near_duplicates import near_to
from host_training.data.partition import partition
from host_training.data.samples import Samples, picture_keys
from host_training.errors import DataError
from host_training.training.run import divided


def samples(
    class_ids: list[int], split: list[str] | None = None, subjects: list[str] | None = None
) -> Samples:
    answers: NDArray[np.int64] = np.array(class_ids)
    images = np.random.default_rng(0).integers(0, 256, (len(class_ids), 48, 48), np.uint8)
    return Samples(
        images=images,
        targets=one_hot(answers, 3),
        labels=("neutral", "happiness", "surprise"),
        class_ids=answers,
        split=np.array(split or ["Training"] * len(class_ids)),
        name="made",
        form="made up",
        protocol="labels",
        subjects=None if subjects is None else np.array(subjects),
    )


def test_the_given_validation_split_is_used() -> None:
    """Where the data has PublicTest, that is it; other splits are not touched."""
    split = ["Training"] * 4 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    parts = partition(samples([0, 1, 0, 1, 0, 1, 0, 1], split))
    assert (len(parts.training), len(parts.validation)) == (4, 2)
    assert parts.validation.splits == ("PublicTest",)


def test_duplicates_of_validation_rows_are_left_out_and_said() -> None:
    """Training rows with a validation row's very picture go, unless they are asked for."""
    data = samples([0, 1, 0, 1, 0, 1], ["Training"] * 4 + ["PublicTest"] * 2)
    data.images[1] = data.images[5]
    parts = partition(data)
    assert len(parts.training) == 3
    assert any("1 training samples left out" in remark for remark in parts.remarks)
    assert len(partition(data, keep_duplicates=True).training) == 4


def test_held_out_rows_are_disjoint_by_subject() -> None:
    """No subject is on both sides, every class is on both, and the share is about right."""
    class_ids = [0, 1, 2] * 30
    subjects = [f"S{i // 3:03d}" for i in range(90)]
    parts = partition(samples(class_ids, subjects=subjects), share=0.2)
    left, right = parts.training.subjects, parts.validation.subjects
    assert left is not None
    assert right is not None
    assert not set(left.tolist()) & set(right.tolist())
    assert min(parts.training.counts().values()) > 0
    assert min(parts.validation.counts().values()) > 0
    assert len(parts.validation) == pytest.approx(18, abs=3)


def test_held_out_rows_are_disjoint_by_picture() -> None:
    """Copies of one picture stay on one side even where no subject is known."""
    data = samples([0, 1, 2] * 20)
    data.images[30:] = data.images[:30]
    parts = partition(data)
    keys = [set(map(bytes, picture_keys(p.images))) for p in (parts.training, parts.validation)]
    assert not keys[0] & keys[1]
    assert len(parts.training) + len(parts.validation) == 60


def test_the_choice_depends_on_the_seed_only() -> None:
    """The same seed holds out the same rows."""
    data = samples([0, 1, 2] * 20)
    first, again, other = (partition(data, seed=s).validation.fingerprint() for s in (1, 1, 2))
    assert first == again
    assert first != other


def test_a_validation_folder_is_used() -> None:
    """Rows of a ``val`` folder are validated on; nothing is held out of the training rows."""
    split = ["Training"] * 4 + ["Validation"] * 2 + ["Test"] * 2
    parts = partition(samples([0, 1, 0, 1, 0, 1, 0, 1], split))
    assert (len(parts.training), parts.validation.splits) == (4, ("Validation",))
    assert "validation: Validation" in parts.remarks


def test_a_validation_split_of_one_class() -> None:
    """A split that shows one emotion only cannot choose a model, and is said to be so."""
    with pytest.raises(DataError, match=r"its validation samples show 1 labels \(surprise\)"):
        partition(samples([0, 1, 2, 2], ["Training"] * 2 + ["PublicTest"] * 2))


@pytest.mark.parametrize(
    ("class_ids", "message"),
    [
        ([0, 0, 0, 0], "training samples show 1 labels"),
        ([0, 0, 0, 1], "happiness has 1 training sample"),
    ],
)
def test_data_that_can_not_be_divided(class_ids: list[int], message: str) -> None:
    """One class only, or one row of a class, is said to be too little."""
    with pytest.raises(DataError, match=message):
        partition(samples(class_ids))


def test_nobody_else_to_hold_out() -> None:
    """Rows of one subject alone, or of one picture alone, are said to be too little."""
    alike = samples([0, 1, 2] * 4)
    alike.images[:] = alike.images[0]
    for data in (samples([0, 1, 2] * 4, subjects=["S001"] * 12), alike):
        with pytest.raises(DataError, match="show one subject or one picture; two or more"):
            partition(data)


def with_twins(data: Samples, rows: list[int], of: list[int]) -> Samples:
    """Let some rows show others' pictures again, with half of the contrast."""
    data.images[rows] = data.images[of] // 2 + 60
    return data


def test_near_duplicates_of_validation_rows_are_left_out_and_said() -> None:
    """Training rows with a near duplicate of a validation row go, unless they are asked for."""
    data = samples([0, 1] * 6, ["Training"] * 8 + ["PublicTest"] * 4)
    data = with_twins(data, [1, 2], [9, 10])
    parts = partition(data)
    assert len(parts.training) == 6
    assert "2 training samples left out: a near duplicate is validated on" in parts.remarks
    assert len(partition(data, keep_near_duplicates=True).training) == 8
    assert len(partition(data, keep_duplicates=True).training) == 8


def test_near_duplicates_stay_where_too_little_would_be_left() -> None:
    """When most rows of a label would go they stay, and the remark says what that does."""
    data = samples([0, 1] * 4 + [0, 1] * 2, ["Training"] * 8 + ["PublicTest"] * 4)
    data = with_twins(data, [1, 3, 5], [9, 9, 11])
    parts = partition(data)
    assert len(parts.training) == 8
    (remark,) = (remark for remark in parts.remarks if "near" in remark)
    assert remark.startswith("3 training samples are near duplicates")
    assert remark.endswith("happiness would lose 3 of 4: validation figures flatter")


def test_held_out_rows_are_disjoint_by_near_duplicates() -> None:
    """A shot and its near duplicates are on one side, and none of them is thrown away."""
    data = samples([0, 1, 2] * 20)
    data = with_twins(data, list(range(30, 60)), list(range(30)))
    parts = partition(data)
    assert "disjoint by near duplicates" in parts.remarks[0]
    assert len(parts.training) + len(parts.validation) == 60
    assert not near_to(parts.training.images, parts.validation.images).any()
    assert min(parts.validation.counts().values()) >= 2


@pytest.mark.parametrize("shots", [1, 3])
def test_one_shot_a_label_is_held_out_by_picture(shots: int) -> None:
    """Rows that are one shot, of a label or all there are, are divided and said to flatter."""
    data = samples([0, 1, 2] * 10)
    light = np.arange(30, dtype=np.uint8)[:, None, None]
    data.images[:] = data.images[data.class_ids % shots] // 2 + light
    parts = partition(data)
    assert "disjoint by picture" in parts.remarks[0]
    assert parts.remarks[1].endswith("validation figures flatter")
    assert min(parts.training.counts().values()) > min(parts.validation.counts().values()) > 0


def test_the_division_may_have_a_seed_of_its_own() -> None:
    """Runs of several seeds share one division; without the setting the seed is that of the run."""
    data = samples([0, 1, 2] * 30)

    def held(**settings: int) -> str:
        return divided(data, TrainConfig(**settings)).validation.fingerprint().fingerprint

    assert held(seed=1) != held(seed=2)
    assert held(seed=1, validation_seed=7) == held(seed=2, validation_seed=7)
    assert held(seed=7) == held(validation_seed=7)
    assert decode_config(b'{"seed": 7}', "config.json") == TrainConfig(seed=7)
