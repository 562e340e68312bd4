"""MediaPipe's FaceLandmarker behind the mesher protocol.

Its models (model cards, Google 2022): BlazeFace short range finds the face, the attention mesh
gives 478 points, MLP-Mixer blendshapes 52 coefficients.
"""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.config import MesherConfig
from edge.errors import InferenceError, MissingExtraError
from edge.records import Face, Frame, HeadPose
from edge.stages.mesh.stills import look_twice
from edge.system.diagnostics import hidden, silenced

_log = logging.getLogger(__name__)


class MediaPipeMesher:
    """Follows faces with FaceLandmarker in VIDEO mode; a new clip is detected afresh.

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
        if frame.starts_new_clip:
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
        """Detect in one picture, without regard to the ones before."""
        if self._still is None:
            self._still = self._create("IMAGE")
        try:
            return look_twice(frame.image, self._look)
        except (RuntimeError, ValueError) as error:
            raise InferenceError(f"FaceLandmarker failed on {frame.name}: {error}") from error

    def _look(self, image: NDArray[np.uint8]) -> Sequence[Face]:
        result = self._still.detect(self._image(image))
        return _faces(result, (image.shape[0], image.shape[1]))

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
        # mediapipe wants TensorFlow, where installed, for documentation decorators, and matplotlib
        # for plots: seconds of start-up and a hundred megabytes.
        with hidden("tensorflow", stand_ins=_plotting()):
            return _Vision()
    except ImportError as error:
        raise MissingExtraError(
            f"mediapipe cannot be imported ({error}); install it with "
            "`pip install 'edgeemo[mediapipe]'`"
        ) from error
    except OSError as error:  # its shared library lacks one of the system's
        raise InferenceError(
            f"mediapipe's library cannot be loaded ({error}); on Debian and Raspberry Pi OS: "
            "`sudo apt-get install libegl1 libgles2`"
        ) from error


def _plotting() -> dict[str, ModuleType]:
    """Return an empty matplotlib, unless the real one is loaded."""
    if "matplotlib" in sys.modules:
        return {}
    package, pyplot = ModuleType("matplotlib"), ModuleType("matplotlib.pyplot")
    package.pyplot = pyplot  # type: ignore[attr-defined]
    return {"matplotlib": package, "matplotlib.pyplot": pyplot}


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
        pose = HeadPose.from_matrix(np.asarray(matrices[i])) if matrices else None
        faces.append(Face.from_points(points, blendshapes, pose))
    return faces
