"""The notes of a release are the changelog's section, and a release that lacks one is refused with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.release_notes import CHANGELOG, PROJECT, ROOT, NoRelease, main, notes, sections, tagged_version

pytestmark = pytest.mark.fast

LOG = """# Changelog

What users notice.

## Unreleased

### Added

- A claim beside each figure.

## 0.2.0 - 2026-03-01

- Second.

## [0.1.0] - 2026-01-31

### Added

- First.
"""
PYPROJECT = '[project]\nname = "x"\nversion = "0.2.0"\n'


def test_the_version_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"], written(tmp_path)) == 0
    assert capsys.readouterr().out == "0.2.0\n"


def written(folder: Path, log: str = LOG) -> Path:
    (folder / CHANGELOG).write_text(log)
    (folder / PROJECT).write_text(PYPROJECT)
    return folder


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("Unreleased", "### Added\n\n- A claim beside each figure."),
        ("0.2.0", "- Second."),
        ("0.1.0", "### Added\n\n- First."),
    ],
)
def test_a_section_ends_where_the_next_begins(version: str, text: str) -> None:
    assert notes(LOG, version) == text


@pytest.mark.parametrize(
    ("log", "version", "error"),
    [
        (LOG, "0.3.0", r"no section for 0\.3\.0; add `## 0\.3\.0 - YYYY-MM-DD`\. Sections there: Unreleased, 0\.2\.0"),
        ("# Changelog\n", "0.1.0", "Sections there: none"),
        ("## 0.1.0\n\n- First.\n", "0.1.0", "has no date"),
        ("## 0.1.0 - soon\n\n- First.\n", "0.1.0", "has no date"),
        ("## 0.2.0 - 2026-03-01\n\n## 0.1.0 - 2026-01-31\n\n- First.\n", "0.2.0", "is empty"),
    ],
)
def test_what_is_missing_is_named(log: str, version: str, error: str) -> None:
    with pytest.raises(NoRelease, match=error):
        notes(log, version)


def test_a_tag_is_the_version_of_the_project() -> None:
    assert tagged_version("v0.2.0", PYPROJECT) == "0.2.0"
    for tag in ("v0.2.1", "0.2.0", "v0.2.0-rc1"):
        with pytest.raises(NoRelease, match=r"the tag must be v0\.2\.0"):
            tagged_version(tag, PYPROJECT)


def test_the_command_prints_the_notes_or_the_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = written(tmp_path)
    assert main(["--tag", "v0.2.0"], root) == 0
    assert capsys.readouterr().out == "- Second.\n"
    assert main(["0.1.0"], root) == 0
    assert main(["--tag", "v0.1.0"], root) == 1
    assert "pyproject.toml has version 0.2.0" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([], root)


def test_our_changelog_can_be_read() -> None:
    text = (ROOT / CHANGELOG).read_text("utf-8")
    newest = next(iter(sections(text)))
    assert notes(text, newest)
