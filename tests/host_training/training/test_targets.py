"""What rows are trained towards: their labels, and what people's votes make likely."""

from dataclasses import replace

import numpy as np
import pytest

from edge.errors import ConfigError
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.training.targets import likely_labels, with_targets

HAPPY = [0, 10, 0, 0, 0, 0, 0, 0, 0, 0]
TORN = [5, 0, 0, 5, 0, 0, 0, 0, 0, 0]
NOBODY = [0] * 10


def labelled(counts: dict[tuple[int, ...], list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return votes and one-hot labels: for each vote, how many rows have each label."""
    votes = [vote for vote, numbers in counts.items() for _ in range(sum(numbers))]
    labels = [i for numbers in counts.values() for i, n in enumerate(numbers) for _ in range(n)]
    return np.array(votes), np.eye(4, dtype=np.float32)[labels]


def test_votes_tell_which_labels_are_likely() -> None:
    """Rows voted alike get the shares that their labels have; a label that nobody gave gets 0."""
    votes, targets = labelled(
        {
            tuple(HAPPY): [30, 270, 0, 0],
            tuple(TORN): [120, 0, 0, 180],
            tuple(NOBODY): [20, 0, 0, 20],
        }
    )
    likely = likely_labels(votes, targets)
    assert likely.dtype == np.float32
    np.testing.assert_allclose(likely.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(likely[0], [0.1, 0.9, 0, 0], atol=0.02)
    np.testing.assert_allclose(likely[300], [0.4, 0, 0, 0.6], atol=0.02)
    np.testing.assert_allclose(likely[-1], [0.5, 0, 0, 0.5], atol=0.05)
    assert not likely[:, 2].any()


def test_a_share_of_the_target_is_what_is_likely(striped: Samples) -> None:
    """The rest is the label; a picture's own label stays the first of the two."""
    votes = np.zeros((64, 10), np.int64)
    votes[np.arange(64), striped.class_ids] = 10
    votes[:4] = TORN
    rows = replace(striped, votes=votes)
    config = TrainConfig(targets="privileged", votes_weight=0.25)
    targets = with_targets(rows, config).targets
    expected = 0.75 * rows.targets + 0.25 * likely_labels(votes, rows.targets)
    np.testing.assert_allclose(targets, expected, atol=1e-6)
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=1e-5)
    assert (targets.argmax(axis=1) == rows.class_ids).all()
    assert targets[0].max() < targets[8].max()


def test_without_votes_there_is_nothing_to_go_by(striped: Samples) -> None:
    """It is said what is missing."""
    with pytest.raises(ConfigError, match=r"targets=privileged.*--labels fer2013new\.csv"):
        with_targets(striped, TrainConfig(targets="privileged"))
