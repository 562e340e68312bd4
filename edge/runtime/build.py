"""The composition root: configuration in, working parts out. The one place that knows adapters."""

import logging
import os
import platform
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from edge import __version__
from edge.assets.store import FACE_LANDMARKER, asset_path
from edge.config import (
    Config,
    LiveConfig,
    MesherConfig,
    MesherKind,
    MetricsConfig,
    ModelConfig,
)
from edge.contract.bundle import Bundle, bundle_path, open_bundle
from edge.contract.decision import Decision
from edge.errors import ConfigError, InferenceError
from edge.inference.interpreter import runtime_name
from edge.protocols import Classifier, CountingSink, FaceMesher, FrameSource, Sink
from edge.runtime.pipeline import Pipeline
from edge.sinks.jsonl import JsonlSink
from edge.sources.select import begin_source, open_source, source_kind
from edge.stages.classify import TfliteClassifier
from edge.stages.mesh.litert import LitertMesher
from edge.stages.mesh.sparing import SparingMesher
from edge.stages.quality import FaceQualityFilter
from edge.stages.smooth import EmotionSmoother
from edge.stages.tracking import FaceTracker
from edge.system import machine
from edge.text import escaped

if TYPE_CHECKING:
    from edge.stages.baseline import TrackBaseline

_log = logging.getLogger(__name__)


class Runtime(msgspec.Struct, frozen=True):
    """An opened source, pipeline and sink, and the facts that ``service_started`` tells.

    Attributes:
        config: what they were made from.
        sink: takes the records, for the log and whatever else is configured.
        log: the log directory by itself.
        held: closes the pipeline, and holds the only other reference to it.
    """

    config: Config
    source: FrameSource
    pipeline: Pipeline
    sink: CountingSink
    log: JsonlSink | None
    facts: dict[str, Any]
    session: str
    device: str
    labels: tuple[str, ...]
    held: ExitStack


def build_runtime(
    config: Config,
    stack: ExitStack,
    *,
    is_managed: bool = False,
    keep_records: bool = True,
    classifier: Classifier | None = None,
) -> Runtime:
    """Open everything a run needs; ``stack`` closes it, also when this fails half-way.

    What fails fast and needs no hardware comes first. The log comes last: what cannot run leaves
    none behind.

    Args:
        config: what to open.
        stack: closes it.
        is_managed: a service manager started us.
        keep_records: without, nothing is written.
        classifier: takes the place of a bundle's model; the pipeline closes it.

    Raises:
        EdgeEmoError: one of the parts cannot be had; its own message tells.
    """
    # A slip of the pen is told before any model is loaded; a camera's libraries load beside it.
    begun = begin_source(config.source)
    if begun is not None:
        stack.callback(begun.close)
    if classifier is None:
        bundle = open_model(config.model)
        pipeline, model = open_pipeline(config, bundle), _model_facts(bundle)
    else:
        pipeline, model = compose_pipeline(config, classifier), _own_facts(classifier)
    held = stack.enter_context(ExitStack())
    held.callback(pipeline.close)
    source = open_source(config.source, begun, is_managed=is_managed)
    stack.callback(source.close)
    log = JsonlSink(Path(config.log.dir), config.log) if keep_records else None
    if log is not None:
        stack.callback(log.close)
    sink = open_sink(config, log)
    stack.callback(sink.close)
    return Runtime(
        config=config,
        source=source,
        pipeline=pipeline,
        sink=sink,
        log=log,
        facts=_facts(config, model, log.recovered_bytes if log is not None else 0),
        session=_new_session(),
        device=_device(config),
        labels=model["labels"],
        held=held,
    )


def reload(parts: Runtime, config: Config) -> Runtime:
    """Return parts as ``config`` has them, in a new session, with the same source and sink.

    What only a restart can change is told and left as it was. The caller closes the pipeline that
    ``parts`` had.

    Raises:
        EdgeEmoError: the model cannot be had; nothing has changed.
    """
    effective = keep_what_needs_a_restart(parts.config, config)
    bundle = open_model(effective.model)
    pipeline = open_pipeline(effective, bundle, fetch=False, before=parts.pipeline)
    new = msgspec.structs.replace(
        parts,
        config=effective,
        pipeline=pipeline,
        facts=_facts(effective, _model_facts(bundle)),
        session=_new_session(),
        device=_device(effective),
        labels=bundle.metadata.labels,
    )
    # Nothing has changed until here, where nothing can fail any more.
    if pipeline.mesher is parts.pipeline.mesher:
        parts.pipeline.keeps_mesher = False
    parts.held.pop_all()  # lets go of the old pipeline, and with it of its models' memory
    parts.held.callback(pipeline.close)
    return new


_RENEWABLE_LOG_KEYS: Final = ("device", "emit", "interval_s", "health_interval_s", "details")


def keep_what_needs_a_restart(old: Config, new: Config) -> Config:
    """Return ``new`` with what only a start can apply as in ``old``; its change is told."""
    applied = {key: getattr(new.log, key) for key in _RENEWABLE_LOG_KEYS}
    log = msgspec.structs.replace(old.log, **applied)
    for table, stays, asked in (
        ("source", old.source, new.source),
        ("log", log, new.log),
        ("metrics", old.metrics, new.metrics),
        ("live", old.live, new.live),
    ):
        if changed := [key for key in asked.__struct_fields__ if _differ(stays, asked, key)]:
            names = ", ".join(f"{table}.{key}" for key in changed)
            _log.warning("%s: changed, but only a restart can apply it", names)
    return msgspec.structs.replace(
        new, source=old.source, log=log, metrics=old.metrics, live=old.live
    )


def _differ(one: object, other: object, key: str) -> bool:
    return bool(getattr(one, key) != getattr(other, key))


def _facts(config: Config, model: dict[str, Any], recovered_bytes: int = 0) -> dict[str, Any]:
    return {
        "version": __version__,
        "source": shown_source(config.source.spec),
        "mesher": resolve_mesher(config.mesher.kind),
        "runtime": runtime_name(),
        "recovered_bytes": recovered_bytes,
        "study": config.study.id or None,
        "participant": config.study.participant or None,
        "condition": config.study.condition or None,
        **model,
    }


def _model_facts(bundle: Bundle) -> dict[str, Any]:
    calibration = bundle.metadata.decision.calibration
    return {
        "model": bundle.metadata.name,
        "model_sha256": bundle.sha256["model.tflite"],
        "labels": bundle.metadata.labels,
        **({} if calibration is None else {"calibration": calibration.summary()}),
    }


def _own_facts(classifier: Classifier) -> dict[str, Any]:
    """Say what can be said of a classifier that is no bundle's."""
    name = getattr(classifier, "name", type(classifier).__name__)
    labels = tuple(getattr(classifier, "labels", ()))
    return {"model": name, "model_sha256": "", "labels": labels}


def _new_session() -> str:
    return os.urandom(6).hex()


def _device(config: Config) -> str:
    return config.log.device or platform.node()


def shown_source(spec: str) -> str:
    """Return a source's name as the log may hold it: as text, without a stream's password."""
    if source_kind(spec) != "stream":
        return escaped(spec)
    from edge.text import without_secrets

    return without_secrets(spec)


def open_model(config: ModelConfig) -> Bundle:
    """Open and verify the configured bundle, or the packaged one."""
    return open_bundle(bundle_path(Path(config.bundle) if config.bundle else None))


def open_sink(config: Config, log: JsonlSink | None) -> CountingSink:
    """Return the log, or the log and the other sinks that are configured; without a log, none.

    Raises:
        SinkError: one of them cannot be had.
    """
    if log is None:
        from edge.sinks.fan_out import NullSink

        return NullSink()
    metrics = metrics_path(config.metrics)
    if not config.log.also and metrics is None:
        return log
    from edge.sinks.fan_out import MultiSink

    with ExitStack() as opened:
        others: dict[str, Sink] = {}
        for spec in dict.fromkeys(config.log.also):
            others[spec] = _open_other(spec)
            opened.callback(others[spec].close)
        if metrics is not None:
            from edge.sinks.metrics import MetricsSink

            others["metrics"] = MetricsSink(metrics)
        opened.pop_all()
    return MultiSink(log, others)


def metrics_path(config: MetricsConfig) -> Path | None:
    """Return the file for Prometheus; ``auto``: in the folder that systemd gives a service."""
    return _in_runtime_folder(config.textfile, "edgeemo.prom")


def live_path(config: LiveConfig) -> Path | None:
    """Return the socket for watchers; ``auto``: in the folder that systemd gives a service."""
    return _in_runtime_folder(config.socket, "live")


def _in_runtime_folder(asked: str, name: str) -> Path | None:
    if asked != "auto":
        return Path(asked) if asked else None
    folder, _, _ = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")
    return Path(folder) / name if folder else None


def _open_other(spec: str) -> Sink:
    kind, _, path = spec.partition(":")
    if sys.platform == "win32" and kind != "stdout":
        raise ConfigError(f"log.also: {spec} is not for Windows; expected stdout, or nothing")
    if kind == "journald":
        from edge.sinks.journal import JournalSink

        return JournalSink()
    if kind == "unix":
        from edge.sinks.unix_socket import UnixSocketSink

        return UnixSocketSink(Path(path))
    from edge.sinks.stream import FifoSink, StdoutSink

    return FifoSink(Path(path)) if kind == "fifo" else StdoutSink()


def open_pipeline(
    config: Config, bundle: Bundle, *, fetch: bool = True, before: Pipeline | None = None
) -> Pipeline:
    """Compose the stages around a bundle's model; see ``compose_pipeline``."""
    decision = decision_of(bundle, config.model)
    classifier = TfliteClassifier(bundle, num_threads=config.model.threads, decision=decision)
    return compose_pipeline(
        config,
        classifier,
        blendshapes=bundle.metadata.mesh_input is not None or "blendshapes" in config.log.details,
        fetch=fetch,
        before=before,
        baseline=_baseline(bundle, decision) if config.smoothing.baseline == "track" else None,
    )


def _baseline(bundle: Bundle, decision: Decision) -> "TrackBaseline":
    """Return what learns each track's resting face, by the bundle's general samples."""
    from edge.contract.rehearsal import read_rehearsal
    from edge.stages.baseline import TrackBaseline

    metadata, rehearsal = bundle.metadata, read_rehearsal(bundle)
    if "neutral" not in metadata.labels or rehearsal is None:
        lacks = "no rehearsal set" if "neutral" in metadata.labels else "no label neutral"
        raise ConfigError(
            f"smoothing.baseline track: {bundle.path} has {lacks}, by which a resting face is "
            'known; set it to "none", or convert the model again'
        )
    return TrackBaseline(decision.scores(rehearsal.logits), metadata.labels.index("neutral"))


def compose_pipeline(
    config: Config,
    classifier: Classifier,
    *,
    blendshapes: bool = False,
    fetch: bool = True,
    before: Pipeline | None = None,
    baseline: "TrackBaseline | None" = None,
) -> Pipeline:
    """Compose the stages around any classifier.

    Args:
        config: of all the others.
        classifier: reads the aligned crops.
        blendshapes: it takes them, or somebody wants to see them.
        fetch: get the face model where it is not there yet.
        before: the pipeline that this one takes the place of. A mesher that would be the same is
            its mesher, so that no model is loaded twice; who closes ``before`` sees to that.
        baseline: of each track, where it is configured.
    """
    mesher = config.mesher
    detector = None
    if config.events.names:
        from edge.stages.events import EventDetector

        detector = EventDetector(config.events)
    if blendshapes or (detector is not None and detector.needs_blendshapes):
        mesher = msgspec.structs.replace(mesher, blendshapes=True)
    every_frame = detector is not None or config.log.emit == "frame" or mesher.tracking_fps == 0
    plan = (mesher, every_frame, config.tracker.confirm_hits)
    if before is not None and before.plan == plan:
        finder = before.mesher
    else:
        finder = open_mesher(mesher, fetch=fetch)
        if not every_frame:
            finder = SparingMesher(finder, mesher.tracking_fps, config.tracker.confirm_hits)
    pipeline = Pipeline(
        finder,
        FaceTracker(config.tracker),
        classifier,
        EmotionSmoother(config.smoothing, baseline),
        FaceQualityFilter(config.quality),
        0.0 if config.log.emit == "frame" else config.model.interval_s,
        detector,
    )
    pipeline.plan = plan
    return pipeline


def decision_of(bundle: Bundle, config: ModelConfig) -> Decision:
    """Return a bundle's decision, with the configured tau.

    Raises:
        ConfigError: the bundle has no prior for it.
    """
    try:
        return bundle.metadata.decision.with_tau(config.tau)
    except ValueError as error:
        raise ConfigError(
            f"model.tau {config.tau:g}: {bundle.path} does not say how frequent each emotion is in "
            "its training samples; leave tau out, or convert the model again"
        ) from error


def resolve_mesher(kind: MesherKind) -> MesherKind:
    """Return the mesher that ``kind`` means on this machine.

    Raises:
        InferenceError: it cannot run on this processor.
    """
    if kind != "mediapipe":
        return "litert"
    if machine.lacks_lse_atomics():
        raise InferenceError(
            "mediapipe's wheels abort on this processor: they need LSE atomics, which a Raspberry "
            "Pi 5 has and a Pi 4, Pi 3 or Zero 2 W has not; use --mesher litert"
        )
    return kind


def open_mesher(config: MesherConfig, *, fetch: bool = True) -> FaceMesher:
    """Open the configured mesher with the pinned face model, see ``asset_path``."""
    kind, model = resolve_mesher(config.kind), asset_path(FACE_LANDMARKER, fetch=fetch)
    if kind == "mediapipe":
        from edge.stages.mesh.mediapipe import MediaPipeMesher

        return MediaPipeMesher(model, config)
    return LitertMesher(
        model, config, num_threads=1 if config.threads == "auto" else config.threads
    )
