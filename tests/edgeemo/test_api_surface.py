"""What `import edgeemo` promises: light, complete, typed."""

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import edge
import edgeemo

TYPED = Path(__file__).with_name("typed_program.py")
PROBE = "import sys, json; import edgeemo; print(json.dumps(sorted(sys.modules)))"


def test_import_loads_nothing_heavy():
    """Neither OpenCV, NumPy, a runtime nor msgspec: a program starts at once."""
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert "edgeemo" in loaded
    heavy = {"cv2", "numpy", "msgspec", "ai_edge_litert", "tflite_runtime", "tensorflow", "duckdb",
             "typer", "rich", "pandas", "polars", "pyarrow"}  # fmt: skip
    assert not loaded & heavy


@pytest.mark.parametrize("name", edgeemo.__all__)
def test_every_public_name_is_there_and_documented(name):
    """Each name of ``__all__`` resolves, and says what it is."""
    found = getattr(edgeemo, name)
    assert isinstance(found, str) or inspect.getdoc(found)


def test_no_public_name_is_a_module_s():
    """Importing a module would put itself in the name's place."""
    modules = {path.stem for path in Path(edgeemo.__file__).parent.iterdir()}
    assert not modules & set(edgeemo.__all__)


def test_type_checkers_see_the_same_names():
    """What is imported for type checkers is what is found at run time."""
    tree = ast.parse(Path(edgeemo.__file__).read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If) and isinstance(n.test, ast.Name))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    seen = {alias.asname or alias.name for node in imports for alias in node.names}
    assert seen | {"__version__"} == set(edgeemo.__all__)
    assert sorted(dir(edgeemo)) == sorted(edgeemo.__all__)
    assert edgeemo.__all__ == sorted(edgeemo.__all__)


def test_an_unknown_name_is_an_attribute_error():
    """As of any module."""
    with pytest.raises(AttributeError, match="Analyser"):
        edgeemo.Analyser  # noqa: B018


def test_a_users_program_passes_mypy_strict(tmp_path):
    """The package says its types: a typed program that uses all of the API is accepted."""
    pytest.importorskip("mypy")
    root = Path(edge.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--follow-imports=silent",
         "--cache-dir", str(tmp_path), "--ignore-missing-imports", str(TYPED)],
        capture_output=True, text=True, cwd=tmp_path, env={"MYPYPATH": str(root)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
