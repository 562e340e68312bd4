"""Two processes that train together against one, and what more of them would do.

    python benchmarks/distributed.py --arch compact --steps 24

It starts a process that trains alone, two that train together on loopback, and one that takes a
worker's part of the first batch without sharing anything, the negative control. Samples are random;
network, settings, batches and steps are edgeemo's own. The table for more workers is computed.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

BATCH = 128
ROLES = ("alone", "together", "unshared")


def main() -> None:
    """Run the processes and print what they found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arch", default="compact")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--gbit", type=float, default=1.0, help="assumed network, for the table")
    parser.add_argument("--latency-ms", type=float, default=0.3, help="of one message in it")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    if options.role is not None:
        print(json.dumps(trained(options.arch, options.steps, options.role)))
        return
    alone = result(start(options, "alone"))
    ports = free_ports(2)
    pair = [result(process) for process in [start(options, "together", ports, i) for i in (0, 1)]]
    unshared = result(start(options, "unshared"))
    report(alone, pair, unshared)
    table(options, alone)


def trained(arch: str, steps: int, role: str) -> dict[str, Any]:
    """Train in this process; return what is compared."""
    from edgeemo.cli.train import joined_workers
    from host_training.config import TrainConfig
    from host_training.distributed.strategy import strategy_of
    from host_training.distributed.workers import ALONE
    from host_training.frameworks import configure_backend
    from host_training.training.batches import TrainingBatches
    from host_training.training.optimizer import learner_of, untrained_model

    epochs = max(1, steps // 8)
    config = TrainConfig(architecture=arch, epochs=epochs, batch_size=BATCH, seed=7)
    rows = samples(8 * BATCH)
    with joined_workers() as workers:
        configure_backend(config.precision, deterministic=False)
        strategy = strategy_of(workers)
        part = Half() if role == "unshared" else workers
        batches = TrainingBatches(rows, config, workers=part)
        learner = learner_of(
            untrained_model(config, 8),
            config,
            len(batches),
            rows.targets,
            strategy=strategy,
            workers=ALONE if role == "unshared" else workers,
        )
        losses, seconds, first = [], [], None
        for epoch in range(epochs):
            for batch in batches.epoch(epoch):
                started = time.monotonic()
                losses.append(learner.step(batch)[0])
                seconds.append(time.monotonic() - started)
                if first is None:
                    first = gradient(learner)
                if len(losses) == steps or role == "unshared":
                    break
            if len(losses) == steps or role == "unshared":
                break
        model = learner._model
        weights = b"".join(np.ascontiguousarray(value) for value in learner.get_weights())
        return {
            "losses": losses,
            "gradient": first,
            "weights": hashlib.sha256(weights).hexdigest(),
            "step_s": float(np.median(seconds[2:] or seconds)),
            "gradient_bytes": 4 * int(sum(np.prod(v.shape) for v in model.trainable_weights)),
            "normalised": [
                int(layer.gamma.shape[0])
                for layer in model.layers
                if type(layer).__name__ == "BatchNormalization"
            ],
        }


def gradient(learner: Any) -> list[float]:
    """Return the gradient of the first step: a tenth of it is what AdamW keeps as its momentum."""
    variables = learner._model.optimizer.variables
    kept = [variable.numpy().ravel() for variable in variables if "momentum" in variable.path]
    return np.concatenate(kept).astype(float).tolist()


class Half:
    """A worker's place, for batches alone."""

    index, count = 0, 2


def samples(rows: int) -> Any:
    """Return random pictures and labels."""
    from host_training.data.samples import Samples

    generator = np.random.default_rng(0)
    hard = generator.integers(0, 8, rows)
    from edge.contract.labels import EMOTIONS

    return Samples(
        images=generator.integers(0, 256, (rows, 48, 48)).astype(np.uint8),
        targets=np.eye(8, dtype=np.float32)[hard],
        labels=tuple(EMOTIONS),
        class_ids=hard,
        split=np.array(["Training"] * rows),
        name="random",
        form="random",
        protocol="labels",
    )


def start(
    options: argparse.Namespace, role: str, ports: list[int] | None = None, index: int = 0
) -> subprocess.Popen[str]:
    """Start a process of this script."""
    environment = dict(os.environ)
    environment.pop("TF_CONFIG", None)
    if ports is not None:
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        task = {"type": "worker", "index": index}
        environment["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": task})
    words = ["--arch", options.arch, "--steps", str(options.steps), "--role", role]
    return subprocess.Popen(
        [sys.executable, __file__, *words], env=environment, stdout=subprocess.PIPE, text=True
    )


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for a process, and return what it printed."""
    with ended(process):
        out, _ = process.communicate()
    if process.returncode:
        sys.exit(f"a process of the benchmark failed: {process.args}")
    found: dict[str, Any] = json.loads(out.splitlines()[-1])
    return found


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[None]:
    """End a process with the block."""
    try:
        yield
    finally:
        process.kill()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [own.getsockname()[1] for own in sockets]
    for own in sockets:
        own.close()
    return ports


def report(alone: dict[str, Any], pair: list[dict[str, Any]], unshared: dict[str, Any]) -> None:
    """Print how far the others are from the one that trains alone."""
    losses, own = np.array(alone["losses"]), np.array(pair[0]["losses"])
    print(f"{len(losses)} steps of {BATCH} samples")
    print(f"losses, two against one: {np.abs(own / losses - 1).max():.2e} relative at most")
    print(
        f"weights of the two: {'the same' if len({p['weights'] for p in pair}) == 1 else 'DIFFER'}"
    )
    print(f"gradient of the first step: {off(pair[0], alone):.3%} off")
    print(f"gradient of an unshared half: {off(unshared, alone):.1%} off")
    print(f"a step alone {1e3 * alone['step_s']:.0f} ms, two on this machine "
          f"{1e3 * pair[0]['step_s']:.0f} ms")  # fmt: skip


def off(one: dict[str, Any], other: dict[str, Any]) -> float:
    """Return how far one gradient is from another, as a share of it."""
    a, b = np.array(one["gradient"]), np.array(other["gradient"])
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def table(options: argparse.Namespace, alone: dict[str, Any]) -> None:
    """Print what more workers would do: measured step, counted bytes, an assumed network."""
    statistics = 2 * 3 * 4 * sum(alone["normalised"])  # forwards and backwards, three sums each
    messages = 1 + 2 * 3 * len(alone["normalised"])
    size = alone["gradient_bytes"] + statistics
    print(f"shared in a step: {size:,} bytes in {messages} sums "
          f"({alone['gradient_bytes']:,} of gradients)")  # fmt: skip
    print(f"COMPUTED for {options.gbit:g} Gbit/s and {options.latency_ms:g} ms a message, "
          "each worker as fast as this machine:")  # fmt: skip
    print("workers  sent by each, MB a step  step, ms  times as fast")
    for workers in (1, 2, 4, 8):
        # A ring: every worker sends and receives each number twice, but for its own share.
        sent = size * 2 * (workers - 1) / workers
        hops = messages * 2 * (workers - 1) * options.latency_ms / 1e3
        step_s = alone["step_s"] / workers + sent * 8 / (options.gbit * 1e9) + hops
        print(f"{workers:7}  {sent / 1e6:23.2f}  {1e3 * step_s:8.0f}  "
              f"{alone['step_s'] / step_s:13.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
