"""The service loop: however it ends, tracks end and the reason is written."""

import weakref

import numpy as np
import pytest

from edge.contract.logrecord import LogRecord
from edge.errors import CameraError, InferenceError, SinkError
from edge.pipeline import Pipeline
from edge.service.daemon import Renewal, Service, Supervision
from edge.service.reporter import Reporter, ReporterConfig
from edge.stages.smooth import EmotionSmoother
from edge.stages.track import FaceTracker
from edge.testing import FakeClassifier, FakeMesher, FakeSource, MemorySink, make_face, make_frame

FACTS = {
    "version": "0",
    "source": "fake",
    "model": "fake",
    "model_sha256": "0",
    "mesher": "fake",
    "runtime": "none",
    "labels": ("neutral", "happiness"),
}
FACE = make_face((20, 20, 60, 70))


class FullDisk(MemorySink):
    """Refuses the records whose numbers it was told."""

    def __init__(self, refused: range) -> None:
        super().__init__()
        self._refused = refused

    def write(self, record: LogRecord) -> None:
        """Refuse or keep ``record``."""
        if record.seq in self._refused:
            raise SinkError("disk full")
        super().write(record)


def pipeline(mesh=lambda _: [FACE], scores=(0.1, 0.9)) -> Pipeline:
    return Pipeline(
        FakeMesher(mesh),
        FaceTracker(1.0, 1, 1.5),
        FakeClassifier([scores], ("neutral", "happiness")),
        EmotionSmoother(0.3, 0.3, 0.1, 0.4),
    )


def reporter(session: str = "session") -> Reporter:
    return Reporter(ReporterConfig(session, "device", True, 1.0, 60.0))


def service(source, sink, *, mesh=lambda _: [FACE], listeners=(), supervision=None) -> Service:
    return Service(source, pipeline(mesh), sink, reporter(), listeners, supervision)


def frames(count: int) -> list:
    return [make_frame(i) for i in range(count)]


def kinds(sink) -> list[str]:
    return [type(record).__name__ for record in sink.records]


def test_a_whole_run_is_framed_by_start_and_stop():
    """Start, track, emotions, end of the track, stop: in this order, with the counts."""
    sink = MemorySink()
    summary = service(FakeSource(frames(3)), sink).run(FACTS)
    assert kinds(sink) == [
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "Emotion", "TrackEnded",
        "ServiceStopped",
    ]  # fmt: skip
    assert (summary.frames, summary.tracks, summary.records) == (3, 1, 7)
    assert sink.records[-1].reason == summary.reason == "end of source"


def test_a_lost_camera_is_written_before_the_run_fails():
    """camera_lost with its reason, the open track's end, service_stopped, and the error itself."""
    sink = MemorySink()
    with pytest.raises(CameraError, match="unplugged"):
        service(FakeSource(frames(2), CameraError("unplugged")), sink).run(FACTS)
    assert kinds(sink)[-3:] == ["CameraLost", "TrackEnded", "ServiceStopped"]
    assert sink.records[-3].reason == "unplugged"
    assert sink.records[-1].reason == "error: unplugged"


def test_a_failing_model_is_written_before_the_run_fails():
    """The reason stands in the log, not only on stderr."""

    def fail(_):
        raise InferenceError("the model broke")

    sink = MemorySink()
    with pytest.raises(InferenceError):
        service(FakeSource(frames(2)), sink, mesh=fail).run(FACTS)
    assert sink.records[-1].reason == "error: the model broke"


def test_a_full_disk_does_not_stop_the_camera(caplog):
    """Refused records are counted and said once; what follows is written, the gap shows in seq."""
    sink = FullDisk(range(2, 5))
    summary = service(FakeSource(frames(6)), sink).run(FACTS)
    assert summary.frames == 6
    assert summary.dropped_records == 3
    assert [record.seq for record in sink.records] == [0, 1, 5, 6, 7, 8, 9]
    assert len(caplog.records) == 1
    assert "records are being lost" in caplog.text


@pytest.mark.parametrize(("limit", "expected"), [(None, 5), (2, 2), (9, 5)])
def test_the_frame_limit_holds(limit, expected):
    """No more frames than asked for, and no fewer when there are."""
    summary = service(FakeSource(frames(5)), MemorySink()).run(FACTS, limit)
    assert summary.frames == expected
    assert summary.reason == ("frame limit" if limit == 2 else "end of source")


def test_a_viewer_can_stop_it():
    """A closed window ends the run cleanly."""
    summary = service(
        FakeSource(frames(5)), MemorySink(), listeners=[lambda result: result.frame.index < 1]
    ).run(FACTS)
    assert (summary.frames, summary.reason) == (2, "viewer")


class _Watched(FakeSource):
    """Tells how many earlier pictures are alive whenever it is read."""

    def __init__(self) -> None:
        super().__init__([])
        self._pictures: list[weakref.ref] = []
        self.alive: list[int] = []

    def read(self):
        """Return a new frame of five, and count."""
        self.alive.append(sum(picture() is not None for picture in self._pictures))
        if len(self._pictures) == 5:
            return None
        pixels = np.zeros((96, 128, 3), np.uint8)
        self._pictures.append(weakref.ref(pixels))
        return make_frame(len(self._pictures), image=pixels)


def test_no_picture_is_kept_while_the_next_is_made():
    """One picture is in memory at a time: of a 1080p camera each is 6 MB."""
    source = _Watched()
    service(source, MemorySink()).run(FACTS)
    assert source.alive == [0] * 6


def test_a_reload_takes_over_between_two_frames():
    """The old session ends and a new one starts, in one log; no frame is left out."""
    calm = Renewal(pipeline(scores=(0.9, 0.1)), reporter("renewed"), FACTS | {"model": "calm"})
    sink = MemorySink()
    running = service(
        FakeSource(frames(4)),
        sink,
        listeners=[lambda result: result.frame.index != 1 or running.reload() is None],
        supervision=Supervision(renew=lambda: calm),
    )
    summary = running.run(FACTS)
    assert kinds(sink) == [
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "TrackEnded", "ServiceStopped",
        "ServiceStarted", "TrackStarted", "Emotion", "Emotion", "TrackEnded", "ServiceStopped",
    ]  # fmt: skip
    assert [r.label for r in sink.records if hasattr(r, "label")] == ["happiness"] * 2 + [
        "neutral"
    ] * 2
    assert [r.session for r in sink.records] == ["session"] * 6 + ["renewed"] * 6
    assert [r.seq for r in sink.records] == [*range(12)]
    assert (sink.records[5].reason, sink.records[6].model) == ("reload", "calm")
    assert (summary.frames, summary.tracks, summary.records) == (4, 2, 12)


def test_a_refused_reload_changes_nothing(caplog):
    """A configuration that can not be used is said, and the old one goes on."""

    def refuse():
        raise InferenceError("no such model")

    sink = MemorySink()
    running = service(
        FakeSource(frames(3)),
        sink,
        listeners=[lambda result: result.frame.index != 0 or running.reload() is None],
        supervision=Supervision(renew=refuse),
    )
    running.run(FACTS)
    assert kinds(sink).count("ServiceStarted") == 1
    assert kinds(sink).count("Emotion") == 3
    assert "no such model" in caplog.text


def test_the_frame_limit_counts_across_a_reload():
    """``--max-frames`` is of the run, not of the session."""
    running = service(
        FakeSource(frames(9)),
        MemorySink(),
        listeners=[lambda result: result.frame.index != 2 or running.reload() is None],
        supervision=Supervision(renew=lambda: Renewal(pipeline(), reporter("renewed"), FACTS)),
    )
    assert running.run(FACTS, 5).frames == 5
