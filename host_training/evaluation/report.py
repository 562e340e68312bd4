"""A folder that an evaluation can be published from: figures, pictures, every single answer."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.contract.decision import leading, temper
from edge.contract.scores import reliability
from host_training.atomic import write_atomically
from host_training.errors import TrainingError
from host_training.evaluation.cross_set import CrossSet, comparison
from host_training.evaluation.cross_validation import FoldReport
from host_training.evaluation.evaluate import Evaluation, Measured
from host_training.evaluation.latex import latex_tables
from host_training.evaluation.tables import (
    CLASS_HEADER,
    class_rows,
    corruption_lines,
    corruptions_key,
    figure_lines,
    fold_rows,
)
from host_training.metrics.coverage import coverage_curve
from host_training.metrics.plots import (
    FORMATS,
    Format,
    draw_confusion_matrix,
    draw_corruptions,
    draw_coverage,
    draw_reliability,
    draw_worst_mistakes,
)
from host_training.runs.directory import write_json

EVALUATION: Final = "evaluation.json"
PREDICTIONS: Final = "predictions.csv"
REPORT: Final = "report.md"
TABLES: Final = "tables.tex"
CONFUSION: Final = "confusion_matrix"
RELIABILITY: Final = "reliability"
MISTAKES: Final = "worst_mistakes"
COVERAGE: Final = "coverage"
CORRUPTIONS: Final = "corruptions"


def write_report(folder: Path, measured: Measured, also: Format | None = None) -> None:
    """Write ``evaluation.json``, ``predictions.csv``, ``report.md``, ``tables.tex`` and pictures.

    Files of an older report in the folder are replaced.

    Args:
        folder: where to.
        measured: what is reported.
        also: the form that the pictures are drawn in besides PNG.

    Raises:
        TrainingError: the disk refuses.
    """
    figures = measured.figures
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for leftover in (MISTAKES, CORRUPTIONS):  # an evaluation need not have them
            for kind in FORMATS:
                (folder / f"{leftover}.{kind}").unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: cannot be written ({error.strerror})") from error
    write_json(folder / EVALUATION, figures)
    write_predictions(folder / PREDICTIONS, measured)
    shown = 0
    for kind in {"png", also or "png"}:
        shown = _draw(folder, measured, kind)
    for file, text in ((REPORT, report_text(figures, shown)), (TABLES, latex_tables(figures))):
        _write_text(folder / file, text)


def _draw(folder: Path, measured: Measured, kind: str) -> int:
    """Draw every picture in one form; return how many mistakes are on the sheet of the worst."""
    figures, answers, calibration = measured.figures, measured.answers, measured.calibration
    name = Path(figures.model).name
    panels = {"before temperature scaling": reliability(answers.probabilities, answers.right)}
    if calibration is not None:
        used = " and ".join(f"{temperature:.2f}" for temperature in calibration.temperatures)
        panels[f"after, at temperature {used}"] = reliability(calibration.tempered, answers.right)
    given = answers.probabilities
    if figures.own_temperature is not None:
        given = temper(given, figures.own_temperature)
    curve, _ = coverage_curve(given.max(axis=1), answers.are_right)
    draw_confusion_matrix(figures, folder / f"{CONFUSION}.{kind}", name)
    draw_reliability(panels, figures, folder / f"{RELIABILITY}.{kind}", name)
    draw_coverage(curve, figures, figures.coverage, folder / f"{COVERAGE}.{kind}", name)
    if figures.corruptions is not None:
        draw_corruptions(figures.corruptions, folder / f"{CORRUPTIONS}.{kind}", name)
    return draw_worst_mistakes(answers, folder / f"{MISTAKES}.{kind}", name)


def _write_text(path: Path, text: str) -> None:
    data = text.encode()
    write_atomically(path, lambda file: file.write(data))


def write_cross_set(folder: Path, sets: CrossSet) -> None:
    """Write ``report.md`` and ``evaluation.json`` of several data sets.

    Raises:
        TrainingError: the disk refuses.
    """
    header, *lines = comparison(sets)
    parts = [
        f"# {Path(sets.sets[0].figures.model).name} on {len(sets.sets)} data sets",
        "Accuracy, balanced accuracy and recall in per cent. Intervals are 95 %, by the bootstrap "
        "over subjects where they are known. A sample that is not classified counts as wrong.",
        _table(header, lines),
        "\n".join(f"- [{one.name}]({one.name}/{REPORT})" for one in sets.sets),
    ]
    write_json(folder / EVALUATION, sets)
    text = ("\n\n".join(parts) + "\n").encode()
    write_atomically(folder / REPORT, lambda file: file.write(text))


def write_predictions(path: Path, measured: Measured) -> None:
    """Write a line a row: where it stands in the data set, the truth, the answer, all scores.

    Scores are the network's, before temperature scaling.

    Raises:
        TrainingError: the disk refuses.
    """
    answers, fold, subjects = measured.answers, measured.fold, measured.answers.rows.subjects
    header = ["row", "true", "predicted", "confidence", *answers.labels]
    seen, other = measured.figures.seen, measured.other
    header += ["fold"] * (fold is not None) + ["subject"] * (subjects is not None)
    header += ["seen"] * (seen is not None) + ["other"] * (measured.other is not None)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for i, scores in enumerate(answers.probabilities):
        given = int(leading(scores))
        line = [measured.index[i], answers.labels[answers.right[i]], answers.labels[given]]
        line += [f"{score:.6g}" for score in (scores[given], *scores)]
        line += [] if fold is None else [fold[i]]
        line += [] if subjects is None else [subjects[i]]
        line += [] if seen is None else [seen.samples[i]]
        line += [] if other is None else [other.labels[leading(other.probabilities[i])]]
        writer.writerow(line)
    _write_text(path, text.getvalue())


def report_text(figures: Evaluation, mistakes: int) -> str:
    """Return the report in Markdown.

    Args:
        figures: all of them.
        mistakes: how many there are on the sheet of the worst.
    """
    data = figures.data
    parts = [
        f"# {Path(figures.model).name} on {data.name}",
        f"Model `{figures.model}`, SHA-256 `{figures.model_sha256}`, measured by edgeemo "
        f"{figures.edgeemo_version} on {figures.n} samples of {data.name}, split {figures.split}, "
        f"protocol {figures.protocol}. Fingerprint of the samples: `{data.fingerprint}`.",
        *(f"**Note:** {remark}." for remark in figures.remarks),
        _table(("", ""), [(name.strip(), value) for name, value in figure_lines(figures)]),
        "## By emotion",
        _table(CLASS_HEADER, class_rows(figures)),
    ]
    if isinstance(figures, FoldReport):
        header, *folds = fold_rows(figures)
        parts += ["## By fold", _table(header, folds)]
    parts += [
        f"![Confusion matrix]({CONFUSION}.png)",
        "## Calibration",
        "Expected calibration error in 15 equal-width bins (Guo et al., ICML 2017). Temperature "
        f"fitted on: {figures.calibrated_on}.",
        f"![Reliability diagram]({RELIABILITY}.png)",
        "## When it is unsure",
        _coverage(figures),
        f"![Accuracy of the most confident answers]({COVERAGE}.png)",
        *_corruptions(figures),
        "## The worst mistakes",
        f"![The most confident wrong answers]({MISTAKES}.png)"
        if mistakes
        else "There is no mistake.",
        f"Every answer stands in `{PREDICTIONS}`, every figure in `{EVALUATION}`; `{TABLES}` has "
        "the tables in LaTeX.",
    ]
    return "\n\n".join(parts) + "\n"


def _coverage(figures: Evaluation) -> str:
    return _table(
        ("samples answered", "accuracy", "confidence, at least"),
        [
            (f"{point.coverage:.0%}", f"{point.accuracy:.1%}", f"{point.confidence:.3f}")
            for point in figures.coverage.points
        ],
    )


def _corruptions(figures: Evaluation) -> list[str]:
    if figures.corruptions is None:
        return []
    header, *lines = corruption_lines(figures.corruptions)
    return [
        "## Corrupted pictures",
        f"{figures.corruptions.n} samples, each under every kind and severity of "
        "`host_training/data/corruptions.py` (after Hendrycks and Dietterich, ICLR 2019). "
        f"{corruptions_key(figures.corruptions)}",
        _table(header, lines),
        f"![Accuracy by severity]({CORRUPTIONS}.png)",
    ]


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
