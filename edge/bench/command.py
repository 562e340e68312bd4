"""The whole measurement: frames, then starts, with what the machine says of its temperature."""

import platform
from collections.abc import Mapping

from edge.bench.report import BenchReport, StartUp
from edge.bench.start_up import time_start_up
from edge.bench.throughput import measure_throughput
from edge.runtime.request import RunRequest
from edge.system import machine


def run_bench(request: RunRequest, frames: int, starts: int) -> BenchReport:
    """Measure what ``request`` asks for.

    Args:
        request: source, model, configuration and mesher; its other options are left alone.
        frames: how many are measured at most.
        starts: how often a run is started anew; 0 leaves that out.

    Raises:
        EdgeEmoError: a part cannot be had or fails.
    """
    before = machine.temperature_c()
    throughput, facts = measure_throughput(request.settings(), frames)
    start_up = (
        time_start_up(_options(request), starts) if starts else StartUp(problem="not measured")
    )
    return BenchReport(
        facts=_facts(facts),
        throughput=throughput,
        start_up=start_up,
        temperature_c=(before, machine.temperature_c()),
        throttled=machine.throttled(),
    )


def _options(request: RunRequest) -> list[str]:
    given = {
        "--source": request.source,
        "--model": request.model,
        "--config": request.config,
        "--mesher": request.mesher,
    }
    return [word for name, value in given.items() if value for word in (name, str(value))]


def _facts(started: Mapping[str, object]) -> dict[str, str]:
    told = ("version", "source", "mesher", "runtime", "model")
    return {
        **{name: str(started[name]) for name in told},
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
    }
