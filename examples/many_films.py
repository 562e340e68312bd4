"""A folder of films, in parallel: how long each showed which emotion.

python examples/many_films.py films/ films.csv
"""

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path

import edgeemo


def main(folder: str, out: str) -> None:
    report = edgeemo.analyze(folder, out)
    for failure in report.failures:
        print(f"{failure.file}: {failure.reason}", file=sys.stderr)
    labels: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with Path(out).open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            labels[row["file"]][row["label"]] += 1
    for film, counts in labels.items():
        total = sum(counts.values())
        print(film, *(f"{label} {n / total:.0%}" for label, n in counts.most_common(3)))


if __name__ == "__main__":
    main(*sys.argv[1:])
