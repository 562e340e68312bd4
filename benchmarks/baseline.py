"""What `smoothing.baseline = "track"` gains and harms, on CK+48.

::

    PYTHONPATH=. python benchmarks/baseline.py BUNDLE --ck CK+48

Each person of CK+48 is one track, a picture a second; the set has no neutral face. Three figures:

- within: each picture without its person's lean, which is how the log scores of the person's other
  sequences differ from those of the same labels in other people. It takes the labels, and says what
  a track's baseline could gain at best.
- across: the same with the lean of another person.
- track: what the baseline makes of tracks in which nobody is ever neutral, the worst case.
"""

import argparse
from pathlib import Path

import numpy as np

from benchmarks.calibrate import ck_pictures
from edge.calibration.judge import interval_by_person
from edge.calibration.samples import Labelled
from edge.contract.bundle import open_bundle
from edge.contract.decision import leading
from edge.contract.rehearsal import read_rehearsal
from edge.inference.emotion_model import open_emotion_model
from edge.records import EmotionEstimate
from edge.stages.baseline import TrackBaseline

SEED = 0
PERSONAL = 0.5
"""How much of a lean is taken off, as the track's baseline does after five seconds."""


def main() -> None:
    """Print accuracy before and after, with intervals by the bootstrap over people."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--ck", type=Path, required=True, help="the CK+48 folder")
    options = parser.parse_args()
    bundle = open_bundle(options.bundle)
    own = ck_pictures(options.ck, bundle, open_emotion_model(bundle))
    general = bundle.metadata.decision.packaged.scores(read_rehearsal(bundle).logits)
    report(own, general, bundle.metadata.labels)


def report(own: Labelled, general: np.ndarray, labels: tuple[str, ...]) -> None:
    """Print the table."""
    others = np.random.default_rng(SEED).permutation(own.persons)
    stranger = dict(zip(own.persons, others, strict=True))
    print(f"as packaged: {100 * own.accuracy:.1f}")
    for name, answers in (
        ("within", without_lean(own, lambda person: person)),
        ("across", without_lean(own, stranger.get)),
        ("track", tracked(own, general, labels)),
    ):
        gain = (answers == own.answers).astype(float) - own.is_right
        low, high = (100 * bound for bound in interval_by_person(gain, own.people))
        after = 100 * (own.accuracy + gain.mean())
        print(f"{name}: {after:.1f} ({100 * gain.mean():+.1f}, 95 % {low:+.1f} to {high:+.1f})")


def without_lean(own: Labelled, whose: object) -> np.ndarray:
    """Return the answers once somebody's lean is taken off, from pictures of other labels."""
    logs = own.logs
    answers = np.empty(len(own), np.int64)
    for i, (person, label) in enumerate(zip(own.people, own.answers, strict=True)):
        donor = (own.people == whose(person)) & (own.answers != label)
        lean = np.zeros(logs.shape[1])
        if donor.any():
            lean = np.mean(
                [
                    logs[j]
                    - logs[(own.answers == own.answers[j]) & (own.people != own.people[j])].mean(0)
                    for j in np.flatnonzero(donor)
                ],
                axis=0,
            )
        answers[i] = leading(logs[i] - PERSONAL * lean)
    return answers


def tracked(own: Labelled, general: np.ndarray, labels: tuple[str, ...]) -> np.ndarray:
    """Return the answers where each person is a track, a picture a second."""
    baseline = TrackBaseline(general, labels.index("neutral"))
    answers = np.empty(len(own), np.int64)
    for number, person in enumerate(own.persons):
        for second, i in enumerate(np.flatnonzero(own.people == person)):
            estimate = EmotionEstimate(labels, own.scores[i].astype(np.float32))
            answers[i] = leading(baseline.corrected(number, estimate, float(second)).scores)
    return answers


if __name__ == "__main__":
    main()
