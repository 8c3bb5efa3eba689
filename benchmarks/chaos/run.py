"""Runs one scenario on a fleet: callers talk, faults happen, and the records are collected."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.chaos.caller import Caller
from benchmarks.chaos.fleet import Fleet, NotReady
from benchmarks.chaos.orders import OrderCounts, count_orders
from benchmarks.chaos.scenario import Hand, Scenario
from benchmarks.chaos.switchboard import Switchboard
from benchmarks.chaos.transcript import Owners, brief, read_owners
from benchmarks.chaos.transfers import TransferCounts, count_transfers
from benchmarks.chaos.verdict import Outcome, findings

RAMP_S = 0.075
"""Time between the starts of two calls."""
SETTLED_FRAMES = 250
"""The first 5 s of calls do not count for lateness: all calls are set up at once, and there is no fault yet."""
FINISH_S = 25.0
"""Time for the last answers, the hang-ups and their webhooks."""
ACT_S_MAX = 120.0
EVENTS_S = 5.0
TAKEOVERS_MAX = 3
"""Most takeovers of a call whose worker another call killed."""


@dataclass(frozen=True, slots=True)
class ScenarioRun:
    """The result of a scenario; `healed`: the fleet is complete again."""

    outcome: Outcome
    healed: bool
    transcripts: Mapping[str, str]
    """The event log of each call, as the edge's API sends it."""

    def details(self) -> dict[str, Any]:
        """Return every turn of every call for JSON, and the whole event log of calls with findings."""
        outcome = self.outcome
        wrong = [call.call_id for call in outcome.lived if any(call.call_id in each for each in findings(outcome))]
        return {
            "strikes": [asdict(strike) for strike in outcome.strikes],
            "calls": [
                {**call.to_json(), "owners": asdict(outcome.owners.get(call.call_id, Owners()))}
                for call in outcome.lived
            ],
            "stories": {call_id: brief(self.transcripts.get(call_id, "")) for call_id in wrong},
        }


async def carry_out(fleet: Fleet, scenario: Scenario, calls: int, seed: int) -> ScenarioRun:
    """Run callers and faults, and wait for the end of all calls."""
    count = max(1, round(calls * scenario.calls))
    before = Counter(await fleet.asked())
    await fleet.open_shop()
    switchboard = Switchboard(fleet.url) if scenario.group == "transfers" else None
    callers = [Caller(fleet.url, number, seed, RAMP_S * number, switchboard) for number in range(count)]
    hand = Hand(fleet, scenario, poison=callers[0].poison, switchboard=switchboard)
    began_s = asyncio.get_running_loop().time()
    running = [asyncio.create_task(caller.run(), name=f"caller {caller.lived.caller}") for caller in callers]
    try:
        await _strike(hand, began_s)
        for caller in callers:
            caller.quit()
        done, late = await asyncio.wait(running, timeout=FINISH_S)
        for task in done:
            if error := task.exception():
                raise error
        hand.trouble += [f"{task.get_name()} could not end its call" for task in late]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    healed = await _heal(hand)
    if scenario.fault == "poison":
        poisoner, *callers = callers
        if not poisoner.lived.died:
            hand.trouble.append("the call that kills its workers was not ended")
    transcripts = {caller.lived.call_id: await _transcript(fleet, caller) for caller in callers}
    owners = {call_id: read_owners(events) for call_id, events in transcripts.items()}
    if scenario.fault == "poison":
        most = max(len(one.changes.get(scenario.pool, ())) - 1 for one in owners.values())
        if most > TAKEOVERS_MAX:
            hand.trouble.append(f"an innocent call was taken over {most} times; at most {TAKEOVERS_MAX} are allowed")
    orders = OrderCounts()
    if scenario.group == "tools":
        orders, wrong = count_orders(transcripts, await fleet.shop())
        hand.trouble += wrong
    transfers = TransferCounts()
    if switchboard is not None:
        faults_ms = [(strike.at_ms, strike.until_ms) for strike in hand.strikes]
        transfers, wrong = count_transfers(transcripts, switchboard.rung, [one.lived for one in callers], faults_ms)
        hand.trouble += wrong
    outcome = Outcome(
        scenario,
        [caller.lived for caller in callers],
        hand.strikes,
        owners,
        Counter(await fleet.asked()) - before,
        _p99([late_ms for caller in callers for late_ms in caller.lateness_ms[SETTLED_FRAMES:]]),
        hand.trouble,
        orders,
        transfers,
    )
    return ScenarioRun(outcome, healed, transcripts)


async def _strike(hand: Hand, began_s: float) -> None:
    """Carry out all faults, then wait as long as the callers shall continue."""
    try:
        async with asyncio.timeout(ACT_S_MAX):
            await hand.act(began_s)
    except (NotReady, TimeoutError) as error:
        hand.trouble.append(f"the platform did not come back: {error or type(error).__name__}")
    rest_s = began_s + hand.scenario.asks_s - asyncio.get_running_loop().time()
    await asyncio.sleep(max(2.0, rest_s))


async def _heal(hand: Hand) -> bool:
    try:
        hand.trouble += [f"{name} had ended by itself" for name in await hand.fleet.heal()]
    except (NotReady, TimeoutError) as error:
        hand.trouble.append(f"the platform did not come back: {error or type(error).__name__}")
        return False
    return True


async def _transcript(fleet: Fleet, caller: Caller) -> str:
    try:
        async with asyncio.timeout(EVENTS_S):
            return await fleet.transcript(caller.lived.call_id)
    except TimeoutError:  # an event log without an end: the call was lost
        return ""


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * len(values))] if values else 0.0
