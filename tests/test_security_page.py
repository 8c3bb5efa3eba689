"""docs/security.md names a test for each threat: it must be there."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[1]


def test_each_test_that_the_page_on_security_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", (ROOT / "docs/security.md").read_text("utf-8"))
    assert len(named) > 30
    missing = []
    for file, test in named:
        path = ROOT / file
        if not path.is_file() or not re.search(rf"^(async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE):
            missing.append(f"docs/security.md names {file}::{test}")
    assert not missing, "\n".join(missing)
