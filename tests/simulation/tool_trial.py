"""What must hold of the tools of one call, whatever breaks.  Pure.

The witnesses are the call's event log, the receiver of the tools' requests, and the chats of the models.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from common.call.acts import ToolOutcome
from common.protocol.acts import ToolReturned, ToolsCalled
from common.protocol.messages import Message, ReplyStarted
from tests.simulation.errand_mind import Told
from tests.simulation.errands import agent_tools
from tests.simulation.keyed import KeyTrial
from tests.simulation.transfer_trial import TransferTrial
from workers.llm.chat import shown_result
from workers.llm.text.phrases import CONNECTING, ENTER_DIGITS, FILLERS
from workers.llm.tools.builtin import COLLECT_DIGITS

FILLER_CLAUSES = frozenset(
    {
        "",
        CONNECTING["en"],
        ENTER_DIGITS["en"],
        *FILLERS["en"],
        *(text for tool in agent_tools().values() for text in tool.meanwhile),
    }
)
"""What may be said while a tool runs."""
Number = tuple[int, int]
"""(turn, n)"""
NOT_DONE = frozenset({ToolOutcome.FAILED, ToolOutcome.REFUSED, ToolOutcome.CANCELLED})
"""Outcomes after which the model may believe that nothing was done."""


@dataclass(slots=True)
class ToolTrial:
    """The calls of tools of one phone call before the judge."""

    call_id: str
    told: Told
    done: Mapping[str, int]
    """Key -> how often the receiver did it."""
    wrong: Callable[[str], None]
    secret_of: Callable[[str], str] = str
    """The secret digits of the call under a name."""
    calls: dict[Number, str] = field(default_factory=dict)
    """Call -> the tool's name."""
    results: dict[Number, ToolReturned] = field(default_factory=dict)
    """Call -> its first result, which is the one that counts."""
    transfers: TransferTrial = field(init=False)
    keys: KeyTrial = field(init=False)
    _replies: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.transfers = TransferTrial(self.call_id, self.wrong)
        self.keys = KeyTrial(self.call_id, self.wrong, self.secret_of, self.told.keys)

    def event(self, message: Message) -> None:
        """An entry of the event log."""
        self.transfers.event(message)
        self.keys.event(message)
        match message:
            case ReplyStarted(turn):
                self._replies.add(turn)
            case ToolsCalled(turn, first, calls):
                if turn not in self._replies:
                    self._breach(f"reply {turn} calls tools before it has begun")
                for n, (_, name, arguments) in enumerate(calls, first):
                    if name == COLLECT_DIGITS:
                        self.keys.names[turn, n] = json.loads(arguments)["name"]
                    if (turn, n) in self.calls:
                        self._breach(f"call {turn}.{n} is made twice")
                    self.calls[turn, n] = name
            case ToolReturned(turn, n):
                if (turn, n) not in self.calls:
                    self._breach(f"call {turn}.{n} has a result, but was not made")
                if (turn, n) not in self.results:
                    self.results[turn, n] = message
                    self._is_true(message)
            case _:
                pass

    def _is_true(self, returned: ToolReturned) -> None:
        """Is the model told the truth?"""
        key, outcome = f"{self.call_id}:{returned.turn}:{returned.n}", ToolOutcome.of(returned.outcome)
        name = self.calls.get((returned.turn, returned.n))
        if outcome is ToolOutcome.DONE and not self.done.get(key) and name in ("book", "pay", "look_up"):
            self._breach(f"{key} is said to be done, and was not")
        if outcome in NOT_DONE and self.done.get(key):
            self._breach(f"{key} is said to be {outcome}, and was done")

    def wants_keys(self, heard: Callable[[int], bool]) -> bool:
        """Does a call of a reply that was `heard` wait for the keys of the caller?"""
        waiting = (call for call, name in self.calls.items() if name == COLLECT_DIGITS and call not in self.results)
        return any(heard(turn) for turn, _ in waiting)

    @property
    def missing(self) -> str:
        """What the call waits for: a result, or a model that is told of one; empty if nothing is missing."""
        if waiting := sorted(self.calls.keys() - self.results.keys()):
            return f"no result of {', '.join(f'{turn}.{n}' for turn, n in waiting)}"
        notes: Counter[tuple[str, str]] = Counter()
        for (turn, n), returned in self.results.items():
            if returned.outcome == ToolOutcome.CANCELLED:
                continue  # begins no reply: the model is told of it with what comes next
            if self.told.results.get(f"call_{turn}_{n}") != shown_result(returned):
                notes[self.calls.get((turn, n), ""), shown_result(returned)] += 1
        forgotten = notes - self.told.notes
        if forgotten:
            return f"no model was told of {dict(forgotten)}"
        return f"no model was told of the keys {keys}" if (keys := self.keys.missing) else ""

    def _breach(self, text: str) -> None:
        self.wrong(f"{self.call_id}: {text}")
