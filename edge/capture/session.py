"""A guided session: for each label a prompt, a countdown, what was seen, keep or again."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.calibration.still import Still
from edge.capture.folder import CaptureFolder, Taken
from edge.errors import CaptureError
from edge.protocols import FrameSource
from edge.records import Frame

_log = logging.getLogger(__name__)
AGREEMENT: Final = "I agree"
"""What a person types."""
CONSENT: Final = (
    "Pictures of your face will be kept on this machine, in {out}, under the name {subject}, to "
    "fit a model that names facial expressions. They go nowhere else by edgeemo, and "
    "`edgeemo capture --forget {subject} --out {out}` deletes them all."
)
_COUNTDOWN_S: Final = 3.0
_LOOK_S: Final = 5.0
_MARGIN: Final = 0.5
"""Of the face's size, kept around it on every side."""

Choice = Literal["keep", "again", "skip", "quit"]


class Dialogue(Protocol):
    """Who is spoken with: a terminal, a page, a test."""

    def consent(self, text: str, agreement: str) -> str:
        """Show a text and return what the person typed."""

    def ready(self, label: str, number: int, of: int) -> bool:
        """Ask for an expression; False to end the session."""

    def count(self, seconds: int) -> None:
        """Tell how many seconds are left."""

    def seen(self, still: Still | None) -> Choice:
        """Show what was seen, None for no face; return what to do with it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a session shall take.

    Attributes:
        subject: of whom.
        labels: which expressions.
        count: pictures of each.
        camera: how the source is called.
        whole_frames: keep frames, not the face cut out.
    """

    subject: str
    labels: tuple[str, ...]
    count: int
    camera: str
    whole_frames: bool = False


def capture(
    folder: CaptureFolder,
    wanted: Wanted,
    source: FrameSource,
    look: Callable[[NDArray[np.uint8]], Still | None],
    dialogue: Dialogue,
) -> int:
    """Take pictures of a person who agrees to it.

    Returns:
        How many were kept.

    Raises:
        CaptureError: the person did not agree, or the folder cannot be used.
        CameraError: the source failed.
        InferenceError: the mesher failed.
    """
    text = CONSENT.format(out=folder.path, subject=wanted.subject)
    if dialogue.consent(text, AGREEMENT).strip().casefold() != AGREEMENT.casefold():
        raise CaptureError(
            f"{wanted.subject} did not agree; nothing was captured: type {AGREEMENT!r} to agree"
        )
    agreed, session = _now(), os.urandom(4).hex()
    kept = 0
    with folder.opened() as lines:
        for frame, label, still in _looks(wanted, source, look, dialogue):
            kept += 1
            line = Taken(
                path=f"{label}/{wanted.subject}-{session}-{kept:04d}.png",
                label=label,
                subject=wanted.subject,
                time=frame.captured_at.isoformat(timespec="milliseconds"),
                session=session,
                camera=wanted.camera,
                quality=still.quality,
                consent=text,
                consent_time=agreed,
            )
            image = frame.image if wanted.whole_frames else cut_out(frame.image, still)
            folder.keep(image, line, lines)
    return kept


def _looks(
    wanted: Wanted,
    source: FrameSource,
    look: Callable[[NDArray[np.uint8]], Still | None],
    dialogue: Dialogue,
) -> Iterator[tuple[Frame, str, Still]]:
    """Yield what is to be kept."""
    for label in wanted.labels:
        number = 1
        while number <= wanted.count:
            if not dialogue.ready(label, number, wanted.count):
                return
            taken = _take(source, look, dialogue)
            if taken is None:
                _log.warning("the source has ended: not all pictures were taken")
                return
            frame, still = taken
            choice = dialogue.seen(still)
            if choice == "quit":
                return
            if choice == "keep" and still is not None:
                yield frame, label, still
            if choice == "skip" or (choice == "keep" and still is not None):
                number += 1


def _take(
    source: FrameSource,
    look: Callable[[NDArray[np.uint8]], Still | None],
    dialogue: Dialogue,
) -> tuple[Frame, Still | None] | None:
    """Count down by the frames' own time, then look for a face that a device would classify."""
    started, told = None, None
    while (frame := source.read()) is not None:
        started = frame.t_s if started is None else started
        passed = frame.t_s - started
        if passed < _COUNTDOWN_S:
            left = int(np.ceil(_COUNTDOWN_S - passed))
            if left != told:
                dialogue.count(left)
                told = left
            continue
        still = look(frame.image)
        if (still is not None and still.quality == "ok") or passed > _COUNTDOWN_S + _LOOK_S:
            return frame, still
    return None


def cut_out(image: NDArray[np.uint8], still: Still) -> NDArray[np.uint8]:
    """Return the face with half its size around it: enough to find and align it again."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = map(float, still.face.box_xyxy)
    around = _MARGIN * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - around)), max(0, int(y1 - around))
    right, bottom = min(width, int(x2 + around) + 1), min(height, int(y2 + around) + 1)
    return image[top:bottom, left:right]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
