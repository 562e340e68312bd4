"""From jumping scores to a label that people can read."""

from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.config import SmoothingConfig
from edge.contract.decision import leading
from edge.contract.labels import UNCERTAIN
from edge.records import EmotionEstimate, EmotionState

if TYPE_CHECKING:
    from edge.stages.baseline import TrackBaseline

_NO_SCORES: Final = np.empty(0, np.float32)


class _Memory(msgspec.Struct, eq=False):
    """A track's past; ``scores`` is None until it was classified for the first time."""

    scores: NDArray[np.float64] | None
    t_s: float
    label: str
    since_s: float
    rival: str
    rival_since_s: float


class EmotionSmoother:
    """Smooths every track's scores in time and keeps its label until another one truly leads.

    Scores decay exponentially with a half-life in seconds, so the behaviour does not depend on the
    frame rate. A label gives way only to one that leads by ``margin`` for ``dwell_s`` (a Schmitt
    trigger with a delay). Below ``min_confidence`` the label is ``uncertain``. With a ``baseline``
    each track's resting face is taken off its scores first.
    """

    def __init__(
        self,
        config: SmoothingConfig = SmoothingConfig(),  # noqa: B008 - frozen
        baseline: "TrackBaseline | None" = None,
    ) -> None:
        self._config = config
        self._baseline = baseline
        self._memories: dict[int, _Memory] = {}

    def update(self, track_id: int, estimate: EmotionEstimate, t_s: float) -> EmotionState:
        """Take a track's next estimate at its frame's time and return its steady state."""
        if self._baseline is not None:
            estimate = self._baseline.corrected(track_id, estimate, t_s)
        memory = self._memories.get(track_id)
        if memory is None or memory.scores is None:
            scores, changed = self._begin(track_id, estimate, t_s)
        else:
            scores = self._blended(memory, memory.scores, estimate.scores, t_s)
            changed = self._settle(memory, scores, estimate.labels, t_s)
        memory = self._memories[track_id]
        memory.scores, memory.t_s = scores, t_s
        return EmotionState(
            labels=estimate.labels,
            scores=scores.astype(np.float32),
            label=memory.label,
            confidence=_score_of(memory.label, scores, estimate.labels),
            changed=changed,
            since_s=memory.since_s,
        )

    def withhold(self, track_id: int, t_s: float) -> EmotionState:
        """Take note that a track's face cannot be read: it is ``uncertain``, at once.

        The scores so far are kept, and weigh the less the longer this lasts. The label comes back
        like any other, when it has led for the dwell time.
        """
        memory = self._memories.get(track_id)
        changed = memory is None or memory.label != UNCERTAIN
        if memory is None:
            memory = _Memory(None, t_s, UNCERTAIN, t_s, UNCERTAIN, t_s)
            self._memories[track_id] = memory
        elif changed:
            memory.label, memory.since_s = UNCERTAIN, t_s
        memory.rival, memory.rival_since_s = UNCERTAIN, t_s
        return EmotionState((), _NO_SCORES, UNCERTAIN, 0.0, changed, memory.since_s)

    def forget(self, track_id: int) -> None:
        """Drop a track that has ended."""
        self._memories.pop(track_id, None)
        if self._baseline is not None:
            self._baseline.forget(track_id)

    def _begin(
        self, track_id: int, estimate: EmotionEstimate, t_s: float
    ) -> tuple[NDArray[np.float64], bool]:
        """Let the first estimate of a track speak at once; tell whether that is news."""
        scores = estimate.scores.astype(np.float64)
        leader = estimate.labels[int(leading(scores))]
        label = leader if scores.max() >= self._config.min_confidence else UNCERTAIN
        before = self._memories.get(track_id)
        changed = before is None or before.label != label
        since_s = t_s if before is None or changed else before.since_s
        self._memories[track_id] = _Memory(scores, t_s, label, since_s, label, t_s)
        return scores, changed

    def _blended(
        self,
        memory: _Memory,
        past: NDArray[np.float64],
        scores: NDArray[np.float32],
        t_s: float,
    ) -> NDArray[np.float64]:
        elapsed = t_s - memory.t_s
        half_life_s = self._config.half_life_s
        keep = 0.5 ** (elapsed / half_life_s) if half_life_s > 0 else 0.0
        return keep * past + (1 - keep) * scores

    def _settle(
        self, memory: _Memory, scores: NDArray[np.float64], labels: tuple[str, ...], t_s: float
    ) -> bool:
        """Let a rival take over when it has led for long enough; tell whether it did."""
        rival = self._rival(memory.label, scores, labels)
        if rival != memory.rival:
            memory.rival, memory.rival_since_s = rival, t_s
        if rival == memory.label or t_s - memory.rival_since_s < self._config.dwell_s:
            return False
        memory.label, memory.since_s = rival, t_s
        return True

    def _rival(self, present: str, scores: NDArray[np.float64], labels: tuple[str, ...]) -> str:
        """Return the label that the scores speak for, with hysteresis around the present one."""
        config = self._config
        leader, confidence = labels[int(leading(scores))], float(scores.max())
        if present == UNCERTAIN:
            return leader if confidence >= config.min_confidence + config.margin else UNCERTAIN
        if confidence < config.min_confidence:
            return UNCERTAIN
        return leader if confidence - scores[labels.index(present)] >= config.margin else present


def _score_of(label: str, scores: NDArray[np.float64], labels: tuple[str, ...]) -> float:
    """Return the score of the label that is shown, not of one that may only be about to lead."""
    return float(np.float32(scores[labels.index(label)])) if label in labels else 0.0
