"""The end of a run: all calls end for the call store, the processes go, and nothing of them is left."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.run import Run

END_SECONDS_MAX = 160.0
"""After the carrier has no call any more, the ledger must know within this: LOST_MS (75 s), and MEDIA_GAP_SECONDS if an
edge with a dead connection keeps saying that the call is up."""
DROP_SECONDS_MAX = 5.0
"""After that, no worker holds it."""
LEAVE_SECONDS_MAX = 8.0
"""How long a worker that was told to go may take, with a ledger that answers late."""
FORGET_SECONDS_MAX = 80.0
"""And no edge: one that never learned that its line broke gives up after MEDIA_GAP_SECONDS and COME_BACK_SECONDS."""
QUIET_SECONDS_MAX = 60.0
"""And nobody is on the telephone any more: the briefing of a person whose caller has gone ends by itself."""
LOOK_SECONDS = 0.1


async def all_ended(run: Run) -> None:
    """Wait until the call store knows of the end of every call."""
    until = run.loop.time() + END_SECONDS_MAX
    for call_id in run.trials:
        while (record := await run.store.read(call_id)) is not None and record.status != "ended":
            if record.status == "new":
                break  # no edge ever had it
            if run.loop.time() > until:
                run.breach(f"{call_id} is over, and the ledger does not know it")
                break
            await asyncio.sleep(LOOK_SECONDS)
        reason = record.ended_because if record is not None else ""
        run.ends.append(reason)
        run.note(f"{call_id} ended: {reason}")


async def close(run: Run) -> None:
    """Have every process go, see that nothing is left, and judge every call."""
    until = run.loop.time() + DROP_SECONDS_MAX
    working = [worker for worker in run.workers if worker.works]
    while any(worker.runner._held for worker in working) and run.loop.time() < until:
        await asyncio.sleep(LOOK_SECONDS)
    for worker in working:
        if worker.runner._held:
            run.breach(f"{worker.name} still holds {sorted(worker.runner._held)}")
        worker.leaving.set()
    await asyncio.wait([worker.task for worker in run.workers], timeout=LEAVE_SECONDS_MAX)
    for worker in run.workers:
        if not worker.task.done():
            run.breach(f"{worker.name} was told to go and does not")
            await worker.process.kill()
    if leaks := +run.vendors.open:
        run.breach(f"left open at the vendors: {dict(leaks)}")
    if run.ground.exchange is not None:
        for call_id in await run.ground.exchange.still_up(QUIET_SECONDS_MAX):
            run.breach(f"{call_id} is still up at the carrier")
    until = run.loop.time() + FORGET_SECONDS_MAX
    while any(edge.calls._calls for edge in run.edges if edge.alive) and run.loop.time() < until:
        await asyncio.sleep(1.0)
    for edge in run.edges:
        if edge.alive:
            if edge.calls._calls:
                run.breach(f"{edge.name} still has {sorted(edge.session.calls._calls)}")
            await edge.process.kill()
            edge.ticker.close()
    await asyncio.sleep(0)
    left = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    if left:
        run.breach(f"tasks are left: {sorted(left)}")
    for (call_id, trial), reason in zip(run.trials.items(), run.ends, strict=True):
        trial.finish()
        trial.tools.transfers.finish(reason)
        trial.tools.keys.finish(not run.breaking.broke)
        told = {told for _, told in trial.ends}
        if told and reason not in told:
            run.breach(f"{call_id} ended for the ledger because of {reason!r}, for the story of {told}")
        if run.phones[call_id].stops > 1:
            run.breach(f"{call_id} the carrier was told {run.phones[call_id].stops} times to end the call")
