"""`edgeemo.train`, `evaluate` and `convert`: the commands' own work, as functions with reports."""

import json

import cv2
import msgspec
import numpy as np
import pytest

import edgeemo

EMOTIONS = {"happy": 1.0, "sad": 0.6, "surprised": 0.3}
"""Class folders of one face, in three lights."""


@pytest.fixture(scope="module")
def data(photo, tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    grey = cv2.imread(str(photo), cv2.IMREAD_GRAYSCALE)
    random = np.random.default_rng(0)
    for name, light in EMOTIONS.items():
        (folder / name).mkdir()
        for number in range(20):
            x, y = random.integers(150, 170), random.integers(50, 70)
            face = cv2.resize(grey[y : y + 130, x : x + 130], (48, 48)) * light
            noisy = np.clip(face + random.normal(0, 4, face.shape), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / name / f"{number}.png"), noisy)
    return folder


def test_evaluate_returns_what_its_json_says(data, tmp_path):
    """The figures of the packaged model are those of the file that the command writes."""
    pytest.importorskip("sklearn")
    told = tmp_path / "figures.json"
    figures = edgeemo.evaluate("default", str(data), json_file=str(told))
    written = json.loads(told.read_text())
    assert figures.n == written["n"] == 60
    assert figures.accuracy == pytest.approx(written["accuracy"])


def test_train_and_convert_return_their_reports(data, tmp_path):
    """One epoch, and a bundle forced past its gate, that an analyzer then runs."""
    pytest.importorskip("tensorflow")
    run = edgeemo.train(data, tmp_path / "run", arch="micro", epochs=1, batch_size=16)
    assert run.path == tmp_path / "run"
    report = edgeemo.convert(run.path, data, str(tmp_path / "bundle"), force=True)
    assert report.quantization == "int8"
    assert report == msgspec.json.decode(
        (tmp_path / "bundle" / "parity.json").read_bytes(), type=type(report)
    )
    assert set(edgeemo.Analyzer(tmp_path / "bundle").labels) == {"happiness", "sadness", "surprise"}


@pytest.mark.parametrize("call", [edgeemo.train, edgeemo.convert, edgeemo.evaluate])
def test_an_option_that_is_none_is_told(call, data, tmp_path):
    """As of any function, before any work."""
    more = (tmp_path / "out",) if call is edgeemo.convert else ()
    with pytest.raises(TypeError, match="epoch_count"):
        call(data, tmp_path, *more, epoch_count=3)
