"""Logs and bundles through the API."""

import threading

import numpy as np
import pytest

import edgeemo
from edge.contract.align import aligned_crop


@pytest.fixture(scope="module")
def log_dir(analyzer, film, tmp_path_factory):
    folder = tmp_path_factory.mktemp("log")
    list(analyzer.video(film, log_dir=folder))
    return folder


def test_a_log_answers_in_relations(analyzer, film, log_dir):
    """Emotions, tracks, starts, stops and a summary are those of the run that wrote the log."""
    faces = [face.to_dict() for frame in analyzer.video(film) for face in frame]
    with edgeemo.open_log(log_dir) as log:
        emotions = log.emotions()
        asked = emotions.select("frame, label, confidence, score_happiness, x1")
        assert asked.fetchall() == [
            (f["frame"], f["label"], f["confidence"], f["scores"]["happiness"], f["box"][0])
            for f in faces
        ]
        assert log.tracks().select("track").fetchall() == [(1,)]
        assert log.starts().select("source").fetchall() == [(str(film),)]
        assert log.stops().select("frames").fetchall() == [(16,)]
        ((count,),) = log.sql("SELECT count(*) FROM records WHERE kind = 'emotion'").fetchall()
        assert count == len(faces)
        assert log.health().fetchall() == []
        total = log.summary()
        assert total.select("tracks, lost").fetchall() == [(1, 0)]
        for by, rows in (("hour", 1), ("track", 1), ("device", 1)):
            assert len(log.summary(by=by).fetchall()) == rows
        held = log.summary(by="track").select("seconds_happiness").fetchall()[0][0]
        assert held == pytest.approx(len(faces) / 25, abs=0.05)
        assert emotions.aggregate("count(*)").fetchall() == [(len(faces),)]  # still there


def test_a_part_of_a_log_can_be_asked_for(log_dir):
    """``since`` and ``until`` choose records; what is no time is refused."""
    with edgeemo.open_log(log_dir, until="1990-01-01") as log:
        assert log.emotions().fetchall() == []
    with pytest.raises(edgeemo.ConfigError, match="no point in time"):
        edgeemo.open_log(log_dir, since="yesterday-ish")


def test_no_log_and_a_wrong_query_are_errors_of_ours(log_dir, tmp_path):
    """What cannot be answered is a ``LogError``."""
    with pytest.raises(edgeemo.LogError, match="holds no log"):
        edgeemo.open_log(tmp_path)
    with edgeemo.open_log(log_dir) as log, pytest.raises(edgeemo.LogError):
        log.sql("SELECT nothing FROM records")


def test_what_cannot_be_asked_is_told(log_dir):
    """Another grouping, and a log that was closed."""
    with edgeemo.open_log(log_dir) as log:
        with pytest.raises(edgeemo.ConfigError, match=r"by: expected total, hour, .*got 'label'"):
            log.summary(by="label")
        log.close()
        for ask in (log.emotions, log.summary, log.segments):
            with pytest.raises(edgeemo.ConfigError, match="closed"):
                ask()


def test_a_bundle_predicts_what_a_device_would(analyzer, photo):
    """The scores of an aligned crop are the estimate of the whole way; any thread may ask."""
    frame = analyzer.image(photo)
    (face,) = frame
    model = edgeemo.open_bundle()
    crop = aligned_crop(frame.image, face.points, model.metadata.template)
    scores = model.predict(np.stack([crop] * 3))
    assert scores.shape == (3, len(model.labels))
    np.testing.assert_array_equal(scores, [face.estimate.scores] * 3)
    np.testing.assert_array_equal(model.predict(crop), scores[:1])
    found = []
    threads = [threading.Thread(target=lambda: found.append(model.predict(crop))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in found:
        np.testing.assert_array_equal(one, scores[:1])


@pytest.mark.parametrize(
    ("crops", "words"),
    [
        (np.zeros((2, 48, 48), np.float32), "float32"),
        (np.zeros((1, 32, 32), np.uint8), "32, 32"),
        (np.zeros((1, 48, 48, 3), np.uint8), "48, 48, 3"),
        ([np.zeros((48, 48), np.uint8), np.zeros((40, 48), np.uint8)], "the same size"),
    ],
)
def test_crops_of_another_form_are_refused(crops, words):
    """With what was given and what is expected."""
    with pytest.raises(edgeemo.InferenceError, match=words):
        edgeemo.open_bundle("default").predict(crops)


def test_no_bundle_is_an_error_of_ours(tmp_path):
    """A folder without a bundle."""
    with pytest.raises(edgeemo.BundleError):
        edgeemo.open_bundle(tmp_path)
