"""A film becomes a DataFrame, and a timeline of one face's emotions.

python examples/film_timeline.py film.mp4 timeline.png    (needs matplotlib, and pandas or polars)
"""

import sys

from matplotlib.figure import Figure

import edgeemo


def main(film: str, out: str) -> None:
    with edgeemo.Analyzer(max_faces=1) as analyzer:
        table = analyzer.video(film).to_dataframe()
    print(f"{len(table)} rows, columns {', '.join(table.columns)}")
    figure = Figure(figsize=(10, 4))
    axes = figure.subplots()
    for label in analyzer.labels:
        axes.plot(table["t_s"], table[f"score_{label}"], label=label)
    axes.set(xlabel="seconds", ylabel="score", ylim=(0, 1), title=film)
    axes.legend(ncols=4)
    figure.savefig(out)


if __name__ == "__main__":
    main(*sys.argv[1:])
