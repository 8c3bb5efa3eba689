"""A module whose docstring says that it is pure is: the marker is in the module, so that no list can forget one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[1]
MARKER = re.compile(r"\bPure(?:[.;:,]|$)", re.MULTILINE)
IMPURE = frozenset({"asyncio", "socket", "subprocess", "time", "redis", "hiredis", "starlette", "websockets", "httpx"})
CLOCK = "common.process.clock"
MODULES = sorted(path for folder in ("common", "edge", "workers") for path in (ROOT / folder).rglob("*.py"))


def says_pure(tree: ast.Module) -> bool:
    return bool(MARKER.search(ast.get_docstring(tree) or ""))


def impure_imports(tree: ast.Module) -> set[str]:
    """What it imports itself of I/O and clocks; what its imports import is held by the contracts of pyproject.toml."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return {name for name in names if name.partition(".")[0] in IMPURE or name == CLOCK}


def test_what_says_that_it_is_pure_imports_no_io_and_no_clock() -> None:
    trees = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in MODULES}
    pure = {name: tree for name, tree in trees.items() if says_pure(tree)}
    assert len(pure) > 60
    assert {name: found for name, tree in pure.items() if (found := impure_imports(tree))} == {}


def test_every_core_says_that_it_is_pure() -> None:
    cores = [path for path in MODULES if path.stem.endswith("_core")]
    assert cores
    assert [path.name for path in cores if not says_pure(ast.parse(path.read_text("utf-8")))] == []


def test_an_impure_import_would_be_seen() -> None:
    tree = ast.parse('"""Counts.  Pure."""\nimport time\nfrom redis.asyncio import Redis\nimport re\n')
    assert says_pure(tree)
    assert impure_imports(tree) == {"time", "redis.asyncio"}
    assert not says_pure(ast.parse('"""Purely decorative."""'))
