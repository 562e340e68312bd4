"""MediaPipe's FaceLandmarker behind the mesher protocol.

Its models (model cards, Google 2022): BlazeFace short range finds the face, the attention mesh
gives 478 points, MLP-Mixer blendshapes 52 coefficients.
"""

import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import MesherConfig
from edge.errors import InferenceError
from edge.native_stderr import silenced
from edge.records import Face, Frame, HeadPose

_log = logging.getLogger(__name__)

_BORDER = 0.25
"""A still that its face fills gets this share of its size added on every side."""
_MIN_STILL_PX = 256
"""A smaller still is enlarged to this: BlazeFace saw no 48-pixel pictures in training."""


class MediaPipeMesher:
    """Follows faces with FaceLandmarker in VIDEO mode; cut frames are detected afresh.

    The landmarker wants strictly rising whole milliseconds and never recovers from a stamp that
    does not rise (mediapipe#2983), so stamps are made to rise here, and after any error it is made
    anew.
    """

    def __init__(self, model: Path, config: MesherConfig) -> None:
        """Load the library and the model.

        Args:
            model: ``face_landmarker.task``.
            config: thresholds and the most faces to look for.

        Raises:
            InferenceError: mediapipe is missing, lacks a system library, or refuses the model.
        """
        self._vision = _import_mediapipe()
        self._model = model
        self._config = config
        self._video: Any = None
        self._still: Any = None
        self._last_ms = 0  # stamp 0 is spent on the warm-up
        self._video = self._create("VIDEO")

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the faces of ``frame``; see ``edge.protocols.FaceMesher``."""
        if frame.cut:
            return self._detect_still(frame)
        if self._video is None:
            self._video = self._create("VIDEO")
        self._last_ms = max(self._last_ms + 1, round(frame.t_s * 1000))
        try:
            result = self._video.detect_for_video(self._image(frame.image), self._last_ms)
        except (RuntimeError, ValueError) as error:
            self._forget_video()
            raise InferenceError(
                f"FaceLandmarker failed on frame {frame.index}: {error}"
            ) from error
        return _faces(result, frame.size_hw)

    def close(self) -> None:
        """Release the landmarkers and their threads."""
        for landmarker in (self._video, self._still):
            if landmarker is not None:
                landmarker.close()
        self._video = self._still = None

    def _detect_still(self, frame: Frame) -> Sequence[Face]:
        """Detect in one picture; a second look with a border finds faces that fill theirs."""
        if self._still is None:
            self._still = self._create("IMAGE")
        try:
            result = self._still.detect(self._image(frame.image))
            if result.face_landmarks:
                return _faces(result, frame.size_hw)
            padded, border, scale = _with_border(frame.image)
            result = self._still.detect(self._image(padded))
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"FaceLandmarker failed on {frame.name}: {error}") from error
        height, width = padded.shape[:2]
        return [
            Face.from_points(_shifted(face.points, scale, border), face.blendshapes, face.head_pose)
            for face in _faces(result, (height, width))
        ]

    def _image(self, image: NDArray[np.uint8]) -> Any:
        rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return self._vision.Image(image_format=self._vision.ImageFormat.SRGB, data=rgb)

    def _create(self, mode: str) -> Any:
        vision = self._vision
        config = self._config
        options = vision.FaceLandmarkerOptions(
            base_options=vision.BaseOptions(model_asset_path=str(self._model)),
            running_mode=vision.RunningMode[mode],
            num_faces=config.max_faces,
            min_face_detection_confidence=config.min_detection,
            min_face_presence_confidence=config.min_presence,
            min_tracking_confidence=config.min_tracking,
            output_face_blendshapes=config.blendshapes,
            output_facial_transformation_matrixes=True,
        )
        blank = np.zeros((64, 64, 3), np.uint8)
        try:
            with silenced():
                landmarker = vision.FaceLandmarker.create_from_options(options)
                # The first call loads the inner models, with more chatter.
                if mode == "VIDEO":
                    landmarker.detect_for_video(self._image(blank), 0)
                else:
                    landmarker.detect(self._image(blank))
        except (RuntimeError, ValueError, OSError) as error:
            raise InferenceError(f"{self._model}: FaceLandmarker refuses it ({error})") from error
        return landmarker

    def _forget_video(self) -> None:
        landmarker, self._video = self._video, None
        try:
            landmarker.close()
        except (RuntimeError, ValueError) as error:
            _log.warning("closing the failed landmarker: %s", error)


class _Vision:
    """The names of mediapipe that are used here."""

    def __init__(self) -> None:
        from mediapipe import Image, ImageFormat
        from mediapipe.tasks.python.core.base_options import BaseOptions
        from mediapipe.tasks.python.vision import (
            FaceLandmarker,
            FaceLandmarkerOptions,
            RunningMode,
        )

        self.Image, self.ImageFormat, self.BaseOptions = Image, ImageFormat, BaseOptions
        self.FaceLandmarker, self.FaceLandmarkerOptions = FaceLandmarker, FaceLandmarkerOptions
        self.RunningMode = RunningMode


def _import_mediapipe() -> _Vision:
    try:
        with _unneeded_hidden():
            return _Vision()
    except ImportError as error:
        raise InferenceError(
            f"mediapipe can not be imported ({error}); install it with "
            "`pip install 'edgeemo[mediapipe]'`"
        ) from error
    except OSError as error:  # its shared library lacks one of the system's
        raise InferenceError(
            f"mediapipe's library can not be loaded ({error}); on Debian and Raspberry Pi OS: "
            "`sudo apt-get install libegl1 libgles2`"
        ) from error


@contextmanager
def _unneeded_hidden() -> Iterator[None]:
    """Keep mediapipe from loading two heavy libraries that meshes have no use for.

    TensorFlow, where installed, would be imported for documentation decorators, and matplotlib for
    three-dimensional plots: seconds of start-up and a hundred megabytes. What is already loaded is
    left as it is.
    """
    # None is how Python spells "not there"; its stubs do not know.
    stand_ins: dict[str, Any] = {"tensorflow": None}
    if "matplotlib" not in sys.modules:
        pyplot = ModuleType("matplotlib.pyplot")
        package = ModuleType("matplotlib")
        package.pyplot = pyplot  # type: ignore[attr-defined]
        stand_ins |= {"matplotlib": package, "matplotlib.pyplot": pyplot}
    hidden = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(hidden)
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


def _faces(result: Any, size_hw: tuple[int, int]) -> list[Face]:
    """Turn a FaceLandmarkerResult into faces in pixels of a picture of ``size_hw``."""
    height, width = size_hw
    # z is in units of the picture's width, like x.
    scale = np.array((width, height, width), np.float32)
    faces = []
    for i, landmarks in enumerate(result.face_landmarks):
        points = np.array([(p.x, p.y, p.z) for p in landmarks], np.float32) * scale
        shapes = result.face_blendshapes[i] if result.face_blendshapes else None
        blendshapes = (
            np.array([category.score for category in shapes], np.float32) if shapes else None
        )
        matrices = result.facial_transformation_matrixes
        pose = head_pose(np.asarray(matrices[i])) if matrices else None
        faces.append(Face.from_points(points, blendshapes, pose))
    return faces


def head_pose(matrix: NDArray[np.floating]) -> HeadPose:
    """Return the head's rotation from the face geometry module's ``(4, 4)`` pose matrix.

    The matrix maps the canonical face (x to the picture's right, y up, z to the viewer) into the
    camera's space. It is read as ``R = Ry(yaw) Rx(-pitch) Rz(-roll)``.
    """
    rotation = matrix[:3, :3] / np.linalg.norm(matrix[:3, 0])
    return HeadPose(
        yaw_deg=math.degrees(math.atan2(rotation[0, 2], rotation[2, 2])),
        pitch_deg=math.degrees(math.asin(float(np.clip(rotation[1, 2], -1, 1)))),
        roll_deg=-math.degrees(math.atan2(rotation[1, 0], rotation[1, 1])),
    )


def _with_border(image: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], int, float]:
    """Return the picture with a replicated border and enlarged, the border in px and the scale."""
    border = round(max(image.shape[:2]) * _BORDER)
    padded = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REPLICATE)
    scale = max(1.0, _MIN_STILL_PX / min(padded.shape[:2]))
    if scale > 1:
        padded = cv2.resize(padded, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    return np.asarray(padded, np.uint8), border, scale


def _shifted(points: NDArray[np.float32], scale: float, border: int) -> NDArray[np.float32]:
    moved = points / np.float32(scale)
    moved[:, :2] -= border
    return moved
