"""Where eyes and mouth lie in FER2013's pictures: the source of the ``fer48-v1`` template.

    python benchmarks/fer2013_framing.py fer2013.csv.gz [--every 7]

Takes every n-th Training row, adds 12 px of replicated border, enlarges to 256 px, finds the mesh,
and prints the quartiles of the anchors in the 48-pixel picture's continuous coordinates.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.contract.align import FER48, face_anchors
from edge.records import Frame
from edge.stages.mesh.mediapipe import MediaPipeMesher
from host_training.data.load import load_samples

BORDER = 12
SIDE = 256


def enlarged(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a 48-pixel grey picture with its border as a 256-pixel BGR one."""
    padded = cv2.copyMakeBorder(picture, *[BORDER] * 4, cv2.BORDER_REPLICATE)
    large = cv2.resize(padded, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.cvtColor(large, cv2.COLOR_GRAY2BGR), np.uint8)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=7)
    options = parser.parse_args()

    rows = load_samples(options.data).split_rows("Training").images[:: options.every]
    config = MesherConfig(max_faces=1, min_detection=0.2, min_presence=0.2)
    mesher = MediaPipeMesher(asset_path(FACE_LANDMARKER), config)
    scale = (rows.shape[1] + 2 * BORDER) / SIDE
    now = datetime.now(UTC)
    anchors = []
    for i, picture in enumerate(rows):
        faces = mesher.detect(Frame(enlarged(picture), i, float(i), now, starts_new_clip=True))
        anchors += [face_anchors(face.points) * scale - BORDER for face in faces]
    mesher.close()

    print(f"{len(anchors)} faces found in {len(rows)} rows; quartiles of (x, y) in pixels:")
    quartiles = np.percentile(np.array(anchors), (25, 50, 75), axis=0)
    for i, name in enumerate(("right eye", "left eye", "mouth")):
        values = "  ".join(f"({x:5.2f}, {y:5.2f})" for x, y in quartiles[:, i])
        print(f"{name:10} {values}   template {tuple(FER48.anchors()[i])}")


if __name__ == "__main__":
    main()
