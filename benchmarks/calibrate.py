"""What `edgeemo calibrate` gains on CK+48, and what that costs on FER+: the marks, seeded.

::

    python benchmarks/calibrate.py BUNDLE --ck CK+48 --fer fer2013.csv.gz --votes fer2013new.csv

Crops are made by the device's pipeline, as `edgeemo evaluate --pipeline` makes them; PublicTest is
taken as 48-pixel pictures, protocol majority. A bundle without a rehearsal set gets one of Training
samples here. CK+48 tunes nothing: forms and shares are chosen inside what each fit is given.
"""

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

from converters.convert.rehearsal import rehearsal_of
from converters.labelled_images import LabelledImages
from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.calibration.choose import calibrate
from edge.calibration.judge import contradiction, judge
from edge.calibration.pictures import Pictures, labelled_files, look_at
from edge.calibration.samples import Labelled
from edge.calibration.still import Stills
from edge.config import Config
from edge.contract.bundle import Bundle, open_bundle
from edge.contract.rehearsal import read_rehearsal
from edge.inference.emotion_model import EmotionModel, open_emotion_model
from edge.runtime.build import compose_pipeline
from host_training.data.load import load_samples
from host_training.data.samples import TRAINING, VALIDATION, Samples

DRAWS = 20
CONTRADICTION_DRAWS = 200


def main() -> None:
    """Print the table, and write it as JSON where asked to."""
    options = _options()
    bundle = open_bundle(options.bundle)
    model, labels = open_emotion_model(bundle), bundle.metadata.labels
    decision = bundle.metadata.decision.packaged
    own = ck_pictures(options.ck, bundle, model)
    fer = load_samples(options.fer, options.votes)
    rehearsal = read_rehearsal(bundle)
    if rehearsal is None:
        rehearsal = rehearsal_of(model, _rows(fer, TRAINING), labels)
    general = Labelled.general(rehearsal, decision)
    public = _rows(fer, VALIDATION)
    logits = np.stack([model.logits(image) for image in public.images])
    others = Labelled(
        np.asarray(decision.scores(logits), np.float64),
        public.labels_for(labels),
        np.arange(len(public)).astype(str),
    )
    rows: list[dict[str, object]] = []

    def tell(what: str, **figures: float) -> None:
        rows.append({"what": what, **figures})
        print(f"{what:58}", *(f"{name} {value:.1f}" for name, value in figures.items()), flush=True)

    _site(own, others, tell)
    _general(own, general, others, tell)
    _three_people(own, general, others, tell)
    _contradictions(own, labels, tell)
    if options.json is not None:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _site(own: Labelled, others: Labelled, tell: object) -> None:
    judgement = judge(own, "site")
    for name, samples in (("before", judgement.before), ("after", judgement.after)):
        among = samples.among_present()
        tell(f"site, ten folds by subject, {name}, among its labels", **_both(among))
        tell(f"site, ten folds by subject, {name}, greatest of all", **_both(samples))
    fitted = calibrate(own, "site").calibration
    tell(f"site ({fitted.form}), PublicTest", **_both(others.calibrated(fitted)))


def _general(own: Labelled, general: Labelled, others: Labelled, tell: object) -> None:
    judgement = judge(own, "general", general)
    tell("general, ten folds by subject, greatest of all", **_both(judgement.after))
    fitted = calibrate(own, "general", general).calibration
    after = others.calibrated(fitted)
    lost = 100 * (others.accuracy - after.accuracy)
    what = f"general ({fitted.form}, rehearsal {fitted.rehearsal_share:.2f}), PublicTest"
    tell("PublicTest as packaged", **_both(others))
    tell(what, **_both(after), lost=lost)


def _three_people(own: Labelled, general: Labelled, others: Labelled, tell: object) -> None:
    figures = []
    for draw in range(DRAWS):
        people = np.random.default_rng(draw).choice(own.persons, 3, replace=False)
        known = np.isin(own.people, people)
        fitted = calibrate(own.where(known), "general", general).calibration
        after = own.where(~known).calibrated(fitted)
        lost = others.accuracy - others.calibrated(fitted).accuracy
        figures.append((after.accuracy, after.balanced_accuracy, lost))
    median, most = np.median(figures, axis=0) * 100, np.max(figures, axis=0) * 100
    what = f"general, three people, median of {DRAWS} draws, on all others"
    tell(what, accuracy=median[0], balanced=median[1], lost=median[2], most_lost=most[2])


def _contradictions(own: Labelled, labels: tuple[str, ...], tell: object) -> None:
    for share in (0.0, 1 / 3):
        refused = 0
        for draw in range(CONTRADICTION_DRAWS):
            rng = np.random.default_rng(draw)
            known = np.isin(own.people, rng.choice(own.persons, 20, replace=False))
            some = own.where(known)
            answers = some.answers.copy()
            picked = rng.choice(len(some), round(share * len(some)), replace=False)
            answers[picked] = answers[rng.permutation(picked)]
            changed = Labelled(some.scores, answers, some.people)
            refused += contradiction(changed, labels).is_refused
        what = f"20 people, {share:.0%} of the labels shuffled: refused"
        tell(what, per_cent=100 * refused / CONTRADICTION_DRAWS)


def _both(samples: Labelled) -> dict[str, float]:
    return {"accuracy": 100 * samples.accuracy, "balanced": 100 * samples.balanced_accuracy}


def ck_pictures(folder: Path, bundle: Bundle, model: EmotionModel) -> Labelled:
    """Return what a bundle says of a folder's pictures as a device sees them."""
    return ck_files(folder, bundle, model).samples


def ck_files(folder: Path, bundle: Bundle, model: EmotionModel) -> Pictures:
    """Return a folder's pictures as a device sees them, and say how many."""
    asset_path(FACE_LANDMARKER)
    make = partial(compose_pipeline, Config(), blendshapes=model.mesh_input is not None)
    stills = Stills(make, bundle.metadata.template)
    try:
        found = look_at(labelled_files(folder, {}), bundle, model, stills)
    finally:
        stills.close()
    print(
        f"{len(found.samples)} pictures of {len(found.samples.persons)} people, left out "
        f"{sum(found.left_out.values())}"
    )
    return found


def _rows(samples: Samples, split: str) -> LabelledImages:
    rows = samples.where(samples.measurable & (samples.split == split))
    return LabelledImages(
        rows.images, rows.class_ids, rows.labels, rows.fingerprint(), rows.protocol
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--ck", type=Path, required=True, help="the CK+48 folder")
    parser.add_argument("--fer", type=Path, required=True, help="fer2013.csv")
    parser.add_argument("--votes", type=Path, required=True, help="fer2013new.csv")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
