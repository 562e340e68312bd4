"""One run from the command line: open the parts, loop, tell what happened."""

import gc
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from edge.build import Parts, open_parts
from edge.config import Config
from edge.records import FrameResult
from edge.run_request import RunRequest
from edge.service.daemon import Listener, RunSummary, Service, stop_on_signals
from edge.service.reporter import Reporter, ReporterConfig

_FALLBACK_FPS = 25.0
"""The rate of a saved video when the source does not tell its own, as a folder does not."""


def run_session(request: RunRequest, stack: ExitStack) -> RunSummary:
    """Run until the source ends, the limit is reached or a signal comes, then print a summary.

    Raises:
        EdgeEmoError: a part can not be opened, or the camera or a model failed on the way.
    """
    config = request.settings()
    return run_parts(open_parts(config, stack), config, request, stack)


def run_parts(
    parts: Parts,
    config: Config,
    request: RunRequest,
    stack: ExitStack,
    extra: Sequence[Listener] = (),
) -> RunSummary:
    """Run opened parts as ``run_session`` does, with ``extra`` listeners beside those asked for.

    Raises:
        EdgeEmoError: a part failed on the way, or an output can not be opened.
    """
    listeners = [*_open_outputs(parts, request, stack), *extra]
    log = config.log
    reporter = Reporter(
        ReporterConfig(
            session=parts.session,
            device=parts.device,
            per_frame=log.emit == "frame",
            interval_s=log.interval_s,
            health_interval_s=log.health_interval_s,
        )
    )
    if sys.stderr.isatty():
        listeners.append(_status(stack))
    service = Service(parts.source, parts.pipeline, parts.sink, reporter, listeners)
    # All that is here now is here to stay: later collections need not look at it.
    gc.freeze()
    gc.enable()
    with stop_on_signals(service):
        summary = service.run(parts.facts, request.max_frames)
    stack.close()  # finishes the video and the snapshot before their paths are printed
    _print_summary(summary, parts, request)
    return summary


def _open_outputs(parts: Parts, request: RunRequest, stack: ExitStack) -> list[Listener]:
    listeners: list[Listener] = []
    if request.snapshot:
        from edge.preview.snapshot import Snapshot

        snapshot = Snapshot(request.snapshot)
        stack.callback(snapshot.close)
        listeners.append(snapshot)
    if request.save_video:
        from edge.preview.overlay import draw
        from edge.preview.video import VideoFile

        video = VideoFile(request.save_video, getattr(parts.source, "fps", _FALLBACK_FPS))
        stack.callback(video.close)
        listeners.append(_always(lambda result: video.write(draw(result))))
    if request.display:
        from edge.preview.overlay import draw
        from edge.preview.window import Window

        window = Window("edgeemo")
        stack.callback(window.close)
        listeners.append(lambda result: window.show(draw(result)))
    return listeners


def _always(action: Callable[[FrameResult], object]) -> Listener:
    def listener(result: FrameResult) -> bool:
        action(result)
        return True

    return listener


def _status(stack: ExitStack) -> Listener:
    """Show what is seen, in one changing line of a terminal."""
    from rich.console import Console  # not for a service, which has no terminal

    console = Console(stderr=True)
    status = stack.enter_context(console.status("waiting for the first frame"))

    def listener(result: FrameResult) -> bool:
        faces = "  ".join(
            f"#{face.track.track_id} {face.state.label} {face.state.confidence:.0%}"
            for face in result.faces
        )
        status.update(f"frame {result.frame.index}  {result.latency_ms:.0f} ms  {faces or '-'}")
        return True

    return listener


def _print_summary(summary: RunSummary, parts: Parts, request: RunRequest) -> None:
    rows = {
        "frames": str(summary.frames),
        "tracks": str(summary.tracks),
        "emotions": _shares(summary.seconds),
        "frames/s": f"{summary.fps:.1f}",
        "records": str(summary.records),
        "lost records": str(summary.dropped_records or ""),
        "ended by": summary.reason,
        "log": str(parts.sink.path or ""),
        "video": _if_written(request.save_video),
        "picture": _if_written(request.snapshot),
    }
    for name, text in rows.items():
        if text:
            sys.stdout.write(f"{name:13} {text}\n")


def _shares(seconds: Mapping[str, float]) -> str:
    """Return the share of time of each emotion, the longest first."""
    total_s = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {s / total_s:.0%}" for label, s in ranked if s) or "-"


def _if_written(path: Path | None) -> str:
    return str(path) if path and path.exists() else ""
