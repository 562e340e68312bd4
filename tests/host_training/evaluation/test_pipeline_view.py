"""What `evaluate --pipeline` measures is what the device answers, picture by picture."""

import csv
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from rich.console import Console

from edge.assets.store import ASTRONAUT, asset_path
from edge.config import Config, TrackerConfig
from edge.contract.bundle import PACKAGED, open_bundle
from edge.media.pictures import open_picture
from edge.protocols import Classifier
from edge.records import Face, Frame
from edge.runtime.build import compose_pipeline, open_pipeline
from edge.runtime.pipeline import Pipeline
from edge.stages.tracking import FaceTracker
from edge.testing.fakes import make_face, make_pipeline
from edgeemo.cli.main import main
from host_training.data.corruptions import corrupted
from host_training.data.load import load_samples, one_hot
from host_training.data.picture_progress import ConsolePictureProgress
from host_training.data.samples import Samples
from host_training.errors import DataError
from host_training.evaluation.seen import NOT_FOUND, OK, SeenStore
from host_training.evaluation.views import Corruption, PipelineView, RawView, answers_to

BUNDLE = open_bundle(PACKAGED)


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def turned_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture lying on its side, with the EXIF entry that says how to turn it."""
    _, data = cv2.imencode(".jpg", cv2.rotate(picture, cv2.ROTATE_90_COUNTERCLOCKWISE))
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00\x06\x00\x00"  # orientation 6: turn clockwise
    exif = b"Exif\0\0MM\x00\x2a\x00\x00\x00\x08\x00\x01" + tag + b"\x00\x00\x00\x00"
    segment = b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif
    whole = data.tobytes()
    return whole[:2] + segment + whole[2:]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders as people have them: large, in colour, on their side, dark, of nobody."""
    folder = tmp_path_factory.mktemp("photographs")
    photo = cv2.imread(str(asset_path(ASTRONAUT)))
    small = cv2.resize(photo[60:190, 160:290], (48, 48), interpolation=cv2.INTER_AREA)
    noise = np.random.default_rng(0).integers(0, 256, (120, 90, 3), np.uint8)
    pictures = {
        "happy/whole.png": photo,
        "happy/mirrored.png": photo[:, ::-1],
        "happy/small.png": cv2.cvtColor(small, cv2.COLOR_BGR2GRAY),
        "sad/dark.png": (photo * 0.12).astype(np.uint8),
        "sad/near.png": cv2.resize(photo[0:260, 80:340], None, fx=2, fy=2),
        "surprised/nobody.png": noise,
    }
    for name, picture in pictures.items():
        (folder / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name), picture)
    (folder / "surprised/turned.jpg").write_bytes(turned_jpeg(photo[:300]))
    return folder


def device_answers(files: Sequence[str]) -> list[tuple[str, NDArray[np.float32] | None]]:
    """Return quality and scores that `edgeemo run` gives for stills, the largest face of each."""
    pipeline, answers = open_pipeline(Config(), BUNDLE), []
    for i, file in enumerate(files):
        image = open_picture(Path(file)).image
        result = pipeline.process(
            Frame(image, i, float(i), datetime.now(UTC), starts_new_clip=True)
        )
        boxes = [
            np.prod(np.diff(face.track.face.box_xyxy.reshape(2, 2), axis=0))
            for face in result.faces
        ]
        if not boxes:
            answers.append((NOT_FOUND, None))
            continue
        face = result.faces[int(np.argmax(boxes))]
        answers.append((face.quality, None if face.estimate is None else face.estimate.scores))
    pipeline.close()
    return answers


def test_what_is_measured_is_what_the_device_answers(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every answer, and every face without one, is that of the device's own pipeline."""
    report = tmp_path / "report"
    options = ("--pipeline", "--workers", 1, "--report", report)
    assert run("evaluate", PACKAGED, "--data", photographs, *options) == 0
    shown = " ".join(capsys.readouterr().out.split())
    figures = json.loads((report / "evaluation.json").read_text())
    samples = load_samples(photographs)
    expected = device_answers(samples.files)

    qualities = [quality for quality, _ in expected]
    assert {NOT_FOUND, "too_dark", OK} <= set(qualities), "the pictures test nothing"
    through = figures["pipeline"]
    assert through["found"] == len(samples) - qualities.count(NOT_FOUND)
    assert through["classified"] == figures["n"] == qualities.count(OK)
    reasons = {name: qualities.count(name) for name in sorted(set(qualities) - {OK})}
    assert through["not_classified"] == reasons
    assert f"face found in {through['found']} of {len(samples)}" in shown

    with (report / "predictions.csv").open(newline="") as file:
        rows = {int(row["row"]): row for row in csv.DictReader(file)}
    right = 0
    for i, (quality, scores) in enumerate(expected):
        assert (i in rows) == (quality == OK)
        if scores is not None:
            assert rows[i]["predicted"] == BUNDLE.metadata.labels[int(np.argmax(scores))]
            right += rows[i]["predicted"] == rows[i]["true"]
    assert through["all"]["accuracy"] == pytest.approx(right / len(samples))
    assert figures["accuracy"] == pytest.approx(right / through["classified"])
    assert through["raw"]["n"] == len(samples)
    assert through["raw_of_classified"]["n"] == figures["n"]


class Scripted:
    """A real pipeline around a scripted mesher; notes the pictures that it is given."""

    def __init__(self, faces: Sequence[Sequence[Face]], classifier: Classifier) -> None:
        self.frames: list[NDArray[np.uint8]] = []
        self._pipeline = make_pipeline(
            lambda frame: faces[frame.index % len(faces)],
            classifier,
            tracker=FaceTracker(TrackerConfig(0.3, 2, 1.5)),
        )

    def process(self, frame: Frame) -> object:
        """Note the picture, and look at it."""
        self.frames.append(frame.image)
        return self._pipeline.process(frame)

    def close(self) -> None:
        """Release the pipeline."""
        self._pipeline.close()


def samples_of(images: NDArray[np.uint8]) -> Samples:
    class_ids = np.arange(len(images)) % 2
    return Samples(
        images=images,
        targets=one_hot(class_ids, 2),
        labels=("neutral", "happiness"),
        class_ids=class_ids,
        split=np.full(len(images), "Training"),
        name="made",
        form="made up",
        protocol="labels",
    )


def pictures(number: int) -> NDArray[np.uint8]:
    return np.random.default_rng(5).integers(0, 256, (number, 48, 48), np.uint8)


def view_of(make: object, store: SeenStore | None = None, workers: int = 1) -> PipelineView:
    progress = ConsolePictureProgress(Console(quiet=True))
    return PipelineView(make, workers, progress, store=store)  # type: ignore[arg-type]


def test_of_several_faces_the_largest() -> None:
    """The sample's answer is that of the largest face; a picture without one keeps its place."""
    faces = [[make_face((2, 2, 20, 24)), make_face((4, 4, 44, 46))], []]
    rows = samples_of(pictures(4))
    [seen] = view_of(partial(Scripted, faces))(rows)
    assert seen.quality.tolist() == [OK, NOT_FOUND, OK, NOT_FOUND]
    assert seen.boxes[0].tolist() == faces[0][1].box_xyxy.tolist()
    assert seen.not_classified() == {NOT_FOUND: 2}
    assert np.isnan(seen.boxes[1]).all()
    assert seen.crops[0].any()
    assert not seen.crops[1].any()


def test_corrupted_before_the_mesh_by_the_faces_width() -> None:
    """The full picture is corrupted as strongly as the clean picture's face is wide."""
    face = make_face((10, 10, 30, 34))
    made: list[Scripted] = []

    def make(classifier: Classifier) -> Scripted:
        made.append(Scripted([[face]], classifier))
        return made[-1]

    rows, view = samples_of(pictures(3)), view_of(make)
    [clean] = view(rows)
    x1, y1, x2, y2 = map(float, face.box_xyxy)
    worse = [Corruption("defocus", 5), Corruption("occlusion", 2, seed=9)]
    first, second = view(rows, worse, clean)
    assert first.quality.tolist() == second.quality.tolist() == [OK] * 3
    middle = ((x1 + x2) / 2, (y1 + y2) / 2)
    for number, (kind, severity, seed) in enumerate(worse):
        for i, image in enumerate(rows.images):
            colour = np.dstack([image] * 3)
            expected = corrupted(
                colour, kind, severity, face_width=x2 - x1, middle=middle, seed=seed
            )
            np.testing.assert_array_equal(made[-1].frames[3 * number + i], expected)


@pytest.mark.parametrize("with_mesh", [False, True])
def test_kept_for_the_next_time(tmp_path: Path, with_mesh: bool) -> None:
    """What was seen is read back as it was, without a pipeline, in another order and passes."""
    make = partial(compose_pipeline, Config(), blendshapes=with_mesh)
    photo = cv2.imread(str(asset_path(ASTRONAUT)), cv2.IMREAD_GRAYSCALE)
    face = cv2.resize(photo[60:190, 160:290], (48, 48), interpolation=cv2.INTER_AREA)
    rows = samples_of(np.stack([face, *pictures(2), face[:, ::-1]]))
    progress = ConsolePictureProgress(Console(quiet=True))
    passes = [None, Corruption("defocus", 1)]

    def seen_with(make: object, rows: Samples) -> list:
        store = SeenStore(tmp_path / "kept", "recipe")
        return list(PipelineView(make, 1, progress, with_mesh, store)(rows, passes))

    def none(classifier: Classifier) -> Pipeline:
        raise AssertionError("it was seen before")

    before = seen_with(make, rows)
    assert before[0].quality.tolist() == [OK, NOT_FOUND, NOT_FOUND, OK]
    assert before[0].mesh.shape[1] == (344 if with_mesh else 0)
    order = np.array([3, 0, 2, 1])
    turned = samples_of(rows.images[order])
    for old, new in zip(before, seen_with(none, turned), strict=True):
        for name in ("quality", "crops", "mesh", "boxes"):
            np.testing.assert_array_equal(getattr(old, name)[order], getattr(new, name))


def test_a_damaged_store(tmp_path: Path) -> None:
    """A file that cannot be read is named, with what to do about it."""
    folder = tmp_path / "pipeline-recipe"
    folder.mkdir()
    (folder / "a.npz").write_bytes(b"PK\x03\x04 not a zip")
    view = view_of(partial(Scripted, [[]]), SeenStore(tmp_path, "recipe"))
    with pytest.raises(DataError, match=r"a\.npz: damaged .* delete it"):
        list(view(samples_of(pictures(1))))


def test_two_workers_see_what_one_sees(photographs: Path) -> None:
    """Processes change nothing but the time that it takes."""
    rows = load_samples(photographs)
    make = partial(compose_pipeline, Config())
    passes = [None, Corruption("noise", 2), Corruption("jpeg", 5)]
    alone = list(view_of(make)(rows, passes))
    together = list(view_of(make, workers=2)(rows, passes))
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.quality, two.quality)
        np.testing.assert_array_equal(one.crops, two.crops)
        np.testing.assert_array_equal(one.boxes, two.boxes)


def test_raw_samples_are_all_face() -> None:
    """Without the pipeline, 48-pixel pictures are corrupted as pictures that are all face."""
    rows = samples_of(pictures(2))
    clean, worse = RawView()(rows, [None, Corruption("motion", 4, seed=1)])
    np.testing.assert_array_equal(clean.crops, rows.images)
    expected = [corrupted(image, "motion", 4, seed=1) for image in rows.images]
    np.testing.assert_array_equal(worse.crops, expected)


def test_nobody_in_any_picture() -> None:
    """No figure is made of nothing: the message counts what was wrong."""
    rows = samples_of(pictures(3))
    [seen] = view_of(partial(Scripted, [[]]))(rows)
    with pytest.raises(DataError, match=r"no face is classified in 3 samples \(not_found 3\)"):
        answers_to(rows, seen, lambda _: (None, np.empty((0, 2), np.float32)))
