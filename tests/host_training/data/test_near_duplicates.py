"""Near duplicates: the same shot is found however it was changed, another shot is not."""

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from host_training.data.audit import audit
from host_training.data.load import one_hot
from host_training.data.near_duplicates import MAX_SHIFT, THRESHOLD, groups_of, near_pairs, near_to
from host_training.data.samples import EXCLUDED, Samples
from host_training.data.tables import audit_lines

Picture = NDArray[np.uint8]
MARGIN = 8


def scene(seed: int, side: int = 48 + 2 * MARGIN) -> NDArray[np.float64]:
    """Make a smooth random picture with detail of all sizes, as photos have; grey levels."""
    noise = np.random.default_rng(seed).normal(size=(4, side, side))
    layers = [cv2.GaussianBlur(n, (0, 0), s) * s for n, s in zip(noise, (1, 2, 4, 8), strict=True)]
    total = np.sum(layers, axis=0)
    return 128 + 40 * (total - total.mean()) / total.std()


def cut(grey: NDArray[np.float64], dx: int = 0, dy: int = 0) -> Picture:
    """Cut the middle 48 pixels out, moved by whole pixels."""
    part = grey[MARGIN + dy : MARGIN + dy + 48, MARGIN + dx : MARGIN + dx + 48]
    return np.clip(np.rint(part), 0, 255).astype(np.uint8)


def recompressed(picture: Picture) -> Picture:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 60])
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)


def stamped(picture: Picture) -> Picture:
    """Put a half-transparent word over it, as picture agencies do."""
    opaque = cv2.putText(picture.copy(), "stock", (4, 30), cv2.FONT_HERSHEY_PLAIN, 0.6, 255)
    return cv2.addWeighted(picture, 0.6, opaque, 0.4, 0)


def noisy(picture: Picture) -> Picture:
    noise = np.random.default_rng(9).normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[NDArray[np.float64]], Picture]] = {
    "brighter": lambda grey: cut(grey + 25),
    "less contrast": lambda grey: cut(0.5 * grey + 60),
    "lit from the left": lambda grey: cut(grey + np.linspace(40, -40, grey.shape[1])),
    "shifted by one": lambda grey: cut(grey, 1, 0),
    "shifted by two": lambda grey: cut(grey, 0, -2),
    "noise": lambda grey: noisy(cut(grey)),
    "JPEG": lambda grey: recompressed(cut(grey)),
    "stamped": lambda grey: stamped(cut(grey)),
    "mirrored": lambda grey: cut(grey)[:, ::-1],
    "mirrored, shifted and brighter": lambda grey: cut(grey + 20, 1, 1)[:, ::-1],
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_same_shot_is_found(change: str) -> None:
    """Each change of each of ten pictures is found, and nothing else is."""
    scenes = [scene(seed) for seed in range(10)]
    images = np.stack([cut(s) for s in scenes] + [CHANGES[change](s) for s in scenes])
    found = near_pairs(images)
    assert found.pairs.tolist() == [[i, i + 10] for i in range(10)]
    assert found.scores.min() >= THRESHOLD
    assert (found.mirrored == ("mirrored" in change)).all()


def test_other_shots_are_not_found() -> None:
    """Of 200 different pictures no two are near duplicates."""
    assert not len(near_pairs(np.stack([cut(scene(seed)) for seed in range(200)])).pairs)


@pytest.mark.parametrize(
    "change",
    [
        lambda grey: cut(grey, 2 * MAX_SHIFT + 2, 0),
        lambda grey: np.rot90(cut(grey)),
        lambda grey: cut(grey)[::-1],
        lambda grey: cut(0.5 * grey + 0.5 * scene(77)),
        lambda grey: cut(0 * grey + 128),
    ],
    ids=["shifted far", "turned", "upside down", "half of another", "flat"],
)
def test_too_much_of_a_change(change: Callable[[NDArray[np.float64]], Picture]) -> None:
    """What is changed beyond the stated limits is not called a near duplicate."""
    images = np.stack([cut(scene(0)), change(scene(0))])
    assert not len(near_pairs(images).pairs)


def test_near_to_is_pairs_across() -> None:
    """Those near to some others are those that a pair of all pictures joins with one of them."""
    grey = [scene(seed) for seed in range(12)]
    images = np.stack([cut(g) for g in grey] + [cut(grey[0])])
    changes = [CHANGES[name] for name in ("shifted by one", "mirrored", "noise")]
    others = np.stack([change(grey[i]) for i, change in enumerate(changes)] + [cut(scene(99))])
    pairs = near_pairs(np.concatenate((images, others))).pairs
    across = pairs[(pairs[:, 0] < 12) & (pairs[:, 1] >= len(images))]
    found = near_to(images, others)
    assert set(np.flatnonzero(found[:12])) == set(across[:, 0]) == {0, 1, 2}
    assert found[12], "the copy of a near duplicate is none"
    assert near_to(images, images[3:4]).nonzero()[0].tolist() == [3], "an equal one is none"
    assert not near_to(images[:0], others).size
    assert not near_to(images, others[:0]).any()


def test_flat_pictures_are_like_no_other() -> None:
    """Pictures of one grey, or nearly so, match neither each other nor anything else."""
    nearly = np.full((48, 48), 90, np.uint8)
    nearly[10, 10] = 91
    flat = [np.full((48, 48), level, np.uint8) for level in (0, 90, 255)]
    assert not len(near_pairs(np.stack([*flat, nearly, cut(scene(1))])).pairs)


def test_equal_pictures_are_one() -> None:
    """Exact duplicates are no near ones; the first row stands for all of them."""
    one, other = cut(scene(0)), CHANGES["brighter"](scene(0))
    assert not len(near_pairs(np.stack([one, one])).pairs)
    assert near_pairs(np.stack([one, other, one, other])).pairs.tolist() == [[0, 1]]
    assert near_pairs(np.empty((0, 48, 48), np.uint8)).pairs.shape == (0, 2)


@given(st.permutations(range(8)))
def test_a_pair_is_near_whatever_else_is_there(order: list[int]) -> None:
    """Order and company change neither which pairs are found nor how near they are."""
    pictures = [cut(scene(seed)) for seed in range(4)]
    pictures += [CHANGES["noise"](scene(seed)) for seed in range(4)]
    found = near_pairs(np.stack([pictures[i] for i in order]))
    pairs = {frozenset(order[row] for row in pair) for pair in found.pairs.tolist()}
    assert pairs == {frozenset((i, i + 4)) for i in range(4)}
    for pair, score in zip(found.pairs.tolist(), found.scores.tolist(), strict=True):
        alone = near_pairs(np.stack([pictures[order[row]] for row in pair]))
        assert alone.scores.tolist() == [score]


@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=14))
def test_groups_are_the_connected_components(edges: list[tuple[int, int]]) -> None:
    """Two pictures share a group exactly when a chain of pairs leads from one to the other."""
    reach = np.eye(12, dtype=bool)
    for i, j in edges:
        reach[i, j] = reach[j, i] = True
    for _ in range(4):
        reach = reach @ reach
    groups = groups_of(np.array(edges, np.int64).reshape(-1, 2), 12)
    np.testing.assert_array_equal(groups[:, None] == groups[None, :], reach)


def made(pictures: list[Picture], class_ids: list[int], split: list[str]) -> Samples:
    answers = np.array(class_ids, np.int64)
    return Samples(
        images=np.stack(pictures),
        targets=one_hot(answers, 2),
        labels=("neutral", "happiness"),
        class_ids=answers,
        split=np.array(split),
        name="made",
        form="made up",
        protocol="labels",
    )


def test_the_audit_counts_what_leaks() -> None:
    """Groups and leaking rows are counted by split, exact copies of near twins included."""
    a, b, c, d = (scene(seed) for seed in range(4))
    rows = [
        (cut(a), 0, "Training"),
        (CHANGES["brighter"](a), 1, "Training"),
        (cut(a), 0, "Training"),
        (CHANGES["noise"](a), 0, "PublicTest"),
        (cut(b), EXCLUDED, "PublicTest"),
        (CHANGES["mirrored"](b), 1, "PublicTest"),
        (cut(c), 0, "Training"),
        (cut(c), 0, "PublicTest"),
        (cut(d), 1, "Training"),
    ]
    samples = made(*map(list, zip(*rows, strict=True)))
    assert audit(samples).near_duplicates is None
    result = audit(samples, near_pairs(samples.images))
    near = result.near_duplicates
    assert near is not None
    assert (near.pairs, near.mirrored_pairs, near.groups, near.rows) == (4, 1, 2, 6)
    assert near.groups_within == {"Training": 1, "PublicTest": 1}
    assert near.groups_across == {"Training+PublicTest": 1}
    assert near.rows_leaking == {"Training": 3, "PublicTest": 1}
    assert near.groups_disagreeing == 1
    assert result.duplicates.groups_across == {"Training+PublicTest": 1}  # c, an exact one
    lines = "\n".join(audit_lines(result))
    assert "LEAK: 1 samples of PublicTest have a near duplicate in another split" in lines


def test_the_audit_names_what_is_missing() -> None:
    """A split without a class, or without any answer, is said to be so."""
    samples = made([cut(scene(i)) for i in range(3)], [0, 1, 0], ["Training"] * 2 + ["Test"])
    assert "no sample of happiness in Test" in audit_lines(audit(samples))
    unlabelled = replace(samples, class_ids=np.array([0, 1, EXCLUDED]))
    assert "no sample with an answer in Test" in audit_lines(audit(unlabelled))
