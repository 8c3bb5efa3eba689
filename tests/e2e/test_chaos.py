"""A tiny chaos run: two calls, real processes, and the busiest worker of each pool is killed.

`make chaos` does all of it, with bars on the time; here only what must hold on the busiest machine is asked for.
"""

from pathlib import Path

import pytest

from benchmarks.chaos.fleet import Fleet, FleetPlan
from benchmarks.chaos.report import leaks
from benchmarks.chaos.run import carry_out
from benchmarks.chaos.scenario import EVERYONE, Scenario
from benchmarks.chaos.verdict import judge

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.anyio]

KILLS = Scenario("workers", "kill -9 of each pool", EVERYONE, "kill", 10_000, 2000, (2.5, 4.5, 6.5), 8.0)


async def test_two_calls_outlive_a_worker_of_each_pool(tmp_path: Path):
    async with Fleet(FleetPlan(tmp_path, edges=1)) as fleet:
        run = await carry_out(fleet, KILLS, calls=2, seed=1)
        row = judge(run.outcome)
        assert row.findings == []
        assert run.healed
        assert [strike.victim.partition("-")[0] for strike in run.outcome.strikes] == ["stt", "llm", "tts"]
        assert row.calls == 2
        assert row.turns >= 4
        assert row.hit >= 1
        assert (row.died, row.lost, row.unheard, row.repeated, row.doubled) == (0, 0, 0, 0, 0)
        assert all(len(call.turns) >= 2 and call.greeted == 1 for call in run.outcome.lived)
    assert set(leaks(tmp_path).values()) == {0}
    assert all(fleet.children.ended(name) for name in [*fleet.members(), "redis", "vendors"])
