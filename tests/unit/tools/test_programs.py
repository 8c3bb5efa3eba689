"""Programs that only some machines have: skipped with a word on a laptop, failed in CI, and by nothing else."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.programs import REMEDIES, program

pytestmark = pytest.mark.fast

TESTS = Path(__file__).resolve().parents[2]
ROOT = TESTS.parent


@pytest.mark.parametrize("name", [name for name, remedy in REMEDIES.items() if remedy.startswith("apt-get")])
def test_without_it_a_laptop_skips_and_ci_fails(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for ci, outcome in (("", pytest.skip.Exception), ("true", pytest.fail.Exception)):
        monkeypatch.setenv("CI", ci)
        with pytest.raises(outcome, match=f"{name} is not installed: apt-get install "):
            program(name)


def test_one_that_nobody_has_listed_is_skipped_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name may be put together where it is used: Debian's alertmanager was."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="nobody-lists-me is not installed"):
        program("nobody-lists-me")


def test_one_that_is_there_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "espeak-ng").touch(0o700)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert program("espeak-ng") == str(tmp_path / "espeak-ng")


def test_nobody_looks_for_a_program_in_another_way() -> None:
    """Else it is skipped in CI unseen, or fails on a laptop: as espeak-ng did."""
    found = []
    for path in sorted(TESTS.rglob("*.py")):
        if path.name in ("programs.py", Path(__file__).name):
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "shutil.which":
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            first = node.elts[0] if isinstance(node, ast.List) and node.elts else None
            if isinstance(first, ast.Constant) and first.value in REMEDIES:
                found.append(f"{path.relative_to(ROOT)}:{first.lineno} starts {first.value}")
    assert not found


def test_ci_installs_all_of_them() -> None:
    packages = {remedy.removeprefix("apt-get install ") for remedy in REMEDIES.values() if "apt-get" in remedy}
    for place in (".ci/run", ".github/workflows/ci.yml"):
        installed = set(re.findall(r"[a-z][a-z-]+", (ROOT / place).read_text("utf-8")))
        needed = packages - {"nginx-light"}  # no test needs it yet
        assert needed <= installed, f"{place} does not install {needed - installed}"
