"""`make audit` tells three things apart: vulnerable, not known to be, and not known."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest

from deploy.audit import LOCKS, Audit, audit, main, read_report

pytestmark = pytest.mark.processes

ROOT = Path(__file__).resolve().parents[2]
SOUND = {"name": "sound", "version": "1.0", "vulns": []}
BROKEN = {"name": "broken", "version": "2.1", "vulns": [{"id": "PYSEC-2031-7", "fix_versions": ["2.2"]}]}
UNKNOWN = {"name": "unknown", "skip_reason": "Dependency not found"}


def report(*packages: dict[str, object]) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_known_vulnerability_is_named_with_its_way_out() -> None:
    found = read_report(report(SOUND, BROKEN, UNKNOWN), "")
    assert found == Audit(("broken 2.1: PYSEC-2031-7, fixed in 2.2",), 2, ("unknown",))
    assert "could not be checked: unknown" in found.summary("x.lock")


def test_no_vulnerability_is_said_only_of_what_was_checked() -> None:
    found = read_report(report(SOUND), "WARNING: something")
    assert (found.vulnerable, found.checked, found.why) == ((), 1, "")
    assert "could not" not in found.summary("x.lock")


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("", "Traceback\nConnectionError: could not connect"),
        ("", ""),
        ("<html>", "a proxy"),
        ("[]", "odd"),
        (report(UNKNOWN), "No known vulnerabilities found"),
    ],
)
def test_what_could_not_be_checked_is_no_all_clear(said: str, complaint: str) -> None:
    found = read_report(said, complaint)
    assert found.why
    assert "could not be checked" in found.summary("x.lock")
    assert found.vulnerable == ()


def test_the_exit_code_is_1_for_findings_only(tmp_path: Path) -> None:
    stand_in = [sys.executable, "-c", "import sys; print(open(sys.argv[1]).read()); sys.exit(1)"]
    lock = tmp_path / "report.json"
    lock.write_text(report(BROKEN))
    assert audit(str(lock), stand_in).vulnerable
    assert audit(str(lock), [str(tmp_path / "no such program")]).why
    assert main([str(tmp_path / "no such lock")]) == 0  # no pip-audit, or no file: said, and no finding


def test_make_audit_looks_at_what_is_installed() -> None:
    assert all((ROOT / lock).is_file() for lock in LOCKS)
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^audit:.*\n\t\S+/python -m deploy\.audit$", makefile, re.MULTILINE)
