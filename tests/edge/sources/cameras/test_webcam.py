"""Webcams where there is no V4L2: by number, through OpenCV's own way."""

import sys

import cv2
import numpy as np
import pytest

from edge.config import SourceConfig
from edge.errors import CameraError
from edge.sources.select import begin_source, open_source


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """A Mac whose camera 0 is a film of five frames, and which has no other."""
    film = tmp_path / "camera.avi"
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), 25, (64, 48))
    for level in range(40, 240, 40):
        writer.write(np.full((48, 64, 3), level, np.uint8))
    writer.release()
    capture = cv2.VideoCapture
    monkeypatch.setattr(
        cv2, "VideoCapture", lambda number: capture(str(film if number == 0 else tmp_path))
    )
    monkeypatch.setattr(sys, "platform", "darwin")


@pytest.mark.parametrize("spec", ["0", "auto"])
def test_a_number_or_nothing_at_all_is_a_camera(elsewhere, spec):
    """Its frames come with the times of their arrival."""
    config = SourceConfig(spec=spec)
    assert begin_source(config) is None
    source = open_source(config)
    frame = source.read()
    source.close()
    assert frame is not None
    assert frame.size_hw == (48, 64)


@pytest.mark.parametrize(
    ("spec", "words"),
    [("1", "camera 1: cannot be opened"), ("/dev/video0", "named on Linux only"),
     ("picamera", "only a Raspberry Pi")],
)  # fmt: skip
def test_what_is_not_there_is_told(elsewhere, spec, words):
    """In one line, with what would do."""
    with pytest.raises(CameraError, match=words):
        open_source(SourceConfig(spec=spec))
