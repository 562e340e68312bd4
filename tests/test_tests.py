"""What holds for the tests themselves: read from their source, without running any."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILES = sorted(TESTS.rglob("*.py"))
PACKAGES = ("converters", "deploy", "edge", "edgeemo", "host_training")
TREES = {path: ast.parse(path.read_text("utf-8")) for path in FILES}

PUBLIC = {"_exit"}
"""Documented names of the standard library that begin with an underscore: ``os._exit``."""
PATCHES = {"setattr", "getattr", "delattr", "hasattr"}
CHECKS = {"raises", "warns", "fail", "deprecated_call"}
"""What of pytest is as good as an ``assert``."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in PUBLIC | {"_"}


def private_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield what is reached into: attributes, imports, and names in calls of ``setattr``."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass
            case ast.Attribute(attr=name) if is_private(name):
                yield node.lineno, ast.unparse(node)
            case ast.ImportFrom(module=module, names=names):
                yield from (
                    (node.lineno, f"{module}.{found.name}")
                    for found in names
                    if module != "__future__" and is_private(found.name)
                )
            case ast.Call(args=arguments, func=function) if _name(function) in PATCHES:
                for argument in arguments[:2]:
                    match argument:
                        case ast.Constant(value=str(text)) if is_private(text.rpartition(".")[2]):
                            yield node.lineno, text


def _name(function: ast.expr) -> str:
    match function:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


@pytest.mark.parametrize(
    "source",
    [
        "sink._queue.get()", "from edge.sinks import _hidden", "sink.file._fd = 1",
        "monkeypatch.setattr(module, '_LIMIT', 1)", "monkeypatch.setattr('edge.sinks._LIMIT', 1)",
        "getattr(sink, '_queue')",
    ],
)  # fmt: skip
def test_what_is_private_is_seen(source):
    """Whichever way it is reached."""
    assert list(private_names(ast.parse(source)))


def test_no_test_looks_at_what_is_private():
    """What a test must see or set, the object shows; else it is no part of what is promised."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in TREES.items()
        for line, name in private_names(tree)
    ]
    assert found == []


def checks(node: ast.AST, checking: set[str]) -> bool:
    """Return whether running this can fail for what is tested: an assertion, or a helper's."""
    return any(
        isinstance(found, ast.Assert | ast.Raise)
        or (isinstance(found, ast.Call) and _is_check(_name(found.func), checking))
        for found in ast.walk(node)
    )


def _is_check(name: str, checking: set[str]) -> bool:
    return name in CHECKS | checking or name.startswith("assert_")  # those of numpy.testing


def functions(tree: ast.Module) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    return {
        node.name: node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def asserting(tree: ast.Module) -> set[str]:
    """Return the functions of a module that check something, themselves or through others."""
    checking: set[str] = set()
    known = functions(tree)
    while more := {n for n, node in known.items() if n not in checking and checks(node, checking)}:
        checking |= more
    return checking


SHARED = asserting(TREES[TESTS / "helpers.py"])


def test_every_test_asserts():
    """A test that cannot fail shows nothing."""
    silent = []
    for path, tree in TREES.items():
        known = functions(tree)
        checking = asserting(tree) | SHARED
        silent += [
            f"{path.relative_to(ROOT)}:{node.lineno}: {name}"
            for name, node in known.items()
            if name.startswith("test_") and not checks(node, checking)
        ]
    assert silent == []


CLOCKS = {"monotonic", "perf_counter", "process_time", "thread_time", "time"}


def is_reading(node: ast.AST, names: set[str]) -> bool:
    return any(
        (isinstance(found, ast.Call) and _name(found.func) in CLOCKS)
        or (isinstance(found, ast.Name) and found.id in names)
        for found in ast.walk(node)
    )


def is_duration(node: ast.AST, readings: set[str], durations: set[str]) -> bool:
    return any(
        (
            (isinstance(found, ast.BinOp) and isinstance(found.op, ast.Sub))
            and is_reading(found, readings)
        )
        or (isinstance(found, ast.Name) and found.id in durations)
        for found in ast.walk(node)
    )


def given(tree: ast.AST) -> list[tuple[str, ast.expr]]:
    """Return what names are given: by an assignment, or appended to a list."""
    found: list[tuple[str, ast.expr]] = []
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=targets, value=value):
                places = [place for target in targets for place in ast.walk(target)]
                found += [(place.id, value) for place in places if isinstance(place, ast.Name)]
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="append"), args=[value]):
                found.append((name, value))
    return found


def timed(function: ast.AST) -> Iterator[int]:
    """Yield the lines of assertions that a duration is short, or long."""
    if not is_reading(function, set()):
        return  # as nearly all: who reads no clock has no duration
    readings: set[str] = set()
    durations: set[str] = set()
    for _ in range(3):  # a name that is given a name that is given a reading
        for name, value in given(function):
            if is_duration(value, readings, durations):
                durations.add(name)
            elif is_reading(value, readings):
                readings.add(name)
    for node in ast.walk(function):
        if isinstance(node, ast.Assert) and any(
            is_duration(part, readings, durations) for part in ast.walk(node) if is_order(part)
        ):
            yield node.lineno


def is_order(node: ast.AST) -> bool:
    operators = ast.Lt | ast.LtE | ast.Gt | ast.GtE
    return isinstance(node, ast.Compare) and any(isinstance(op, operators) for op in node.ops)


@pytest.mark.parametrize(
    "source",
    [
        "assert time.monotonic() - started < 2",
        "begun = time.process_time()\ntook_s = time.process_time() - begun\nassert took_s < 2",
        "ages.append(time.monotonic() - frame.t_s)\nassert max(ages) < 2",
    ],
)
def test_an_asserted_duration_is_seen(source):
    """Whichever way it is taken."""
    assert list(timed(ast.parse(source)))


def test_no_test_asserts_a_duration():
    """A busy machine is no failure: speed is measured in benchmarks/, and patience is a minute."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name}"
        for path, tree in TREES.items()
        for name, function in functions(tree).items()
        for line in timed(function)
    ]
    assert found == []


def test_tests_lie_where_what_they_test_lies():
    """A folder of tests for each package that has some, under the same name."""
    strangers = [
        str(folder.relative_to(TESTS))
        for name in PACKAGES
        for folder in (TESTS / name).rglob("*")
        if folder.is_dir()
        and any(folder.glob("test_*.py"))
        and not (ROOT / folder.relative_to(TESTS) / "__init__.py").exists()
    ]
    assert strangers == []
    assert [path.name for path in TESTS.glob("test_*.py")] == [Path(__file__).name]
