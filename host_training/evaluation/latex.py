"""Tables of an evaluation for papers: LaTeX with the rules of ``booktabs``, one file."""

from collections.abc import Iterable, Sequence
from typing import Final

from host_training.evaluation.cross_validation import FoldReport
from host_training.evaluation.evaluate import Evaluation
from host_training.evaluation.tables import CLASS_HEADER, class_rows, figure_lines, fold_rows

_SPECIAL: Final = str.maketrans(
    {
        "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    }
)  # fmt: skip


def latex_tables(figures: Evaluation) -> str:
    """Return figures, figures by emotion, the confusion matrix and folds as LaTeX tables."""
    measured = f"{figures.data.name}, {figures.split}, protocol {figures.protocol}, n = {figures.n}"
    names = list(figures.per_class)
    counts = [(name, *map(str, row)) for name, row in zip(names, figures.confusion, strict=True)]
    parts = [
        "% Needs \\usepackage{booktabs}.",
        latex_table(
            ("", ""), [(name.strip(), value) for name, value in figure_lines(figures)], measured
        ),
        latex_table(CLASS_HEADER, class_rows(figures), f"By emotion; {measured}"),
        latex_table(
            ("true / predicted", *names), counts, f"Confusion matrix in samples; {measured}"
        ),
    ]
    if isinstance(figures, FoldReport):
        header, *rows = fold_rows(figures)
        parts.append(latex_table(header, rows, f"By fold; {measured}"))
    return "\n\n".join(parts) + "\n"


def latex_table(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str) -> str:
    """Return a table environment with a header and one line a row."""
    lines = [_row(header), r"\midrule", *map(_row, rows)]
    return "\n".join(
        (
            r"\begin{table}",
            rf"\caption{{{escaped(caption)}}}",
            r"\centering",
            rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
            r"\toprule",
            *lines,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        )
    )


def _row(cells: Sequence[str]) -> str:
    return " & ".join(map(escaped, cells)) + r" \\"


def escaped(text: str) -> str:
    """Escape what LaTeX would read as commands."""
    return text.translate(_SPECIAL)
