"""Prints the notes of a release: the section of CHANGELOG.md for its version.

    python -m tools.release_notes 0.1.0               the section `## 0.1.0 - 2026-01-31`
    python -m tools.release_notes Unreleased          what the next release would say
    python -m tools.release_notes --tag v0.1.0        the same as 0.1.0, if pyproject.toml has that version
    python -m tools.release_notes --version           the version of pyproject.toml

Exits with 1 if there is no such section, if it is empty, or if the tag is not the version of pyproject.toml.
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG, PROJECT = "CHANGELOG.md", "pyproject.toml"
UNRELEASED = "Unreleased"
_SECTION = re.compile(r"^## +\[?(?P<version>[^\s\]]+)\]?(?: +- +(?P<date>\S+))? *$", re.MULTILINE)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


class NoRelease(Exception):
    """The release cannot be made.  The text says what to change, and where."""


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """Version -> (date, text) of each section, newest first; the date is empty where there is none."""
    heads = list(_SECTION.finditer(changelog))
    found = {}
    for number, head in enumerate(heads):
        end = heads[number + 1].start() if number + 1 < len(heads) else len(changelog)
        found[head["version"]] = (head["date"] or "", changelog[head.end() : end].strip())
    return found


def notes(changelog: str, version: str) -> str:
    """The text of the version's section, without its heading.  Raises NoRelease."""
    found = sections(changelog)
    if version not in found:
        there = ", ".join(found) or "none"
        raise NoRelease(
            f"{CHANGELOG} has no section for {version}; add `## {version} - YYYY-MM-DD`. Sections there: {there}"
        )
    date, text = found[version]
    if version != UNRELEASED and not _DATE.fullmatch(date):
        raise NoRelease(f"{CHANGELOG}: the section {version} has no date; write `## {version} - YYYY-MM-DD`")
    if not text:
        raise NoRelease(f"{CHANGELOG}: the section {version} is empty")
    return text


def version_of(project: str) -> str:
    """The version in the text of pyproject.toml."""
    return str(tomllib.loads(project)["project"]["version"])


def tagged_version(tag: str, project: str) -> str:
    """The version of pyproject.toml (`project` is its text), if the tag is "v" and that version.  Raises NoRelease."""
    version = version_of(project)
    if tag != f"v{version}":
        raise NoRelease(f"the tag is {tag}, but {PROJECT} has version {version}; the tag must be v{version}")
    return version


def main(argv: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Print the notes; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.release_notes", description="A release's notes.")
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument("version", nargs="?", help="a version of CHANGELOG.md, such as 0.1.0, or Unreleased")
    asked.add_argument("--version", action="store_true", dest="ask", help="print the version of pyproject.toml")
    asked.add_argument("--tag", help="a tag, such as v0.1.0, which must be the version of pyproject.toml")
    options = parser.parse_args(argv)
    if options.ask:
        print(version_of((root / PROJECT).read_text("utf-8")))
        return 0
    try:
        version = options.version or tagged_version(options.tag, (root / PROJECT).read_text("utf-8"))
        print(notes((root / CHANGELOG).read_text("utf-8"), version))
    except NoRelease as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
