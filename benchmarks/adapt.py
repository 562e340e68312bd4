r"""What `edgeemo train --recipe adapt` gains on CK+48 and costs on FER+, beside `calibrate`.

::

    python benchmarks/adapt.py BUNDLE --ck CK+48 --fer fer2013.csv.gz --votes fer2013new.csv \
        --prepared ck-prepared --out adapt-runs --plot docs/own-faces-curve.png

Ten folds disjoint by subject, as benchmarks/calibrate.py divides them. Each fold's runs learn, by
the recipe's own epochs, from the others' aligned crops (`edgeemo data prepare`), all of them and
5, 20 and 100 a label, drawn anew in each fold; with FER+ Training rehearsed and without. Each is
quantised to int8 and answers the held-out people, in crops by the device's pipeline, and
PublicTest, as 48-pixel pictures. `calibrate` is fitted to the same pictures. Whatever is chosen is
chosen inside each fit; intervals are 95 %, by the bootstrap over people.

A run's answers are kept in --out, so that the same command continues after a stop.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.console import Console

from benchmarks.calibrate import ck_files
from converters.convert.int8_predict import int8_probabilities
from edge.calibration.choose import calibrate, folds_by_person
from edge.calibration.judge import MOST_FOLDS, interval_by_person
from edge.calibration.pictures import Pictures
from edge.calibration.samples import Labelled
from edge.contract.bundle import Bundle, open_bundle
from edge.contract.rehearsal import read_rehearsal
from edge.inference.emotion_model import EmotionModel, open_emotion_model
from edgeemo.cli.options import labelled
from host_training.config import TrainConfig, recipe, with_changes
from host_training.data.load import load_samples
from host_training.data.prepared import with_prepared
from host_training.data.samples import VALIDATION, Samples
from host_training.frameworks import import_keras
from host_training.training.distillation import model_file
from host_training.training.progress import ConsoleProgress
from host_training.training.run import Pretrained, train

COUNTS = (5, 20, 100, None)
"""Pictures a label; None for all."""
WAYS = {
    "site": "calibrate --for site",
    "general": "calibrate --for general",
    "alone": "adapt",
    "rehearsed": "adapt --with FER+",
}


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What one fit answers.

    Attributes:
        held: bool ``(m,)``: right on the fold's held-out pictures.
        public: share of PublicTest that it answers right.
    """

    held: np.ndarray
    public: float


@dataclass(frozen=True, eq=False)
class Bench:
    """The data, and where runs go.

    Attributes:
        bundle: that is calibrated, and that runs start from.
        model: its network.
        pictures: CK+48 as a device sees it.
        own: CK+48, aligned crops, in the order of ``pictures``.
        fer: FER+ majority.
        out: the folder of the runs.
        changes: settings that the recipe's are changed by.
        first: so many of the folds are measured.
    """

    bundle: Bundle
    model: EmotionModel
    pictures: Pictures
    own: Samples
    fer: Samples
    out: Path
    changes: dict[str, object]
    first: int

    @cached_property
    def public(self) -> Samples:
        """PublicTest."""
        return self.fer.where(self.fer.measurable & (self.fer.split == VALIDATION))

    @cached_property
    def packaged_public(self) -> Labelled:
        """PublicTest under the packaged decision."""
        logits = np.stack([self.model.logits(image) for image in self.public.images])
        metadata = self.bundle.metadata
        places = np.array([metadata.labels.index(label) for label in self.public.labels])
        return Labelled(
            np.asarray(metadata.decision.packaged.scores(logits), np.float64),
            places[self.public.class_ids],
            np.arange(len(self.public)).astype(str),
        )

    @cached_property
    def folds(self) -> np.ndarray:
        """Each picture's fold, int64 ``(n,)``."""
        return folds_by_person(self.pictures.samples.people, MOST_FOLDS)

    def drawn(self, fold: int, count: int | None) -> np.ndarray:
        """Return the pictures of other folds to learn from, bool ``(n,)``."""
        others = self.folds != fold
        if count is None:
            return others
        answers = self.pictures.samples.answers
        rng = np.random.default_rng((fold, count))
        chosen = np.zeros(len(answers), bool)
        for label in np.unique(answers[others]):
            places = rng.permutation(np.flatnonzero(others & (answers == label)))
            chosen[places[:count]] = True
        return chosen

    def calibrated(self, fold: int, count: int | None, intent: str) -> Answers:
        """Fit `calibrate` to a draw."""
        own = self.pictures.samples
        general = None
        if intent == "general":
            general = Labelled.general(read_rehearsal(self.bundle), self.bundle.metadata.decision)
        fitted = calibrate(own.where(self.drawn(fold, count)), intent, general).calibration
        held = own.where(self.folds == fold).calibrated(fitted)
        return Answers(held.is_right, self.packaged_public.calibrated(fitted).accuracy)

    def adapted(self, fold: int, count: int | None, *, rehearsed: bool) -> Answers:
        """Train the recipe on a draw, as int8."""
        name = f"{'rehearsed' if rehearsed else 'alone'}-{count or 'all'}-{fold}"
        kept = self.out / f"{name}.npz"
        if not kept.is_file():
            self._train(fold, count, self.out / name, kept, rehearsed=rehearsed)
        with np.load(kept) as answers:
            return Answers(answers["held"], float(answers["public"].mean()))

    def _train(
        self, fold: int, count: int | None, where: Path, kept: Path, *, rehearsed: bool
    ) -> None:
        start = model_file(self.bundle.path)
        config: TrainConfig = with_changes(recipe("adapt"), {"initial": start.sha256}, self.changes)
        learnt = self.own.where(self.drawn(fold, count))
        run = train(
            learnt,
            config,
            where,
            ConsoleProgress(Console()),
            resume=where.is_dir(),
            pretrained=Pretrained(initial=start),
            general=self.fer if rehearsed else None,
        )
        held = self.folds == fold
        crops = np.concatenate((self.pictures.crops[held], self.public.images))
        labels, scores = int8_probabilities(run.path, labelled(learnt, learnt.crops), crops)
        own = [labels.index(self.own.labels[i]) for i in self.own.class_ids[held]]
        # A label that the run has not learnt is answered wrong.
        public = [
            labels.index(label) if label in labels else -1
            for label in np.array(self.public.labels)[self.public.class_ids]
        ]
        right = np.asarray(scores).argmax(axis=1) == np.array(own + public)
        np.savez(kept, held=right[: held.sum()], public=right[held.sum() :])
        import_keras().utils.clear_session()

    def fitted(self, way: str, fold: int, count: int | None) -> Answers:
        """Return the answers of one way after one draw."""
        if way in ("site", "general"):
            return self.calibrated(fold, count, way)
        return self.adapted(fold, count, rehearsed=way == "rehearsed")


def measure(bench: Bench, ways: list[str], counts: list[int | None]) -> Iterator[dict[str, object]]:
    """Yield the rows of the table: a way and a number of pictures each."""
    measured = bench.folds < bench.first
    people = bench.pictures.samples.people[measured]
    answered = bench.pictures.samples.answers[measured]
    before = bench.packaged_public.accuracy
    for count in counts:
        for way in ways:
            right = np.zeros(len(people))
            public = []
            for fold in range(bench.first):
                answers = bench.fitted(way, fold, count)
                right[bench.folds[measured] == fold] = answers.held
                public.append(answers.public)
            low, high = interval_by_person(right, people)
            recalls = [right[answered == label].mean() for label in np.unique(answered)]
            yield {
                "way": WAYS[way],
                "pictures": count or "all",
                "accuracy": 100 * right.mean(),
                "low": 100 * low,
                "high": 100 * high,
                "balanced": 100 * np.mean(recalls),
                "lost": 100 * (before - np.mean(public)),
            }


def plot(rows: list[dict[str, object]], packaged: float, path: Path) -> None:
    """Draw both curves: CK+48 held out, and what PublicTest loses."""
    import matplotlib.pyplot as plt

    figure, (own, general) = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    ticks = list(dict.fromkeys(str(row["pictures"]) for row in rows))
    for number, way in enumerate(dict.fromkeys(row["way"] for row in rows)):
        mine = [row for row in rows if row["way"] == way]
        x = [ticks.index(str(row["pictures"])) + 0.06 * (number - 1.5) for row in mine]
        y = np.array([row["accuracy"] for row in mine])
        spread = np.abs(np.array([[row["low"], row["high"]] for row in mine]).T - y)
        own.errorbar(x, y, spread, marker="o", capsize=3, label=way)
        general.plot(x, [row["lost"] for row in mine], marker="o", label=way)
    own.axhline(packaged, color="grey", linestyle=":", label="packaged")
    own.set(title="CK+48, people held out", ylabel="accuracy, per cent")
    general.set(title="FER+ PublicTest", ylabel="points lost")
    for axes in (own, general):
        axes.set(xlabel="pictures a label", xticks=range(len(ticks)), xticklabels=ticks)
        axes.grid(alpha=0.3)
    own.legend(loc="lower right")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table, and write it and its picture where asked to."""
    options = _options()
    bundle = open_bundle(options.bundle)
    model = open_emotion_model(bundle)
    pictures = ck_files(options.ck, bundle, model)
    own = with_prepared(load_samples(options.ck), options.prepared, crops="aligned")
    place = {name: i for i, name in enumerate(own.files.tolist())}
    order = np.array([place[str(file.path)] for file in pictures.files])
    own = replace(own.where(order), mesh=None)
    options.out.mkdir(parents=True, exist_ok=True)
    changes = {"engine": "torch", "precision": "bfloat16"}
    fer = load_samples(options.fer, options.votes)
    bench = Bench(bundle, model, pictures, own, fer, options.out, changes, options.folds)
    packaged = pictures.samples.where(bench.folds < options.folds)
    print(
        f"as packaged: CK+48 {100 * packaged.accuracy:.1f} / "
        f"{100 * packaged.balanced_accuracy:.1f}, PublicTest "
        f"{100 * bench.packaged_public.accuracy:.1f}"
    )
    rows = []
    counts = [None if count == "all" else int(count) for count in options.counts]
    for row in measure(bench, options.ways, counts):
        rows.append(row)
        print(
            "{way:24} {pictures:>4} a label  {accuracy:.1f} ({low:.1f} to {high:.1f}) / "
            "{balanced:.1f}, {lost:.1f} points lost".format(**row),
            flush=True,
        )
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    if options.plot is not None:
        plot(rows, 100 * packaged.accuracy, options.plot)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--ck", type=Path, required=True, help="the CK+48 folder")
    parser.add_argument("--fer", type=Path, required=True, help="fer2013.csv")
    parser.add_argument("--votes", type=Path, required=True, help="fer2013new.csv")
    parser.add_argument("--prepared", type=Path, required=True, help="CK+48 by `data prepare`")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs")
    counts = [str(count or "all") for count in COUNTS]
    parser.add_argument("--counts", nargs="+", choices=counts, default=counts)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument(
        "--folds",
        type=int,
        choices=range(1, MOST_FOLDS + 1),
        default=MOST_FOLDS,
        help="measure the first so many of the ten",
    )
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
