"""What callers ask an agent with tools to do, what its model calls then, and how the tools behave.  Pure.

An errand is a word of a caller.  The model answers it in rounds: a few words or none, calls of tools, their results,
and so on; then it says that it is done.  Everything depends on the word alone, so that any worker goes on with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from common.agents.tools import HttpRequest, Parameter, Tool
from tests.simulation.providers import syllables

ERRAND = "z"
"""A caller's word that begins so is an errand."""
RECEIVER_URL = "https://receiver.example.com/"
REPEATABLE = frozenset({"look_up"})
ACTING = ("book", "book", "pay", "look_up")
"""Tools with effects; all but REPEATABLE ones cost money when they are done twice."""


class ToolDoes:
    """How the receiver of a tool behaves."""

    WORKS = "works"
    SLOW = "slow"
    """It acts late, but in time."""
    HANGS = "hangs"
    """It does nothing and never answers."""
    ANSWER_LOST = "answer lost"
    """It acts, and never answers."""
    CONNECTION_LOST = "connection lost"
    """It acts, and then the connection breaks."""
    FAILS = "fails"
    """It answers that it did nothing."""
    BROKEN = "broken"
    """The engine itself raises something that it should not."""


@dataclass(frozen=True, slots=True)
class Request:
    """One call of a tool that the model makes."""

    tool: str
    part: str
    """Names it within its errand; a call that is made again has the same one."""
    does: str = ToolDoes.WORKS
    act_s: float = 0.1
    """From the request to the effect."""
    answer_s: float = 0.1
    """From the effect to the answer."""
    arguments: str = ""
    """JSON text if it is not what the tool wants."""

    @property
    def acts(self) -> bool:
        """Does the receiver do it, if it is asked?"""
        return self.does not in (ToolDoes.HANGS, ToolDoes.FAILS, ToolDoes.BROKEN)

    def json(self, word: str) -> str:
        """The arguments as the model writes them."""
        return self.arguments or json.dumps({"errand": word, "part": self.part})


@dataclass(frozen=True, slots=True)
class Errand:
    """What follows from one word of a caller."""

    word: str
    rounds: tuple[tuple[Request, ...], ...]
    lead_ins: tuple[str, ...]
    """What the model says with the calls of each round; perhaps nothing."""

    def request(self, part: str) -> Request:
        """The call of this name."""
        return next(one for each in self.rounds for one in each if one.part == part)


def errand_word(number: int) -> str:
    """The word of an errand."""
    return ERRAND + syllables(number)


def draw_errand(random: Random, word: str) -> Errand:
    """Rounds of calls, each of one to three tools; now and then the model makes a mistake, or repeats itself."""
    rounds: list[tuple[Request, ...]] = []
    known: list[Request] = []
    for at in range(random.choice((1, 1, 1, 2, 3))):
        calls = [_request(random, f"{at}.{number}") for number in range(random.choice((1, 1, 2, 3)))]
        if known and random.random() < 0.2:
            calls.append(random.choice(known))
        if random.random() < 0.1:
            calls.append(random.choice(calls))
        known += calls
        rounds.append(tuple(calls))
    lead_ins = tuple(random.choice(("", f"{word}{letter} then {word}{letter}b.")) for letter in "klm"[: len(rounds)])
    return Errand(word, tuple(rounds), lead_ins)


def transfer_errand(random: Random, word: str) -> Errand:
    """The caller asks for a person, whose name in the agent's file is the word."""
    asked = Request("transfer_call", "0.0", arguments=json.dumps({"target": word, "reason": f"about {word}"}))
    rounds = ((asked,),)
    lead_in = random.choice(("", f"{word}k then {word}kb."))
    return Errand(word, rounds, (lead_in,))


def _request(random: Random, part: str) -> Request:
    mistake = random.random()
    if mistake < 0.04:
        return Request("fly_away", part)
    if mistake < 0.08:
        return Request("book", part, arguments=random.choice(('{"errand": 1}', "{", "[]")))
    does = random.choice(
        (ToolDoes.WORKS,) * 5
        + (
            ToolDoes.SLOW,
            ToolDoes.SLOW,
            ToolDoes.HANGS,
            ToolDoes.ANSWER_LOST,
            ToolDoes.CONNECTION_LOST,
            ToolDoes.FAILS,
            ToolDoes.BROKEN,
        )
    )
    act_s = random.uniform(0.5, 1.5) if does == ToolDoes.SLOW else random.uniform(0.0, 0.4)
    return Request(random.choice(ACTING), part, does, act_s, random.uniform(0.0, 0.4))


def agent_tools() -> dict[str, Tool]:
    """The tools of the agent's file."""

    def tool(name: str, **options: Any) -> Tool:
        given = {"errand": Parameter(), "part": Parameter()}
        return Tool(name, given, HttpRequest(RECEIVER_URL + name, "POST"), **options)

    return {
        "book": tool("book", timeout_s=3),
        "pay": tool("pay", timeout_s=2, parallel=False, meanwhile=("A moment please.", "It takes a while.")),
        "look_up": tool("look_up", timeout_s=2, repeatable=True, filler_after_ms=300),
    }
