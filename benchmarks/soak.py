"""What a long run holds on to: resident memory, file descriptors and threads over 100,000 frames.

    python benchmarks/soak.py [--frames 100000] [--json F] [--plot docs/soak.png]
    python benchmarks/soak.py --from F --plot docs/soak.png      # draw an earlier run's samples

All that `edgeemo run --emit frame` is made of, in one process: mesher, tracker, classifier,
smoother, reporter, and the log with its thread, which closes and compresses files on the way. The
frames are the demo's scenes of one and of two faces by turns (rendered anew each time), at 25
frames/s of their own time: faces cross, leave and return, so tracks start and end for ever.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path

from edge.system.diagnostics import quieten_libraries
from edge.testing.scenes import WAYS

quieten_libraries()  # as `edgeemo` does

import msgspec

from edge.config import Config, LogConfig, SourceConfig
from edge.records import Frame, FrameResult
from edge.runtime.build import build_runtime
from edge.runtime.request import RunRequest
from edge.service.notify import Notifier
from edge.service.session import run_parts
from edge.sources.demo.source import EPOCH, DemoSource
from edge.system import machine

SETTLED = 1_000
"""Growth counts from this frame on: buffers, caches and malloc's arenas have their size by then."""
MARK_MB = 5.0
LOOP_S = 12.0
SIZE_HW = (240, 320)


@dataclass(frozen=True)
class Sample:
    """What the process held after so many frames; times are seconds since the start."""

    frames: int
    rss_mb: float
    fds: int
    threads: int
    cpu_s: float
    wall_s: float


class EndlessDemo:
    """The demo's scenes by turns, each for one loop, with times that go on."""

    dropped = 0

    def __init__(self, scenes: tuple[int, ...] = (1, 2), fps: float = 25.0) -> None:
        frames = round(LOOP_S * fps)
        self._clips = [DemoSource(frames, fps, SIZE_HW, ways=WAYS[faces]) for faces in scenes]
        self._frames, self.fps = frames, fps
        self._next = 0

    def read(self) -> Frame:
        """Return the next frame; there always is one."""
        index, self._next = self._next, self._next + 1
        loop, within = divmod(index, self._frames)
        t_s = index / self.fps
        picture = self._clips[loop % len(self._clips)].render(within)
        return Frame(picture, index, t_s, EPOCH + timedelta(seconds=t_s))

    def close(self) -> None:
        """Do nothing: it holds nothing."""


class Sampler:
    """Listens to results, and looks at the process every so many of them."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._started_s = time.monotonic()
        self._frames = 0
        self.samples: list[Sample] = []

    def __call__(self, _: FrameResult) -> bool:
        """Count a result; never ask for a stop."""
        self._frames += 1
        if self._frames % self._every == 0:
            self.samples.append(self._look())
            if self._frames % (20 * self._every) == 0:
                print(self.samples[-1], flush=True)
        return True

    def _look(self) -> Sample:
        return Sample(
            frames=self._frames,
            rss_mb=round(machine.rss_mb(), 2),
            fds=_entries("/proc/self/fd") - 1,  # without the one that reads them
            threads=_entries("/proc/self/task"),
            cpu_s=round(time.process_time(), 1),
            wall_s=round(time.monotonic() - self._started_s, 1),
        )


def _entries(directory: str) -> int:
    return len(list(Path(directory).iterdir()))


def soak(frames: int, every: int) -> list[Sample]:
    """Run ``frames`` frames and return a sample for every ``every`` of them."""
    sampler = Sampler(every)
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        config = Config(
            source=SourceConfig(spec="demo"),
            log=LogConfig(dir=directory, emit="frame", health_interval_s=60.0),
        )
        parts = msgspec.structs.replace(build_runtime(config, stack), source=EndlessDemo())
        request = RunRequest(max_frames=frames)
        run_parts([parts], request, stack, Notifier(), extra=[sampler])
    return sampler.samples


def report(samples: list[Sample]) -> str:
    """Return a Markdown table of ten samples and the growth."""
    settled = [sample for sample in samples if sample.frames >= SETTLED]
    first, rest = settled[0], settled[1:]
    step = max(1, len(rest) // 10)
    lines = ["| frames | resident, MB | descriptors | threads |", "|---|---|---|---|"]
    lines += [
        f"| {s.frames:,} | {s.rss_mb:.1f} | {s.fds} | {s.threads} |"
        for s in (first, *rest[step - 1 :: step])
    ]
    growth = max(sample.rss_mb for sample in settled) - first.rss_mb
    verdict = "under" if growth < MARK_MB else "NOT under"
    lines.append(
        f"\nlargest growth after frame {first.frames:,}: {growth:.2f} MB, "
        f"{verdict} {MARK_MB:g} MB; descriptors {_span([s.fds for s in settled])}, "
        f"threads {_span([s.threads for s in settled])}; "
        f"{samples[-1].cpu_s / samples[-1].frames * 1e3:.2f} ms of CPU time a frame"
    )
    return "\n".join(lines)


def _span(values: list[int]) -> str:
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low} to {high}"


def plot(samples: list[Sample], path: Path) -> None:
    """Draw the curve of the resident memory."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2), layout="constrained")
    axes.plot([s.frames for s in samples], [s.rss_mb for s in samples], color="#1f5fa8")
    settled = next(s for s in samples if s.frames >= SETTLED)
    axes.axhline(
        settled.rss_mb + MARK_MB, color="#b3402e", linestyle="--", linewidth=1,
        label=f"{MARK_MB:g} MB above that of frame {settled.frames:,}",
    )  # fmt: skip
    axes.set(xlabel="frames", ylabel="resident, MB", ylim=(0, settled.rss_mb + 4 * MARK_MB))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:,.0f}")
    axes.legend(loc="lower right", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run, or read an earlier run, and tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--every", type=int, default=250)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--from", dest="earlier", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    if options.frames < SETTLED:
        parser.error(f"--frames must be at least {SETTLED}, got {options.frames}")
    if options.earlier:
        samples = [Sample(**fields) for fields in json.loads(options.earlier.read_text())]
    else:
        samples = soak(options.frames, options.every)
    if options.json:
        options.json.write_text(json.dumps([asdict(sample) for sample in samples], indent=0))
    print(report(samples))
    if options.plot:
        plot(samples, options.plot)


if __name__ == "__main__":
    main()
