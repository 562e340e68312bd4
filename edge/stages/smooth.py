"""From jumping scores to a label that people can read."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.contract.labels import UNCERTAIN
from edge.records import EmotionEstimate, EmotionState


@dataclass(slots=True, eq=False)
class _Memory:
    scores: NDArray[np.float64]
    t_s: float
    label: str
    since_s: float
    rival: str
    rival_since_s: float


class EmotionSmoother:
    """Smooths every track's scores in time and keeps its label until another one truly leads.

    Scores decay exponentially with a half-life in seconds, so the behaviour does not depend on the
    frame rate. A label gives way only to one that leads by ``margin`` for ``dwell_s`` (a Schmitt
    trigger with a delay). Below ``min_confidence`` the label is ``uncertain``.
    """

    def __init__(
        self, half_life_s: float, dwell_s: float, margin: float, min_confidence: float
    ) -> None:
        self._half_life_s = half_life_s
        self._dwell_s = dwell_s
        self._margin = margin
        self._min_confidence = min_confidence
        self._memories: dict[int, _Memory] = {}

    def update(self, track_id: int, estimate: EmotionEstimate, t_s: float) -> EmotionState:
        """Take a track's next estimate at its frame's time and return its steady state."""
        memory = self._memories.get(track_id)
        if memory is None:
            memory = self._remember(track_id, estimate, t_s)
            changed = True
        else:
            self._blend(memory, estimate.scores, t_s)
            changed = self._settle(memory, estimate.labels, t_s)
        return EmotionState(
            labels=estimate.labels,
            scores=memory.scores.astype(np.float32),
            label=memory.label,
            confidence=float(memory.scores.max()),
            changed=changed,
            since_s=memory.since_s,
        )

    def forget(self, track_id: int) -> None:
        """Drop a track that has ended."""
        self._memories.pop(track_id, None)

    def _remember(self, track_id: int, estimate: EmotionEstimate, t_s: float) -> _Memory:
        scores = estimate.scores.astype(np.float64)
        leader = estimate.labels[int(scores.argmax())]
        label = leader if scores.max() >= self._min_confidence else UNCERTAIN
        memory = _Memory(scores, t_s, label, t_s, label, t_s)
        self._memories[track_id] = memory
        return memory

    def _blend(self, memory: _Memory, scores: NDArray[np.float32], t_s: float) -> None:
        elapsed = t_s - memory.t_s
        keep = 0.5 ** (elapsed / self._half_life_s) if self._half_life_s > 0 else 0.0
        memory.scores = keep * memory.scores + (1 - keep) * scores
        memory.t_s = t_s

    def _settle(self, memory: _Memory, labels: tuple[str, ...], t_s: float) -> bool:
        """Let a rival take over when it has led for long enough; tell whether it did."""
        rival = self._rival(memory, labels)
        if rival != memory.rival:
            memory.rival, memory.rival_since_s = rival, t_s
        if rival == memory.label or t_s - memory.rival_since_s < self._dwell_s:
            return False
        memory.label, memory.since_s = rival, t_s
        return True

    def _rival(self, memory: _Memory, labels: tuple[str, ...]) -> str:
        """Return the label that the scores speak for, with hysteresis around the present one."""
        leader, confidence = labels[int(memory.scores.argmax())], float(memory.scores.max())
        if memory.label == UNCERTAIN:
            return leader if confidence >= self._min_confidence + self._margin else UNCERTAIN
        if confidence < self._min_confidence:
            return UNCERTAIN
        present = float(memory.scores[labels.index(memory.label)])
        return leader if confidence - present >= self._margin else memory.label
