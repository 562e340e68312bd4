"""Reading samples from shards: against memory, and against TFRecord and Parquet.

    python benchmarks/streaming.py formats --samples 100000
    python benchmarks/streaming.py pass --samples 1000000
    python benchmarks/streaming.py train --samples 50000 --steps 500

``formats`` reads random batches and a whole pass of each format, written to a temporary
folder; ``pass`` takes every batch of one epoch, views and all, and prints how the process grew;
``train`` compares steps of ``micro`` with samples in memory and on the disk.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge.contract.labels import EMOTIONS
from host_training.config import TrainConfig
from host_training.data.samples import Samples
from host_training.data.shards import in_memory, read_shards, write_shards
from host_training.training.ahead import ahead
from host_training.training.batches import TrainingBatches

BATCH = 128
SHARD = 65536


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("formats", "pass", "train"))
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    with tempfile.TemporaryDirectory() as folder:
        write_shards(random_samples(options.samples), Path(folder), SHARD, (1, 1))
        {"formats": formats, "pass": one_pass, "train": train}[options.what](
            Path(folder), options.steps
        )


class RandomImages:
    """Random pictures, made as they are asked for: this process stays small while it writes."""

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int) -> None:
        self.shape = (count, 48, 48)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> Any:
        count = len(range(*rows.indices(len(self))))
        return np.random.default_rng(rows.start).integers(0, 256, (count, 48, 48), np.uint8)


def random_samples(count: int) -> Samples:
    """Return so many random samples, a hundredth of them to validate on."""
    hard = np.random.default_rng(0).integers(0, 8, count)
    return Samples(
        images=RandomImages(count),  # type: ignore[arg-type]
        targets=np.eye(8, dtype=np.float32)[hard],
        labels=EMOTIONS,
        class_ids=hard,
        split=np.where(np.arange(count) % 100 == 0, "PublicTest", "Training"),
        name="random",
        form="random",
        protocol="labels",
    )


def formats(folder: Path, steps: int) -> None:
    """Print samples a second of each format: random batches, and a whole pass in order."""
    samples = read_shards(folder)
    order = np.random.default_rng(0).permutation(len(samples))
    batches = [order[at : at + BATCH] for at in range(0, len(order) - BATCH, BATCH)]
    say("shards, random order", len(batches) * BATCH, lambda: [samples.images[b] for b in batches])
    blocks = range(0, len(samples), 16384)
    say("shards, in order", len(samples), lambda: [samples.images[b : b + 16384] for b in blocks])
    images = np.asarray(samples.images)
    say("memory, random order", len(batches) * BATCH, lambda: [images[b] for b in batches])
    parquet(folder / "all.parquet", images)
    tfrecord(folder / "all.tfrecord", images)
    del steps


def parquet(path: Path, images: Any) -> None:
    """The same pictures as a column of bytes, by Polars."""
    import polars as pl

    pl.DataFrame({"pixels": [image.tobytes() for image in images]}).write_parquet(path)

    def read() -> None:
        for value in pl.read_parquet(path)["pixels"]:
            np.frombuffer(value, np.uint8)

    say("Parquet, in order, all in memory", len(images), read)


def tfrecord(path: Path, images: Any) -> None:
    """The same pictures as records of bytes, by TensorFlow."""
    from host_training.frameworks import import_tensorflow

    tf = import_tensorflow()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for image in images:
            writer.write(image.tobytes())

    def read() -> None:
        records = tf.data.TFRecordDataset(str(path)).batch(BATCH)
        for batch in records.map(lambda x: tf.io.decode_raw(x, tf.uint8)):
            batch.numpy()

    say("TFRecord, in order", len(images), read)


def say(what: str, samples: int, read: Callable[[], object]) -> None:
    """Print the better of two readings."""
    took_s = []
    for _ in range(2):
        started = time.monotonic()
        read()
        took_s.append(time.monotonic() - started)
    print(f"{what:34} {samples / min(took_s):12,.0f} samples/s", flush=True)


def one_pass(folder: Path, steps: int) -> None:
    """Print resident memory along one epoch of batches."""
    samples = read_shards(folder)
    batches = TrainingBatches(samples, TrainConfig(batch_size=BATCH))
    started, first = time.monotonic(), 0.0
    sizes = []
    for number, _ in enumerate(ahead(batches.epoch(0))):
        if number == 0:
            first = resident_mb()
        if number % 500 == 0:
            sizes.append(resident_mb())
    seconds = time.monotonic() - started
    print(f"{len(batches) * BATCH:,} samples in {seconds:.0f} s")
    print(f"resident {first:.0f} MB at the first batch, then {min(sizes):.0f} to {max(sizes):.0f}")
    del steps


def resident_mb() -> float:
    """Return this process' resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def train(folder: Path, steps: int) -> None:
    """Print steps a second of ``micro``, from the disk and from memory by turns."""
    from host_training.frameworks import configure_backend
    from host_training.training.optimizer import learner_of, untrained_model

    config = TrainConfig(architecture="micro", batch_size=BATCH, epochs=1)
    configure_backend(config.precision, deterministic=False)
    stored = read_shards(folder)
    held = in_memory(stored)
    learner = learner_of(untrained_model(config, 8), config, 1000, held.targets)
    sources = {"memory": batches_of(held, config), "disk": batches_of(stored, config)}
    for batches in sources.values():
        for _ in range(5):
            learner.step(next(batches))
    took_s = dict.fromkeys(sources, 0.0)
    turns, steps = 10, steps // 10
    for _ in range(turns):
        for name, batches in sources.items():
            started = time.monotonic()
            for _ in range(steps):
                learner.step(next(batches))
            took_s[name] += time.monotonic() - started
    for name, seconds in took_s.items():
        print(f"{name}: {turns * steps / seconds:.1f} steps/s")
    print(f"disk at {took_s['memory'] / took_s['disk']:.3f} of the rate of memory")


def batches_of(samples: Samples, config: TrainConfig) -> Iterator[Any]:
    """Yield batches for ever."""
    for epoch in range(1000):
        yield from ahead(TrainingBatches(samples, config).epoch(epoch))


if __name__ == "__main__":
    main()
