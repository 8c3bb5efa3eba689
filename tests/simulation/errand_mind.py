"""A language model that runs errands with tools, and what it was told: the chat of every request is checked here.

The chat must be one that OpenAI's API takes: each call of a tool has exactly one `tool` message, directly behind the
message that called it, and there is no other.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.simulation.errands import Errand
from tests.simulation.keyed import LEAK, PRESSED, told_keys
from tests.simulation.providers import LAST_WORD, MUMBLING, Vendors, answer, syllables
from workers.llm.conversation import STRAY_KEY
from workers.llm.text.phrases import CONNECTING, ENTER_DIGITS
from workers.providers.interfaces import ChatMessage, Down, Piece, ToolCall, after

_STRAY = re.compile(re.escape(f"[{STRAY_KEY.text}]"))
OUR_WORDS = (CONNECTING["en"], ENTER_DIGITS["en"])
"""What the platform says with calls of tools if the model says nothing."""
_NOTE = re.compile(r"\[(\w+) has returned: ([^\]]*)\]")


@dataclass(slots=True)
class Told:
    """What the models of one call were told of tools, over all their requests."""

    results: dict[str, str] = field(default_factory=dict)
    """Id of a call -> the content of its `tool` message, the newest."""
    notes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(name, result) -> how many notes of it one chat had at most."""
    keys: set[str] = field(default_factory=set)
    """Entries of keys that nobody asked for."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the end of a chat asks for."""

    word: str
    """The newest word of the caller that was not answered; empty: only notes followed the last answer."""
    rounds: int
    """How many rounds of tools were called for it."""
    notes: int


@dataclass(frozen=True, slots=True)
class ErrandMind:
    """See `workers.providers.interfaces.LanguageModel`."""

    vendors: Vendors
    errands: Mapping[str, Errand]
    told: Callable[[str], Told]
    """By the call's id, which is the last word of the instructions."""

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), said: str = ""
    ) -> AsyncIterator[Piece]:
        vendors = self.vendors
        self._check(dialogue)
        self._note_what_it_is_told(dialogue)
        text, calls = self._answer(_asked(dialogue), tools)
        if after(said, text) == text and said and said not in OUR_WORDS:
            vendors.wrong(f"the mind is told that it said {said!r}, but it says {text!r}")
        vendors.open["mind"] += 1
        try:
            for word in after(said, text).split(" "):
                await asyncio.sleep(vendors.faults.token_s)
                if vendors.random.random() < vendors.faults.mind_fails:
                    raise Down("the model is away")
                if word:
                    yield f"{word} "
            for call in calls:
                yield call
        finally:
            vendors.open["mind"] -= 1

    def _answer(self, asked: _Asked, tools: Sequence[dict[str, Any]]) -> tuple[str, list[ToolCall]]:
        errand = self.errands.get(asked.word)
        if errand is not None and tools and asked.rounds < len(errand.rounds):
            requests = errand.rounds[asked.rounds]
            calls = [ToolCall(f"call_{n}", each.tool, each.json(errand.word)) for n, each in enumerate(requests)]
            return errand.lead_ins[asked.rounds], calls
        if not asked.word:
            return f"News {syllables(asked.notes)} for you.", []
        ends = [ToolCall("call_1", "end_call", "{}")] if asked.word.startswith(LAST_WORD) else []
        return answer(asked.word), ends

    async def warm(self) -> None: ...

    async def aclose(self) -> None: ...

    def _check(self, dialogue: Sequence[ChatMessage]) -> None:
        for problem in problems_of(dialogue):
            self.vendors.wrong(f"a model is asked with a chat in which {problem}: {_shape(dialogue)}")
        if any(LEAK.search(str(message["content"])) for message in dialogue[1:]):
            self.vendors.wrong("a model is told secret keys")
        spoken = [_without_notes(message["content"]) for message in dialogue if message["role"] == "user"]
        words = Counter(" ".join(spoken).split())
        if twice := [word for word, count in words.items() if count > 1 and word != MUMBLING]:
            self.vendors.wrong(f"a model is told twice of {twice}")

    def _note_what_it_is_told(self, dialogue: Sequence[ChatMessage]) -> None:
        told = self.told(dialogue[0]["content"].split(" ")[-1])
        told.results.update({each["tool_call_id"]: each["content"] for each in dialogue if each["role"] == "tool"})
        notes = Counter(
            (found[1], found[2])
            for message in dialogue
            if message["role"] == "user"
            for found in _NOTE.finditer(message["content"])
        )
        told.notes |= notes
        told.keys.update(
            keys for message in dialogue if message["role"] == "user" for keys in told_keys(message["content"])
        )


def _asked(dialogue: Sequence[ChatMessage]) -> _Asked:
    last = max(at for at, message in enumerate(dialogue) if message["role"] == "user")
    rounds = sum("tool_calls" in message for message in dialogue[last:])
    words = _without_notes(dialogue[last]["content"]).split()
    users = [message["content"] for message in dialogue if message["role"] == "user"]
    notes = sum(len(_NOTE.findall(text)) + len(_STRAY.findall(text)) + len(told_keys(text)) for text in users)
    return _Asked(words[-1] if words else "", rounds, notes)


def _without_notes(text: str) -> str:
    return _STRAY.sub(" ", PRESSED.sub(" ", _NOTE.sub(" ", text)))


def problems_of(dialogue: Sequence[ChatMessage]) -> list[str]:
    """What the API would not take, or a model would not understand."""
    problems = []
    roles = [message["role"] for message in dialogue]
    if roles[0] != "system" or roles.count("system") != 1:
        problems.append("the instructions do not stand at the head")
    if roles[-1] not in ("user", "tool"):
        problems.append("nothing is asked")
    if any(one == two and one in ("user", "assistant") for one, two in pairwise(roles)):
        problems.append("somebody speaks twice in a row")
    open_ids: list[str] = []
    known: set[str] = set()
    for message in dialogue:
        if message["role"] == "tool":
            if not open_ids or message["tool_call_id"] != open_ids.pop(0):
                problems.append("a result follows no call")
            continue
        if open_ids:
            problems.append("a call has no result")
        open_ids = [call["id"] for call in message.get("tool_calls", ())]
        if known.intersection(open_ids) or len(set(open_ids)) < len(open_ids):
            problems.append("two calls have one id")
        known.update(open_ids)
        if not all(
            isinstance(json.loads(call["function"]["arguments"]), dict) for call in message.get("tool_calls", ())
        ):
            problems.append("arguments are no object")
        if not message["content"] and not open_ids:
            problems.append("a message is empty")
    return [*problems, "a call has no result"] if open_ids else problems


def _shape(dialogue: Sequence[ChatMessage]) -> str:
    return " ".join(
        message["role"] + (f"({len(message['tool_calls'])})" if message.get("tool_calls") else "")
        for message in dialogue
    )
