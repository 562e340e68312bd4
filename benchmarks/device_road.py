"""What the device's own crops cost: the same rows as they are, and through mesh and alignment.

    python benchmarks/device_road.py fer2013.csv.gz fer2013new.csv [--model BUNDLE] [--every 1]

Each PublicTest row of the FER+ majority protocol is read by the bundle's int8 model twice: the raw
48-pixel row (what `edgeemo evaluate` measures), and the crop that `edgeemo run` would cut from it
as a still picture: mesher, anchors, similarity, warp. Both on the same rows, those in which a face
is found. The second one resamples a 48-pixel picture twice, which a camera's face does not suffer.
"""

import argparse
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np

from edge.assets import FACE_LANDMARKER, asset_path
from edge.build import DEFAULT_BUNDLE
from edge.config import MesherConfig
from edge.contract.align import aligned_crop
from edge.contract.bundle import open_bundle
from edge.emotion_model import open_emotion_model
from edge.records import Frame
from edge.stages.mesh.mediapipe import MediaPipeMesher
from host_training.data.load import load_samples


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--model", type=Path, default=DEFAULT_BUNDLE)
    parser.add_argument("--every", type=int, default=1)
    options = parser.parse_args()

    samples = load_samples(options.data, options.labels, "majority").split_rows("PublicTest")
    samples = samples.where(samples.measurable)
    bundle = open_bundle(options.model)
    model = open_emotion_model(bundle)
    mesher = MediaPipeMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1))
    now = datetime.now(UTC)
    rows = range(0, len(samples), options.every)
    hits = []
    for i in rows:
        picture = samples.images[i]
        frame = Frame(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), i, float(i), now, cut=True)
        faces = mesher.detect(frame)
        if faces:
            crop = aligned_crop(picture, faces[0].points, bundle.metadata.template)
            answers = [int(model.raw(x).argmax()) == samples.hard[i] for x in (picture, crop)]
            hits.append(answers)
    mesher.close()

    raw, aligned = np.mean(hits, axis=0)
    print(f"PublicTest, FER+ majority, {bundle.metadata.name}: {len(rows)} rows")
    print(f"face found     {len(hits) / len(rows):7.2%}")
    print(f"raw rows       {raw:7.2%}  (on the faces found)")
    print(f"aligned crops  {aligned:7.2%}  (on the faces found)")


if __name__ == "__main__":
    main()
