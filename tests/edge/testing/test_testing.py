"""The shipped fakes keep the protocols' promises."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.contract.align import FER48, aligned_crop, face_anchors
from edge.contract.labels import EMOTIONS
from edge.contract.logrecord import CameraLost
from edge.errors import CameraError
from edge.protocols import Classifier, FaceMesher, FrameSource, Sink
from edge.sources.demo.source import DemoSource
from edge.testing.fakes import (
    FakeClassifier,
    FakeMesher,
    FakeSource,
    MemorySink,
    make_face,
    make_frame,
)

UNIFORM = [1 / 8] * 8


def test_fakes_fit_the_protocols() -> None:
    """A type checker and a reader see each fake as what it stands for."""
    source: FrameSource = FakeSource([])
    mesher: FaceMesher = FakeMesher(lambda _: [])
    classifier: Classifier = FakeClassifier([UNIFORM])
    sink: Sink = MemorySink()
    for fake in (source, mesher, classifier, sink):
        assert not fake.closed
        fake.close()
        fake.close()
        assert fake.closed


def test_source_ends_or_fails() -> None:
    """A fake source gives its frames in order, then None, or its error every time."""
    frames = [make_frame(index) for index in range(3)]
    source = FakeSource(frames)
    assert [source.read() for _ in range(3)] == frames
    assert source.read() is None
    failing = FakeSource(frames[:1], CameraError("unplugged"))
    assert failing.read() is frames[0]
    for _ in range(2):
        with pytest.raises(CameraError, match="unplugged"):
            failing.read()


def test_mesher_follows_ground_truth() -> None:
    """Made from the demo's boxes, the mesher finds exactly the true box, and nobody outside."""
    demo = DemoSource()
    mesher = FakeMesher.from_boxes(demo.ground_truth)
    outside = next(i for i in range(demo.frames) if demo.ground_truth(i) is None)
    [face] = mesher.detect(make_frame(100))
    np.testing.assert_allclose(face.box_xyxy, demo.ground_truth(100), atol=1e-3)
    assert mesher.detect(make_frame(outside)) == []


def test_classifier_follows_its_script() -> None:
    """Rows come one a call, the last for ever; crops are kept; a wrong crop is refused."""
    rows = np.eye(8).tolist()[:2]
    classifier = FakeClassifier(rows)
    face = make_face((0, 0, 10, 10))
    crop = np.zeros((48, 48), np.uint8)
    leading = [int(np.argmax(classifier.classify(crop, face).scores)) for _ in range(4)]
    assert leading == [0, 1, 1, 1]
    assert len(classifier.crops) == 4
    assert classifier.classify(crop, face).labels == EMOTIONS
    with pytest.raises(ValueError, match="crop must be"):
        classifier.classify(np.zeros((47, 48), np.uint8), face)
    with pytest.raises(ValueError, match="rows of 8"):
        FakeClassifier([[1.0]])


def test_sink_keeps_records() -> None:
    """A memory sink holds what was written, in order."""
    sink = MemorySink()
    record = CameraLost(
        time="2024-01-01T00:00:00.000Z", monotonic_s=1.0, seq=0, session="s", device="d", reason="x"
    )
    sink.write(record)
    assert sink.records == [record]


@given(
    x=st.floats(-1000, 1000),
    y=st.floats(-1000, 1000),
    width=st.floats(1, 1000),
    height=st.floats(1, 1000),
)
def test_made_faces_fill_their_box(x: float, y: float, width: float, height: float) -> None:
    """The mesh's bounding box is the asked one, eyes level above the mouth, always the same."""
    box = (x, y, x + width, y + height)
    face = make_face(box)
    np.testing.assert_allclose(face.box_xyxy, box, atol=1e-2)
    assert np.array_equal(face.points, make_face(box).points)
    right_eye, left_eye, mouth = face_anchors(face.points)
    assert right_eye[0] < mouth[0] < left_eye[0]
    assert right_eye[1] == pytest.approx(left_eye[1], abs=1e-2)
    assert right_eye[1] < mouth[1]


def test_made_face_can_be_aligned() -> None:
    """A made face goes through the shared align code."""
    crop = aligned_crop(make_frame(0).image, make_face((100, 100, 200, 230)).points, FER48)
    assert (crop == 128).all()


@pytest.mark.parametrize("box", [(5, 5, 5, 9), (9, 5, 5, 9), (0, float("nan"), 1, 1)])
def test_impossible_boxes_are_refused(box: tuple[float, ...]) -> None:
    """A box without an area is refused."""
    with pytest.raises(ValueError, match="x1 < x2"):
        make_face(box)


def test_fakes_need_no_model_runtime() -> None:
    """Importing edge.testing.fakes loads neither mediapipe nor a TFLite runtime nor TensorFlow."""
    heavy = "mediapipe tensorflow keras ai_edge_litert tflite_runtime matplotlib"
    code = (
        f"import sys, edge.testing.fakes; print([m for m in '{heavy}'.split() if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
