"""What people read is the field's English, wherever it stands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("benchmarks", "converters", "deploy", "docs", "edge", "edgeemo", "examples")
FOLDERS += ("host_training", "systemd", "tests")
SUFFIXES = {".py", ".md", ".js", ".html", ".css", ".toml", ".txt", ".service"}
HASHED = "MODEL_CARD.md"
"""A bundle's own words are as they were made: their hash is in its SHA256SUMS."""


def texts() -> Iterator[tuple[Path, str]]:
    found = [path for name in FOLDERS for path in (ROOT / name).rglob("*")]
    for path in [*ROOT.glob("*.md"), *found]:
        if path.suffix in SUFFIXES and path.name not in {HASHED, "CHANGELOG.md"}:
            yield path.relative_to(ROOT), path.read_text("utf-8")


@pytest.mark.parametrize("words", [("can", "not")], ids="-".join)
def test_no_text_has_what_nobody_writes(words: tuple[str, str]) -> None:
    """A word that is written as one is never two, in messages, documents and tests alike."""
    spelt = [f"{first}{gap}{second}" for first, second in [words] for gap in (" ", "\n")]
    seen = 0
    for path, text in texts():
        seen += 1
        assert not [wrong for wrong in spelt if wrong in text.lower()], path
    assert seen > 300
