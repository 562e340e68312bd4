"""The documentation cannot drift: its commands exist, its Python runs, its links lead somewhere."""

import ast
import re
import shlex
import shutil
import textwrap
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer.main

import edgeemo
from edge import __file__ as edge_file
from edgeemo.cli.app import app

ROOT = Path(edge_file).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *DOCS.rglob("*.md")]
    if "trained" not in path.parts
)
NEEDS_CAMERA = "video(0"
NEEDED = {"to_dataframe": ("pandas",), "detections()": ("supervision",), "PIL": ("PIL",),
          "open_log": ("duckdb",)}  # fmt: skip


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def options_of(words: list[str]) -> set[str] | None:
    """Return the options of the command that a line names; None for no such command."""
    command = typer.main.get_command(app)
    for word in words:
        inside = getattr(command, "commands", None)
        if inside is None or word.startswith("-"):
            break
        if word not in inside:
            return None
        command = inside[word]
    return {flag for one in command.params for flag in (*one.opts, *one.secondary_opts)}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_line_is_one(page):
    """Each `edgeemo ...` that a page shows is a command, with options that it has."""
    for block in blocks(page, "console"):
        for line in re.findall(r"^\$ edgeemo (.*)$", block, re.MULTILINE):
            words = shlex.split(line, comments=True)
            known = options_of(words)
            assert known is not None, line
            given = {word.partition("=")[0] for word in words if word.startswith("--")}
            assert given - {"--help", "--version", "--debug"} <= known, line


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_page(page):
    """Links between pages, and to pictures, name files that are there."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text("utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)", text):
        assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")])
def test_python_of_a_page_runs(page, photo, film, tmp_path, monkeypatch):
    """Blocks run in order on a real photo and a real film, but for those that want a camera."""
    for name in ("photo.jpg", "a.jpg", "b.jpg"):
        shutil.copy(photo, tmp_path / name)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    shutil.copy(film, tmp_path / "film.mp4")
    (tmp_path / "films").mkdir()
    shutil.copy(film, tmp_path / "films")
    monkeypatch.chdir(tmp_path)
    with edgeemo.Analyzer() as analyzer:
        list(analyzer.video("film.mp4", log_dir="fleet/pi-1"))
        ran = 0
        names = {"edgeemo": edgeemo, "analyzer": analyzer, "frame": analyzer.image("photo.jpg")}
        for block in blocks(page, "python"):
            code = textwrap.dedent(block)
            for part in ast.parse(code).body:
                source = ast.get_source_segment(code, part) or ""
                lacks = [
                    module
                    for word, modules in NEEDED.items()
                    if word in source
                    for module in modules
                    if find_spec(module) is None
                ]
                reads = {node.id for node in ast.walk(part) if isinstance(node, ast.Name)}
                if lacks or NEEDS_CAMERA in source or not reads_known(reads, names, source):
                    continue
                exec(compile(ast.Module([part], []), page, "exec"), names)
                ran += 1
    assert ran


def reads_known(reads: set[str], names: dict[str, object], source: str) -> bool:
    """Tell whether a statement only needs what is there: others follow one that was left out."""
    made = set(re.findall(r"\bfor (\w+)", source)) | set(re.findall(r"^(\w+) =", source))
    made |= set(re.findall(r"\bas (\w+)", source))
    known = set(names) | made | set(dir(__builtins__)) | {"print", "any"}
    return reads <= known


def test_the_api_page_has_every_public_name():
    """What ``__all__`` promises is in the reference."""
    text = (DOCS / "reference" / "api.md").read_text("utf-8")
    for name in edgeemo.__all__:
        assert re.search(rf"\.{name}$|`{name}`|`edgeemo\.{name}`", text, re.MULTILINE), name


def test_every_page_is_in_the_navigation():
    """mkdocs.yml lists each page once, and none that is not there (the generated ones aside).

    Single decisions are reached from their index, and another test holds that to the files.
    """
    text = (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:")[2]
    listed = re.findall(r"- (\S+\.md)$", text, re.MULTILINE)
    generated = {f"reference/{name}.md" for name in ("cli", "config", "log")}
    pages = {page.removeprefix("docs/") for page in PAGES} - {"README.md"}
    pages = {page for page in pages if not page.startswith("decisions/")}
    assert sorted(listed) == sorted(pages | generated)


def test_the_readme_is_short():
    """Who wants to know more follows a link."""
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 150
