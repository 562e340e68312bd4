"""The notebooks of examples/ run from first to last, and show what they were saved with."""

import os
from importlib.util import find_spec
from pathlib import Path

import pytest

import edge

NOTEBOOKS = Path(edge.__file__).parents[1] / "examples" / "notebooks"
NEEDS = {
    "analyse_a_film": ("matplotlib", "polars"),
    "train_convert_compare": ("tensorflow", "sklearn"),
}


def forms(notebook) -> list[list[str]]:
    """What each cell shows: kinds of outputs; how many lines there are is left to chance.

    A table is HTML beside its text where pandas or Polars is installed, and text elsewhere.
    """
    return [
        sorted(
            {kind for one in cell.get("outputs", []) for kind in one.get("data", [one.output_type])}
            - {"text/html"}
        )
        for cell in notebook.cells
    ]


def test_every_notebook_is_known_and_listed():
    """In this file, and in the README of the folder above."""
    listed = (NOTEBOOKS.parent / "README.md").read_text("utf-8")
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert path.stem in NEEDS
        assert f"(notebooks/{path.name})" in listed


@pytest.mark.filterwarnings("default")  # what Jupyter warns of is its own
@pytest.mark.parametrize("name", NEEDS)
def test_a_notebook_runs_and_shows_what_was_saved(name, tmp_path, monkeypatch):
    """In an empty folder; an error in any cell fails. Numbers may differ, what is shown may not."""
    for module in ("nbclient", "ipykernel", *NEEDS[name]):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(NOTEBOOKS.parents[1]), os.environ.get("PYTHONPATH", "")])
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    saved = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    assert all(cell.execution_count for cell in saved.cells if cell.cell_type == "code")
    ran = nbformat.from_dict(saved)
    (tmp_path / "work").mkdir()
    client = NotebookClient(
        ran, timeout=900, resources={"metadata": {"path": str(tmp_path / "work")}}
    )
    client.execute()
    assert forms(ran) == forms(saved)
