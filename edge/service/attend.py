"""Attending to a source: its frames, its losses, and the quiet between them."""

import time
from collections.abc import Callable, Iterator
from typing import Final

from edge.errors import CameraError, CameraStuckError
from edge.protocols import FrameSource, LiveSource
from edge.records import Frame

SLICE_S: Final = 0.25
"""A quiet camera is waited for in slices, between which signals and heartbeats have their turn."""

PATIENCE_S: Final = 30.0
"""Native code that holds the capture for so long is not coming back; longer than every timeout."""


def _at_once() -> float:
    return 0.0


def read_frames(
    source: FrameSource,
    is_stopping: Callable[[], bool],
    due_s: Callable[[], float] = _at_once,
) -> Iterator[Frame | CameraError | None]:
    """Yield frames as they come; a loss that the source will recover from; None when quiet.

    Ends with the source, or soon after ``is_stopping``, also while no frame comes.

    Args:
        source: what is attended to.
        is_stopping: asked between frames, and while it is quiet.
        due_s: when the next frame is wanted, on ``time.monotonic``; a live source's frames until
            then are dropped, any other source waits.

    Raises:
        CameraError: the source failed for good.
    """
    live = source if isinstance(source, LiveSource) else None
    while not is_stopping():
        if (rest_s := due_s() - time.monotonic()) > 0:
            time.sleep(min(rest_s, SLICE_S))
            yield None
            continue
        if live is not None and not live.wait(SLICE_S):
            yield None
            continue
        try:
            frame = source.read()
        except CameraStuckError:
            raise
        except CameraError as error:
            if live is None or not live.recovers:
                raise
            yield error
            continue
        if frame is None:
            return
        yield frame
        del frame  # or two pictures would be in memory while the next one is made


def is_capturing(source: FrameSource, now_s: float, patience_s: float = PATIENCE_S) -> bool:
    """Tell whether a source's capture is alive: frames come, or a lost camera is being looked for.

    False means that native code has held it for ``patience_s``: a service manager that hears no
    heartbeat then ends the process, which is all that helps.

    Args:
        source: other than a live one, it is always alive: it is read by the loop itself.
        now_s: ``time.monotonic()``.
        patience_s: how long native code may take.
    """
    return not isinstance(source, LiveSource) or now_s - source.progress_s < patience_s
