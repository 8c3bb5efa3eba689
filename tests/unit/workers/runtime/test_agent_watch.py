"""A worker that goes on while an agent's providers are edited: it says once what its pool cannot serve."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.settings import Settings
from workers.llm.engines.catalog import CATALOG
from workers.runtime.agent_watch import AgentWatch

pytestmark = pytest.mark.fast

DESK = "greeting: Hello.\ninstructions: Be kind.\n"


def looks(watch: AgentWatch) -> None:
    """As it does every 5 s."""
    if watch.is_due():
        watch.check()


def test_an_edited_provider_that_cannot_be_used_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "desk.yaml").write_text(DESK)
    watch = AgentWatch("llm", CATALOG, Settings(agents_dir=str(tmp_path), llm_provider="local/receptionist"))
    looks(watch)
    (tmp_path / "desk.yaml").write_text(f"{DESK}providers: {{llm: opnai/gpt-4o}}\n")
    looks(watch)
    assert caplog.messages == []  # it may be half written
    for _ in range(3):
        looks(watch)
    (line,) = caplog.messages
    assert "desk.yaml:3: unknown language model provider 'opnai/gpt-4o'; did you mean 'openai/gpt-4o'?" in line
    (tmp_path / "desk.yaml").write_text("greeting: Hello.\n")
    looks(watch)
    looks(watch)
    assert caplog.messages == [line]  # of mistakes in the file the edge speaks
