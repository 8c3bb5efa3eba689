"""The receiver of the tools' requests: the outside world, which does things and counts them.

A request that has arrived takes its course, whether or not anybody waits for its answer.  The receiver of a tool that
is not repeatable does not look at the key: nothing but the program prevents a second booking.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from common.call.acts import ToolOutcome
from tests.simulation.errands import REPEATABLE, Errand, Request, ToolDoes
from tests.simulation.processes import OUTSIDE

LOST = "The connection broke; it is not known whether it was done."
NO_ROOM = "There is no room."


class NoAnswer(Exception):
    """The request has no result: (outcome, text for the model)."""

    def __init__(self, outcome: ToolOutcome, text: str) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome
        self.text = text


class ReceiverWitness(Protocol):
    """Is told what the receiver does."""

    def reached(self, stage: str, call_id: str) -> None: ...

    def note(self, text: str) -> None: ...

    def breach(self, text: str) -> None: ...


class Receiver:
    """Serves the tools of every agent."""

    def __init__(self, errands: Callable[[str], Errand], witness: ReceiverWitness) -> None:
        self._errands = errands
        self._witness = witness
        self.asked: Counter[str] = Counter()
        """Requests by key."""
        self.done: Counter[str] = Counter()
        """Effects by key."""
        self._bookings: Counter[tuple[str, str]] = Counter()

    async def ask(self, key: str, tool: str, arguments: dict[str, Any]) -> str:
        """One request.  Raises NoAnswer, and RuntimeError for a broken engine."""
        word, part = str(arguments["errand"]), str(arguments["part"])
        request = self._errands(word).request(part)
        if request.tool != tool:
            self._witness.breach(f"{key} asks {tool} for what is to be done by {request.tool}")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        self.asked[key] += 1
        self._witness.note(f"{key} {tool} is asked: {word} {part}, which {request.does}")
        self._witness.reached("asked", key.partition(":")[0])
        loop.call_later(request.act_s, self._act, key, word, request, answer, context=OUTSIDE)
        return await answer

    def _act(self, key: str, word: str, request: Request, answer: asyncio.Future[str]) -> None:
        if request.acts and not (request.tool in REPEATABLE and self.done[key]):
            self.done[key] += 1
            self._witness.note(f"{key} {request.tool} has acted")
            booking = (word, request.part)
            self._bookings[booking] += 1
            if request.tool not in REPEATABLE and self._bookings[booking] > 1:
                self._witness.breach(f"{key} {request.tool} for {word} {request.part} is done again")
            self._witness.reached("acted", key.partition(":")[0])
        if request.does not in (ToolDoes.HANGS, ToolDoes.ANSWER_LOST):
            loop = asyncio.get_running_loop()
            loop.call_later(request.answer_s, _answer, word, request, answer, context=OUTSIDE)


def _answer(word: str, request: Request, answer: asyncio.Future[str]) -> None:
    if answer.done():
        return  # who asked is gone
    match request.does:
        case ToolDoes.CONNECTION_LOST:
            answer.set_exception(NoAnswer(ToolOutcome.UNKNOWN, LOST))
        case ToolDoes.FAILS:
            answer.set_exception(NoAnswer(ToolOutcome.FAILED, NO_ROOM))
        case ToolDoes.BROKEN:
            answer.set_exception(RuntimeError("a fault of the engine"))
        case _:
            answer.set_result(f"{request.tool} done for {word} {request.part}")
