"""An agent's version follows from what its file says and from nothing else, so a release changes none.

Calls under way, their records and the logs name agents by it.  The versions here were computed at commit be2ca77,
before msgspec declared the fields.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.model import Agent, parse, to_document
from common.agents.reading import load_agents

pytestmark = pytest.mark.fast

ROOT = Path(__file__).parents[4]
EVERYTHING = {
    "name": "desk", "greeting": "नमस्ते {{name}}", "instructions": "One.\nTwo.", "farewell": "Bye.", "language": "en-IN",
    "voice": "007", "keyterms": "Asha, Dr Rao", "numbers": ["+91 12345 67890", "*"], "variables": {"name": "guest"},
    "providers": {"stt": "deepgram/nova-3", "llm": ["openai/gpt-4o-mini"], "tts": []},
    "turn": {"onset_ms": "200", "endpointing_ms": "1_000", "eager_endpointing_ms": "0", "interruptible": "no"},
    "limits": {"call_s": "60", "silence_s": "10"}, "greeting_after_ms": "700", "fallback_number": "+91 12345 67891",
}  # fmt: skip


def test_a_release_changes_no_version_and_no_order_of_keys() -> None:
    agent, problems = parse(EVERYTHING)
    assert agent is not None and not problems
    assert (agent.version, Agent("desk", "Hi.", "x").version) == ("44d60bb665e3", "da9dbe43d545")
    assert list(to_document(agent)) == [
        "name", "greeting", "instructions", "farewell", "language", "voice", "providers", "turn", "limits",
        "greeting_after_ms", "keyterms", "numbers", "variables", "fallback_number", "version",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "version"),
    [
        ("agents", "f39ab877f1d1"),
        ("examples/appointment", "345ccd185c54"),
        ("examples/hindi", "fee746c73712"),
        ("examples/outbound-reminder", "abf1d4df57f3"),
        ("examples/own-model-server", "691db166c3c1"),
        ("examples/receptionist", "6f22d5554628"),
    ],
)
def test_the_version_of_a_shipped_agent_changes_with_its_text_only(folder: str, version: str) -> None:
    """Whoever edits the text of such a file writes its new version here."""
    (agent,) = load_agents(ROOT / folder).by_name.values()
    assert agent.version == version
