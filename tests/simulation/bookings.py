"""`python -m tests.simulation.bookings`: callers who book all day, while a process is killed every 20 s of their time.

Some receivers do what they are asked and never answer, or break the connection then.  Nothing may be booked twice, and
of each booking whose outcome nobody knows the model must be told so.  The clock is virtual (docs/testing.md).
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from random import Random

from common.protocol.redis_keys import ALL_POOLS
from tests.simulation.carrier import LineOptions
from tests.simulation.errands import Errand, Request, ToolDoes, errand_word
from tests.simulation.plan import TOOLS, Act, Caller, Fault, Plan, draw
from tests.simulation.run import simulate

KILL_EVERY_S = 20.0
ERRANDS = 5
BOOKINGS_AT_ONCE = (2, 3)
"""Bookings in the rounds of one errand."""
CALLS_AT_ONCE = 8
CALL_S = 40.0
"""About how long such a call takes."""
BATCH = 500
"""Bookings of one deployment; the next ones are of another one, with another seed."""
BEHAVIOUR = (
    *(ToolDoes.WORKS,) * 5,
    ToolDoes.SLOW,
    ToolDoes.ANSWER_LOST,
    ToolDoes.ANSWER_LOST,
    ToolDoes.CONNECTION_LOST,
    ToolDoes.FAILS,
)


@dataclass(slots=True)
class Day:
    """What became of the bookings."""

    counts: Counter[str] = field(default_factory=Counter)
    """Outcome -> how many; "done" by the receiver is "acted"."""
    kills: int = 0
    wrong: list[str] = field(default_factory=list)
    ends: Counter[str] = field(default_factory=Counter)

    @property
    def bookings(self) -> int:
        """How many were asked for."""
        return self.counts["asked"]


def plan_of(seed: int, bookings: int) -> Plan:
    """One deployment with so many bookings, or a few more."""
    random = Random(f"bookings {seed}")
    calls = -(-bookings // (ERRANDS * sum(BOOKINGS_AT_ONCE)))
    errands: dict[str, Errand] = {}
    vocabulary: dict[int, str] = {}
    callers = []
    for number in range(calls):
        begin_s = number // CALLS_AT_ONCE * CALL_S + random.uniform(0, CALL_S)
        callers.append(Caller(begin_s, _acts(random, vocabulary, errands), LineOptions()))
    lasts_s = max(caller.begin_s for caller in callers) + CALL_S
    faults = [_kill(random, (number + 0.5) * KILL_EVERY_S) for number in range(int(lasts_s // KILL_EVERY_S))]
    calm = draw(seed, TOOLS)
    return replace(
        calm, edges=2, workers=3, calls_max=2 * CALLS_AT_ONCE, interruptible=True, vocabulary=vocabulary,
        callers=tuple(callers), faults=tuple(faults), errands=errands, ambushes=(),
        vendors=replace(calm.vendors, mind_fails=0.0, mouth_fails=0.0, ear_breaks=0.0),
    )  # fmt: skip


def _acts(random: Random, vocabulary: dict[int, str], errands: dict[str, Errand]) -> tuple[Act, ...]:
    acts = []
    for _ in range(ERRANDS):
        number = len(vocabulary) + 1
        vocabulary[number] = word = errand_word(number)
        rounds = tuple(
            tuple(_booking(random, f"{at}.{one}") for one in range(count)) for at, count in enumerate(BOOKINGS_AT_ONCE)
        )
        errands[word] = Errand(word, rounds, tuple("" for _ in rounds))
        acts.append(Act("answered", random.uniform(0.1, 0.5), "say", (number,)))
    return tuple(acts)


def _booking(random: Random, part: str) -> Request:
    does = random.choice(BEHAVIOUR)
    act_s = random.uniform(1.0, 2.0) if does == ToolDoes.SLOW else random.uniform(0.05, 0.8)
    return Request("book", part, does, act_s, random.uniform(0.0, 0.5))


def _kill(random: Random, at_s: float) -> Fault:
    pool = random.choice((*ALL_POOLS, "tools", "tools", "llm", "edge"))
    does = "kill edge" if pool == "edge" else "kill worker"
    return Fault(at_s, does, pool, random.randrange(1000), random.uniform(0.5, 2.0), random.random())


def book(bookings: int, first_seed: int = 0) -> Day:
    """Play so many bookings, or a few more."""
    day, seed = Day(), first_seed
    while day.bookings < bookings and len(day.wrong) < 10:
        plan = plan_of(seed, min(BATCH, bookings - day.bookings))
        outcome = simulate(seed, plan=plan)
        gc.collect()
        day.counts.update(outcome.tools)
        day.kills += len(plan.faults)
        day.ends.update(outcome.ends)
        day.wrong += [f"seed {seed}: {text}" for text in outcome.wrong]
        seed += 1
    return day


def main() -> int:
    """Exit code 1 if something was wrong."""
    options = argparse.ArgumentParser(prog="python -m tests.simulation.bookings")
    options.add_argument("--count", type=int, default=10_000, help="bookings")
    options.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    chosen = options.parse_args()
    began = time.perf_counter()
    day = book(chosen.count, chosen.first)
    for text in day.wrong:
        print(f"WRONG  {text}")
    counts = ", ".join(f"{count} {what}" for what, count in sorted(day.counts.items()))
    print(f"{day.bookings} bookings, {day.kills} kills, in {time.perf_counter() - began:.0f} s: {counts}")
    print(f"calls ended: {dict(day.ends)}")
    return 1 if day.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
