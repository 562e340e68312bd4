"""MediaPipe's face models on a TFLite runtime: meshes with numpy, OpenCV and no MediaPipe.

The steps are those of MediaPipe's FaceLandmarker graph, each in a module of its own: ``detector``
finds a face, ``roi`` says where to cut it out, ``crop`` cuts, ``landmarks`` gives 478 points,
``smoothing``, ``blendshapes`` and ``geometry`` refine, and ``mesher`` follows faces through time.
"""

from edge.stages.mesh.litert.mesher import LitertMesher

__all__ = ["LitertMesher"]
