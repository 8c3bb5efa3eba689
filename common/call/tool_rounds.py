"""Folds the calls of tools in one reply.  Pure.

A reply may call tools several times: text, calls, results, text, ...  Each time is a round.  A result that comes while
the reply is open is for its next round.  One that comes later, because the reply was over or was interrupted, is
*late*: the next reply is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from common.protocol.acts import CalledTools, ToolReturned, ToolSays, ToolsCalled

SAYINGS_MAX = 20
"""Most sentences that the tools of one reply have said."""


@dataclass(slots=True)
class ToolRound:
    """Tools that were called together.  Call `first + i` is `calls[i]`."""

    first: int
    calls: CalledTools
    spoken_clauses: int
    """How many clauses precede the calls."""
    clauses: int
    """How many precede the results: also those that were spoken while the tools ran."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call without a result."""

    n: int
    name: str
    arguments: str


@dataclass(slots=True)
class ToolRounds:
    """The rounds of one reply; a repeated event changes nothing."""

    rounds: list[ToolRound] = field(default_factory=list)
    results: dict[int, ToolReturned] = field(default_factory=dict)
    """Call -> its first result."""
    sayings: list[str] = field(default_factory=list)
    """Sentences that running tools want said, in order."""
    late: set[int] = field(default_factory=set)
    """Calls whose result came when the reply did not wait for it."""

    @property
    def count(self) -> int:
        """How many calls there are, which is the number of the next one."""
        return self.rounds[-1].first + len(self.rounds[-1].calls) if self.rounds else 0

    def call(self, called: ToolsCalled) -> None:
        """Fold a round of calls."""
        if called.first == self.count and called.calls:
            self.rounds.append(ToolRound(called.first, called.calls, called.clauses, called.clauses))

    def finish(self, returned: ToolReturned, *, waited: bool) -> None:
        """Fold a result; `waited`: the reply is open."""
        if returned.n < self.count and returned.n not in self.results:
            self.results[returned.n] = returned
            if not waited:
                self.late.add(returned.n)

    def say(self, says: ToolSays) -> None:
        """Fold a sentence that a tool wants said; nothing once it has returned, or beyond SAYINGS_MAX."""
        if says.n < self.count and says.n not in self.results and len(self.sayings) < SAYINGS_MAX:
            self.sayings.append(" ".join(says.text.split()))

    def note_clauses(self, clauses: int) -> None:
        """Take note that the reply has `clauses` clauses by now; while a tool runs, they belong to its round."""
        if self.rounds and any(self.open()):
            self.rounds[-1].clauses = clauses

    def open(self) -> Iterator[OpenCall]:
        """The calls without a result, in order."""
        for each in self.rounds:
            for n, (_, name, arguments) in enumerate(each.calls, each.first):
                if n not in self.results:
                    yield OpenCall(n, name, arguments)

    def name_of(self, n: int) -> str:
        """The name of the tool of call `n`; empty if there is none."""
        names = [name for each in self.rounds for _, name, _ in each.calls]
        return names[n] if 0 <= n < len(names) else ""

    @property
    def clauses(self) -> int:
        """How many clauses precede the results of the last round; 0 without a round."""
        return self.rounds[-1].clauses if self.rounds else 0
