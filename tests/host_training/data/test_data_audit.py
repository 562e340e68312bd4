"""The audit counts what leaks."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from host_training.data.audit import audit
from host_training.data.load import one_hot
from host_training.data.samples import EXCLUDED, Samples, picture_keys
from host_training.data.tables import audit_lines

LABELS = ("neutral", "happiness", "surprise")


def made(pictures: list[int], class_ids: list[int], split: list[str]) -> Samples:
    """Make samples in which equal numbers in ``pictures`` are equal pictures."""
    images = np.zeros((len(pictures), 48, 48), np.uint8)
    images[:, 0, 0] = pictures
    answers = np.array(class_ids, np.int64)
    return Samples(
        images=images,
        targets=one_hot(np.maximum(answers, 0), 3),
        labels=LABELS,
        class_ids=answers,
        split=np.array(split),
        name="made",
        form="made up",
        protocol="labels",
    )


def test_duplicates_within_and_across_splits() -> None:
    """Groups are counted once a split and once a pair of splits; conflicting answers too."""
    data = made(
        [1, 1, 2, 3, 3, 4, 2, 3, 5],
        [0, 0, 1, 2, EXCLUDED, 0, 0, 2, 1],
        ["Training"] * 6 + ["PublicTest"] * 3,
    )
    found = audit(data).duplicates
    assert (found.groups, found.rows) == (3, 7)
    assert found.groups_within == {"Training": 2, "PublicTest": 0}
    assert found.groups_across == {"Training+PublicTest": 2}
    assert found.groups_disagreeing == 1  # picture 2; an excluded row disagrees with nobody


def test_leaks_are_called_so() -> None:
    """The text for people says LEAK where a picture is in two splits, and not otherwise."""
    leaking = audit(made([1, 1], [0, 0], ["Training", "PublicTest"]))
    clean = audit(made([1, 2], [0, 0], ["Training", "PublicTest"]))
    assert any("LEAK: in both Training+PublicTest: 1" in line for line in audit_lines(leaking))
    assert not any("LEAK" in line for line in audit_lines(clean))


def test_counts_and_votes() -> None:
    """Counts are by split and label; the entropy of an even two-way vote is one bit."""
    data = made([1, 2, 3], [0, 1, EXCLUDED], ["Training", "Training", "PublicTest"])
    shares = np.array([[1, 0, 0], [0, 1, 0], [0, 0.5, 0.5]], np.float32)
    result = audit(replace(data, targets=shares))
    assert result.splits["Training"].per_class == dict(zip(LABELS, (1, 1, 0), strict=True))
    assert (result.splits["PublicTest"].rows, result.splits["PublicTest"].measurable) == (1, 0)
    assert result.votes is not None
    assert result.votes.mean_entropy_bits == 1 / 3
    assert result.votes.unanimous == 2 / 3
    assert audit(data).votes is None


def test_subjects_in_two_splits() -> None:
    """A subject on both sides of a split is counted."""
    data = made([1, 2, 3], [0, 1, 2], ["Training", "PublicTest", "Training"])
    result = audit(replace(data, subjects=np.array(["S1", "S1", "S2"])))
    assert result.subjects is not None
    assert (result.subjects.subjects, result.subjects.across_splits) == (2, 1)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_keys_are_equal_for_equal_pictures_only(numbers: list[int]) -> None:
    """Two pictures have the same key exactly when every pixel is the same."""
    images = np.zeros((len(numbers), 48, 48), np.uint8)
    images[:, 47, 47] = numbers
    keys = picture_keys(images)
    for i, first in enumerate(numbers):
        assert [bool(key == keys[i]) for key in keys] == [first == second for second in numbers]


def test_the_fingerprint_is_of_pictures_labels_and_order() -> None:
    """One pixel, one answer or another order makes another fingerprint; a copy does not."""
    data = made([1, 2], [0, 1], ["Training"] * 2)
    pixel = replace(data, images=data.images.copy())
    pixel.images[0, 5, 5] = 1
    answer = replace(data, class_ids=np.array([0, 2]))
    swapped = made([2, 1], [1, 0], ["Training"] * 2)
    same = made([1, 2], [0, 1], ["Training"] * 2)
    others = [other.fingerprint().fingerprint for other in (pixel, answer, swapped)]
    assert len({data.fingerprint().fingerprint, *others}) == 4
    assert same.fingerprint() == data.fingerprint()
