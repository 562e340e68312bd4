"""From where on a face is too blurred or too dark to be classified, by a model's own accuracy.

    python benchmarks/fit_quality.py fer2013.csv.gz fer2013new.csv [--model BUNDLE] [--every 8]
        [--level 0.6] [--prepared DIR] [--other CK+48 --other-prepared DIR] [--film face.mp4]

PublicTest samples of the FER+ majority protocol, clean and at five severities of each kind of
``host_training.data.corruptions``. The threshold of a measure is the value below which accuracy, as
a rising function of the measure (isotonic regression), is less than ``--level``: 60 % is half-way
between what these samples give when clean (87 %) and the share of the commonest emotion among them
(35 %), below which an answer says nothing. Sharpness is fitted on clean and defocused samples,
contrast to noise on clean and dark ones; the other kinds are only reported. So are other data and a
film, which say what the thresholds cost where nothing is wrong; nothing is fitted on them.

Run it again with a new model, and copy the two lines that it prints first into ``QualityConfig``
and the example configuration.
"""

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig, QualityConfig
from edge.contract.align import FER48, aligned_crop
from edge.contract.bundle import PACKAGED, open_bundle
from edge.contract.decision import leading
from edge.inference.emotion_model import open_emotion_model
from edge.records import Frame
from edge.stages.mesh.litert import LitertMesher
from edge.stages.quality import contrast_to_noise, sharpness
from host_training.data.corruptions import KINDS, SEVERITIES, corrupted
from host_training.data.load import load_samples
from host_training.data.prepared import with_prepared
from host_training.data.samples import Samples

Crop = NDArray[np.uint8]
Measure = Callable[[Crop], float]
MEASURES: dict[str, tuple[Measure, str]] = {
    "min_contrast_to_noise": (contrast_to_noise, "low_light"),
    "min_sharpness": (sharpness, "defocus"),
}
"""For each key of ``[quality]``, what is measured and the kind that its threshold is fitted on."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Crops' measures by key, and whether the model is right about each."""

    measures: dict[str, NDArray[np.float64]]
    right: NDArray[np.bool_]

    def refused(self, limits: dict[str, float]) -> NDArray[np.bool_]:
        """Return which crops a gate with these limits does not let through."""
        return np.logical_or.reduce([self.measures[key] < limit for key, limit in limits.items()])


def measured(crops: Sequence[Crop]) -> dict[str, NDArray[np.float64]]:
    """Return each measure of each crop."""
    return {key: np.array([of(crop) for crop in crops]) for key, (of, _) in MEASURES.items()}


def threshold(values: NDArray[np.float64], right: NDArray[np.bool_], level: float) -> float:
    """Return the value below which accuracy is under ``level``; 0 where it never is."""
    values = np.minimum(values, 1e6)  # a crop without noise has infinitely little
    rising = IsotonicRegression().fit_transform(values, right.astype(float))
    return float(values[rising < level].max(initial=0.0))


def clean_loss(name: str, crops: Sequence[Crop], limits: dict[str, float]) -> None:
    """Print what share of the crops is refused, by each measure."""
    measures = measured(crops)
    shares = ", ".join(
        f"{key} {(measures[key] < limit).mean():.2%}" for key, limit in limits.items()
    )
    print(f"refused of {len(crops)} {name}: {shares}", flush=True)


def film_crops(path: Path) -> Iterator[Crop]:
    """Yield the aligned crops of a film's faces."""
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig())
    capture, now, index = cv2.VideoCapture(str(path)), datetime.now(UTC), 0
    while True:
        readable, image = capture.read()
        if not readable:
            return
        for face in mesher.detect(Frame(image, index, index / 25, now)):
            yield aligned_crop(image, face.points, FER48)
        index += 1


def microseconds(crop: Crop, times: int = 2000) -> dict[str, float]:
    """Return the CPU time of each measure of a crop."""
    spent = {}
    for key, (of, _) in MEASURES.items():
        before = time.process_time()
        for _ in range(times):
            of(crop)
        spent[key] = 1e6 * (time.process_time() - before) / times
    return spent


def public_test(options: argparse.Namespace) -> Samples:
    """Return PublicTest's measurable samples, with aligned crops where they are prepared."""
    samples = load_samples(options.data, options.labels, "majority")
    if options.prepared:
        samples = with_prepared(samples, options.prepared, crops="both")
    samples = samples.split_rows("PublicTest")
    return samples.where(samples.measurable)


def what_it_costs(options: argparse.Namespace, samples: Samples, limits: dict[str, float]) -> None:
    """Print what share is refused of pictures that nothing is wrong with."""
    clean_loss("raw PublicTest pictures", samples.images, limits)
    if samples.aligned is not None:
        clean_loss("aligned PublicTest crops", samples.aligned, limits)
    if options.other:
        other = load_samples(options.other)
        if options.other_prepared:
            other = with_prepared(other, options.other_prepared, crops="aligned")
        clean_loss(f"pictures of {options.other.name}", other.images, limits)
    if options.film:
        clean_loss(f"faces of {options.film.name}", list(film_crops(options.film)), limits)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--model", type=Path, default=PACKAGED)
    parser.add_argument("--every", type=int, default=8, help="take every n-th sample")
    parser.add_argument("--level", type=float, default=0.6, help="the accuracy that is asked for")
    parser.add_argument("--prepared", type=Path, help="crops of DATA by `edgeemo data prepare`")
    parser.add_argument("--other", type=Path, help="other data, to be reported only")
    parser.add_argument("--other-prepared", type=Path, help="their crops")
    parser.add_argument("--film", type=Path, help="a film of a face, to be reported only")
    options = parser.parse_args()

    samples, bundle = public_test(options), open_bundle(options.model)
    model, decision = open_emotion_model(bundle), bundle.metadata.decision
    pictures, truth = samples.images[:: options.every], samples.class_ids[:: options.every]

    def judged(crops: Sequence[Crop]) -> Judged:
        scores = np.array([decision.scores(model.logits(crop)) for crop in crops])
        return Judged(measured(crops), leading(scores) == truth)

    clean = judged(pictures)
    bad = {
        (kind, severity): judged([corrupted(picture, kind, severity) for picture in pictures])
        for kind in KINDS
        for severity in SEVERITIES
    }
    limits = {}
    for key, (_, kind) in MEASURES.items():
        fitted = [clean, *(bad[kind, severity] for severity in SEVERITIES)]
        values = np.concatenate([one.measures[key] for one in fitted])
        right = np.concatenate([one.right for one in fitted])
        limits[key] = threshold(values, right, options.level)
        print(f"{key} = {limits[key]:.3g}  # set: {getattr(QualityConfig(), key):g}")
    limits = {key: float(f"{limit:.2g}") for key, limit in limits.items()}
    print(
        f"with {limits}, {len(pictures)} PublicTest samples, {clean.right.mean():.1%} when clean:"
    )
    print("accuracy of all, share refused, accuracy of the rest; by severity")
    for kind in KINDS:
        cells = []
        for severity in SEVERITIES:
            one = bad[kind, severity]
            refused = one.refused(limits)
            rest = f"{one.right[~refused].mean():.0%}" if not refused.all() else "-"
            cells.append(f"{one.right.mean():.0%} {refused.mean():.0%} {rest}")
        print(f"| {kind} | {' | '.join(cells)} |", flush=True)
    what_it_costs(options, samples, limits)
    costs = ", ".join(f"{key} {us:.0f}" for key, us in microseconds(pictures[0]).items())
    print(f"CPU time of a crop, microseconds: {costs}")


if __name__ == "__main__":
    main()
