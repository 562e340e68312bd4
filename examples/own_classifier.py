"""A classifier of your own behind edgeemo's protocol: is the mouth open? From the mesh alone.

python examples/own_classifier.py photo.jpg
"""

import sys

import numpy as np
from numpy.typing import NDArray

import edgeemo
from edge.contract.align import FER48, Template
from edge.records import EmotionEstimate, Face

UPPER_LIP, LOWER_LIP, MOUTH_LEFT, MOUTH_RIGHT = 13, 14, 61, 291
"""Points of MediaPipe's mesh."""


class MouthClassifier:
    """Gap between the lips over the width of the mouth, as two scores."""

    template: Template = FER48
    labels = ("closed", "open")

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:
        """Return the scores of one face; the crop is not needed here."""
        gap = np.linalg.norm(face.points[UPPER_LIP] - face.points[LOWER_LIP])
        width = np.linalg.norm(face.points[MOUTH_LEFT] - face.points[MOUTH_RIGHT])
        share = float(np.clip(gap / width / 0.3, 0, 1))
        return EmotionEstimate(self.labels, np.array([1 - share, share], np.float32))

    def close(self) -> None:
        """Do nothing: there is no model to release."""


def main(photo: str) -> None:
    with edgeemo.Analyzer(MouthClassifier()) as analyzer:
        for face in analyzer.image(photo):
            print(f"mouth {face.label}: {face.scores['open']:.0%} open")


if __name__ == "__main__":
    main(*sys.argv[1:])
