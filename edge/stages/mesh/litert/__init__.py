"""MediaPipe's face models on a TFLite runtime: meshes with numpy, OpenCV and no MediaPipe.

The steps are those of MediaPipe's FaceLandmarker graph, each in a module of its own: ``detector``
finds a face, ``second_look`` sees to turned and small ones, ``roi`` cuts it out, ``landmarks``
gives 478 points and steadies them, ``geometry`` says how the head is held, and ``mesher`` follows
faces through time.
"""

from edge.stages.mesh.litert.mesher import LitertMesher

__all__ = ["LitertMesher"]
