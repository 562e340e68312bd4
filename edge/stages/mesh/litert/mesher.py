"""Following faces from frame to frame, as MediaPipe's FaceLandmarker does."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.config import MesherConfig
from edge.records import Face, Frame, HeadPose, bounding_box
from edge.stages.mesh.litert.detector import FaceDetector, Sighting
from edge.stages.mesh.litert.geometry import CanonicalFace, pose_matrix
from edge.stages.mesh.litert.landmarks import BlendshapeModel, LandmarkModel, Mesh, OneEuroFilter
from edge.stages.mesh.litert.roi import Roi, around_points, overlap, overlaps_any
from edge.stages.mesh.litert.second_look import (
    FIRST_SCORE,
    PROPOSAL_SCORE,
    PROPOSALS,
    SURE_PRESENCE,
    SURE_SCORE,
    agree,
    is_known,
    tile_around,
    tiles,
    verify,
)
from edge.stages.mesh.litert.taskfile import read_task
from edge.system import machine

SEARCH_INTERVAL_S: Final = 0.25
"""How often the detector looks for further faces while one is followed and a place is free."""


def is_in_half_precision(config: MesherConfig) -> bool:
    """Tell whether this machine computes meshes in half precision."""
    return config.precision == "auto" and machine.computes_in_half_precision()


_Look = Callable[[NDArray[np.uint8], Roi], Mesh | None]
_Region = tuple[Roi, OneEuroFilter]
"""Where to look for a face, and what smooths it if it is there."""


class _Followed(msgspec.Struct, frozen=True, eq=False):
    """A face that is followed.

    Attributes:
        points: its mesh in the last frame, as the model gave it.
        roi: where to find it in the next one; never from smoothed points, which lag.
        smoother: what makes its points steady.
    """

    points: NDArray[np.float32]
    roi: Roi
    smoother: OneEuroFilter


class LitertMesher:
    """Finds and follows faces with MediaPipe's models on a TFLite runtime; a ``FaceMesher``.

    A face is followed by its own mesh: the region for the next frame comes from the points of this
    one. The detector runs when no face is followed, at once when one is lost, and every
    ``search_interval_s`` while a place is free. With ``reach = "far"`` such a search also goes
    through tiles of the picture (see ``second_look``) when places are left, at most every
    ``search_interval_s``, and otherwise through one around each face that is lost: it adds small
    faces to what is found without, and takes none away.

    A newly detected face is turned to where it is surely upright (see ``second_look``), or not
    reported; MediaPipe takes it as nearly upright.

    Otherwise MediaPipe does just this where it looks for one face. Where it looks for several and a
    place is free, it runs the detector in every frame, cuts out faces by the detector's trembling
    boxes rather than by their meshes, and does not smooth. ``as_mediapipe`` does so too, to prove
    parity.
    """

    def __init__(
        self,
        model: Path,
        config: MesherConfig,
        *,
        num_threads: int = 1,
        search_interval_s: float = SEARCH_INTERVAL_S,
        as_mediapipe: bool = False,
    ) -> None:
        """Load the models.

        Args:
            model: ``face_landmarker.task``.
            config: thresholds and the most faces to look for. ``min_tracking`` is how much two
                regions must overlap to be the same face.
            num_threads: CPU threads that one inference may use.
            search_interval_s: seconds of frame time between searches for further faces.
            as_mediapipe: for several faces, use MediaPipe's policy instead of this class's.

        Raises:
            InferenceError: no runtime, or the file is not a face landmarker's.
        """
        self._config = config
        self._by_detector = as_mediapipe and config.max_faces > 1
        self._search_interval_s = 0.0 if self._by_detector else search_interval_s
        self._idle_interval_s = 1 / config.idle_fps if config.idle_fps > 0 else 0.0
        self._model = model
        self.use_threads(num_threads)
        self._followed: list[_Followed] = []
        self._size_hw = (0, 0)
        self._searched_s = -math.inf
        self._tiled_s = -math.inf

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the faces of ``frame``; see ``edge.protocols.FaceMesher``."""
        if frame.starts_new_clip:
            from edge.stages.mesh.stills import look_twice

            self._forget()
            faces = look_twice(frame.image, self._look)
            if self._config.reach == "far":
                known = [around_points(face.points) for face in faces]
                far = self._far(frame.image, known, tiles(frame.size_hw))
                faces = [*faces, *(self._face(face.points, frame.size_hw) for face in far)]
            return faces
        if frame.size_hw != self._size_hw:
            self._forget()
            self._size_hw = frame.size_hw
        self._followed = self._follow(frame)
        return [self._face(self._steady(face, frame.t_s), frame.size_hw) for face in self._followed]

    def use_threads(self, count: int) -> None:
        """Load the models anew, to run on so many threads; the faces stay.

        Raises:
            InferenceError: as at first.
        """
        config = self._config
        models = read_task(self._model, blendshapes=config.blendshapes)
        if is_in_half_precision(config):
            models = models.in_half_precision()
        self._detector = FaceDetector(models.detector, config.min_detection, count)
        self._landmarks = LandmarkModel(models.landmarks, count)
        self._blendshapes = (
            BlendshapeModel(models.blendshapes, count) if config.blendshapes else None
        )
        self._canonical = CanonicalFace.parse(models.geometry)

    def close(self) -> None:
        """Forget the faces; the models go with the object."""
        self._forget()

    def _forget(self) -> None:
        self._followed = []
        self._searched_s = self._tiled_s = -math.inf

    def _follow(self, frame: Frame) -> list[_Followed]:
        """Find the followed faces again, and new ones when it is time to look for them."""
        image, followed = frame.image, self._followed
        due = self._is_search_due(frame.t_s)
        if due and self._by_detector:
            return self._distinct(self._meshes(image, self._corrected(image, followed)))
        found = self._meshes(image, [(face.roi, face.smoother) for face in followed])
        if due or len(found) < len(followed):
            self._searched_s = frame.t_s
            found += self._meshes(image, self._new_regions(image, found), self._verified)
            if self._config.reach == "far":
                known = [face.roi for face in found]
                found += self._far(image, known, self._tiles(frame, known))
        return self._distinct(found)

    def _is_search_due(self, t_s: float) -> bool:
        if len(self._followed) >= self._config.max_faces:
            return False
        interval_s = self._search_interval_s if self._followed else self._idle_interval_s
        return not 0 <= t_s - self._searched_s < interval_s

    def _tiles(self, frame: Frame, found: Sequence[Roi]) -> list[Roi]:
        """Return where to look closer: everywhere if it is time to, else around the lost faces."""
        if not 0 <= frame.t_s - self._tiled_s < self._search_interval_s:
            self._tiled_s = frame.t_s
            return tiles(frame.size_hw)
        lost = (face.roi for face in self._followed)
        return [tile_around(roi, frame.size_hw) for roi in lost if not is_known(roi, found, 0.0)]

    def _far(
        self, image: NDArray[np.uint8], known: Sequence[Roi], looked_at: Sequence[Roi]
    ) -> list[_Followed]:
        """Look for faces in tiles, other than the known ones, as many as there are free places."""
        places, threshold = self._config.max_faces, self._config.min_tracking
        if len(known) >= places or not looked_at:
            return []
        least = min(PROPOSAL_SCORE, self._config.min_detection)
        proposals = self._detector.propose(image, looked_at, least)
        regions, found = list(known), []
        for roi in [roi for roi in proposals if not is_known(roi, known, threshold)][:PROPOSALS]:
            if len(regions) == places:
                break
            for face in self._meshes(image, [(roi, OneEuroFilter())], self._surely):
                if not is_known(face.roi, regions, threshold):
                    regions.append(face.roi)
                    found.append(face)
        return found

    def _new_regions(self, image: NDArray[np.uint8], found: Sequence[_Followed]) -> list[_Region]:
        """Detect faces other than those found, as many as there are free places."""
        regions = [face.roi for face in found]
        for roi in self._detector.detect(image):
            if not overlaps_any(roi, regions, self._config.min_tracking):
                regions.append(roi)
        return [(roi, OneEuroFilter()) for roi in regions[len(found) : self._config.max_faces]]

    def _corrected(self, image: NDArray[np.uint8], followed: Sequence[_Followed]) -> list[_Region]:
        """Detect faces; where one overlaps a followed face, its region is taken instead."""
        fresh = self._detector.detect(image)[: self._config.max_faces]
        regions = [face.roi for face in followed]
        for roi in fresh:
            regions = [old for old in regions if overlap(old, roi) <= self._config.min_tracking]
            regions.append(roi)
        return [(roi, OneEuroFilter()) for roi in regions[: self._config.max_faces]]

    def _verified(self, image: NDArray[np.uint8], roi: Roi) -> Mesh | None:
        """Return the mesh in a detected region, turned as the face is; None where that is unsure.

        MediaPipe takes the region as it is, and meshes faces turned by 60 degrees and more wrongly.
        """
        return self._agreed(image, verify(self._detector, image, roi))

    def _surely(self, image: NDArray[np.uint8], roi: Roi) -> Mesh | None:
        """Return the mesh in a proposed region, if the detector, looking closer, is sure of it."""
        sighting = verify(self._detector, image, roi, FIRST_SCORE)
        least = max(SURE_SCORE, self._config.min_detection)
        if sighting is None or sighting.score < least:
            return None
        mesh = self._agreed(image, sighting)
        return mesh if mesh is not None and mesh.presence > SURE_PRESENCE else None

    def _agreed(self, image: NDArray[np.uint8], sighting: Sighting | None) -> Mesh | None:
        """Return the mesh of a sighted face; None where both differ about where it is."""
        if sighting is None:
            return None
        mesh = self._landmarks.mesh(image, sighting.roi)
        return mesh if agree(mesh.points, sighting) else None

    def _meshes(
        self, image: NDArray[np.uint8], regions: Sequence[_Region], look: _Look | None = None
    ) -> list[_Followed]:
        """Return the faces in those regions that hold one."""
        look = look or self._landmarks.mesh
        found = []
        for roi, smoother in regions:
            mesh = look(image, roi)
            if mesh is None or mesh.presence <= self._config.min_presence or not mesh.is_finite():
                continue
            following = around_points(mesh.points)
            if following.is_usable():
                found.append(_Followed(mesh.points, following, smoother))
        return found

    def _distinct(self, found: Sequence[_Followed]) -> list[_Followed]:
        """Drop faces that two regions ran together on; the one followed for longer stays."""
        kept: list[_Followed] = []
        for face in found:
            others = (other.roi for other in kept)
            if not overlaps_any(face.roi, others, self._config.min_tracking):
                kept.append(face)
        return kept

    def _steady(self, face: _Followed, t_s: float) -> NDArray[np.float32]:
        return face.points if self._by_detector else face.smoother.apply(face.points, t_s)

    def _look(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find faces in a picture without a past."""
        found = self._distinct(self._meshes(image, self._new_regions(image, ()), self._verified))
        size_hw = image.shape[0], image.shape[1]
        return [self._face(face.points, size_hw) for face in found]

    def _face(self, points: NDArray[np.float32], size_hw: tuple[int, int]) -> Face:
        blendshapes = self._blendshapes.coefficients(points) if self._blendshapes else None
        matrix = pose_matrix(self._canonical, points, size_hw)
        box = np.array(bounding_box(points), np.float32)
        return Face(
            points, box, blendshapes, None if matrix is None else HeadPose.from_matrix(matrix)
        )
