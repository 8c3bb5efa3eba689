"""Tracks which parts of OpenAI's chat completions one model of one server accepts.  Pure.

The first request to every server has the same form.  A part that the server refuses is left out, or sent in another
form, from then on.  Each refusal costs one request, as a rule at the start of the process, because `warm` sends the
same request as a call.

    `max_tokens`               -> `max_completion_tokens` (Azure's newer models) -> left out
    `stream_options`, `temperature`, `stream` -> left out
    `tools`                    -> described in the instructions, and called in the text
    the system role            -> the instructions begin the first message of the user
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from workers.providers.interfaces import ChatMessage

OPENING = "(The phone rings, and you answer it.)"
"""Precedes the greeting: many chat templates require that the user speaks first, and then alternating turns."""
GO_ON = (
    "(The connection broke while you spoke the message above. Go on exactly where it stops, in the middle of the "
    "sentence if need be. Do not repeat any of it, and do not mention the break. If nothing is missing, say nothing.)"
)
"""Follows the prefix of a reply that another request generated: the continuation must fit behind it.  It has the
user's role, because most templates accept instructions at the beginning only."""
TOOLS_IN_TEXT = (
    "To use one of these tools, end your reply with a line such as "
    '<tool_call>{{"name": "{name}", "arguments": {{}}}}</tool_call>. It is not spoken. The tools:\n{tools}'
)
REFUSAL_CHARS_MAX = 4_000
LEARNT_MAX = 7
"""Refusals that one request may meet before it is given up."""

_TOOLS = re.compile(r"\btools?\b|tool_choice|tool.(?:use|call)|function.?call", re.I)
_ROLES = re.compile(
    r"\broles?\b.{0,80}(?:alternat|support|allowed|invalid|must|unexpected|unknown)"
    r"|(?:system|developer).{0,40}(?:role|message|instruction|prompt).{0,60}(?:not|unsupported|invalid|beginning|first|only)"
    r"|(?:unexpected|unsupported|invalid|unknown) (?:message )?role|alternat\w+.{0,60}roles?|roles? .{0,20}system\b"
    r"|got system",
    re.I | re.DOTALL,
)
_NO_STREAM = re.compile(
    r"\bstream(?:ing)?\b.{0,60}(?:not|unsupported|disabled)|verified to stream"
    r"|(?:not|un)\w* .{0,30}\bstream(?:ing)?\b",
    re.I,
)
_TOO_MUCH = re.compile(
    r"context.(?:length|window)|too (?:long|large|many)|content.(?:filter|management)|moderation", re.I
)
_ERROR_FIELDS = frozenset(
    {"message", "msg", "detail", "details", "error", "errors", "param", "loc", "code", "title", "type"}
)


class ServerDialect:
    """The form of requests to this server's model; `learn` adapts it to a refusal."""

    def __init__(self, model: str, tokens_field: str, tokens_max: int | None, temperature: float | None) -> None:
        """`tokens_field`: the first name to try for the limit of tokens."""
        self.model = model
        self._tokens_fields = [tokens_field, *({"max_tokens", "max_completion_tokens"} - {tokens_field})]
        self._tokens_max = tokens_max
        self._temperature = temperature
        self._streams = True
        self._usage = True
        self._tools = True
        self._system = True

    def request(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> dict[str, Any]:
        """Return the request's body for a reply that continues `prefix`."""
        request: dict[str, Any] = {
            "model": self.model,
            "messages": self._messages(dialogue, tools, prefix),
        }
        if self._streams:
            request["stream"] = True
        if self._streams and self._usage:
            request["stream_options"] = {"include_usage": True}
        if tools and self._tools:
            request["tools"] = list(tools)
        if self._temperature is not None:
            request["temperature"] = self._temperature
        if self._tokens_max is not None and self._tokens_fields:
            request[self._tokens_fields[0]] = self._tokens_max
        return request

    def learn(self, request: Mapping[str, Any], refusal: Any) -> str:
        """Change the part of the request that the refusal names; return the change in words, or "" if there is none.

        `refusal` is the server's document or text.  It is only believed if it names a field that was sent.
        """
        reason = " ".join(_error_texts(refusal))[:REFUSAL_CHARS_MAX]
        if self._usage and re.search(r"stream.options|include.usage", reason):
            self._usage = False
            return "without `stream_options`"
        if self._streams and _NO_STREAM.search(reason):
            self._streams = False
            return "without `stream`, so that the caller waits for the whole reply"
        if "temperature" in request and re.search(r"temperature", reason):
            self._temperature = None
            return "without `temperature`"
        field = next((name for name in self._tokens_fields if name in request), "")
        if field and re.search(r"max_(?:completion_)?tokens|max_new_tokens", reason):
            self._tokens_fields.remove(field)
            return f"with `{self._tokens_fields[0]}`" if self._tokens_fields else "without a bound of tokens"
        if _TOO_MUCH.search(reason):
            return ""  # caused by this dialogue, not by the form of the request
        if self._system and _ROLES.search(reason):
            self._system = False
            return "with the instructions in the user's first message"
        if self._tools and request.get("tools") and _TOOLS.search(reason):
            self._tools = False
            return "without `tools`; they are described in the instructions"
        return ""

    def _messages(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]], prefix: str
    ) -> list[ChatMessage]:
        """Return the instructions, then user and assistant in alternating turns, the user first and last."""
        system = [message for message in dialogue if message.get("role") == "system"]
        turns = [message for message in dialogue if message.get("role") != "system"]
        if not self._tools:
            turns = [_in_words(message) for message in turns]
        if not turns or turns[0].get("role") != "user":
            turns = [{"role": "user", "content": OPENING}, *turns]
        turns = _merged(turns)
        if prefix:
            turns += [{"role": "assistant", "content": prefix}, {"role": "user", "content": GO_ON}]
        instructions = "\n\n".join(str(message.get("content") or "") for message in system)
        if tools and not self._tools:
            instructions = f"{instructions}\n\n{_described(tools)}".strip()
        if not instructions:
            return turns
        if self._system:
            return [{"role": "system", "content": instructions}, *turns]
        first = {**turns[0], "content": f"{instructions}\n\n{turns[0].get('content') or ''}"}
        return [first, *turns[1:]]


def _merged(turns: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Join consecutive texts of one role: chat templates require alternating turns."""
    merged: list[ChatMessage] = []
    for turn in turns:
        before = merged[-1] if merged else {}
        texts = before.get("content"), turn.get("content")
        plain = all(isinstance(text, str) for text in texts) and before.keys() | turn.keys() == {"role", "content"}
        if plain and before.get("role") == turn.get("role"):
            merged[-1] = {**turn, "content": f"{texts[0]} {texts[1]}"}
        else:
            merged.append(turn)
    return merged


def _in_words(message: ChatMessage) -> ChatMessage:
    """The message as plain text: a server that takes no `tools` refuses calls and results in the dialogue, too."""
    if message.get("role") == "tool":
        return {"role": "user", "content": f"[The tool returned: {message.get('content') or ''}]"}
    if not (calls := message.get("tool_calls")):
        return message
    called = " ".join(f"{each['function']['name']}({each['function']['arguments']})" for each in calls)
    return {"role": "assistant", "content": f"{message.get('content') or ''} {called}".strip()}


def _described(tools: Sequence[dict[str, Any]]) -> str:
    functions = [tool["function"] for tool in tools]
    lines = [f"- {each['name']}: {each.get('description', '')} Arguments: {_schema(each)}" for each in functions]
    return TOOLS_IN_TEXT.format(name=functions[0]["name"], tools="\n".join(lines))


def _schema(function: Mapping[str, Any]) -> str:
    properties = (function.get("parameters") or {}).get("properties") or {}
    return json.dumps(properties, ensure_ascii=False) if properties else "none."


def _error_texts(refusal: Any, depth: int = 0) -> list[str]:
    """Return the texts of an error, without the parts that quote the request: a caller may speak of temperature."""
    if depth > 6:
        return []
    match refusal:
        case str():
            return [refusal[:REFUSAL_CHARS_MAX]]
        case list():
            return [text for each in refusal[:20] for text in _error_texts(each, depth + 1)]
        case Mapping():
            return [
                text for key, each in refusal.items() if key in _ERROR_FIELDS for text in _error_texts(each, depth + 1)
            ]
    return []
