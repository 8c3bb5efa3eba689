"""Finds in a call's event log which calls of tools the pool has to run.  Pure.

    ToolsCalled ──▶ due ──take──▶ running ──ToolReturned──▶ over
                     └──────────ToolReturned of another member, or of the LLM worker──▶ over

A call of a tool without a `ToolReturned` is due again for the next owner of the call; whether it is run then is decided
by its effect (common/call/once.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from common.call.acts import BUILT_IN_TOOLS
from common.protocol.acts import AgentChanged, ToolReturned, ToolsCalled, ToolsOffered
from common.protocol.messages import CallEnded, CallStarted, Message

CALLS_MAX = 400
"""Most calls of tools of one phone call; further ones are refused, because an agent that wants so many is out of
control.  It is below `EFFECTS_MAX`, so that hanging up and transfers still have room.
"""


@dataclass(frozen=True, slots=True)
class AskedCall:
    """A call of a tool, as the model asked for it."""

    turn: int
    n: int
    name: str
    arguments: str
    agent: str
    """The agent that has the call in that reply; empty: the one with which the call began."""
    beyond_limit: bool = False
    """It is one of more than CALLS_MAX."""


class PendingCalls:
    """The calls of tools of one phone call, from its event log."""

    def __init__(self) -> None:
        self._rounds: list[list[AskedCall]] = []
        self._asked: set[tuple[int, int]] = set()
        self._returned: set[tuple[int, int]] = set()
        self._taken: set[tuple[int, int]] = set()
        self._agents: list[tuple[int, str]] = []
        self._epoch = 0
        self.offered: dict[str, ToolsOffered] = {}
        """Source -> its newest offer."""
        self.over = False
        """The phone call has ended."""

    @property
    def agent(self) -> str:
        """The agent that has the call now; empty: the one with which it began."""
        return self._agents[-1][1] if self._agents else ""

    def receive(self, message: Message) -> None:
        """Take the next event of the log."""
        match message:
            case ToolsCalled():
                self._ask(message)
            case ToolReturned():
                self._returned.add((message.turn, message.n))
            case ToolsOffered():
                self.offered[message.source] = message
            case AgentChanged():
                self._agents = [change for change in self._agents if change[0] < message.turn]
                self._agents.append((message.turn, message.name))
            case CallStarted():
                self._epoch = max(self._epoch, message.epoch)
                self.over = False
            case CallEnded():
                self.over = self.over or message.epoch == 0 or message.epoch >= self._epoch

    def take(self) -> list[list[AskedCall]]:
        """The rounds of calls that are due, each with its calls in order; a call is returned once."""
        rounds = []
        for calls in self._rounds:
            due = [call for call in calls if (call.turn, call.n) not in self._taken and not self.has_returned(call)]
            self._taken.update((call.turn, call.n) for call in due)
            if due:
                rounds.append(due)
        self._rounds.clear()
        return rounds

    def has_returned(self, call: AskedCall) -> bool:
        """Whether the log has the call's result."""
        return (call.turn, call.n) in self._returned

    def _ask(self, message: ToolsCalled) -> None:
        agent = next((name for turn, name in reversed(self._agents) if turn <= message.turn), "")
        calls = []
        for n, (_, name, arguments) in enumerate(message.calls, message.first):
            if name in BUILT_IN_TOOLS or n in message.refused or (message.turn, n) in self._asked:
                continue
            self._asked.add((message.turn, n))
            calls.append(AskedCall(message.turn, n, name, arguments, agent, len(self._asked) > CALLS_MAX))
        if calls:
            self._rounds.append(calls)
