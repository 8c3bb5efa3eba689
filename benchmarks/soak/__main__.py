"""`python -m benchmarks.soak`: checks that half an hour of changing calls leaves no growth and no residue.

Runs the platform of benchmarks.chaos (two edges behind a balancer, two workers of each pool, Redis with an append-only
file, the vendors' stand-ins) as real processes on loopback, each ended by its id, also on Ctrl-C.  Writes out/soak.
Exit code 1 if a line did not pass.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import sys
from collections.abc import Sequence

import uvloop

from benchmarks.chaos.fleet import Fleet, FleetPlan, NotReady
from benchmarks.soak.callers import FINISH_S, Talk, call_again_and_again
from benchmarks.soak.report import FOLDER, log_lines, publish, write_samples
from benchmarks.soak.samples import Looker
from benchmarks.soak.verdict import Sample, highest, judge, of_calls, still_up
from tools.stack import StackError

CALLS_MAX, MINUTES_MAX = 40, 240.0
RETENTION_S = 60
"""The minimum of CALL_RETENTION_S: the data of calls must be gone at the end of the run."""
REHEARSAL_S = 20.0
QUIET_S = RETENTION_S + 120.0
"""Time after the last call until all data has expired: retention, and the end of an abandoned call."""
SAMPLE_S, LOOK_S, SAY_S = 5.0, 2.0, 30.0
WARM_UP_S_MAX, WARM_UP_SHARE = 300.0, 1 / 3
STEADY_LOOKS = 3
QUIET_LOOKS = 13
"""Longer than a store keeps an idle connection (common/store/idle.py)."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--calls", type=int, default=20, help="at a time")
    parser.add_argument("--seed", type=int, default=1, help="of the callers' lengths and pauses")
    asked = parser.parse_args(argv)
    if not 1 <= asked.calls <= CALLS_MAX or not 1 <= asked.minutes <= MINUTES_MAX:
        parser.error(f"expected 1 to {CALLS_MAX} calls and 1 to {MINUTES_MAX:.0f} minutes")
    return asked


class Soak:
    """One run on one fleet."""

    def __init__(self, fleet: Fleet, looker: Looker, asked: argparse.Namespace) -> None:
        self._fleet = fleet
        self._looker = looker
        self._asked = asked
        self._began_s = asyncio.get_running_loop().time()
        self.samples: list[Sample] = []
        self.talk = Talk()
        self.waited_s = 0.0

    async def run(self) -> tuple[Sample, Sample]:
        """Run a rehearsal, a quiet time, the calls and a quiet time; return the samples before and after the calls."""
        _say("rehearsal: objects that are created at first use exist before the first count")
        await self._phone(REHEARSAL_S, Talk(), seed=0)
        before = await self._quiet(None)
        self._began_s = asyncio.get_running_loop().time()
        sampling = asyncio.create_task(self._sample(), name="sample")
        try:
            await self._phone(self._asked.minutes * 60, self.talk, self._asked.seed)
        finally:
            sampling.cancel()
            await asyncio.wait([sampling])
        _say(f"the last of {self.talk.over} calls is over; waiting until all counts are back")
        ended_s = asyncio.get_running_loop().time()
        after = await self._quiet(before)
        self.waited_s = asyncio.get_running_loop().time() - ended_s
        return before, after

    async def _phone(self, seconds: float, talk: Talk, seed: int) -> None:
        until = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for line in range(self._asked.calls):
                tasks.create_task(call_again_and_again(self._fleet.url, line, talk, until, seed), name=f"line {line}")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await until.wait()
            until.set()
            _say(f"no new calls; {talk.under_way} are ended, which takes {FINISH_S:.0f} s at most")

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        said_s = 0.0
        while True:
            sample = await self._looker.look(loop.time() - self._began_s)
            self.samples.append(sample)
            if sample.at_s - said_s >= SAY_S:
                said_s = sample.at_s
                self._print_sample(sample)
            await asyncio.sleep(SAMPLE_S)

    def _print_sample(self, sample: Sample) -> None:
        sizes = " ".join(f"{name} {one.rss_bytes / 2**20:.1f}" for name, one in sample.processes.items())
        talk, redis = self.talk, sample.redis
        _say(
            f"{sample.at_s / 60:5.1f} of {self._asked.minutes:.0f} min: {talk.under_way} calls, {talk.over} over, "
            f"{len(talk.died)} died; {redis.key_count} keys, {redis.used_bytes / 2**20:.1f} MiB; RSS MiB: {sizes}"
        )

    async def _quiet(self, before: Sample | None) -> Sample:
        """Wait until nothing is left that was not there before, for several samples, or until the time is over.

        Without a sample of before: until no call is left for longer; what was highest in that time is returned.
        """
        loop = asyncio.get_running_loop()
        until_s = loop.time() + QUIET_S
        looks: list[Sample] = []
        last = await self._look()
        while loop.time() < until_s and len(looks) < (QUIET_LOOKS if before is None else STEADY_LOOKS):
            await asyncio.sleep(LOOK_S)
            last = await self._look()
            busy = of_calls(last) or (before is not None and still_up(before, last))
            looks = [] if busy else [*looks, last]
        return last if before is not None else highest(looks or [last])

    async def _look(self) -> Sample:
        return await self._looker.look(asyncio.get_running_loop().time() - self._began_s)


async def run_all(asked: argparse.Namespace) -> bool:
    """Do the whole run; return True if every line passed."""
    plan = FleetPlan(FOLDER / "logs", more=(("CALL_RETENTION_S", str(RETENTION_S)),))
    async with Fleet(plan) as fleet:
        looker = Looker(fleet)
        soak = Soak(fleet, looker, asked)
        try:
            ends = await soak.run()
        finally:
            await looker.aclose()
            write_samples(soak.samples)
    warm_up_s = min(WARM_UP_S_MAX, asked.minutes * 60 * WARM_UP_SHARE)
    lines = judge(soak.samples, ends, warm_up_s, soak.talk.total()) + log_lines(plan.logs)
    notes = [
        f"{asked.calls} calls at a time for {asked.minutes:.0f} minutes, of 20 to 90 s each; the first "
        f"{warm_up_s / 60:.1f} minutes are the warm-up. Sampled every {SAMPLE_S:.0f} s; in the quiet after the last "
        f"call for {soak.waited_s:.0f} s (CALL_RETENTION_S={RETENTION_S})."
    ]
    return publish(lines, soak.talk, ends, notes)


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Run and report; return 0 if every line passed."""
    asked = arguments()
    shutil.rmtree(FOLDER, ignore_errors=True)
    try:
        return 0 if uvloop.run(run_all(asked)) else 1
    except (StackError, NotReady) as error:
        print(error)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
