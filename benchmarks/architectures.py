"""What each network costs: parameters, multiplications, int8 size and time, by one command.

    python benchmarks/architectures.py [--names compact micro ...] [--runs 200]

Networks with random weights, converted to int8 on random rows: neither size nor time depends on
what was learnt. Time is that of one inference on one thread of this machine by the device's
runtime, by turns with `compact`, whose ratio is what carries over to other machines.
"""

import argparse
import time

import numpy as np

from converters.tflite.conversion import to_tflite
from edge.contract.mesh_features import FEATURE_COUNT, FEATURE_MAX, FEATURE_MIN
from edge.inference.interpreter import TfliteModel
from host_training.architectures import ARCHITECTURES, architecture, build
from host_training.architectures.cost import Cost, cost

CLASSES = 8


def converted(name: str) -> tuple[Cost, bytes]:
    """Build, count and convert a network."""
    model = build(name, CLASSES, inference=True)
    rng = np.random.default_rng(0)
    rows = {
        "pixels": rng.integers(0, 256, (8, 48, 48, 1)).astype(np.float32),
        "mesh": rng.normal(0, 1, (8, FEATURE_COUNT)).astype(np.float32),
    }
    rows["pixels"][0, 0, :2, 0] = 0, 255
    rows["mesh"][0, :2] = FEATURE_MIN, FEATURE_MAX
    calibration = [rows[kind] for kind in architecture(name).inputs]
    return cost(model), to_tflite(model, "int8", calibration)


def quickest_ms(models: dict[str, TfliteModel], runs: int) -> dict[str, float]:
    """Return the quickest of many inferences of each model, taken by turns."""
    inputs = {
        name: [np.zeros(spec.shape, spec.dtype) for spec in model.inputs]
        for name, model in models.items()
    }
    best = dict.fromkeys(models, float("inf"))
    for _ in range(runs):
        for name, model in models.items():
            started = time.perf_counter()
            model.run(*inputs[name])
            best[name] = min(best[name], (time.perf_counter() - started) * 1e3)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--names", nargs="+", default=list(ARCHITECTURES))
    parser.add_argument("--runs", type=int, default=200)
    options = parser.parse_args()
    names = list(dict.fromkeys(["compact", *options.names]))
    made = {name: converted(name) for name in names}
    times = quickest_ms(
        {name: TfliteModel(content, name=name) for name, (_, content) in made.items()},
        options.runs,
    )
    print("| network | parameters | MACs, million | int8, bytes | ms | of compact's time |")
    print("|---|---|---|---|---|---|")
    for name, (costs, content) in made.items():
        ratio = times[name] / times["compact"]
        print(
            f"| `{name}` | {costs.parameters:,} | {costs.macs / 1e6:.1f} | {len(content):,} "
            f"| {times[name]:.2f} | {ratio:.2f} |"
        )


if __name__ == "__main__":
    main()
