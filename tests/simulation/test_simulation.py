"""The simulation in CI: seeds that once found something, new ones every day, and that a seed is worth keeping."""

from __future__ import annotations

import datetime
import gc
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from common.call.acts import ToolOutcome
from tests.simulation.bookings import book
from tests.simulation.plan import KEYS, SPEECH, TOOLS, TRANSFERS
from tests.simulation.run import Outcome, simulate

pytestmark = pytest.mark.processes

KEPT = {
    13: "an edge cut off from Redis at the end of a call never told the ledger: the pools took it again for 75 s",
    21: "after a reconnect the ears heard again what the old edge had written twice: a word was there twice",
    53: "the same, with a reconnect at the same edge",
    71: "a reply was taken back before its start was written: its number was used up, the mind waited for ever",
    117: "an edge was away for its last second: the call ended twice, for two reasons",
    126: "as 71, in another order",
    136: "a clause that was spoken for a lost connection was not spoken again for the next one",
    184: "the same, and the caller's history was wrong by it",
    305: "a ledger that did not answer was taken for a model that takes too long: a reply without its clause",
    455: "the same: the caller waited for ever",
    571: "a mind that took over a reply had the model answer what the caller said after it, twice",
    625: "ears that learned at once that the call is over and that it is another's left an error that nobody saw",
    1966: "words of an earlier speech that came late were put behind the reply to a later one",
    739941451: "words that came while a reply's start was written were answered by it, though it was to earlier ones",
    2646: "audio of a reply that was taken back came after the release of the next one, and was played",
    5374: "a cough while the line broke: the reply goes on at the next edge, from the clause that was not heard",
    7853: "audio that an edge was cut off with came behind the start of the next connection: the ears heard it twice",
    2526: "a clause whose `playedStream` was lost was spoken again after a reconnect, though the next one was heard",
}
"""Every seed that ever failed for a fault of the program."""

KEPT_TOOLS = {
    26: "a reply that was begun early knew of a late result, and another one was begun for it with nothing to answer",
    72: "a sentence was due by one clock's unit and not by the other's: the wait for a tool spun for ever",
}
"""The same, of calls with tools."""
KEPT_TRANSFERS = {
    48: "the answer to the announcement's checkpoint was lost: nobody was rung until a minute of music was over",
    88: "the announcement was cut off by a reply that was begun before the words were known: its call had no result",
    61012: "a request that came twice took a caller and a person out of their room",
    200070: "an order that came again when the next transfer was over, too, began its transfer anew",
    95: "on hold, an agent that may not be interrupted answered what was said twice",
}
"""The same, of calls with transfers."""
KEPT_KEYS = {
    54: "words that came twice counted as spoken into the entry of keys, which was cancelled",
    90046: "the end of secrecy was due by one clock's unit and not by the other's: a worker looked for ever",
}
"""The same, of calls with keys."""

FRESH_MAX = 600
FRESH_SECONDS = 60.0
FRESH_OF_KIND_MAX, FRESH_OF_KIND_SECONDS = 60, 3.0
BOOKINGS = 120
TWICE_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


def judged(outcome: Outcome) -> str:
    """What to print of a run that failed."""
    return "\n".join([*outcome.trace[-60:], *outcome.wrong, outcome.replay]) if outcome.wrong else ""


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.wrong, judged(outcome)


@pytest.mark.parametrize(
    "kind, seed",
    [(kind, n) for kind, kept in ((TOOLS, KEPT_TOOLS), (TRANSFERS, KEPT_TRANSFERS), (KEYS, KEPT_KEYS)) for n in kept],
)
def test_a_seed_with_tools_that_once_failed(kind: str, seed: int) -> None:
    outcome = simulate(seed, kind)
    assert not outcome.wrong, judged(outcome)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "count", "seconds"),
    [
        (SPEECH, FRESH_MAX, FRESH_SECONDS),
        (TOOLS, FRESH_OF_KIND_MAX, FRESH_OF_KIND_SECONDS),
        (TRANSFERS, FRESH_OF_KIND_MAX, FRESH_OF_KIND_SECONDS),
        (KEYS, FRESH_OF_KIND_MAX, FRESH_OF_KIND_SECONDS),
    ],
)
def test_fresh_seeds(kind: str, count: int, seconds: float) -> None:
    """Bounded by count and, for a slow machine, by time.  `SIMULATION_SEED` sets the first."""
    first = int(os.environ.get("SIMULATION_SEED", datetime.date.today().toordinal() * 1000))
    print(f"from seed {first}")
    until = time.perf_counter() + seconds
    for seed in range(first, first + count):
        outcome = simulate(seed, kind)
        gc.collect(0)
        assert not outcome.wrong, judged(outcome)
        if time.perf_counter() > until:
            break


@pytest.mark.slow
def test_nothing_is_booked_twice_and_nobody_is_left_in_doubt_unsaid() -> None:
    day = book(BOOKINGS)
    assert not day.wrong, "\n".join(day.wrong)
    outcomes = {outcome.value: day.counts[outcome.value] for outcome in ToolOutcome}
    assert day.bookings >= BOOKINGS and day.kills and outcomes["unknown"] and outcomes["timeout"]
    assert sum(outcomes.values()) == day.bookings, "each has an outcome"


@pytest.mark.parametrize(("seed", "kind"), [(2, SPEECH), (136, SPEECH), (2, TRANSFERS), (2, KEYS)])
def test_a_seed_plays_the_same_twice(seed: int, kind: str) -> None:
    one, two = simulate(seed, kind), simulate(seed, kind)
    assert one.trace == two.trace
    assert simulate(seed + 1, kind).digest != one.digest


@pytest.mark.slow
def test_a_seed_plays_the_same_in_another_process() -> None:
    """Python's string hashes differ there, and with them the order of every set."""
    digests = {_digest(71, TOOLS, hashes) for hashes in ("1", "2")}
    assert digests == {simulate(71, TOOLS).digest[:16]}


def _digest(seed: int, kind: str, hashes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--kind", kind, "--seed", str(seed)],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hashes}, capture_output=True, text=True, timeout=TWICE_SECONDS,
        check=False,
    )  # fmt: skip
    return done.stdout.rpartition(" trace ")[2].partition(":")[0]
