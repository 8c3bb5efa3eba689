"""Parses one chunk of a chat completion's stream.  Pure.

Servers differ in everything but the text, so only a fault in the text can fail a reply: null, absent and "" are the
same, and a part that cannot be parsed is left out.  A whole answer in one document (from a server that ignores
`stream`) is parsed like a chunk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from workers.llm.text.tool_calls import arguments_text
from workers.providers.interfaces import TokensUsed

_TEXT_BLOCKS = frozenset({"", "text", "output_text", "text_delta"})


class ErrorInStream(ValueError):
    """The server sent an error instead of text.  `document` is that error."""

    def __init__(self, document: Any) -> None:
        super().__init__("an error instead of a chunk")
        self.document = document


@dataclass(slots=True)
class CallPart:
    """A part of a tool call.  `index` is the number of the call; None: a call of its own."""

    index: int | None = None
    call_id: str = ""
    name: str = ""
    arguments: str = ""


@dataclass(slots=True)
class ChatChunk:
    """The content that one chunk adds to the reply."""

    text: str = ""
    calls: list[CallPart] = field(default_factory=list)
    finish_reason: str = ""
    """The reason for which the reply is complete; empty while it is not."""
    used: TokensUsed | None = None


def understood(document: Any) -> ChatChunk:
    """Parse a chunk.  Raises `ErrorInStream`, and TypeError if its text cannot be read."""
    chunk = ChatChunk()
    if not isinstance(document, Mapping):
        return chunk  # no chunk of a completion
    chunk.used = _usage(document.get("usage"))
    choices = document.get("choices")
    for choice in choices if isinstance(choices, list) else [choices]:
        if not isinstance(choice, Mapping) or _index(choice.get("index")):
            continue
        for part in (choice.get("delta"), choice.get("message")):
            if isinstance(part, Mapping):
                chunk.text += _text(part.get("content"))
                chunk.calls += _calls(part)
        chunk.finish_reason = chunk.finish_reason or _reason(choice.get("finish_reason"))
    if document.get("error") and not (chunk.text or chunk.calls or chunk.finish_reason):
        raise ErrorInStream(document)
    return chunk


def _text(content: Any) -> str:
    """Return the text of a message's content: a string, or a list of blocks of which some are text."""
    match content:
        case None | bool():
            return ""
        case str():
            return content
        case list():
            return "".join(map(_text, content))
        case {"type": str(kind)} if kind not in _TEXT_BLOCKS:
            return ""  # reasoning, a reference, a picture
        case {"text": {"value": words}} | {"text": words}:
            return _text(words)
    raise TypeError("expected text")


def _calls(part: Mapping[str, Any]) -> list[CallPart]:
    calls = part.get("tool_calls")
    found = [_call(each) for each in (calls if isinstance(calls, list) else [calls]) if isinstance(each, Mapping)]
    if isinstance(function := part.get("function_call"), Mapping):  # the older field, for a single call
        found.append(_call({"index": 0, "function": function}))
    return found


def _call(part: Mapping[str, Any]) -> CallPart:
    function = part.get("function")
    named = function if isinstance(function, Mapping) else part
    name, arguments, call_id = named.get("name"), named.get("arguments"), part.get("id")
    return CallPart(
        _index(part.get("index")),
        str(call_id) if isinstance(call_id, str | int) else "",
        name if isinstance(name, str) else "",
        arguments if isinstance(arguments, str) else arguments_text(arguments) if arguments else "",
    )


def _index(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _reason(value: Any) -> str:
    if not isinstance(value, str) or value.strip().lower() in ("", "null", "none"):
        return ""
    return value.lower() if re.fullmatch(r"[A-Za-z_]{1,30}", value) else "other"


def _usage(usage: Any) -> TokensUsed | None:
    if not isinstance(usage, Mapping):
        return None
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else 0
    used = TokensUsed(_count(usage.get("prompt_tokens")), _count(cached), _count(usage.get("completion_tokens")))
    return used if used.tokens_in or used.tokens_out else None


def _count(value: Any) -> int:
    """Return a number of tokens; 0 if the value is no number."""
    return max(0, int(value)) if isinstance(value, int | float) and abs(value) < 1e12 else 0
