"""What frames cost: a run as `edgeemo run` makes it, with a stopwatch around its loop."""

import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Final, cast

import msgspec

from edge.bench.report import Spread, Throughput
from edge.config import Config, override
from edge.errors import CameraError
from edge.records import EndedTrack, Frame, FrameResult
from edge.runtime.build import Runtime, build_runtime
from edge.runtime.pipeline import Pipeline
from edge.service.daemon import Service
from edge.service.session import reporter_for
from edge.system import machine

WARM_UP: Final = 10
"""Frames that are not counted: caches fill, the detector runs, a face is confirmed."""


def measure_throughput(config: Config, frames: int) -> tuple[Throughput, Mapping[str, object]]:
    """Run up to ``frames`` frames after the warm-up, with the log in a temporary directory.

    Returns:
        What they cost, and the facts that ``service_started`` tells.

    Raises:
        EdgeEmoError: a part cannot be had or fails, or the source has too few frames.
    """
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="edgeemo-bench-"))
        log = override(config.log, dir=directory)
        stopwatch, parts = _timed(build_runtime(override(config, log=log), stack))
        service = Service(
            parts.source, parts.pipeline, parts.sink, reporter_for(parts), [stopwatch]
        )
        summary = service.run(parts.facts, WARM_UP + frames)
        if stopwatch.frames == 0:
            raise CameraError(
                f"{parts.facts['source']}: {summary.frames} frames, of which the first {WARM_UP} "
                "are not counted; choose a longer --source"
            )
        return stopwatch.result(parts.source.dropped, summary.records), parts.facts


def _timed(parts: Runtime) -> tuple["_Stopwatch", Runtime]:
    stopwatch = _Stopwatch(parts.pipeline)
    return stopwatch, msgspec.structs.replace(parts, pipeline=cast(Pipeline, stopwatch))


class _Stopwatch:
    """Stands in for the pipeline, and listens to its results: both ends of a frame's work."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._stage_ms: defaultdict[str, list[float]] = defaultdict(list)
        self._faces: Counter[int] = Counter()
        self._seen = 0
        self._idle_s = self._began_s = self._processed_s = time.perf_counter()
        self._from_s = self._from_cpu_s = 0.0
        self._cpu_s = 0.0
        self.frames = 0

    def process(self, frame: Frame) -> FrameResult:
        self._began_s = time.perf_counter()
        result = self._pipeline.process(frame)
        self._processed_s = time.perf_counter()
        return result

    def finish(self) -> tuple[EndedTrack, ...]:
        return self._pipeline.finish()

    def close(self) -> None:
        self._pipeline.close()

    def __call__(self, result: FrameResult) -> bool:
        now_s = time.perf_counter()
        self._seen += 1
        if self._seen > WARM_UP:
            self._note(result, now_s)
        else:
            self._from_s, self._from_cpu_s = now_s, time.process_time()
        self._cpu_s = time.process_time()
        self._idle_s = now_s
        return True

    def result(self, dropped: int, records: int) -> Throughput:
        elapsed_s = self._idle_s - self._from_s
        return Throughput(
            frames=self.frames,
            faces=round(sum(n * times for n, times in self._faces.items()) / self.frames, 3),
            most_faces=max(self._faces),
            fps=round(self.frames / elapsed_s, 2),
            cpu_s_per_frame=round((self._cpu_s - self._from_cpu_s) / self.frames, 6),
            stages=self._spreads(),
            dropped_frames=dropped,
            records=records,
            rss_mb=round(machine.rss_mb(), 1),
        )

    def _note(self, result: FrameResult, now_s: float) -> None:
        self.frames += 1
        self._faces[len(result.faces)] += 1
        stages = {
            "read": (self._began_s - self._idle_s) * 1e3,
            **result.stage_ms,
            "record": (now_s - self._processed_s) * 1e3,
            "all": (now_s - self._idle_s) * 1e3,
        }
        for stage, ms in stages.items():
            self._stage_ms[stage].append(ms)

    def _spreads(self) -> dict[str, Spread]:
        """Return what every stage took that ran at all, in order."""
        order = ("read", "mesh", "track", "align", "classify", "smooth", "record", "all")
        return {
            stage: Spread.of(ms, self.frames)
            for stage in order
            if (ms := self._stage_ms.get(stage))
        }
