"""Blinks that are hard to see are seen once each: from pixels, by the default mesher."""

import itertools

import cv2
import msgspec
import numpy as np
import pytest

from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import EventsConfig, MesherConfig
from edge.sources.demo import events as demo
from edge.stages.events import EventDetector
from edge.stages.mesh.litert import LitertMesher
from edge.testing.fakes import make_frame

pytestmark = pytest.mark.slow

BLINKS = (0.5, 1.2, 1.7)
LENGTH_S = 2.4


class Scene(msgspec.Struct, frozen=True):
    """How a face blinks, and how it is filmed.

    Attributes:
        fps: frames per second.
        length_s: of a blink.
        right, left: how far each eye closes, as a share.
        pitch_deg, yaw_deg: how the head is held.
        scale: of the picture; at 1 the face is 129 pixels high.
        jpeg: the quality that it is compressed to; 0 leaves it.
        sway: pixels that the camera sways by.
        noise: standard deviation of the sensor's.
    """

    fps: float = 24.0
    length_s: float = 0.24
    right: float = 1.0
    left: float = 1.0
    pitch_deg: float = 0.0
    yaw_deg: float = 0.0
    scale: float = 1.0
    jpeg: int = 0
    sway: float = 0.0
    noise: float = 0.0


SCENES = {
    "10 frames a second": Scene(fps=10),
    "60 frames a second": Scene(fps=60),
    "brief": Scene(length_s=0.14),
    "brief, at 10": Scene(fps=10, length_s=0.18),
    "slow": Scene(length_s=0.4),
    "half": Scene(right=0.7, left=0.7),
    "half, at 10": Scene(fps=10, right=0.8, left=0.8),
    "one eye more": Scene(right=1.0, left=0.5),
    "looking down": Scene(pitch_deg=14, right=0.8, left=0.8),
    "looking up": Scene(pitch_deg=-12),
    "turned": Scene(yaw_deg=20),
    "64 pixels": Scene(scale=0.5),
    "77 pixels, noise, half": Scene(scale=0.6, noise=6, right=0.75, left=0.75),
    "compressed": Scene(jpeg=20),
    "64 pixels, compressed, from a hand": Scene(scale=0.5, jpeg=50, sway=8),
}


def share_at(t_s: float, length_s: float) -> float:
    """Return how far the eyes are shut, from 0 to 1."""
    for start_s in BLINKS:
        if start_s < t_s < start_s + length_s:
            return demo.share_of("blink", t_s - start_s, length_s)
    return 0.0


class Acting(demo.EventsDemo):
    """The demo's face, filmed as a scene says."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(frames=round(LENGTH_S * scene.fps), fps=scene.fps)
        self._scene, self._rng = scene, np.random.default_rng(4)
        face, middle = self._face, demo.FACE_CENTRE[0]
        whole = face.shut_field
        face.shut_field = lambda share: np.where(
            face.grid[..., 0] < middle, whole(scene.right * share), whole(scene.left * share)
        )

    def render(self, frame_index: int) -> np.ndarray:
        """Return the picture of a frame."""
        scene, t_s = self._scene, frame_index / self.fps
        pose = demo.Pose(
            shut=share_at(t_s, scene.length_s), pitch_deg=-scene.pitch_deg, yaw_deg=scene.yaw_deg
        )
        self._cameos = [demo.cut_cameo(self._face.photo(pose))[0]]
        picture = self.backdrop.copy()
        demo.paste(picture, self._cameos[0], self.motion(0) @ self._to_photo)
        sway = scene.sway * np.sin(2 * np.pi * np.array((0.7, 1.1)) * t_s)
        if scene.sway:
            moved = np.array(((1, 0, sway[0]), (0, 1, sway[1])))
            picture = cv2.warpAffine(picture, moved, (640, 480), borderMode=cv2.BORDER_REPLICATE)
        if scene.scale != 1:
            picture = cv2.resize(
                picture, None, fx=scene.scale, fy=scene.scale, interpolation=cv2.INTER_AREA
            )
        noisy = picture + self._rng.normal(0, scene.noise or 0.01, picture.shape)
        picture = np.clip(noisy, 0, 255).astype(np.uint8)
        if scene.jpeg:
            _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])
            picture = cv2.imdecode(data, cv2.IMREAD_COLOR)
        return picture


@pytest.mark.parametrize("name", SCENES)
def test_blinks_count_once_each(name: str) -> None:
    """However it is filmed, each blink is one event, where it was, and nothing else happens."""
    film = Acting(SCENES[name])
    mesher = LitertMesher(asset_path(FACE_LANDMARKER), MesherConfig(max_faces=1, blendshapes=True))
    detector, found = EventDetector(EventsConfig(detect=("all",))), []
    for index in range(round(LENGTH_S * film.fps)):
        frame = make_frame(index, film.render(index), film.fps)
        for face in mesher.detect(frame):
            found += detector.update(1, face, frame)
    found += detector.forget(1)
    mesher.close()
    assert [event.name for event in found] == ["blink"] * len(BLINKS)
    slack_s = 1.5 / film.fps + 0.03
    for event, start_s in zip(found, BLINKS, strict=True):
        assert abs(event.start_s - start_s) <= slack_s
    assert all(one.end_s <= other.start_s for one, other in itertools.pairwise(found))
