"""Decisions are one short record each, and their index says what they say."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
RECORDS = sorted((DOCS / "decisions").glob("*.md"))
FORM = re.compile(
    r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
    r"(?P<date>\d{4}-\d\d-\d\d) · (?P<status>(accepted|superseded by \[)[^\n]*)\n\n"
    r"(?P<why>\S[\s\S]*)\n"
)
LINE = re.compile(r"^- \[(\d+)\. (.+)\]\(decisions/(\S+\.md)\)(?: \(.+\))?$", re.M)


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_says_the_decision_first_then_why(record: Path) -> None:
    """The heading is the decision; then the day and whether it still holds; then the reasons."""
    found = FORM.fullmatch(record.read_text("utf-8"))
    assert found, record.name
    assert record.name.startswith(f"{int(found['number']):04d}-")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", record.read_text("utf-8")):
        assert (record.parent / target).exists(), target


def test_the_index_has_every_record_under_its_day() -> None:
    """In order, with the same words; a number is never given twice."""
    index = (DOCS / "decisions.md").read_text("utf-8")
    days = re.split(r"^## (\S+)\n", index, flags=re.M)[1:]
    listed = [
        (day, *entry)
        for day, text in zip(days[::2], days[1::2], strict=True)
        for entry in LINE.findall(text)
    ]
    found = [(FORM.fullmatch(path.read_text("utf-8")), path.name) for path in RECORDS]
    assert listed == [
        (record["date"], record["number"], record["title"], name) for record, name in found
    ]
    assert [int(number) for _, number, _, _ in listed] == list(range(1, len(RECORDS) + 1))
    assert not re.search(r"^\*\*\d{4}-", index, re.M), "a paragraph that is no record yet"
