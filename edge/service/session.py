"""One run from the command line: open the parts, loop, tell what happened."""

import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from edge.records import FrameResult
from edge.runtime.build import Runtime, build_runtime, reload
from edge.runtime.request import RunRequest
from edge.service.daemon import Listener, Reloaded, Service, ServiceSummary, Supervision
from edge.service.marks import MarkBox, Marks
from edge.service.notify import Notifier
from edge.service.reporter import Reporter
from edge.service.thermal import ThermalThrottle
from edge.service.threads import ThreadChoice

if TYPE_CHECKING:
    from edge.preview.video import VideoFile

Attach = Callable[[Runtime, ExitStack], tuple[Runtime, Sequence[Listener]]]
"""Puts something beside opened parts: returns them with it, and what is to see every result."""


def run_session(
    request: RunRequest, stack: ExitStack, attach: Attach | None = None
) -> ServiceSummary:
    """Run until the source ends, the limit is reached or a signal comes, then print a summary.

    Args:
        request: the command line.
        stack: closes what is opened here.
        attach: is asked once all parts are open.

    Raises:
        EdgeEmoError: a part cannot be opened, or the camera or a model failed on the way.
    """
    _check_outputs(request)
    notifier = Notifier.from_environment()
    parts = build_runtime(request.settings(), stack, is_managed=notifier.is_managed)
    opened, extra = [parts], list[Listener]()
    if attach is not None:
        opened[0], extra[:] = attach(parts, stack)
    del parts
    return run_parts(opened, request, stack, notifier, extra)


def run_parts(
    opened: list[Runtime],
    request: RunRequest,
    stack: ExitStack,
    notifier: Notifier,
    extra: Sequence[Listener] = (),
    marks: Marks | None = None,
    server: AbstractContextManager[object] | None = None,
) -> ServiceSummary:
    """Run opened parts as ``run_session`` does, with ``extra`` listeners beside those asked for.

    Args:
        opened: the parts, in a list that is emptied: whoever keeps them keeps their models in
            memory after a reload.
        request: the command line.
        stack: closes what is opened here.
        notifier: for the service manager.
        extra: see every result.
        marks: where markers come from; made here where nobody else needs them.
        server: open while it runs, and no sooner: who gets an answer may ask it to end.

    Raises:
        EdgeEmoError: a part failed on the way, or an output cannot be opened.
    """
    parts = opened.pop()
    marks = marks or Marks()
    if parts.log is not None:
        box = MarkBox(parts.log.path.parent)
        stack.callback(box.close)
        marks.box = box
    listeners, video = _open_outputs(parts, request, marks, stack)
    listeners += extra
    if sys.stderr.isatty():
        listeners.append(_status(stack))
    governor = ThermalThrottle(parts.config.thermal)
    supervision = Supervision(
        notifier, _Reload(request, parts), governor, marks.take, _threads_for(parts)
    )
    service = Service(
        parts.source, parts.pipeline, parts.sink, reporter_for(parts), listeners, supervision
    )
    facts, log_path = parts.facts, parts.log.path if parts.log else None
    # Where records go to the standard output, its reader gets nothing else.
    screen = sys.stderr if "stdout" in parts.config.log.also else sys.stdout
    del parts
    # All that is here now is here to stay: later collections need not look at it.
    gc.freeze()
    gc.enable()
    with handle_signals(service), server or nullcontext():
        summary = service.run(facts, request.max_frames)
    stack.close()  # finishes the video and the snapshot before their paths are printed
    picture = request.snapshot if request.snapshot and request.snapshot.exists() else None
    written = {
        "log": str(log_path or ""),
        "video": f"{video.path} ({video.description})" if video and video.description else "",
        "picture": str(picture or ""),
    }
    _print_summary(summary, written, screen)
    return summary


class _Reload:
    """Reads the configuration again, with what the command line said still standing above it."""

    def __init__(self, request: RunRequest, parts: Runtime) -> None:
        self._request = request
        self._parts = parts

    def __call__(self) -> Reloaded:
        self._parts = reload(self._parts, self._request.settings())
        parts = self._parts
        return Reloaded(
            parts.pipeline,
            reporter_for(parts),
            parts.facts,
            parts.config.thermal,
            _threads_for(parts),
        )


def _threads_for(parts: Runtime) -> ThreadChoice | None:
    """Return who chooses the mesher's threads; it begins with one, as a new mesher does."""
    return ThreadChoice() if parts.config.mesher.threads == "auto" else None


def reporter_for(parts: Runtime) -> Reporter:
    """Return a reporter as the configuration has it."""
    log = parts.log
    return Reporter(
        parts.session,
        parts.device,
        parts.config.log,
        first_seq=log.next_seq if log else 0,
        log_dir=log.path.parent if log else None,
    )


def _check_outputs(request: RunRequest) -> None:
    """Refuse an output that cannot be written, before anything is opened or logged."""
    if request.snapshot:
        from edge.preview.snapshot import Snapshot

        Snapshot(request.snapshot)
    if request.save_video:
        from edge.preview.video import check_video_path

        check_video_path(request.save_video)
    if request.display:
        from edge.preview.window import require_screen

        require_screen()


def _open_outputs(
    parts: Runtime, request: RunRequest, marks: Marks, stack: ExitStack
) -> tuple[list[Listener], "VideoFile | None"]:
    listeners: list[Listener] = []
    video = None
    if request.snapshot:
        from edge.preview.snapshot import Snapshot

        snapshot = Snapshot(request.snapshot)
        stack.callback(snapshot.close)
        listeners.append(snapshot)
    if request.save_video:
        from edge.preview.overlay import draw
        from edge.preview.video import VideoFile
        from edge.sources.wrappers.newest_frame import LatestFrame

        is_live = isinstance(parts.source, LatestFrame)
        video = VideoFile(request.save_video, parts.source.fps, is_live=is_live)
        stack.callback(video.close)
        write = video.write
        listeners.append(_always(lambda result: write(draw(result), result.frame.t_s)))
    if request.display:
        from edge.preview.overlay import draw
        from edge.preview.window import Window

        window = Window("edgeemo", marks.add)
        stack.callback(window.close)
        listeners.append(lambda result: window.show(draw(result)))
    return listeners, video


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
        faces = "  ".join(f"#{face.track.track_id} {face.display_text}" for face in result.faces)
        status.update(f"frame {result.frame.index}  {result.latency_ms:.0f} ms  {faces or '-'}")
        return True

    return listener


def _print_summary(summary: ServiceSummary, written: Mapping[str, str], screen: TextIO) -> None:
    rows = {
        "frames": str(summary.frames),
        "tracks": str(summary.tracks),
        # Unrelated pictures take no time: there each face counts as one.
        "emotions": _shares(summary.seconds if any(summary.seconds.values()) else summary.faces),
        "frames/s": f"{summary.fps:.1f}",
        "records": str(summary.records),
        "dropped faces": str(summary.dropped_faces or ""),
        "lost records": str(summary.dropped_records or ""),
        "ended by": summary.reason,
        **written,
    }
    for name, text in rows.items():
        if text:
            screen.write(f"{name:13} {text}\n")


def _shares(weights: Mapping[str, float]) -> str:
    """Return the share of each emotion, the largest first."""
    total = sum(weights.values())
    ranked = sorted(weights.items(), key=lambda item: -item[1])
    return ", ".join(f"{label} {w / total:.0%}" for label, w in ranked if w) or "-"


_log = logging.getLogger(__name__)


@contextmanager
def handle_signals(service: Service) -> Iterator[None]:
    """Let SIGINT and SIGTERM end the service cleanly inside the block, and SIGHUP renew it.

    The first signal asks; a second one of SIGINT interrupts at once, for a camera that hangs.
    To a process with a terminal SIGHUP means that the terminal is gone: there it ends the run.
    """

    def stop(number: int, _: FrameType | None) -> None:
        service.stop("signal")
        signal.signal(signal.SIGINT, signal.default_int_handler)
        _log.info("stopping on %s", signal.Signals(number).name)

    def renew(_: int, __: FrameType | None) -> None:
        service.reload()

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGINT: stop,
        signal.SIGTERM: stop,
    }
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = stop if _has_terminal() else renew
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_terminal() -> bool:
    """Tell whether a terminal controls this process, as it does not control a service."""
    if sys.platform != "win32":
        with suppress(OSError):
            os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
            return True
    return False
