"""How steady a label is on a still face, and how soon it follows a true change.

    python benchmarks/steadiness.py [--minutes 2] [--json F]

Still: the demo's still picture, with a sensor's noise made anew for every frame (Gaussian, standard
deviation 2 to 16 grey levels, then clipped), through mesher, classifier and smoother as they run on
a device. Counted are label changes a minute after the first label, by the raw scores (each frame's
highest) and by the steady state.

Change: the demo whose face is surprised now and then (``demo:moods``), through the same stages at
four frame rates, each time at other moments between two frames. Measured is the time from when the
expression is half there to the frame of the new label; a change that is not seen before the next
one, or before the face leaves, is counted as missed.
"""

import argparse
import json
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

from edge.system.diagnostics import quieten_libraries

quieten_libraries()  # as `edgeemo` does

import numpy as np

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import Config, MesherConfig
from edge.records import Frame
from edge.runtime.build import open_model, open_pipeline
from edge.sources.demo.choreography import SOLO, SURPRISES
from edge.sources.demo.source import EPOCH, DemoSource

NOISES = (2, 4, 8, 16)
FPS = 25.0
RATES = (5.0, 10.0, 15.0, 30.0)
OUT_OF_STEP = 0.987
"""Rates are a little lower, so that changes fall anywhere between two frames."""
LEAVING_S = 6.5
"""The change at this time of a loop comes while the face is about to leave the picture."""


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


def delay(fps: float, minutes: float) -> dict[str, float]:
    """Return the seconds until the label follows a change: the median and the longest."""
    config = Config(mesher=MesherConfig(max_faces=1))
    pipeline = open_pipeline(config, open_model(config.model))
    source = DemoSource(round(minutes * 60 * fps), fps * OUT_OF_STEP, moods=True)
    labels: list[tuple[float, str]] = []
    while (frame := source.read()) is not None:
        labels += [(frame.t_s, face.state.label) for face in pipeline.process(frame).faces]
    pipeline.close()
    waits, missed = [], 0
    for changed_s, until_s, label in true_changes(labels[-1][0]):
        seen = [t_s for t_s, name in labels if changed_s <= t_s < until_s and name == label]
        waits += [seen[0] - changed_s] if seen else []
        missed += not seen
    return {
        "fps": fps,
        "median": float(np.median(waits)),
        "longest": max(waits),
        "n": len(waits),
        "missed": missed,
    }


def true_changes(end_s: float) -> Iterator[tuple[float, float, str]]:
    """Yield when the face becomes surprised or smiles again, the next change, and the new label.

    Left out is the change at ``LEAVING_S``.
    """
    loop_s = SOLO[-1].t_s
    within = [
        pair
        for start_s, stop_s in SURPRISES
        for pair in ((start_s, "surprise"), (stop_s, "happiness"))
    ]
    changes = [
        (loop * loop_s + t_s, label)
        for loop in range(round(end_s // loop_s))
        for t_s, label in within
    ]
    for (changed_s, label), (until_s, _) in pairwise(changes):
        if changed_s % loop_s != LEAVING_S:
            yield changed_s, until_s, label


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
    delays = [delay(fps, options.minutes) for fps in RATES]
    print("\n| frames/s | delay, median s | longest s | changes | missed |\n|---|---|---|---|---|")
    for row in delays:
        print(
            f"| {row['fps']:g} | {row['median']:.2f} | {row['longest']:.2f} | {row['n']} | "
            f"{row['missed']} |"
        )
    if options.json:
        options.json.write_text(json.dumps({"still": stills, "delay": delays}, indent=1))


if __name__ == "__main__":
    main()
