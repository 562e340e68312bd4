"""What a measurement says: values for scripts, a table for people."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np


class Spread(msgspec.Struct, frozen=True):
    """What a stage takes, in milliseconds of wall-clock time.

    Attributes:
        p50, p95, p99: of the frames in which it ran: a face is not classified in every one.
        mean: over all frames, so that the stages' means add up.
    """

    p50: float
    p95: float
    p99: float
    mean: float

    @classmethod
    def of(cls, ms: Sequence[float], frames: int) -> "Spread":
        """Summarise at least one value of a stage, out of so many frames."""
        p50, p95, p99 = (float(value) for value in np.percentile(ms, (50, 95, 99)))
        return cls(*(round(value, 3) for value in (p50, p95, p99, sum(ms) / frames)))


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What the frames of one run cost, after a warm-up.

    Attributes:
        frames: how many were measured.
        faces, most_faces: confirmed faces in a frame, on average and at most.
        fps: frames per second of wall-clock time; a live source gives no more than its own.
        cpu_s_per_frame: of all threads, rendering or decoding the frame included.
        stages: by name, in order. ``read``: from the end of one frame's work to the next frame,
            so decoding, and waiting for a live source. ``record``: making records and handing
            them to the log.
        dropped_frames: that a live source gave and nobody had time for.
        records: written.
        rss_mb: resident memory of the measuring process at the end, which is more than a run's.
    """

    frames: int
    faces: float
    most_faces: int
    fps: float
    cpu_s_per_frame: float
    stages: Mapping[str, Spread]
    dropped_frames: int
    records: int
    rss_mb: float


class StartUp(msgspec.Struct, frozen=True, kw_only=True):
    """How `edgeemo run` started, in a process of its own.

    Attributes:
        seconds: from starting the process to its first emotion record in the log, of every run.
        rss_mb: the most that such a process held until then.
        problem: why there is no figure; empty if there is.
    """

    seconds: tuple[float, ...] = ()
    rss_mb: float | None = None
    problem: str = ""


class BenchReport(msgspec.Struct, frozen=True, kw_only=True):
    """The whole measurement.

    Attributes:
        facts: version, machine, Python, runtime, mesher, model and source.
        temperature_c: the SoC's, before and after; None where the machine does not tell.
        throttled: the Pi's throttling bits afterwards.
    """

    facts: Mapping[str, str]
    throughput: Throughput
    start_up: StartUp
    temperature_c: tuple[float | None, float | None]
    throttled: str | None


def as_json(report: BenchReport) -> str:
    """Return the report as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode()


def show(report: BenchReport, console: Any) -> None:
    """Print the report for people; ``console`` is rich's."""
    from rich.table import Table

    for name, text in report.facts.items():
        console.print(f"{name:13} {text}", highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("ms a frame")
    for heading in ("p50", "p95", "p99", "mean"):
        table.add_column(heading, justify="right")
    for name, ms in report.throughput.stages.items():
        values = (ms.p50, ms.p95, ms.p99, ms.mean)
        table.add_row(name, *(f"{value:.2f}" for value in values))
    console.print()
    console.print(table)
    console.print()
    for name, text in _figures(report).items():
        console.print(f"{name:13} {text}", highlight=False, markup=False)


def _figures(report: BenchReport) -> dict[str, str]:
    run, start = report.throughput, report.start_up
    figures = {
        "frames": f"{run.frames} measured, {run.dropped_frames} dropped",
        "faces": f"{run.faces:.2f} a frame, at most {run.most_faces}",
        "frames/s": f"{run.fps:.1f}",
        "CPU": f"{run.cpu_s_per_frame * 1e3:.2f} ms a frame, all threads",
        "memory": f"{run.rss_mb:.0f} MB resident, measuring included",
    }
    if start.seconds:
        shown = ", ".join(f"{value:.2f}" for value in start.seconds)
        figures["first result"] = f"after {shown} s from starting the process"
        figures["memory then"] = f"{start.rss_mb:.0f} MB resident at most"
    else:
        figures["first result"] = start.problem
    before, after = report.temperature_c
    if before is not None and after is not None:
        bits = f", throttling bits {report.throttled}" if report.throttled else ""
        figures["temperature"] = f"{before:.0f} to {after:.0f} degrees C{bits}"
    return figures
