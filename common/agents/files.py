"""Reads an agent's file: YAML as plain text, lists and mappings, with the line of each value.

YAML serves for layout only: every scalar stays the text that was typed, and the field decides what it means.  So
`language: no` is Norwegian and `numbers: [+911234567890]` is not an integer.  Only the parser of PyYAML's safe loader
runs, and no tag constructs an object.

YAML also cuts unquoted text without an error: ` #` begins a comment, and a leading `&` or `!` names something.  Such
cuts are recorded in `Document.cuts`; reading.py knows which values are text for people and reports those.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from common.agents.fields import Path as FieldPath
from common.agents.fields import Problem

FILE_BYTES_MAX = 128 * 1024
PYTHON_BYTES_MAX = 256 * 1024
PYTHON_VERSION_DIGITS = 12
DEPTH_MAX = 6
"""Levels of a document: `tools: order_status: parameters: order_id: choices: [paid]` has the most."""
NODES_MAX = 5_000
"""Limit of the nodes in a document, because aliases let a small file expand to a large document."""
YAML_TAGS = "tag:yaml.org,2002:"
_COMMENT = re.compile(r"[ \t]+(#[^\r\n]?)")


@dataclass(frozen=True, slots=True)
class CutText:
    """An unquoted value at `path` that YAML cut on `line`, at the sign `at`: `#`, `&` or `!`."""

    path: FieldPath
    line: int
    at: str
    is_likely_text: bool
    """No space follows the `#`, so it is probably text and no comment."""
    is_empty: bool
    """Nothing is left of the value."""


@dataclass(slots=True)
class Document:
    """One file as it was read.  If `data` is None the file could not be read, and `problems` says why."""

    path: Path
    data: Any = None
    lines: dict[FieldPath, int] = field(default_factory=lambda: {(): 1})
    problems: list[Problem] = field(default_factory=list)
    cuts: list[CutText] = field(default_factory=list)

    def line(self, path: FieldPath) -> int:
        """The line number of the value at `path`, or of the nearest value around it."""
        while path not in self.lines:
            path = path[:-1]
        return self.lines[path]

    def location(self, path: FieldPath) -> str:
        """`file:line` of the value at `path`."""
        return f"{self.path}:{self.line(path)}"


def read_document(path: Path) -> Document:
    """Read one file.  Never raises; mistakes are in `Document.problems`."""
    document = Document(path)
    source, node = _compose(document)
    if node is not None:
        walk = _Walk(document, source)
        document.data = walk.plain(node, (), 0)
        if walk.refused:
            document.data = None
    return document


def python_file(folder: Path, agent: str) -> Path:
    """The path of the Python file with the tools of the agent of this name, whether or not there is one."""
    return folder / f"{agent}.py"


def python_version(folder: Path, agent: str) -> tuple[str, str]:
    """(version of the agent's Python file, why it cannot be used); both are empty if there is none.

    The version is a digest of the file's content, so that a call's record tells with which file it began.
    """
    path = python_file(folder, agent)
    try:
        with path.open("rb") as file:
            raw = file.read(PYTHON_BYTES_MAX + 1)
    except FileNotFoundError:
        return "", ""
    except OSError as error:
        return "", f"its Python file {path.name} cannot be read ({type(error).__name__})"
    if len(raw) > PYTHON_BYTES_MAX:
        return "", f"its Python file {path.name} is larger than {PYTHON_BYTES_MAX // 1024} KiB; move parts to a package"
    return hashlib.sha256(raw).hexdigest()[:PYTHON_VERSION_DIGITS], ""


def _compose(document: Document) -> tuple[str, yaml.Node | None]:
    def refuse(what: str, line: int = 1) -> None:
        document.lines[()] = line
        document.problems.append(Problem((), what))

    raw = b""
    try:
        with document.path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            refuse(f"is larger than {FILE_BYTES_MAX // 1024} KiB; shorten it")
            return "", None
        source = raw.decode("utf-8-sig")
        node: yaml.Node | None = yaml.compose(source, Loader=yaml.SafeLoader)
        if node is None:
            refuse("is empty; copy agents/receptionist.yaml and edit it")
        return source, node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = error.problem or error.context or "cannot be read"
        refuse(f"is no YAML: {reason}; check quotes, colons and indentation here", mark.line + 1 if mark else 1)
    except UnicodeDecodeError as error:
        refuse("is not UTF-8 text; save the file as UTF-8", raw.count(b"\n", 0, error.start) + 1)
    except (OSError, yaml.YAMLError, RecursionError) as error:
        refuse(f"cannot be read ({type(error).__name__}); write a plain UTF-8 YAML file")
    return "", None


class _Walk:
    """Converts YAML nodes to plain values and records the line of each."""

    def __init__(self, document: Document, source: str) -> None:
        self._document = document
        self._source = source
        self._nodes = 0
        self.refused = False
        """True if the document is too deep or too large to be an agent; its data is then not used."""

    def plain(self, node: yaml.Node, path: FieldPath, depth: int) -> Any:
        self._document.lines[path] = node.start_mark.line + 1
        self._nodes += 1
        if depth > DEPTH_MAX or self._nodes > NODES_MAX:
            if not self.refused:
                self._problem(path, "is nested too deep or repeats too much; write it out plainly")
            self.refused, self._nodes = True, NODES_MAX
            return ""
        if not node.tag.startswith(YAML_TAGS) or node.tag.startswith(f"{YAML_TAGS}python"):
            self._problem(path, f"the tag {node.tag!r} means nothing here; remove it")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(child, (*path, index), depth + 1) for index, child in enumerate(node.value)]
        self._note_cut(node, path)
        is_entry = bool(path) and isinstance(path[-1], int)  # of a list: there `Null` is a name
        return "" if node.tag == f"{YAML_TAGS}null" and not is_entry else str(node.value)

    def _note_cut(self, node: yaml.Node, path: FieldPath) -> None:
        """Record the text that YAML cut from an unquoted value."""
        if not isinstance(node, yaml.ScalarNode) or node.style is not None:
            return
        begins, ends = node.start_mark, node.end_mark
        comment = _COMMENT.match(self._source, ends.index)
        if comment is not None:
            is_likely_text = not comment[1][1:].isspace() and comment[1] != "#"
            self._document.cuts.append(CutText(path, ends.line + 1, "#", is_likely_text, not node.value))
        sign, name = self._source[begins.index : begins.index + 1], _word(self._source, begins.index + 1)
        if (sign == "!" and not name) or (sign == "&" and not re.search(rf"\*{re.escape(name)}(?!\S)", self._source)):
            self._document.cuts.append(CutText(path, begins.line + 1, sign, True, not node.value))

    def _mapping(self, node: yaml.MappingNode, path: FieldPath, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            here, line = (*path, key), key_node.start_mark.line + 1
            if key in found:
                first = self._document.lines[here]
                twice = (*path, f"{key} again, line {line}")
                self._document.lines[twice] = line
                self._problem(twice, f"{key!r} stands here again, first on line {first}; keep one of the two")
                continue
            found[key] = self.plain(value_node, here, depth + 1)
            self._document.lines[here] = line  # the key's own line, also for a block that begins below it
        return found

    def _problem(self, path: FieldPath, what: str) -> None:
        self._document.problems.append(Problem(path, what))


def _word(source: str, at: int) -> str:
    found = re.compile(r"\S*").match(source, at)
    return found[0] if found is not None else ""
