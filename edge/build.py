"""The composition root: configuration in, working parts out. The one place that knows adapters."""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edge import machine
from edge._version import __version__
from edge.assets import FACE_LANDMARKER, asset_path
from edge.config import Config, MesherConfig, MesherKind, ModelConfig, SourceConfig
from edge.contract.bundle import Bundle, open_bundle
from edge.errors import InferenceError
from edge.interpreter import runtime_name
from edge.pipeline import Pipeline
from edge.protocols import FaceMesher, FrameSource
from edge.sinks.jsonl import JsonlSink
from edge.sinks.nowhere import Nowhere
from edge.sources.opencv import without_secrets
from edge.sources.paced import Paced
from edge.sources.select import LIVE, SourceOptions, open_source, source_kind
from edge.stages.classify import TfliteClassifier
from edge.stages.mesh.litert import LitertMesher
from edge.stages.smooth import EmotionSmoother
from edge.stages.track import FaceTracker

DEFAULT_BUNDLE = Path(__file__).parent / "models" / "default"
"""The packaged model, trained by this project."""


@dataclass(frozen=True, slots=True)
class Parts:
    """An opened source, pipeline and sink, and the facts that ``service_started`` tells."""

    source: FrameSource
    pipeline: Pipeline
    sink: JsonlSink | Nowhere
    facts: dict[str, Any]
    session: str
    device: str
    labels: tuple[str, ...]


def open_parts(
    config: Config, stack: ExitStack, *, to_watch: bool = False, keep_records: bool = True
) -> Parts:
    """Open everything a run needs; ``stack`` closes it, also when this fails half-way.

    What fails fast and needs no hardware comes first, the camera last.

    Args:
        config: what to open.
        stack: closes it.
        to_watch: somebody looks on: recordings play at their own speed, the demo does not end.
        keep_records: without, nothing is written.

    Raises:
        EdgeEmoError: one of the parts can not be had; its own message tells.
    """
    bundle = open_model(config.model)
    sink = JsonlSink(Path(config.log.dir), config.log.fsync) if keep_records else Nowhere()
    stack.callback(sink.close)
    pipeline = open_pipeline(config, bundle)
    stack.callback(pipeline.close)
    source = _open_source(config.source, to_watch=to_watch)
    stack.callback(source.close)
    facts = {
        "version": __version__,
        "source": _shown(config.source.spec),
        "model": bundle.metadata.name,
        "model_sha256": bundle.sha256["model.tflite"],
        "mesher": resolve_mesher(config.mesher.kind),
        "runtime": runtime_name(),
        "labels": bundle.metadata.labels,
        "recovered_bytes": sink.recovered_bytes,
    }
    device = config.log.device or os.uname().nodename
    return Parts(source, pipeline, sink, facts, os.urandom(6).hex(), device, bundle.metadata.labels)


def _open_source(config: SourceConfig, *, to_watch: bool) -> FrameSource:
    options = SourceOptions(
        size_hw=(config.height, config.width),
        fps=config.fps,
        image_fps=config.image_fps,
        endless=to_watch,
    )
    source = open_source(config.spec, options)
    return Paced(source) if to_watch and source_kind(config.spec) not in LIVE else source


def _shown(spec: str) -> str:
    """Return a source's name as the log may hold it: without a stream's password."""
    return without_secrets(spec) if source_kind(spec) == "stream" else spec


def open_model(config: ModelConfig) -> Bundle:
    """Open and verify the configured bundle, or the packaged one."""
    return open_bundle(Path(config.bundle) if config.bundle else DEFAULT_BUNDLE)


def open_pipeline(config: Config, bundle: Bundle) -> Pipeline:
    """Compose the stages."""
    tracker, smoothing = config.tracker, config.smoothing
    classifier = TfliteClassifier(bundle, num_threads=config.model.threads)
    mesher = config.mesher
    if bundle.metadata.mesh_input is not None:
        mesher = msgspec.structs.replace(mesher, blendshapes=True)
    return Pipeline(
        open_mesher(mesher),
        FaceTracker(tracker.max_gap_s, tracker.confirm_hits, tracker.max_jump),
        classifier,
        EmotionSmoother(
            smoothing.half_life_s, smoothing.dwell_s, smoothing.margin, smoothing.min_confidence
        ),
    )


def resolve_mesher(kind: MesherKind) -> MesherKind:
    """Return the mesher that ``kind`` means on this machine.

    Raises:
        InferenceError: it can not run on this processor.
    """
    if kind != "mediapipe":
        return "litert"
    if machine.lacks_lse_atomics():
        raise InferenceError(
            "mediapipe's wheels abort on this processor: they need LSE atomics, which a Raspberry "
            "Pi 5 has and a Pi 4, Pi 3 or Zero 2 W has not; use --mesher litert"
        )
    return kind


def open_mesher(config: MesherConfig) -> FaceMesher:
    """Open the configured mesher with the pinned face model."""
    if resolve_mesher(config.kind) == "mediapipe":
        from edge.stages.mesh.mediapipe import MediaPipeMesher

        return MediaPipeMesher(asset_path(FACE_LANDMARKER), config)
    return LitertMesher(asset_path(FACE_LANDMARKER), config)
