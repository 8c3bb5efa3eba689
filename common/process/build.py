"""Identifies the build: the release version and the revision of the sources.

An image has the revision in the file REVISION beside the packages (Dockerfile, --build-arg REVISION).  In a checkout it
is the commit of HEAD.  Elsewhere it is "unknown".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

VERSION = "0.1.0"
"""The version of the project, as in pyproject.toml."""
UNKNOWN = "unknown"
REVISION_CHARS = 12
"""Length to which a commit hash is shortened."""
_NAME = re.compile(r"[A-Za-z0-9_.+-]{1,64}")


@dataclass(frozen=True, slots=True)
class Build:
    """`version` is the release, `revision` the shortened commit."""

    version: str
    revision: str


def this_build(root: Path = Path(__file__).parents[2]) -> Build:
    """The build of the sources under `root`.  Never raises: what cannot be read is "unknown"."""
    return Build(VERSION, _shown(_line(root / "REVISION") or _commit(root)))


def _commit(root: Path) -> str:
    """The commit of a checkout's HEAD, read without git, which an image does not have."""
    git = root / ".git"
    pointer = _line(git)  # in a worktree `.git` is a file that names the folder
    if pointer.startswith("gitdir: "):
        git = root / pointer.removeprefix("gitdir: ")
    head = _line(git / "HEAD")
    if not head.startswith("ref: "):
        return head
    name = head.removeprefix("ref: ")
    shared = _line(git / "commondir")
    for folder in (git, git / shared if shared else git):
        if found := _line(folder / name) or _packed(folder / "packed-refs", name):
            return found
    return ""


def _packed(path: Path, name: str) -> str:
    for line in _text(path).splitlines():
        commit, _, named = line.partition(" ")
        if named == name:
            return commit
    return ""


def _line(path: Path) -> str:
    return _text(path).strip().partition("\n")[0]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


def _shown(revision: str) -> str:
    """The revision as a metric label: short, and nothing but a name."""
    if not _NAME.fullmatch(revision):
        return UNKNOWN
    return revision[:REVISION_CHARS] if re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", revision) else revision
