"""What a document may be and what is said of a wrong one, beyond the mistakes of a file (test_model.py)."""

from __future__ import annotations

from typing import Any

import pytest

from common.agents.model import Agent, GreetingAfter, from_document, parse, to_document

pytestmark = pytest.mark.fast

HEAD = {"name": "desk", "greeting": "Hello.", "instructions": "Be kind."}


@pytest.mark.parametrize("document", [None, "", {}])
def test_an_empty_document_lacks_what_has_to_be_there(document: object) -> None:
    agent, problems = parse(document)
    assert agent is None
    assert [problem.what for problem in problems] == [
        "'name' is missing; write `name: …`",
        "'greeting' is missing; write `greeting: …`",
        "'instructions' is missing; write `instructions: …`",
    ]


@pytest.mark.parametrize(
    ("key", "entry"),
    [("fallback_number", "12345 or 67890"), ("fallback_number", ["67890"]), ("numbers", ["12345 or 67890"])],
)
def test_a_phone_number_is_never_quoted(key: str, entry: object) -> None:
    _, (problem,) = parse({**HEAD, key: entry})
    assert "is no phone number; write digits such as '+911234567890'" in problem.what
    assert "67890" not in problem.what.replace("+911234567890", "")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"keyterms": ["x" * 70]}, "entry 1 of 'keyterms': has 70 characters; write 1 to 64 characters"),
        ({"variables": {"name": "x" * 1_001}}, "'variables.name' has 1,001 characters; write 0 to 1,000 characters"),
        ({"providers": {"tts": ["a/b", 5]}}, "entry 2 of 'providers.tts': must be text; put it in quotes"),
        ({"language": None}, "'language' is empty; write a language tag such as 'en', 'en-IN' or 'hi'"),
        ({"name": "Front Desk"}, "'name' is 'Front Desk'; write small letters"),
    ],
)
def test_a_wrong_value_is_told_once_with_what_to_write(wrong: dict[str, Any], what: str) -> None:
    agent, (problem,) = parse({**HEAD, **wrong}, default_name="Also wrong")
    assert agent is None and problem.what.startswith(what)


def test_an_unknown_key_is_a_mistake_in_a_file_and_none_in_the_document_of_a_newer_release() -> None:
    newer = {**to_document(Agent(**HEAD)), "greeting_after_ms": {"inbound": 5, "web": 9}, "limits": {"turns": 3}}
    assert from_document(newer).greeting_after_ms == GreetingAfter(5, 0)
    del newer["version"]
    _, problems = parse(newer)
    assert sorted(problem.path for problem in problems) == [("greeting_after_ms", "web"), ("limits", "turns")]
