"""Finds tool calls that a model wrote as text, because its server did not parse its output.  Pure.

Models write a call in a dozen ways, so the rule is simple: within text that can only be a tool call, the name of a
known tool is that call, and the first JSON object behind the name holds its arguments.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from workers.providers.interfaces import ToolCall

CALL_CHARS_MAX = 8_000
"""Longest text of a call, in characters."""
CALLS_MAX = 8
ARGUMENT_CHARS_MAX = 500
"""Longest text within the brackets of `end_call(…)`, in characters."""
UNKNOWN = "unknown"
"""The name of a call whose name could not be parsed."""

_OPENERS = r"[*_`\"'(\[<]{0,3}"
_CLOSERS = r"[*_`\"')\]>]{0,3}"
_PREFIXES = ("", "functions.", "to=functions.", "default_api.", "tools.", "action: ", "call:")
_JSON_NAMES = ("name", "tool_name", "tool", "function", "recipient_name")
_JSON_ARGUMENTS = ("arguments", "parameters", "args", "tool_input", "input")
_NAME = re.compile(
    r"(?:\"(?:name|tool_name|recipient_name)\"\s*:\s*\"|function\s*=\s*\"?|name\s*=\s*\"|functions\.|^\s*)([\w.-]+)"
)
_PARAMETER = re.compile(r"<parameter(?:=|\s+name=\")([\w-]+)\"?>\s*(.*?)\s*</parameter>", re.DOTALL)
_PAIR = re.compile(r"<arg_key>\s*(.*?)\s*</arg_key>\s*<arg_value>\s*(.*?)\s*</arg_value>", re.DOTALL)
_RECIPIENT = re.compile(r"to=functions\.([\w-]+)")
_decode = json.JSONDecoder().raw_decode


def tool_name(written: str) -> str:
    """Return the bare name: `functions.end_call`, `end_call()` and `end_call<|channel|>commentary` are one."""
    name = written.partition("<|")[0].strip().removeprefix("functions.").removeprefix("default_api.")
    return name.partition("(")[0].partition(":")[0].strip()


class TextCalls:
    """Finds one reply's calls of `tools`, the known names."""

    def __init__(self, tools: Collection[str]) -> None:
        self._tools = tuple(tools)
        self._count = 0
        names = "|".join(map(re.escape, sorted(tools, key=len, reverse=True))) or r"(?!)"
        self._mention = re.compile(rf"(?<![\w-])({names})(?![\w-])", re.I)
        prefixes = "|".join(re.escape(prefix) for prefix in _PREFIXES if prefix)
        self._bracketed = re.compile(
            rf"({_OPENERS})(?:{prefixes})?({names})[ \t]?\(([^()]{{0,{ARGUMENT_CHARS_MAX}}})\){_CLOSERS}", re.I
        )
        self._wrapped = re.compile(rf"[*_`(\[<{{]{{1,3}}({names})/?[*_`)\]>}}]{{1,3}}", re.I)
        self._alone = re.compile(rf"(?:{prefixes})?({names})[ \t]*(?:[.!]?[ \t]*(?:\r?\n|$))", re.I)

    @property
    def beginnings(self) -> list[str]:
        """Regular expressions for the beginning of a call: three letters, or fewer at the end of the text."""
        wholes = {*self._tools, *(prefix for prefix in _PREFIXES if prefix)}
        threes = sorted({whole[:3].ljust(3, "x") for whole in wholes})
        return ["{}(?:{}(?:{}|$)|$)".format(*map(re.escape, three)) for three in threes]

    def known(self, written: str) -> str | None:
        """Return the known tool of this name, in its own spelling; None if there is none."""
        meant = tool_name(written).lower()
        return next((tool for tool in self._tools if tool.lower() == meant), None)

    def call(self, name: str, arguments: str = "{}") -> ToolCall:
        """Return a call of this tool with a new id."""
        self._count += 1
        return ToolCall(f"text_call_{self._count}", name, arguments)

    def within(self, body: str) -> list[ToolCall]:
        """Return the calls in text that can only be a call; one of an unknown tool if no known tool is named."""
        if calls := self._objects(body) or self._mentioned(body):
            return calls
        found = _NAME.search(body)
        return [self.call(tool_name(found[1]) if found is not None and found[1] else UNKNOWN)]

    def written(self, body: str) -> list[ToolCall]:
        """Return the calls in text that may also be speech: only what has the shape of a call."""
        if calls := self._objects(body):
            return calls
        found = [(self.known(match[2]), match[3]) for match in self._bracketed.finditer(body)]
        if calls := [self.call(name, _arguments(rest)) for name, rest in found if name is not None][:CALLS_MAX]:
            return calls
        return self._mentioned(body) if re.match(r"\s*[\[{]\s*[{\"]", body) and _NAME.search(body) else []

    def json_length(self, text: str) -> int:
        """Return the length of the JSON document at the head of the text; 0 if it is incomplete or there is none."""
        try:
            return int(_decode(text)[1])
        except ValueError:
            return 0

    def named(self, text: str, line_start: bool, final: bool) -> tuple[int | None, list[ToolCall]]:
        """Find a call at the head of the text: (its length, it), (0, []) if there is none, (None, []) if undecided."""
        if found := _RECIPIENT.match(text):
            return self._recipient(text, found, final)
        if (found := self._bracketed.match(text)) and (found.end() < len(text) or final or not found[1]):
            name = self.known(found[2])
            assert name is not None
            return found.end(), [self.call(name, _arguments(found[3]))]
        if (found := self._wrapped.match(text)) and (found.end() < len(text) or final):
            return found.end(), [self.call(self.known(found[1]) or found[1])]
        if line_start and (found := self._alone.match(text)) and (found[0].endswith("\n") or final):
            return found.end(), [self.call(self.known(found[1]) or found[1])]
        return (None if not final and self._may_follow(text, line_start) else 0), []

    def _recipient(self, text: str, found: re.Match[str], final: bool) -> tuple[int | None, list[ToolCall]]:
        """Parse `to=functions.end_call json {…}`: a call in Harmony's format whose tokens were left out."""
        begin = text.find("{", found.end())
        length = self.json_length(text[begin:]) if begin >= 0 else 0
        if not length and not final and len(text) < CALL_CHARS_MAX:
            return None, []
        arguments = text[begin : begin + length] if length else "{}"
        return begin + length if length else len(text), [self.call(self.known(found[1]) or found[1], arguments)]

    def _may_follow(self, text: str, line_start: bool) -> bool:
        """True if more text could make this a call."""
        opener = re.match(_OPENERS.replace("<]", "<{]"), text)
        rest = text[opener.end() :].lower() if opener is not None else text.lower()
        if not rest:
            return True
        for prefix in _PREFIXES:
            for name in self._tools or ("",):
                whole = f"{prefix}{name}".lower()
                if whole.startswith(rest):
                    return True
                if rest.startswith(whole) and name:
                    tail = rest[len(whole) :]
                    if re.fullmatch(rf"[ \t]?\([^()]{{0,{ARGUMENT_CHARS_MAX}}}(?:\){_CLOSERS})?|[ \t]?", tail):
                        return True
                    if re.fullmatch(r"/?[*_`)\]>}]{1,3}", tail) and opener is not None and opener.end():
                        return True
                    if line_start and re.fullmatch(r"[.!]?[ \t\r]*", tail):
                        return True
        return any(prefix.startswith(rest) for prefix in _PREFIXES if prefix)

    def _mentioned(self, body: str) -> list[ToolCall]:
        calls: list[ToolCall] = []
        for found in list(self._mention.finditer(body))[:CALLS_MAX]:
            name = self.known(found[1])
            if name is not None and name not in {call.name for call in calls}:
                calls.append(self.call(name, _arguments(body[found.end() :])))
        return calls

    def _objects(self, body: str) -> list[ToolCall]:
        """Return the calls that the JSON objects of the text describe."""
        calls: list[ToolCall] = []
        for item in _documents(body):
            for each in item if isinstance(item, list) else [item]:
                if (described := _described(each)) is not None and len(calls) < CALLS_MAX:
                    written, arguments = described
                    calls.append(self.call(self.known(written) or tool_name(written), arguments))
        return calls


def _documents(body: str) -> Iterator[Any]:
    """Yield the JSON objects and lists of a text, without those inside others."""
    at = 0
    while found := re.search(r"[\[{]", body[at : at + CALL_CHARS_MAX]):
        try:
            document, length = _decode(body[at + found.start() :])
        except ValueError:
            at += found.end()
            continue
        yield document
        at += found.start() + length


def _described(item: Any) -> tuple[str, str] | None:
    """Return (name, arguments) of a JSON object that has the shape of a call; else None."""
    if not isinstance(item, dict):
        return None
    if isinstance(inner := item.get("function"), dict):
        return _described(inner)
    name = next((item[key] for key in _JSON_NAMES if isinstance(item.get(key), str)), None)
    key = next((key for key in _JSON_ARGUMENTS if key in item), None)
    if not name or (key is None and len(item) > 1 and set(item) - {*_JSON_NAMES, "type", "id"}):
        return None
    return str(name), arguments_text(item[key] if key is not None else None)


def arguments_text(value: Any) -> str:
    """Return arguments as the JSON text of a `ToolCall`; servers send text, an object or nothing."""
    if isinstance(value, str):
        return value.strip() or "{}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) and value else "{}"


def _arguments(text: str) -> str:
    """Return the arguments after a name: a JSON object, or parameters as tags."""
    begin = text.find("{")
    if begin >= 0:
        try:
            value = _decode(text[begin:])[0]
        except ValueError:
            return "{}"
        inner = next((value[key] for key in _JSON_ARGUMENTS if isinstance(value.get(key), dict)), value)
        return arguments_text(inner)
    pairs = _PARAMETER.findall(text) or _PAIR.findall(text)
    return arguments_text(dict(pairs[:CALLS_MAX]))
