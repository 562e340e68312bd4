"""From where on a face is too small, too dark or too turned: the classifier's accuracy by each.

    python benchmarks/fit_faces.py fer2013.csv.gz fer2013new.csv [--model BUNDLE] [--every 1]

PublicTest rows of the FER+ majority protocol, which are pictures about as wide as the face's crop:
made smaller and enlarged again as the alignment would; made darker, with the noise of a sensor (3
grey levels) that does not get less; and, as they are, by the angles that the mesher tells. The
figures stand in docs/tracking.md and say where the defaults of ``[quality]`` come from.
"""

import argparse
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.contract.bundle import PACKAGED, open_bundle
from edge.inference.emotion_model import open_emotion_model
from edge.records import Frame
from edge.stages.mesh.litert import LitertMesher
from host_training.data.load import load_samples

FACE_SHARE = 0.86
"""Width of the mesh's box in the aligned crop of a frontal face, as a share of the crop's."""
Picture = NDArray[np.uint8]


def smaller(side: int) -> Callable[[Picture], Picture]:
    """Return what a crop loses when it is cut from a picture with ``side`` pixels across."""

    def shrink(picture: Picture) -> Picture:
        small = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, picture.shape[::-1], interpolation=cv2.INTER_LINEAR))

    return shrink


def darker(brightness: float, rng: np.random.Generator) -> Callable[[Picture], Picture]:
    """Return the picture with a mean of so many grey levels, and a sensor's noise."""

    def dim(picture: Picture) -> Picture:
        dark = picture * (brightness / max(float(picture.mean()), 1.0))
        return np.clip(np.rint(dark + rng.normal(0, 3, picture.shape)), 0, 255).astype(np.uint8)

    return dim


def poses(pictures: Sequence[Picture]) -> list[tuple[float, float] | None]:
    """Return the size of yaw and pitch of each picture's face, in degrees; None without one."""
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1))
    now, found = datetime.now(UTC), []
    for i, picture in enumerate(pictures):
        frame = Frame(
            cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), i, float(i), now, starts_new_clip=True
        )
        faces = mesher.detect(frame)
        pose = faces[0].head_pose if faces else None
        found.append((abs(pose.yaw_deg), abs(pose.pitch_deg)) if pose else None)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--model", type=Path, default=PACKAGED)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()

    samples = load_samples(options.data, options.labels, "majority").split_rows("PublicTest")
    samples = samples.where(samples.measurable)
    model = open_emotion_model(open_bundle(options.model))
    pictures = samples.images[:: options.every]
    truth = samples.class_ids[:: options.every]

    def right(change: Callable[[Picture], Picture] | None = None) -> NDArray[np.bool_]:
        changed = pictures if change is None else map(change, pictures)
        return np.array([int(model.raw(p).argmax()) for p in changed]) == truth

    plain = right()
    print(f"{len(pictures)} rows as they are: {plain.mean():.1%}")
    for side in (48, 36, 30, 24, 20, 16, 12, 10, 8):
        print(f"face {FACE_SHARE * side:4.0f} px wide: {right(smaller(side)).mean():.1%}")
    rng = np.random.default_rng(0)
    for brightness in (120, 60, 40, 30, 20, 15, 10, 5):
        print(f"mean grey level {brightness:3d}: {right(darker(brightness, rng)).mean():.1%}")
    angles = poses(pictures)
    for name, which in (("yaw", 0), ("pitch", 1)):
        values = np.array([np.nan if a is None else a[which] for a in angles])
        for low, high in ((0, 15), (15, 30), (30, 40), (40, 50), (50, 60), (60, 90)):
            inside = (values >= low) & (values < high)
            share = f"{plain[inside].mean():.1%}" if inside.any() else "-"
            print(f"{name} {low:2d} to {high} degrees: {share} of {inside.sum()}")


if __name__ == "__main__":
    main()
