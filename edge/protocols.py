"""The seams: one method each, plus ``close``. ``edge.testing.fakes`` ships a fake for every one."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edge.contract.align import Template
from edge.contract.logrecord import LogRecord
from edge.records import EmotionEstimate, Face, Frame


class FrameSource(Protocol):
    """Where frames come from."""

    @property
    def fps(self) -> float | None:
        """Frames per second, nominally; None where nobody tells, as of unrelated pictures."""

    @property
    def dropped(self) -> int:
        """Frames that the source had and did not give: damaged, or nobody had time for them."""

    def read(self) -> Frame | None:
        """Return the next frame, or None when the source has ended for good.

        Raises:
            CameraError: the source failed.
        """

    def close(self) -> None:
        """Release the source; harmless when repeated."""


@runtime_checkable
class LiveSource(FrameSource, Protocol):
    """A source whose frames come when they come: one can look whether there is any."""

    @property
    def recovers(self) -> bool:
        """Whether reading may go on after a CameraError (but CameraStuckError)."""

    @property
    def progress_s(self) -> float:
        """When the capture last did anything, on ``time.monotonic``."""

    def wait(self, timeout_s: float) -> bool:
        """Return whether ``read`` has something to tell, waiting for it up to ``timeout_s``."""


@runtime_checkable
class RecoveringSource(FrameSource, Protocol):
    """A source that goes on after a CameraError (but CameraStuckError): it is read on."""

    @property
    def progress_s(self) -> float:
        """When it last did anything but wait for native code, on ``time.monotonic``."""

    def stop(self) -> None:
        """End ``read`` soon, unless native code holds it; may be called by any thread."""


class FaceMesher(Protocol):
    """Finds faces and their 478-point meshes."""

    def detect(self, frame: Frame) -> Sequence[Face]:
        """Return the faces of a frame, at most as many as configured, in any order.

        Frames must come in the order of their ``t_s``; one with ``starts_new_clip`` is searched
        afresh.

        Raises:
            InferenceError: the model or its runtime failed.
        """

    def close(self) -> None:
        """Release models and threads; harmless when repeated."""


@runtime_checkable
class ThreadedMesher(FaceMesher, Protocol):
    """One that can change its number of threads while it runs."""

    def use_threads(self, count: int) -> None:
        """Run on so many threads from now on.

        Raises:
            InferenceError: the models cannot be loaded again.
        """


class Classifier(Protocol):
    """Tells the emotion of an aligned crop."""

    @property
    def template(self) -> Template:
        """The alignment that its crops must have."""

    def classify(self, crop: NDArray[np.uint8], face: Face) -> EmotionEstimate:
        """Return the emotion scores of one face.

        Args:
            crop: grey uint8 ``(size, size)``, made by ``aligned_crop`` with ``template``.
            face: the face that it was cut from, for models that also take mesh features.

        Raises:
            ImplausibleError: it has no answer to this face, which is skipped.
            InferenceError: the model or its runtime failed, which ends the run.
        """

    def close(self) -> None:
        """Release the model; harmless when repeated."""


class Sink(Protocol):
    """Where records go."""

    def write(self, record: LogRecord) -> None:
        """Take one record, durably as configured.

        Raises:
            SinkError: it could not be written.
        """

    def close(self) -> None:
        """Flush and release; harmless when repeated."""


class CountingSink(Sink, Protocol):
    """The sink of a run: it also tells what it lost."""

    @property
    def dropped(self) -> int:
        """Records that it took and could not keep."""
