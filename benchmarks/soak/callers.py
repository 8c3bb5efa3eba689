"""Runs `--calls` lines, each with one call after another until it is stopped."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.turns import ANSWER_MS_MAX, Lived
from benchmarks.soak.verdict import Calls

CALL_S = (20.0, 90.0)
"""Shortest and longest call in s."""
PAUSE_S = (0.5, 4.0)
"""Pause between two calls of a line."""
FINISH_S = 25.0
"""Time for the last answer, the hang-up and its webhook."""
ABANDON_EVERY = 10
"""Number of calls of a line after which a caller disappears: no `stop`, no webhook."""
SETTLED_FRAMES = 250
LATENESS_MAX = 200_000
"""Most samples of the callers' lateness that are kept."""


@dataclass(slots=True)
class Talk:
    """Totals of all lines so far."""

    over: int = 0
    abandoned: int = 0
    under_way: int = 0
    turns: int = 0
    unanswered: int = 0
    wrong: int = 0
    died: list[str] = field(default_factory=list)
    lateness_ms: list[float] = field(default_factory=list)

    def add(self, caller: Caller, abandoned: bool) -> None:
        """Add a call that is over."""
        lived = caller.lived
        self.over += 1
        self.abandoned += abandoned
        if lived.died and not abandoned:
            self.died.append(f"{lived.call_id}: {lived.died}")
        self._count(lived, open_end=abandoned)
        if len(self.lateness_ms) < LATENESS_MAX:
            self.lateness_ms += caller.lateness_ms[SETTLED_FRAMES::10]

    def _count(self, lived: Lived, open_end: bool) -> None:
        turns = [turn for turn in (lived.turns[:-1] if open_end else lived.turns) if not turn.cut]
        self.turns += len(turns)
        self.unanswered += sum(not turn.answered or (turn.delay_ms or 0) > ANSWER_MS_MAX for turn in turns)
        self.wrong += sum(turn.repeated for turn in turns) + len(lived.foreign) + lived.unreadable + lived.pardons

    def total(self) -> Calls:
        """Return the totals for the verdict."""
        ordered = sorted(self.lateness_ms)
        p99 = ordered[int(0.99 * len(ordered))] if ordered else 0.0
        return Calls(self.over, self.abandoned, len(self.died), self.turns, self.unanswered, self.wrong, p99)


async def call_again_and_again(url: str, line: int, talk: Talk, until: asyncio.Event, seed: int) -> None:
    """Run one line's calls from its own start until `until` is set, then end the last one properly."""
    choose = random.Random(seed * 1000 + line)
    count = 0
    await _wait(until, choose.uniform(0, 10))
    while not until.is_set():
        count += 1
        abandoned = count % ABANDON_EVERY == 0
        await _one_call(Caller(url, line, seed * 100_000 + count), talk, choose.uniform(*CALL_S), until, abandoned)
        await _wait(until, choose.uniform(*PAUSE_S))


async def _one_call(caller: Caller, talk: Talk, seconds: float, until: asyncio.Event, abandoned: bool) -> None:
    talk.under_way += 1
    running = asyncio.create_task(caller.run(), name=f"caller {caller.lived.caller}")
    try:
        stopping = asyncio.create_task(until.wait(), name="until")
        await asyncio.wait([running, stopping], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if abandoned and not running.done():
            caller.vanish()
        caller.quit()
        await asyncio.wait([running], timeout=FINISH_S)
        if not running.done():
            talk.died.append(f"{caller.lived.call_id}: could not end its call")
        elif error := running.exception():
            talk.died.append(f"{caller.lived.call_id}: {type(error).__name__}")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        talk.under_way -= 1
        talk.add(caller, abandoned)


async def _wait(until: asyncio.Event, seconds: float) -> None:
    waiting = asyncio.create_task(until.wait(), name="until")
    await asyncio.wait([waiting], timeout=seconds)
    waiting.cancel()
