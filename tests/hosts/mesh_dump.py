"""Mesh the demo's first frames and save the points: run on two machines, compare the files.

python mesh_dump.py OUT.npz [FRAMES]            mesh and save
python mesh_dump.py --compare A.npz B.npz LIMIT exit 1 past LIMIT pixels
"""

import sys

import numpy as np


def dump(path: str, frames: int) -> None:
    """Save float32 ``(frames, 478, 3)`` points, in pixels, and the int8 model's scores."""
    from edge.config import Config, ModelConfig, TrackerConfig
    from edge.runtime.build import open_model, open_pipeline
    from edge.sources.demo.source import DemoSource

    config = Config(tracker=TrackerConfig(confirm_hits=1))
    pipeline = open_pipeline(config, open_model(ModelConfig()))
    demo = DemoSource(frames)
    results = []
    while (frame := demo.read()) is not None:
        results.append(pipeline.process(frame).faces[0])
    pipeline.close()
    np.savez(
        path,
        points=[face.track.face.points for face in results],
        scores=[face.estimate.scores for face in results],
    )


def compare(first: str, second: str, limit_px: float) -> None:
    """Print how far two dumps are apart."""
    with np.load(first) as a, np.load(second) as b:
        points = float(np.abs(a["points"] - b["points"]).max())
        scores = float(np.abs(a["scores"] - b["scores"]).max())
        same = bool((a["scores"].argmax(axis=1) == b["scores"].argmax(axis=1)).all())
    print(f"largest difference: points {points:.5f} px, scores {scores:.5f}; same labels: {same}")
    if not (points <= limit_px and same):
        sys.exit(f"more than {limit_px} px apart, or other labels")


if __name__ == "__main__":
    if sys.argv[1] == "--compare":
        compare(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        dump(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5)
