"""What docs/architecture.md and docs/glossary.md name is in the code, and the pages use the words of the field."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
GLOSSARY = (ROOT / "docs/glossary.md").read_text("utf-8")
FRAME_IN = (
    ("edge/media/websocket.py", "MediaSocketProtocol.data_received"),
    ("workers/stt/session.py", "SttSession._receive"),
)
FRAME_OUT = (("workers/tts/session.py", "_Sender.send"), ("edge/media/websocket.py", "MediaSocketProtocol.send_texts"))
FRAME_LINES_MAX = 500
ARCHITECTURE_LINES_MAX = 250
GLOSSARY_LINES_MAX = 130

NAMED = re.compile(r"`([\w/]+\.py):\s+([\w.]+)`")
"""`path/file.py: Class.method`, which may be broken at the space."""
PATH = re.compile(r"`([\w./-]+/[\w.-]+)`")
PICTURES = re.compile(r"\b(?:ears?|minds?|mouths?|stor(?:y|ies)|ledgers?|news)\b", re.IGNORECASE)
ALLOWED = (
    re.compile(r"0002-state-is-the-story(?:\.md)?"),
    re.compile(r"`[^`\n]*`"),
)
"""Where such a word is a name: of a file, or of something in the code."""


@cache
def tree(path: str) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"), path)


def defined(scope: ast.AST) -> dict[str, ast.AST]:
    """Names that the body of a module or class defines -> where."""
    found: dict[str, ast.AST] = {}
    for node in getattr(scope, "body", ()):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                found[node.name] = node
            case ast.Assign():
                found |= {target.id: node for target in node.targets if isinstance(target, ast.Name)}
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
    return found


def definition(path: str, dotted: str) -> ast.AST | None:
    """Where the file defines this module-level name, or this method of a class."""
    if not (ROOT / path).is_file():
        return None
    scope: ast.AST | None = tree(path)
    for name in dotted.split("."):
        scope = defined(scope).get(name) if scope is not None else None
    return scope


def exists(path: str, dotted: str) -> bool:
    return definition(path, dotted) is not None


def length(path: str, dotted: str) -> int:
    """The lines of what is defined there."""
    node: Any = definition(path, dotted)
    return int(node.end_lineno - node.lineno + 1)


def words(path: str) -> set[str]:
    return set(re.findall(r"\w+", (ROOT / path).read_text("utf-8")))


# --- docs/architecture.md ------------------------------------------------------------------------------------------


def test_architecture_is_one_sitting() -> None:
    assert len(ARCHITECTURE.splitlines()) <= ARCHITECTURE_LINES_MAX


def test_each_step_of_the_walks_is_in_the_code() -> None:
    named = NAMED.findall(ARCHITECTURE)
    assert len(named) > 80
    assert [f"{path}: {name}" for path, name in named if not exists(path, name)] == []


def test_each_file_and_folder_of_architecture_is_there() -> None:
    # A step's span may be broken at its space: only what is a path as a whole is one.
    paths = [path for path in PATH.findall(re.sub(r"```.*?```", "", ARCHITECTURE, flags=re.DOTALL)) if path[0] != "/"]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("start", ["Walk 1", "Walk 2", "Walk 3", "Walk 4", "Walk 5"])
def test_each_walk_is_a_numbered_list(start: str) -> None:
    (walk,) = re.findall(rf"^## {start}.*?(?=^## )", ARCHITECTURE, re.MULTILINE | re.DOTALL)
    steps = [int(number) for number in re.findall(r"^(\d+)\. ", walk, re.MULTILINE)]
    assert steps and all(step in (1, before + 1) for before, step in zip([0, *steps], steps, strict=False))


def test_the_way_of_a_frame_in_and_out_is_short() -> None:
    """From the carrier's socket to the STT worker, and from the TTS worker to the carrier's socket."""
    named = list(dict.fromkeys(NAMED.findall(ARCHITECTURE)))
    way_in = named[named.index(FRAME_IN[0]) : named.index(FRAME_IN[1]) + 1]
    way_out = named[named.index(FRAME_OUT[0]) : named.index(FRAME_OUT[1]) + 1]
    assert sum(length(*step) for step in [*way_in, *way_out]) < FRAME_LINES_MAX


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_a_method_that_a_page_names_behind_its_file_is_there(page: Path) -> None:
    """As the tables of bus.md and reliability.md do; a field of a class counts, too."""
    named = re.findall(r"`((?:edge|workers|common)/[\w/]+\.py)` `([A-Z]\w*\.\w+)`", page.read_text("utf-8"))
    assert [f"{path} {name}" for path, name in named if not exists(path, name)] == []


def test_a_name_that_is_gone_would_be_seen() -> None:
    assert exists("edge/session/call.py", "Call.play")
    assert not exists("edge/session/call.py", "Call.nothing")
    assert not exists("edge/session/call.py", "play")
    assert not exists("edge/session/nothing.py", "Call")
    assert NAMED.findall("`edge/session/call.py:\n  Call.play`") == [("edge/session/call.py", "Call.play")]


# --- docs/glossary.md ----------------------------------------------------------------------------------------------


def terms() -> list[tuple[str, str, str]]:
    """(term, meaning, file) of each row."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in GLOSSARY.splitlines() if line[:1] == "|"]
    assert rows[0] == ["term", "meaning", "file"]
    return [(term, meaning, file) for term, meaning, file in rows[2:]]


def test_glossary_is_short_and_in_order() -> None:
    assert len(GLOSSARY.splitlines()) <= GLOSSARY_LINES_MAX
    order = [term.replace("`", "").replace("_", " ").strip().lower() for term, _, _ in terms()]
    assert order == sorted(order)


@pytest.mark.parametrize("row", terms(), ids=lambda row: row[0])
def test_a_term_is_where_the_glossary_says(row: tuple[str, str, str]) -> None:
    """A class is defined in a file of its row; any other name in backticks occurs there."""
    term, meaning, file = row
    files = re.findall(r"`([^`]+)`", file)
    assert files and meaning, term
    assert [path for path in files if not (ROOT / path).is_file()] == []
    for name in re.findall(r"`([^`]+)`", term):
        if re.fullmatch(r"_?[A-Z]\w*[a-z]\w*", name):
            assert any(exists(path, name) for path in files), f"{name} is not defined in {file}"
        elif name not in files[0]:
            known = {name, name.lower()}  # a setting is a field in lower case
            assert any(known & words(path) for path in files), f"{name} does not occur in {file}"


# --- all pages -----------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    return [*sorted((ROOT / "docs").rglob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_pages_use_the_words_of_the_field(page: Path) -> None:
    found = []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        for allowed in ALLOWED:
            line = allowed.sub("", line)
        found += [f"{page.name}:{number} {word}" for word in PICTURES.findall(line)]
    assert found == [], "write the field's word: docs/glossary.md"


def test_pictures_use_them_too() -> None:
    for picture in sorted((ROOT / "docs/pictures").glob("*.svg")):
        texts = re.findall(r">([^<>]+)<", picture.read_text("utf-8"))
        assert [text for text in texts if PICTURES.search(text)] == [], picture.name
