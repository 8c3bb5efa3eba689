"""Dialogues with tools, as servers of different abilities are asked."""

import pytest

from workers.llm.engines.openai_dialect import ServerDialect
from workers.llm.tools.builtin import END_CALL_SCHEMA

pytestmark = pytest.mark.fast

CALL = {"id": "call_2_0", "type": "function", "function": {"name": "order_status", "arguments": '{"id": "7"}'}}
DIALOGUE = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "my order"},
    {"role": "assistant", "content": "Let me see.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "call_2_0", "content": "on its way"},
]


def test_calls_and_results_are_asked_as_they_are():
    request = ServerDialect("m", "max_tokens", None, None).request(DIALOGUE, [END_CALL_SCHEMA])
    assert request["messages"] == DIALOGUE


def test_a_server_that_takes_no_tools_gets_them_in_words():
    dialect = ServerDialect("m", "max_tokens", None, None)
    request = dialect.request(DIALOGUE, [END_CALL_SCHEMA])
    assert dialect.learn(request, {"error": {"message": "tools are not supported by this model"}})
    _, *turns = dialect.request(DIALOGUE, [END_CALL_SCHEMA])["messages"]
    assert turns == [
        {"role": "user", "content": "my order"},
        {"role": "assistant", "content": 'Let me see. order_status({"id": "7"})'},
        {"role": "user", "content": "[The tool returned: on its way]"},
    ]
