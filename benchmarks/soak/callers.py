"""Callers that come and go: as many lines as `--calls`, each with one call after another until it is told to stop."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.turns import ANSWER_MS_MAX, Lived
from benchmarks.soak.verdict import Calls

CALL_S = (20.0, 90.0)
"""How long a caller wants to talk."""
PAUSE_S = (0.5, 4.0)
"""From one call of a line to the next."""
FINISH_S = 25.0
"""The last answer, the hang-up and its webhook may take so long."""
ABANDON_EVERY = 10
"""Every so many calls of a line, its caller is gone without a goodbye: no `stop`, no webhook."""
SETTLED_FRAMES = 250
LATENESS_MAX = 200_000
"""Samples of the callers' own lateness that are kept."""


@dataclass(slots=True)
class Talk:
    """What all lines have lived through so far."""

    over: int = 0
    abandoned: int = 0
    under_way: int = 0
    turns: int = 0
    unanswered: int = 0
    wrong: int = 0
    died: list[str] = field(default_factory=list)
    lateness_ms: list[float] = field(default_factory=list)

    def add(self, caller: Caller, abandoned: bool) -> None:
        """A call is over."""
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
        """For the verdict."""
        ordered = sorted(self.lateness_ms)
        p99 = ordered[int(0.99 * len(ordered))] if ordered else 0.0
        return Calls(self.over, self.abandoned, len(self.died), self.turns, self.unanswered, self.wrong, p99)


async def call_again_and_again(url: str, line: int, talk: Talk, until: asyncio.Event, seed: int) -> None:
    """One line's calls, from a moment of its own until `until` is set; the last one is ended in good order."""
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
