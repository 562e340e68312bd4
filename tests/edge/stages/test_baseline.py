"""A track's resting face, taken off its scores."""

from pathlib import Path

import numpy as np
import pytest

from edge.config import Config, SmoothingConfig, load_config
from edge.contract.bundle import open_bundle, write_bundle
from edge.contract.rehearsal import REHEARSAL
from edge.errors import ConfigError
from edge.records import EmotionEstimate
from edge.runtime.build import open_pipeline
from edge.stages.baseline import TrackBaseline
from edge.stages.smooth import EmotionSmoother

LABELS = ("neutral", "happiness", "sadness")
GENERAL = np.array([[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.02, 0.96, 0.02], [0.05, 0.05, 0.9]])
SAD_AT_REST = np.array([0.5, 0.02, 0.48], np.float32)
SMILE = np.array([0.2, 0.45, 0.35], np.float32)
FPS = 10
NOW = SmoothingConfig(half_life_s=0, dwell_s=0, margin=0, min_confidence=0)


def shown(baseline: TrackBaseline, scores: np.ndarray, frames: range, track: int = 1) -> np.ndarray:
    """Return what is left of the same scores, after so many frames of them."""
    for i in frames:
        estimate = baseline.corrected(track, EmotionEstimate(LABELS, scores), i / FPS)
    return estimate.scores


def test_a_face_that_looks_sad_at_rest_is_neutral_after_a_while() -> None:
    """The lean goes, little by little; a smile then counts for more than before."""
    baseline = TrackBaseline(GENERAL, 0)
    first = shown(baseline, SAD_AT_REST, range(1))
    np.testing.assert_allclose(first, SAD_AT_REST, rtol=1e-5)
    soon = shown(baseline, SAD_AT_REST, range(1, 20))
    late = shown(baseline, SAD_AT_REST, range(20, 600))
    assert SAD_AT_REST[2] > soon[2] > late[2]
    assert late[2] < 0.15
    assert late.sum() == pytest.approx(1, abs=1e-6)
    smile = shown(baseline, SMILE, range(600, 601))
    assert smile.argmax() == 1
    assert smile[1] - smile[2] > SMILE[1] - SMILE[2]


def test_a_face_like_all_others_keeps_its_scores() -> None:
    """What is as expected of neutral faces is not changed."""
    baseline = TrackBaseline(GENERAL, 0)
    weights = GENERAL[:, 0]
    usual = np.exp(weights @ np.log(GENERAL) / weights.sum())
    usual = (usual / usual.sum()).astype(np.float32)
    np.testing.assert_allclose(shown(baseline, usual, range(600)), usual, atol=1e-5)


def test_nothing_passes_from_one_track_to_another() -> None:
    """A new track begins without a baseline, under an old number, too."""
    smoother = EmotionSmoother(NOW, TrackBaseline(GENERAL, 0))
    estimate = EmotionEstimate(LABELS, SAD_AT_REST)
    for i in range(600):
        state = smoother.update(1, estimate, i / FPS)
        if i % 100 == 0:
            other = smoother.update(2 + i, estimate, i / FPS)
            np.testing.assert_allclose(other.scores, SAD_AT_REST, rtol=1e-5)
    assert state.scores[2] < 0.15
    smoother.forget(1)
    again = smoother.update(1, estimate, 61.0)
    np.testing.assert_allclose(again.scores, SAD_AT_REST, rtol=1e-5)


def test_a_long_gap_is_no_long_look_at_a_face() -> None:
    """Of a pause one second counts at most."""
    baseline = TrackBaseline(GENERAL, 0)
    shown(baseline, SAD_AT_REST, range(1))
    after = baseline.corrected(1, EmotionEstimate(LABELS, SAD_AT_REST), 3600.0).scores
    assert after[2] > 0.4


def test_it_is_off_unless_configured_and_needs_general_samples(tmp_path: Path) -> None:
    """Default none; a bundle without a rehearsal set is refused in one line."""
    assert Config().smoothing.baseline == "none"
    file = tmp_path / "edgeemo.toml"
    file.write_text('[smoothing]\nbaseline = "track"\n')
    config = load_config(file)
    assert config.smoothing == SmoothingConfig(baseline="track")
    packaged = open_bundle(Path("edge/models/default").resolve())
    open_pipeline(config, packaged).close()
    files = {name: (packaged.path / name).read_bytes() for name in packaged.sha256}
    del files[REHEARSAL]
    without = write_bundle(tmp_path / "without", files)
    with pytest.raises(ConfigError, match=r"smoothing\.baseline track: .*no rehearsal set"):
        open_pipeline(config, without)
