"""How well ids hold: TrackEval's measures of the tracker on clips whose true boxes are known.

    pip install --no-deps trackeval==1.3.0      # beside scipy, which scikit-learn brings
    python benchmarks/tracking.py [--loops 3] [--mesh-loops 1] [--json F]

The clips are the demo's scenes (one, two and four faces that cross, pass each other, meet and turn
back, leave for half a second) at 5 to 30 frames/s, whole and with frames dropped: one in five at
random, and a hole of 0.3 s in every 4 s. They are tracked twice:

- *boxes*: true boxes of the faces that show at least half, shifted and scaled by noise of 3 % of
  their width, in any order, one in twenty left out: the tracker alone, at a poor detector;
- *mesh*: what the mesher finds in the rendered pictures: the device's road.

All faces are copies of one: nothing but motion, size and tilt tells them apart. A true face counts
where it shows at least half; less of it is neither a miss nor a false alarm. One that was out of
sight for longer than ``max_gap_s`` is another one, as the tracker promises no more. Boxes match
from an overlap of 0.5 on.
"""

import argparse
import contextlib
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig, TrackerConfig
from edge.records import Face, Frame, intersection_over_union
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import make_face
from edge.testing.scenes import WAYS

with contextlib.redirect_stdout(io.StringIO()):  # it remarks on data sets that are not used here
    from trackeval.metrics import CLEAR, HOTA, Identity

LOOP_S = 12.0
"""Seconds after which the demo's scenes repeat."""
SHOWN = 0.5
"""A face of which less can be seen does not count."""
Find = Callable[[Frame, DemoSource], Sequence[Face]]


@dataclass
class Clip:
    """What was there and what was said, frame by frame, in TrackEval's form."""

    gt_ids: list[NDArray[np.int64]] = field(default_factory=list)
    tracker_ids: list[NDArray[np.int64]] = field(default_factory=list)
    similarity_scores: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, truth: dict[int, NDArray], hidden: list[NDArray], said: dict[int, Face]) -> None:
        """Add a frame, without the tracks on faces that do not count."""
        boxes = {track: face.box_xyxy.astype(float) for track, face in said.items()}
        counted = {
            track: box
            for track, box in boxes.items()
            if not best_is_hidden(box, list(truth.values()), hidden)
        }
        self.gt_ids.append(np.array(list(truth), np.int64))
        self.tracker_ids.append(np.array(list(counted), np.int64))
        self.similarity_scores.append(
            np.array(
                [[intersection_over_union(a, b) for b in counted.values()] for a in truth.values()]
            ).reshape(len(truth), len(counted))
        )

    def measures(self) -> dict[str, float]:
        """Return HOTA, IDF1, MOTA (per cent), and counts."""
        gt_ids, gt_count = numbered(self.gt_ids)
        tracker_ids, tracker_count = numbered(self.tracker_ids)
        data = {
            "gt_ids": gt_ids,
            "tracker_ids": tracker_ids,
            "similarity_scores": self.similarity_scores,
            "num_gt_ids": gt_count,
            "num_tracker_ids": tracker_count,
            "num_gt_dets": sum(map(len, gt_ids)),
            "num_tracker_dets": sum(map(len, tracker_ids)),
            "num_timesteps": len(gt_ids),
        }
        with contextlib.redirect_stdout(io.StringIO()):
            clear = CLEAR({"PRINT_CONFIG": False}).eval_sequence(data)
            identity = Identity({"PRINT_CONFIG": False}).eval_sequence(data)
            hota = HOTA().eval_sequence(data)
        return {
            "HOTA": 100 * float(np.mean(hota["HOTA"])),
            "IDF1": 100 * float(identity["IDF1"]),
            "MOTA": 100 * float(clear["MOTA"]),
            "switches": int(clear["IDSW"]),
            "missed": int(clear["CLR_FN"]),
            "false": int(clear["CLR_FP"]),
            "faces": int(data["num_gt_dets"]),
            "ids": gt_count,
            "given": tracker_count,
        }


def numbered(ids: list[NDArray[np.int64]]) -> tuple[list[NDArray[np.int64]], int]:
    """Number ids from 0 without gaps, as TrackEval wants them."""
    known = np.unique(np.concatenate(ids)) if ids else np.empty(0)
    return [np.searchsorted(known, frame) for frame in ids], len(known)


def best_is_hidden(box: NDArray, truth: Sequence[NDArray], hidden: Sequence[NDArray]) -> bool:
    """Tell whether a box lies on a face that does not count rather than on one that does."""
    overlap = max((intersection_over_union(box, other) for other in hidden), default=0.0)
    return overlap >= 0.5 and overlap > max(
        (intersection_over_union(box, other) for other in truth), default=0.0
    )


def kept(frames: int, fps: float, *, drops: bool, rng: np.random.Generator) -> Iterator[int]:
    """Yield the frames that are not dropped."""
    for index in range(frames):
        in_hole = drops and (index / fps) % 4.0 > 3.7
        if not in_hole and not (drops and rng.random() < 0.2):
            yield index


def noisy_boxes(rng: np.random.Generator) -> Find:
    """Return a detector that knows the truth, and tells it badly."""

    def find(frame: Frame, demo: DemoSource) -> Sequence[Face]:
        faces = []
        for face in rng.permutation(len(demo.ways)):
            if demo.exposed_fraction(frame.index, face) < SHOWN or rng.random() < 0.05:
                continue
            box = demo.ground_truth(frame.index, face).astype(float)
            centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
            centre = centre + rng.normal(0, 0.03, 2) * 2 * half[0]
            half = half * np.exp(rng.normal(0, 0.03))
            faces.append(make_face(np.concatenate((centre - half, centre + half))))
        return faces

    return find


def by_mesh(faces: int) -> Find:
    """Return the device's mesher."""
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=max(faces, 4)))
    return lambda frame, _: mesher.detect(frame)


def track(demo: DemoSource, indices: Iterator[int], find: Find, *, render: bool) -> Clip:
    """Track a clip; every true face keeps its id until it is away for longer than is bridged."""
    config = TrackerConfig()
    tracker = FaceTracker(config)
    blank = np.zeros((1, 1, 3), np.uint8)
    clip, visits, seen_s = Clip(), [0] * len(demo.ways), [0.0] * len(demo.ways)
    for index in indices:
        t_s = index / demo.fps
        frame = Frame(demo.render(index) if render else blank, index, t_s, demo.time_of(index))
        tracks, _ = tracker.update(find(frame, demo), t_s)
        truth, hidden = {}, []
        for face in range(len(demo.ways)):
            box = demo.ground_truth(index, face)
            if box is None:
                continue
            if demo.exposed_fraction(index, face) < SHOWN:
                hidden.append(box.astype(float))
                continue
            if t_s - seen_s[face] > config.max_gap_s:
                visits[face] += 1
            seen_s[face] = t_s
            truth[face + len(demo.ways) * visits[face]] = box.astype(float)
        clip.add(truth, hidden, {track.track_id: track.face for track in tracks})
    return clip


def measure(road: str, faces: int, fps: float, *, drops: bool, loops: int) -> dict[str, float]:
    """Track one clip and return its measures."""
    rng = np.random.default_rng(100 * faces + int(fps) + drops)
    frames = round(LOOP_S * fps * loops)
    demo = DemoSource(frames=frames, fps=fps, ways=WAYS[faces])
    find = by_mesh(faces) if road == "mesh" else noisy_boxes(rng)
    indices = kept(frames, fps, drops=drops, rng=rng)
    return track(demo, indices, find, render=road == "mesh").measures()


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, default=3)
    parser.add_argument("--mesh-loops", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    print("| road | faces | frames/s | drops | HOTA | IDF1 | MOTA | id switches |", end="")
    print(" missed | false | true faces | true ids | ids given |")
    print("|" + "---|" * 13)
    for road, loops in (("boxes", options.loops), ("mesh", options.mesh_loops)):
        for faces in (1, 2, 4):
            for fps in (5, 10, 15, 30):
                for drops in (False, True):
                    if loops == 0:
                        continue
                    row = measure(road, faces, fps, drops=drops, loops=loops)
                    rows.append({"road": road, "scene": faces, "fps": fps, "drops": drops} | row)
                    values = [row["HOTA"], row["IDF1"], row["MOTA"]]
                    counts = [
                        int(row[name])
                        for name in ("switches", "missed", "false", "faces", "ids", "given")
                    ]
                    print(f"| {road} | {faces} | {fps} | {'yes' if drops else 'no'} | ", end="")
                    print(
                        " | ".join([f"{v:.1f}" for v in values] + [f"{c:,}" for c in counts]), "|"
                    )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
