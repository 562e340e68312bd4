"""The analyzer: pictures, films and cameras in, frames with faces out."""

import os
import threading
import weakref
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge import records
from edge.config import Config, MesherKind, Reach, load_config, override
from edge.contract.align import Template
from edge.errors import ConfigError, EdgeEmoError
from edge.protocols import Classifier
from edge.records import EmotionEstimate, FrameResult
from edge.runtime.build import build_runtime, compose_pipeline, open_model, open_pipeline
from edge.runtime.pipeline import Pipeline
from edge.service.daemon import Service
from edge.service.session import reporter_for
from edgeemo.arguments import check_count
from edgeemo.frames import Frames
from edgeemo.pictures import Loaded, Source, each, load
from edgeemo.results import Failure, Frame


class Analyzer:
    """Finds faces in pictures, films and live sources, and names their emotions.

    ::

        with edgeemo.Analyzer(max_faces=2) as analyzer:
            frame = analyzer.image("photo.jpg")
            for frame in analyzer.video("film.mp4"):
                print(frame.t_s, [face.label for face in frame])

    It runs the same stages as `edgeemo run`, with the same configuration; nothing is written and
    no picture kept unless it is asked for.

    Any thread may call it: pictures are analyzed one at a time, and each ``video()`` has models of
    its own, so that several can go on beside each other. To use several processor cores, make one
    analyzer for each process. Closing it (or leaving its ``with`` block) closes what is still open
    and releases the models.

    Attributes:
        config: all of its settings.
        labels: the emotions that the model tells apart, in the order of its scores; of an own
            classifier what its attribute ``labels`` says, or nothing.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | Classifier | None = None,
        *,
        max_faces: int | None = None,
        tau: float | None = None,
        reach: Reach | None = None,
        mesher: MesherKind | None = None,
        blendshapes: bool = False,
        config: str | os.PathLike[str] | Config | None = None,
    ) -> None:
        """Check the settings and the model; the rest is loaded when it is first needed.

        Args:
            model: a bundle directory made by `edgeemo convert`, an object with the methods of
                ``edge.protocols.Classifier``, or None for the packaged model.
            max_faces: the most faces to look for in a frame, 1 to 100.
            tau: how much of the training samples' prior is taken away, 0 to 2: the more, the more
                often rare emotions are named. By default as the bundle says.
            reach: ``far`` finds smaller faces, and takes longer.
            mesher: what finds the faces, ``litert`` or ``mediapipe``.
            blendshapes: compute MediaPipe's 52 coefficients, too.
            config: a TOML file, as `edgeemo run --config` takes it, or a ``Config``; the other
                arguments stand above it.

        Raises:
            ConfigError: a setting is wrong.
            BundleError: ``model`` is no bundle, or a damaged one.
        """
        bundle = os.fsdecode(model) if isinstance(model, str | os.PathLike) else None
        self._own = None if isinstance(model, str | os.PathLike) else _checked(model)
        self._classifier = None if self._own is None else _Lent(self._own)
        self.config = _settings(config, bundle, max_faces, tau, reach, mesher, blendshapes)
        self.labels: tuple[str, ...] = (
            open_model(self.config.model).metadata.labels
            if self._classifier is None
            else self._classifier.labels
        )
        self._lock = threading.Lock()
        self._pipeline: Pipeline | None = None
        self._videos: weakref.WeakSet[Frames[Frame]] = weakref.WeakSet()
        self._is_closed = False

    def image(self, picture: Source, *, rgb: bool = False) -> Frame:
        """Find the faces of one picture.

        A picture in which no face is found is looked at again with a border added, as faces that
        fill their picture need it.

        Args:
            picture: a path, the bytes of a file (EXIF's orientation is respected), or an array:
                uint8 ``(H, W, 3)`` in BGR as OpenCV and picamera2's "RGB888" have it, ``(H, W, 4)``
                or grey ``(H, W)``. An array is not copied: do not change it while ``draw()`` is
                still to come.
            rgb: an array's first channel is red, as Pillow and matplotlib have it.

        Returns:
            The frame; iterating gives its faces.

        Raises:
            PictureError: not a picture that can be read.
            InferenceError: a model failed.
            AssetError: the face model is not there yet and could not be fetched.
        """
        return self._still(load(picture, rgb=rgb), 0)

    def images(
        self,
        pictures: str | os.PathLike[str] | Iterable[Source],
        *,
        rgb: bool = False,
        progress: bool = False,
    ) -> Frames[Frame | Failure]:
        """Find the faces of many pictures, one after another and in order.

        Args:
            pictures: paths, bytes or arrays as ``image`` takes them, or a folder's path.
            rgb: the arrays' first channel is red.
            progress: show a progress bar on the standard error.

        Returns:
            An iterator of a ``Frame`` for each picture, or a ``Failure``, which is false and has no
            faces, for one that cannot be read.

        Raises:
            ConfigError: a path that is no folder.
            InferenceError: a model failed.
        """
        chosen = each(pictures)
        if progress:
            from edgeemo.progress import shown

            chosen = shown(chosen, pictures)
        return Frames(self._each(chosen, rgb=rgb), ExitStack(), self.labels)

    def video(
        self,
        source: str | os.PathLike[str] | int,
        *,
        log_dir: str | os.PathLike[str] | None = None,
        max_frames: int | None = None,
        every_n: int | None = None,
        realtime: bool = False,
    ) -> Frames[Frame]:
        """Find and follow the faces of a film, a camera, a stream or a folder of pictures.

        Args:
            source: whatever `edgeemo run --source` takes: a camera's index or device, a film, a
                folder, ``rtsp://...``, ``picamera``, ``demo``.
            log_dir: also write a log there, as `edgeemo run --log-dir` does, of every frame.
            max_frames: stop after so many.
            every_n: look at every n-th frame only.
            realtime: give a recording's frames when a camera would.

        Returns:
            An iterator of frames, opened; it is closed at its end, by an error, Ctrl-C or
            ``break``.

        Raises:
            ConfigError: nothing that edgeemo knows as a source, an argument that is out of range,
                or the analyzer is closed.
            CameraError: it cannot be opened, or fails on the way.
            InferenceError: a model failed.
            AssetError: the face model is not there yet and could not be fetched.
        """
        self._check_open()
        check_count("max_frames", max_frames)
        spec = os.fsdecode(source) if isinstance(source, str | os.PathLike) else str(source)
        config = override(
            self.config,
            source=override(
                self.config.source, spec=spec, every_n=every_n, realtime=realtime or None
            ),
            log=override(self.config.log, dir=None if log_dir is None else os.fsdecode(log_dir)),
        )
        with ExitStack() as stack:
            parts = build_runtime(
                config, stack, keep_records=log_dir is not None, classifier=self._classifier
            )
            service = Service(parts.source, parts.pipeline, parts.sink, reporter_for(parts))
            results = service.results(parts.facts, max_frames)
            frames = Frames(_frames(results, spec), stack.pop_all(), self.labels)
        self._videos.add(frames)
        return frames

    def close(self) -> None:
        """Close what is still open and release the models; harmless when repeated."""
        self._is_closed = True
        for frames in list(self._videos):
            frames.close()
        with self._lock:
            if self._pipeline is not None:
                self._pipeline.close()
                self._pipeline = None
        if self._own is not None:
            self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Analyzer cannot be sent to another process: make one in each, or let "
            "edgeemo.analyze do it"
        )

    def _each(
        self, pictures: Iterable[Source], *, rgb: bool
    ) -> Generator[Frame | Failure, None, None]:
        for index, picture in enumerate(pictures):
            try:
                loaded = load(picture, rgb=rgb and isinstance(picture, np.ndarray))
            except EdgeEmoError as error:
                yield Failure(_name(picture) or f"picture {index}", index, error)
                continue
            yield self._still(loaded, index)

    def _still(self, loaded: Loaded, index: int) -> Frame:
        self._check_open()
        moment = loaded.captured_at
        frame = records.Frame(
            loaded.image, index, float(index), moment, starts_new_clip=True, name=loaded.name
        )
        with self._lock:
            pipeline = self._pipeline = self._pipeline or self._open_pipeline()
            result = pipeline.process(frame)
            pipeline.finish()  # nothing of it is remembered
        return Frame(result, loaded.file)

    def _open_pipeline(self) -> Pipeline:
        if self._classifier is not None:
            return compose_pipeline(self.config, self._classifier)
        return open_pipeline(self.config, open_model(self.config.model))

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConfigError("the analyzer is closed; make a new one")


def _name(picture: Source) -> str | None:
    return os.fsdecode(picture) if isinstance(picture, str | os.PathLike) else None


def _checked(model: Classifier | None) -> Classifier | None:
    wanted = ("template", "classify", "close")
    if model is not None and (lacks := [name for name in wanted if not hasattr(model, name)]):
        raise ConfigError(
            f"model: expected the path of a bundle, or an object with {', '.join(wanted)}, got "
            f"{type(model).__name__}, which has no {', '.join(lacks)}"
        )
    return model


class _Lent:
    """A user's classifier in a pipeline, which must not close it: it is the user's."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self.name = type(classifier).__name__
        self.labels = tuple(getattr(classifier, "labels", ()))

    @property
    def template(self) -> Template:
        return self._classifier.template

    def classify(self, crop: NDArray[np.uint8], face: records.Face) -> EmotionEstimate:
        return self._classifier.classify(crop, face)

    def close(self) -> None:
        """Do nothing: ``Analyzer.close`` does."""


def _settings(
    config: str | os.PathLike[str] | Config | None,
    bundle: str | None,
    max_faces: int | None,
    tau: float | None,
    reach: Reach | None,
    mesher: MesherKind | None,
    blendshapes: bool,
) -> Config:
    """Return the configuration; every frame is given out, so that in every one faces are read."""
    base = _config_of(config)
    details = tuple({*base.log.details, "blendshapes"}) if blendshapes else None
    given: dict[str, Any] = {
        "model": override(base.model, bundle=bundle, tau=tau),
        "mesher": override(
            base.mesher,
            max_faces=max_faces,
            reach=reach,
            kind=mesher,
            blendshapes=blendshapes or None,
        ),
        "log": override(base.log, emit="frame", details=details),
    }
    return msgspec.structs.replace(base, **given)


def _config_of(config: object) -> Config:
    if config is None:
        return Config()
    if isinstance(config, str | os.PathLike):
        return load_config(Path(os.fsdecode(config)))
    if isinstance(config, Config):
        return config
    got = type(config).__name__
    raise ConfigError(f"config: expected the path of a TOML file or a Config, got {got}")


def _frames(results: Generator[FrameResult, None, None], spec: str) -> Generator[Frame, None, None]:
    try:
        for result in results:
            name = result.frame.name
            is_inside = name is not None and Path(spec).is_dir()
            yield Frame(result, str(Path(spec, name)) if is_inside and name else spec)
            del result  # or two pictures would be in memory while the next one is made
    finally:
        results.close()
