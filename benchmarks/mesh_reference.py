"""What MediaPipe says about the astronaut photo: the reference of ``tests/edge``.

    python benchmarks/mesh_reference.py tests/edge/data/astronaut_mesh.npz

Needs the extra ``[mediapipe]``; the tests that read the file do not. Written once, with mediapipe
1.2.2 on x86-64: FaceLandmarker in IMAGE mode, one face, default thresholds.
"""

import argparse
from pathlib import Path

import cv2
import mediapipe
import numpy as np
from mediapipe.tasks.python.core.base_options import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

from edge.assets.store import ASTRONAUT, FACE_LANDMARKER, asset_path


def main() -> None:
    """Detect and save points ``(478, 3)`` in pixels, blendshapes ``(52,)``, pose ``(4, 4)``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    options = parser.parse_args()

    photo = cv2.imread(str(asset_path(ASTRONAUT)), cv2.IMREAD_COLOR_RGB)
    landmarker = FaceLandmarker.create_from_options(
        FaceLandmarkerOptions(
            base_options=BaseOptions(model_asset_path=str(asset_path(FACE_LANDMARKER))),
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
    )
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=photo)
    result = landmarker.detect(image)
    landmarker.close()
    height, width = photo.shape[:2]
    points = np.array([(p.x * width, p.y * height, p.z * width) for p in result.face_landmarks[0]])
    np.savez_compressed(
        options.out,
        points=points.astype(np.float32),
        blendshapes=np.array([shape.score for shape in result.face_blendshapes[0]], np.float32),
        pose=np.asarray(result.facial_transformation_matrixes[0], np.float32),
    )
    print(f"{options.out}: {options.out.stat().st_size} bytes, mediapipe {mediapipe.__version__}")


if __name__ == "__main__":
    main()
