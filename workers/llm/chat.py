"""Builds the chat that the model is asked with, from the items of a conversation.  Pure.

What the caller said is a message of the user, what they heard of a reply one of the assistant.  A reply that called
tools is several messages: text and calls, the result of each call, text, ...  A result that came too late for its reply
follows as a note at its place in the conversation; the calls keep a placeholder, so that earlier messages never change.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

from common.call.reply_state import Reply
from common.call.tool_rounds import ToolRound
from common.protocol.acts import ToolReturned
from workers.providers.interfaces import ChatMessage

PENDING = "There is no result yet; it will follow."
RESULT_CHARS_MAX = 8_000
"""Longest part of a tool's result that the model is told, in characters."""
CUT_RESULT = " [… the rest is left out]"


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the model is told and nobody said; the model sees it in brackets."""

    text: str


Item: TypeAlias = str | Reply | Note
"""What the caller said, a reply of the agent, or a note; in the order in which the model shall see them."""


def chat_of(instructions: str, items: Iterable[Item], open_reply: Reply | None = None) -> list[ChatMessage]:
    """The chat.  `open_reply` is being generated: its rounds so far end the chat, without the text after them."""
    chat: list[ChatMessage] = [{"role": "system", "content": instructions}]
    for item in items:
        match item:
            case Reply():
                _add_reply(chat, item)
            case Note(text):
                _add_text(chat, "user", f"[{text}]")
            case _:
                _add_text(chat, "user", item)
    if open_reply is not None:
        _add_reply(chat, open_reply, whole=False)
    return chat


def _add_text(chat: list[ChatMessage], role: str, text: str) -> None:
    if not text:
        return
    last = chat[-1]
    if last["role"] == role and "tool_calls" not in last:
        last["content"] += f" {text}"  # a reply of which nothing was heard leaves two user turns in a row
    else:
        chat.append({"role": role, "content": text})


def _add_reply(chat: list[ChatMessage], reply: Reply, *, whole: bool = True) -> None:
    """Add a reply as far as it was heard; without `whole`, only up to the results of its last round."""
    rounds = reply.tools.rounds
    parts = reply.heard_parts([each.clauses for each in rounds]) if whole else _published(reply, rounds)
    for part, each in zip(parts, rounds, strict=False):
        calls = [
            {"id": _id(reply, n), "type": "function", "function": {"name": name, "arguments": arguments}}
            for n, (_, name, arguments) in enumerate(each.calls, each.first)
        ]
        chat.append({"role": "assistant", "content": part, "tool_calls": calls})
        chat += [_result(reply, n) for n in range(each.first, each.first + len(each.calls))]
    if whole:
        _add_text(chat, "assistant", parts[-1])


def _published(reply: Reply, rounds: list[ToolRound]) -> list[str]:
    """The text before the calls of each round, whether or not it was heard yet."""
    edges = [0, *(each.clauses for each in rounds)]
    return [" ".join(filter(None, reply.clauses[begin:end])) for begin, end in pairwise(edges)]


def _id(reply: Reply, n: int) -> str:
    """The id of a call in the chat: the model's own may repeat in another reply."""
    return f"call_{reply.turn}_{n}"


def _result(reply: Reply, n: int) -> dict[str, Any]:
    returned = reply.tools.results.get(n)
    known = returned is not None and n not in reply.tools.late
    return {
        "role": "tool",
        "tool_call_id": _id(reply, n),
        "content": shown_result(returned) if known and returned is not None else PENDING,
    }


def late_result(name: str, returned: ToolReturned) -> Note:
    """The note for a result that came when its reply did not wait for it any more."""
    return Note(f"{name} has returned: {shown_result(returned)}")


def shown_result(returned: ToolReturned) -> str:
    """The result as the model is told it."""
    result = returned.result or "(nothing)"
    return result if len(result) <= RESULT_CHARS_MAX else result[:RESULT_CHARS_MAX] + CUT_RESULT
