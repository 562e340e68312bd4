"""The documentation's diagrams are what their sources say: `make diagrams` draws them."""

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

import edge

ROOT = Path(edge.__file__).parents[1]
SOURCES = sorted((ROOT / "docs" / "diagrams").glob("*.dot"))


def shown(svg: str) -> list[str]:
    """Every box, arrow and line of text, by name; where they lie is the layout's affair."""
    root = ET.fromstring(svg)
    return sorted(
        "".join(one.itertext()) for one in root.iter() if one.tag.endswith(("title", "text"))
    )


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_diagram_is_drawn_from_its_source_as_it_stands(source):
    """The SVG carries the hash of the text that it was drawn from."""
    digest = hashlib.sha256(source.read_bytes()).hexdigest()[:16]
    svg = source.with_suffix(".svg").read_text("utf-8")
    assert f'<g id="{digest}" class="graph"' in svg, "run `make diagrams`"
    assert "http" not in re.sub(r'(xmlns\S*|DTD/)\S*"[^"]*"', "", svg).partition("<svg")[2]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_drawn_again_a_diagram_shows_the_same(source):
    """Whatever version of Graphviz draws it: the same boxes, arrows and words."""
    if shutil.which("dot") is None:
        pytest.skip("Graphviz is not installed")
    done = subprocess.run(["dot", "-Tsvg", source], capture_output=True, text=True, check=True)
    assert shown(done.stdout) == shown(source.with_suffix(".svg").read_text("utf-8"))


def test_every_diagram_is_on_a_page():
    """And none is on a page that has no source."""
    pages = "".join(path.read_text("utf-8") for path in (ROOT / "docs").rglob("*.md"))
    used = set(re.findall(r"diagrams/(\w+)\.svg\)", pages))
    assert used == {source.stem for source in SOURCES}
