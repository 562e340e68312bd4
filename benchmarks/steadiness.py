"""How steady a label is on a still face, and how soon it follows a true change.

    python benchmarks/steadiness.py [--minutes 2] [--json F]

Still: the demo's still picture, with a sensor's noise made anew for every frame (Gaussian, standard
deviation 2 to 16 grey levels, then clipped), through mesher, classifier and smoother as they run on
a device. Counted are label changes a minute after the first label, by the raw scores (each frame's
highest) and by the steady state.

Change: the packaged model sees one expression in the demo only, so true changes are made of its
scores: a second of happiness, then neutral, with the scatter that the noisy still shows. Measured
is the time from the frame of the change to the frame of the new label, by frame rate.
"""

import argparse
import json
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from edge.diagnostics import quieten_libraries

quieten_libraries()  # as `edgeemo` does

import numpy as np

from edge.assets import FACE_LANDMARKER, asset_path
from edge.build import open_model, open_pipeline
from edge.config import Config, MesherConfig, SmoothingConfig
from edge.records import EmotionEstimate, Frame
from edge.sources.demo import EPOCH, DemoSource
from edge.stages.smooth import EmotionSmoother

NOISES = (2, 4, 8, 16)
FPS = 25.0
RATES = (5.0, 10.0, 15.0, 30.0)
TRIALS = 200


def still(noise: float, minutes: float) -> dict[str, float]:
    """Run the noisy still and count label changes."""
    config = Config(mesher=MesherConfig(max_faces=1))
    pipeline = open_pipeline(config, open_model(config.model))
    picture = DemoSource(frames=1).render(0).astype(np.int16)
    rng = np.random.default_rng(int(noise))
    raw: list[str] = []
    steady: list[str] = []
    leading: list[float] = []
    for index in range(round(minutes * 60 * FPS)):
        grain = rng.normal(0, noise, picture.shape).astype(np.int16)
        image = np.clip(picture + grain, 0, 255).astype(np.uint8)
        at = EPOCH + timedelta(seconds=index / FPS)
        for face in pipeline.process(Frame(image, index, index / FPS, at)).faces:
            if face.estimate is not None:
                raw.append(face.estimate.labels[int(face.estimate.scores.argmax())])
                leading.append(float(face.estimate.scores.max()))
            steady.append(face.state.label)
    pipeline.close()
    return {
        "noise": noise,
        "frames": len(steady),
        "raw": changes(raw) / minutes,
        "steady": changes(steady) / minutes,
        "confidence": float(np.mean(leading)),
        "scatter": float(np.std(leading)),
    }


def changes(labels: list[str]) -> int:
    """Return how often a label differs from the one before."""
    return sum(one != other for one, other in pairwise(labels))


def delay(fps: float, confidence: float, scatter: float) -> dict[str, float]:
    """Return the seconds until the label follows a change: the median and the longest."""
    smoothing, waits = SmoothingConfig(), []
    rng = np.random.default_rng(int(fps))
    for _ in range(TRIALS):
        smoother = EmotionSmoother(
            smoothing.half_life_s, smoothing.dwell_s, smoothing.margin, smoothing.min_confidence
        )
        changed_s = 1.0 + rng.uniform(0, 1 / fps)  # anywhere between two frames
        for index in range(round(6 * fps)):
            t_s = index / fps
            leader = float(np.clip(rng.normal(confidence, scatter), 0.5, 1))
            scores = (leader, 1 - leader) if t_s < changed_s else (1 - leader, leader)
            estimate = EmotionEstimate(("happiness", "neutral"), np.array(scores, np.float32))
            if smoother.update(1, estimate, t_s).label == "neutral":
                waits.append(t_s - changed_s)
                break
    return {"fps": fps, "median": float(np.median(waits)), "longest": max(waits), "n": len(waits)}


def main() -> None:
    """Measure and print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="of film for each noise")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    asset_path(FACE_LANDMARKER)
    stills = [still(noise, options.minutes) for noise in NOISES]
    print(
        "| noise, grey levels | frames | raw changes a minute | label changes a minute | ", end=""
    )
    print("confidence | its scatter |\n|---|---|---|---|---|---|")
    for row in stills:
        print(
            f"| {row['noise']} | {row['frames']:,} | {row['raw']:.1f} | {row['steady']:.1f} | "
            f"{row['confidence']:.3f} | {row['scatter']:.3f} |"
        )
    delays = [delay(fps, stills[1]["confidence"], stills[1]["scatter"]) for fps in RATES]
    print("\n| frames/s | delay, median s | longest s | changes |\n|---|---|---|---|")
    for row in delays:
        print(f"| {row['fps']:g} | {row['median']:.2f} | {row['longest']:.2f} | {row['n']} |")
    if options.json:
        options.json.write_text(json.dumps({"still": stills, "delay": delays}, indent=1))


if __name__ == "__main__":
    main()
