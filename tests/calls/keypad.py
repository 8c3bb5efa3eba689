"""An agent with a menu of keys that collects digits, and what is left of a call in which keys were pressed."""

from __future__ import annotations

import json

from common.agents.model import Agent, parse
from common.protocol.acts import KeysEntered, ToolsCalled
from tests.calls.phone import Phone, folded_replies

PIN = '<collect_digits {"name": "pin", "length": 4, "secret": true}>'
NUMBER = '<collect_digits {"name": "customer", "min": 4, "max": 6}>'
MENU = {
    "1": {"say": "We open at nine."},
    "2": {"ask": "my order"},
    "3": {"tool": "order_status", "arguments": {"order_id": "7"}},
    "0": {"transfer": "office"},
}


def agent(**more: object) -> Agent:
    request = {"url": "https://shop.example.com/x"}
    document = {
        "name": "shop",
        "greeting": "Hello.",
        "instructions": "x",
        "tools": {"order_status": {"http": request, "parameters": {"order_id": {}}}},
        "transfer": {"office": {"number": "+91 12345 67890", "announcement": "I put you through."}},
        "builtins": ["collect_digits"],
        "keypad": MENU,
    }
    found, problems = parse(document | more)
    assert found is not None, problems
    return found


def entered(phone: Phone) -> list[str]:
    return [event.keys for event in phone.events if isinstance(event, KeysEntered)]


def results(phone: Phone) -> list[tuple[str, str]]:
    """Outcome and text of the results, those that count."""
    replies = folded_replies(phone.events).values()
    return [(str(each.outcome), each.result) for reply in replies for _, each in sorted(reply.tools.results.items())]


def told(phone: Phone) -> str:
    """Everything that the model was ever told."""
    return json.dumps(phone.mind.asked, ensure_ascii=False)


async def collecting(phone: Phone, question: str = "my account") -> None:
    """The caller asks for something, and is asked for digits."""
    await phone.hears("Hello.")
    await phone.silence()
    before = len([event for event in phone.events if isinstance(event, ToolsCalled)])
    await phone.says(question)
    await phone.until(
        lambda: len([event for event in phone.events if isinstance(event, ToolsCalled)]) > before, "a call"
    )
