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

FRESH_MAX = 600
FRESH_SECONDS = 60.0
TWICE_SECONDS = 60.0
ROOT = Path(__file__).resolve().parents[2]


def judged(outcome: Outcome) -> str:
    """What to print of a run that failed."""
    replay = f"python -m tests.simulation --seed {outcome.seed} -v"
    return "\n".join([*outcome.trace[-60:], *outcome.wrong, replay]) if outcome.wrong else ""


@pytest.mark.parametrize("seed", KEPT)
def test_a_seed_that_once_failed(seed: int) -> None:
    outcome = simulate(seed)
    assert not outcome.wrong, judged(outcome)


@pytest.mark.slow
def test_fresh_seeds() -> None:
    """Bounded by count and, for a slow machine, by time.  `SIMULATION_SEED` sets the first."""
    first = int(os.environ.get("SIMULATION_SEED", datetime.date.today().toordinal() * 1000))
    print(f"from seed {first}")
    until = time.perf_counter() + FRESH_SECONDS
    for seed in range(first, first + FRESH_MAX):
        outcome = simulate(seed)
        gc.collect(0)
        assert not outcome.wrong, judged(outcome)
        if time.perf_counter() > until:
            break


@pytest.mark.parametrize("seed", [2, 136])
def test_a_seed_plays_the_same_twice(seed: int) -> None:
    one, two = simulate(seed), simulate(seed)
    assert one.trace == two.trace
    assert simulate(seed + 1).digest != one.digest


@pytest.mark.slow
def test_a_seed_plays_the_same_in_another_process() -> None:
    """Python's string hashes differ there, and with them the order of every set."""
    for seed in (2, 71):
        digests = {_digest(seed, hashes) for hashes in ("1", "2")}
        assert digests == {simulate(seed).digest[:16]}


def _digest(seed: int, hashes: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seed", str(seed)],
        cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": hashes}, capture_output=True, text=True, timeout=TWICE_SECONDS,
        check=False,
    )  # fmt: skip
    return done.stdout.rpartition(" trace ")[2].partition(":")[0]
