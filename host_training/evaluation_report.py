"""A folder that an evaluation can be published from: figures, pictures, every single answer."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from edge.contract.quantize import leading
from host_training.atomic import write_atomically
from host_training.cross_validation import FoldReport
from host_training.errors import TrainingError
from host_training.evaluation import Evaluation, Measured
from host_training.evaluation_tables import CLASS_HEADER, class_rows, figure_lines, three
from host_training.metrics import reliability
from host_training.plots import confusion_matrix_png, reliability_png, worst_mistakes_png
from host_training.run_directory import write_json

EVALUATION: Final = "evaluation.json"
PREDICTIONS: Final = "predictions.csv"
REPORT: Final = "report.md"
CONFUSION: Final = "confusion_matrix.png"
RELIABILITY: Final = "reliability.png"
MISTAKES: Final = "worst_mistakes.png"


def write_report(folder: Path, measured: Measured) -> None:
    """Write ``evaluation.json``, ``predictions.csv``, ``report.md`` and three PNGs.

    Files of an older report in the folder are replaced.

    Raises:
        TrainingError: the disk refuses.
    """
    figures, answers, calibration = measured.figures, measured.answers, measured.calibration
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MISTAKES).unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"{folder}: can not be written ({error.strerror})") from error
    write_json(folder / EVALUATION, figures)
    write_predictions(folder / PREDICTIONS, measured)
    name = Path(figures.model).name
    confusion_matrix_png(figures, folder / CONFUSION, name)
    panels = {"before temperature scaling": reliability(answers.probabilities, answers.right)}
    if calibration is not None:
        used = " and ".join(f"{temperature:.2f}" for temperature in calibration.temperatures)
        panels[f"after, at temperature {used}"] = reliability(calibration.tempered, answers.right)
    reliability_png(panels, figures, folder / RELIABILITY, name)
    shown = worst_mistakes_png(answers, folder / MISTAKES, name)
    text = report_text(figures, shown).encode()
    write_atomically(folder / REPORT, lambda file: file.write(text))


def write_predictions(path: Path, measured: Measured) -> None:
    """Write a line a row: where it stands in the data set, the truth, the answer, all scores.

    Scores are the network's, before temperature scaling.

    Raises:
        TrainingError: the disk refuses.
    """
    answers, fold, subjects = measured.answers, measured.fold, measured.answers.rows.subjects
    header = ["row", "true", "predicted", "confidence", *answers.labels]
    header += ["fold"] * (fold is not None) + ["subject"] * (subjects is not None)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for i, scores in enumerate(answers.probabilities):
        given = int(leading(scores))
        line = [measured.index[i], answers.labels[answers.right[i]], answers.labels[given]]
        line += [f"{score:.6g}" for score in (scores[given], *scores)]
        line += [] if fold is None else [fold[i]]
        line += [] if subjects is None else [subjects[i]]
        writer.writerow(line)
    data = text.getvalue().encode()
    write_atomically(path, lambda file: file.write(data))


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
        f"{figures.edgeemo_version} on {figures.n} rows of {data.name}, split {figures.split}, "
        f"protocol {figures.protocol}. Fingerprint of the rows: `{data.fingerprint}`.",
        *(f"**Note:** {remark}." for remark in figures.remarks),
        _table(("", ""), [(name.strip(), value) for name, value in figure_lines(figures)]),
        "## By emotion",
        _table(CLASS_HEADER, class_rows(figures)),
    ]
    if isinstance(figures, FoldReport):
        parts += ["## By fold", _per_fold(figures)]
    parts += [
        f"![Confusion matrix]({CONFUSION})",
        "## Calibration",
        "Expected calibration error in 15 equal-width bins (Guo et al., ICML 2017). Temperature "
        f"fitted on: {figures.calibrated_on}.",
        f"![Reliability diagram]({RELIABILITY})",
        "## The worst mistakes",
        f"![The most confident wrong answers]({MISTAKES})" if mistakes else "There is no mistake.",
        f"Every answer stands in `{PREDICTIONS}`, every figure in `{EVALUATION}`.",
    ]
    return "\n\n".join(parts) + "\n"


def _per_fold(report: FoldReport) -> str:
    rows = [(str(i), *three(fold), str(fold.n)) for i, fold in enumerate(report.per_fold, 1)]
    rows += [("mean", *three(report.mean), ""), ("spread (s)", *three(report.spread), "")]
    return _table(("fold", "accuracy", "balanced accuracy", "macro-F1", "n"), rows)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
