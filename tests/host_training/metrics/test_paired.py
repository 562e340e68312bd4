"""Two models on the same samples: who is right where the other is not, and whether it is chance."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_training.data.samples import Samples
from host_training.evaluation.evaluate import Question, evaluate_in_full, held_against
from host_training.evaluation.latex import escaped, latex_table
from host_training.evaluation.tables import figure_lines
from host_training.metrics.paired import paired
from host_training.metrics.predict import Model
from host_training.runs.known_pictures import known_pictures
from host_training.runs.provenance import ModelProvenance


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=50))
def test_the_outcome_follows_from_the_answers(pairs: list[tuple[bool, bool]]) -> None:
    """Counts and difference are those of the answers; turned round, it is the mirror image."""
    first, other = (np.array(column) for column in zip(*pairs, strict=True))
    outcome, turned = paired(first, other, "b"), paired(other, first, "a")
    assert outcome.difference == pytest.approx(first.mean() - other.mean())
    assert outcome.other_accuracy == other.mean()
    assert (outcome.only_first, outcome.only_other) == (turned.only_other, turned.only_first)
    assert outcome.mcnemar_p == turned.mcnemar_p
    low, high = outcome.difference_interval
    assert -1 <= low <= high <= 1


def test_people_are_drawn_and_not_their_pictures() -> None:
    """Where subjects are known the interval is over them: one person's pictures go together."""
    first = np.repeat([True, True, False, False], 25)
    other = np.repeat([True, False, True, False], 25)
    by_sample = paired(first, other, "b")
    by_subject = paired(first, other, "b", np.repeat(list("abcd"), 25))
    assert by_subject.by_subject
    wide, narrow = (
        p.difference_interval[1] - p.difference_interval[0] for p in (by_subject, by_sample)
    )
    assert wide > 2 * narrow
    assert "by subject" in by_subject.lines[0]
    assert "p = 1, two-sided" in by_subject.lines[1]


def test_what_the_other_model_has_seen_is_told(striped: Samples) -> None:
    """A difference to a model that has learnt from these very samples is no fair one."""
    measured = striped.split_rows("PublicTest")
    learnt = measured.where(np.arange(16) < 5)
    known = known_pictures(learnt, striped.split_rows("Training"))
    predict: Model = lambda rows: (striped.labels, np.eye(4, dtype=np.float32)[rows.class_ids])  # noqa: E731
    first = evaluate_in_full(measured, Question(), predict, ModelProvenance("a", "0"))
    outcome = held_against(first, predict, ModelProvenance("b", "1", known=known)).figures
    assert outcome.against is not None
    assert outcome.against.other_seen is not None
    assert outcome.against.other_seen.training == 5
    told = [text for _, text in figure_lines(outcome)]
    assert "the other: of 16 samples the model learnt from 5, 0 chose its best epoch, 11 are" in (
        " ".join(told)
    )


def test_a_table_in_latex() -> None:
    """Every row has the columns of the header, and what LaTeX would read otherwise is escaped."""
    text = latex_table(
        ("emotion", "recall"), [("fear_1", "65.0%"), ("a & b", "#1 {x} ~ ^ \\")], "n = 3"
    )
    assert r"fear\_1 & 65.0\% \\" in text
    assert r"a \& b & \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \\" in text
    assert r"\begin{tabular}{lr}" in text
    assert text.count(r"\begin{") == text.count(r"\end{") == 2
    assert not re.search(r"(?<!\\)[%#]", text)
    assert escaped("50 % of a_b") == r"50 \% of a\_b"
