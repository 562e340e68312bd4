"""How much near twins of training rows flatter a figure: with them, and without.

    python benchmarks/near_twins.py fer2013.csv.gz fer2013new.csv [--model BUNDLE] [--split S]

FER2013 shows many shots again, shifted, mirrored or relit, in another split. Runs with
`keep_near_duplicates` left out exact copies of validation rows only. Here the bundle answers all
rows of the split, and the accuracy is given over all of them, over those with a near twin among the
training rows, and over those without.
"""

import argparse
from pathlib import Path

import numpy as np

from converters.convert.int8_predict import tflite_probabilities
from edge.contract.bundle import PACKAGED
from host_training.data.load import load_samples
from host_training.data.near_duplicates import near_pairs
from host_training.metrics.scores import wilson_interval


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--model", type=Path, default=PACKAGED)
    parser.add_argument("--split", default="PublicTest")
    options = parser.parse_args()

    samples = load_samples(options.data, options.labels, "majority")
    measured = (samples.split == options.split) & samples.measurable
    learnt = samples.split == "Training"
    first, second = near_pairs(samples.images).pairs.T
    twins = np.zeros(len(samples), bool)
    twins[first[learnt[second]]] = True
    twins[second[learnt[first]]] = True

    rows = samples.where(measured)
    labels, probabilities = tflite_probabilities(options.model, rows.images)
    order = [(labels or rows.labels).index(name) for name in rows.labels]
    right = probabilities[:, order].argmax(axis=1) == rows.class_ids
    has_twin = twins[measured]
    for name, mask in (
        ("all", np.ones(len(rows), bool)),
        ("with a near twin in Training", has_twin),
        ("without", ~has_twin),
    ):
        correct, n = int(right[mask].sum()), int(mask.sum())
        low, high = wilson_interval(correct, n)
        print(f"{name:30} n = {n:5}  {correct / n:.2%}  (95 % interval {low:.2%} to {high:.2%})")


if __name__ == "__main__":
    main()
