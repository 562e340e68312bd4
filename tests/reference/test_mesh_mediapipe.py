"""The reference mesher: mediapipe itself, behind the same protocol. Needs mediapipe installed."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime

import numpy as np
import pytest

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.contract.align import LEFT_EYE, RIGHT_EYE
from edge.errors import InferenceError
from edge.records import Frame
from edge.runtime.build import open_mesher
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.mediapipe import MediaPipeMesher
from edge.system import machine

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def inter_ocular_px(points: np.ndarray) -> float:
    right, left = (points[list(group), :2].mean(axis=0) for group in (RIGHT_EYE, LEFT_EYE))
    return float(np.linalg.norm(left - right))


@pytest.fixture(scope="module")
def pairs():
    """Both meshers' faces over the moving part of the demo."""
    config = MesherConfig(max_faces=1, blendshapes=True)
    theirs = MediaPipeMesher(asset_path(FACE_LANDMARKER), config)
    ours = LitertMesher(asset_path(FACE_LANDMARKER), config)
    demo = DemoSource()
    result = []
    while (frame := demo.read()) is not None and frame.index < 160:
        result.append((ours.detect(frame), theirs.detect(frame)))
    theirs.close()
    ours.close()
    return result


def test_both_find_the_same_faces(pairs):
    """Our mesher sees a face where MediaPipe does, in nearly every frame."""
    same = [len(ours) == len(theirs) for ours, theirs in pairs]
    assert np.mean(same) >= 0.99


def test_the_meshes_are_the_same(pairs):
    """Landmarks differ by 1 % of the eyes' distance on average, by 3 % at the 99th percentile."""
    distances = [
        np.linalg.norm(ours[0].points[:, :2] - theirs[0].points[:, :2], axis=1)
        / inter_ocular_px(theirs[0].points)
        for ours, theirs in pairs
        if ours and theirs
    ]
    assert len(distances) > 140
    assert np.mean(distances) <= 0.01
    assert np.percentile(distances, 99) <= 0.03


def test_blendshapes_and_poses_are_the_same(pairs):
    """Blendshapes within 0.02 on average, head pose within 2 degrees."""
    found = [(ours[0], theirs[0]) for ours, theirs in pairs if ours and theirs]
    shapes = [np.abs(a.blendshapes - b.blendshapes).mean() for a, b in found]
    assert np.mean(shapes) <= 0.02
    for angle in ("yaw_deg", "pitch_deg", "roll_deg"):
        gaps = [abs(getattr(a.head_pose, angle) - getattr(b.head_pose, angle)) for a, b in found]
        assert np.mean(gaps) <= 2.0


def test_stamps_that_do_not_rise_do_not_poison_it():
    """Frames with the same or an earlier time are still meshed."""
    mesher = MediaPipeMesher(asset_path(FACE_LANDMARKER), MesherConfig())
    picture = DemoSource().render(0)
    found = [len(mesher.detect(Frame(picture, i, t, NOW))) for i, t in enumerate((1.0, 1.0, 0.2))]
    mesher.close()
    mesher.close()
    assert found == [1, 1, 1]


def test_a_processor_without_atomics_is_refused_before_it_aborts(monkeypatch):
    """Where mediapipe's wheel would end with SIGILL, one line says so and names the remedy."""
    monkeypatch.setattr(machine, "lacks_lse_atomics", lambda: True)
    with pytest.raises(InferenceError, match="--mesher litert"):
        open_mesher(MesherConfig(kind="mediapipe"))
    open_mesher(MesherConfig(kind="auto")).close()


def test_a_whole_run_with_the_reference(tmp_path):
    """`--mesher mediapipe` works from end to end, quietly, and is named in the log."""
    done = subprocess.run(
        [
            sys.executable, "-m", "edgeemo", "run", "--source", "demo", "--mesher", "mediapipe",
            "--max-frames", "50", "--emit", "frame", "--log-dir", str(tmp_path),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    records = [json.loads(line) for line in (tmp_path / "edgeemo.jsonl").read_text().splitlines()]
    assert records[0]["mesher"] == "mediapipe"
    labels = Counter(r["label"] for r in records if r["kind"] == "emotion")
    assert labels == {"happiness": 49}


def test_it_loads_neither_tensorflow_nor_matplotlib():
    """Both would be imported by mediapipe where they are installed."""
    probe = (
        "import sys; from edge.config import MesherConfig; "
        "from edge.runtime.build import open_mesher; "
        "open_mesher(MesherConfig(kind='mediapipe')).close(); "
        "print({'tensorflow', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


FAILING = """
from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import MesherConfig
from edge.errors import InferenceError
from edge.sources.demo.source import DemoSource
from edge.stages.mesh.mediapipe import MediaPipeMesher
mesher = MediaPipeMesher(asset_path(FACE_LANDMARKER), MesherConfig())
demo = DemoSource(frames=30)
found = []
while (frame := demo.read()) is not None:
    if frame.index % 10 == 5:
        # A stamp from the future: every further call of this landmarker fails.
        mesher._video.detect_for_video(mesher._image(frame.image), 10**9)
    try:
        found.append(len(mesher.detect(frame)))
    except InferenceError:
        found.append(None)
mesher.close()
print(found)
"""


def test_it_is_made_anew_after_an_error_in_silence():
    """A landmarker that fails costs one frame, and its libraries add nothing to the journal."""
    done = subprocess.run(
        [sys.executable, "-c", FAILING], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout.replace("None", "null"))
    assert [i for i, count in enumerate(found) if count is None] == [5, 15, 25]
    assert found.count(1) == 27
    assert done.stderr == ""
