"""From a face's pose matrix to the angles of the head."""

import math

import numpy as np
from numpy.typing import NDArray

from edge.records import HeadPose


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
