"""Carries out the faults of a plan, and mends what a real deployment would mend: a dead process is replaced."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, TypeVar

from tests.simulation.cluster import Edge, Node, Worker
from tests.simulation.plan import Ambush, Fault
from tests.simulation.processes import OUTSIDE

if TYPE_CHECKING:
    from tests.simulation.run import Run

T = TypeVar("T")


class Breaking:
    """`run` it beside the calls."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._random = Random(f"breaking {run.plan.seed}")
        self._reached: Counter[str] = Counter()
        self._ambushes: asyncio.TaskGroup | None = None
        self.last_s = run.loop.time()
        """When the last fault was over, as far as it is known."""
        self.broke: set[str] = set()
        """Kinds of the faults that happened, but for those of workers, which lose no key."""

    async def run(self) -> None:
        """All faults, each at its time."""
        loop = self._run.loop
        began = loop.time()
        self.last_s = began + max((fault.at_s for fault in self._run.plan.faults), default=0.0)
        async with asyncio.TaskGroup() as tasks:
            for fault in self._run.plan.faults:
                await asyncio.sleep(max(0.0, began + fault.at_s - loop.time()))
                if self._run.over:
                    return
                tasks.create_task(self._break(fault), name=f"fault {fault.does}")

    async def ambush(self, over: asyncio.Event) -> None:
        """Wait for the moments of the plan's ambushes, until the calls are over."""
        async with asyncio.TaskGroup() as self._ambushes:
            await over.wait()

    def reached(self, stage: str, call_id: str) -> None:
        """A call of a tool has come to this stage."""
        self._reached[stage] += 1
        for each in self._run.plan.ambushes:
            if (each.stage, each.number) == (stage, self._reached[stage]) and self._ambushes and not self._run.over:
                work = self._spring(each, call_id)
                self._ambushes.create_task(work, name=f"ambush {stage}", context=OUTSIDE.copy())

    async def _spring(self, ambush: Ambush, call_id: str) -> None:
        await asyncio.sleep(ambush.delay_s)
        fault = ambush.fault
        if ambush.aimed:
            fault = replace(fault, victim=self._victim(fault, call_id))
        self._note(f"{ambush.stage} {call_id}: {fault.does} {fault.victim}")
        await self._break(fault)

    def _victim(self, fault: Fault, call_id: str) -> str:
        """Who has the call, of those whom this fault may concern."""
        if fault.does == "break line":
            return call_id
        if "edge" in fault.does:
            return next((edge.name for edge in self._run.edges if edge.alive and edge.calls.get(call_id)), "")
        return self._run.owners.get((fault.pool, call_id), "")

    async def _break(self, fault: Fault) -> None:
        if not fault.does.endswith(" worker"):
            self.broke.add(fault.does)
        match fault.does:
            case "kill worker":
                await self._kill_worker(fault)
            case "freeze worker":
                await self._freeze(self._workers(fault.pool), fault.seconds, fault)
            case "freeze edge":
                await self._freeze([edge for edge in self._run.edges if edge.alive], fault.seconds / 3, fault)
            case "drain worker":
                await self._drain_worker(fault)
            case "kill edge":
                await self._kill_edge(fault)
            case "drain edge":
                await self._drain_edge(fault)
            case "break line":
                self._break_line(fault)
            case "cut" | "cut all":
                self._cut(fault)
            case "stall media" | "stall priority":
                self._stall(fault)
            case "doubt":
                self._doubt(fault)
        self.last_s = max(self.last_s, self._run.loop.time())

    async def _kill_worker(self, fault: Fault) -> None:
        worker = _one(self._workers(fault.pool), fault)
        if worker is None:
            return
        self._note(f"kill -9 {worker.name}")
        await worker.kill()
        await asyncio.sleep(fault.seconds / 2)
        self._run.hire(fault.pool)

    async def _freeze(self, nodes: Sequence[Node], seconds: float, fault: Fault) -> None:
        node = _one([node for node in nodes if not node.process.frozen], fault)
        if node is None:
            return
        self._note(f"SIGSTOP {node.name} for {seconds:.2f} s")
        node.process.freeze()
        await asyncio.sleep(seconds)
        if node.process.frozen:
            self._note(f"SIGCONT {node.name}")
            node.process.thaw()

    async def _drain_worker(self, fault: Fault) -> None:
        worker = _one(self._workers(fault.pool), fault)
        if worker is None:
            return
        if fault.more < 0.5:
            self._run.hire(fault.pool)
        self._note(f"SIGTERM {worker.name}")
        worker.leaving.set()
        await asyncio.sleep(fault.seconds / 2)
        if fault.more >= 0.5:
            self._run.hire(fault.pool)

    async def _kill_edge(self, fault: Fault) -> None:
        edge = _one([edge for edge in self._run.edges if edge.alive], fault)
        if edge is None:
            return
        self._note(f"kill -9 {edge.name}")
        for connection in edge.connections:
            connection.sever(None, fault.more * 0.3)
        await edge.process.kill()
        edge.ticker.close()
        await asyncio.sleep(fault.seconds / 2)
        self._run.open_edge()

    async def _drain_edge(self, fault: Fault) -> None:
        edge = _one([edge for edge in self._run.edges if edge.ready], fault)
        if edge is None:
            return
        self._note(f"SIGTERM {edge.name}")
        self._run.open_edge()
        edge.drain(fault.seconds * 4)

    def _break_line(self, fault: Fault) -> None:
        phone = _one([phone for phone in self._run.phones.values() if phone.connection is not None], fault)
        if phone is None or phone.connection is None:
            return
        edge_notices_s = None if fault.more < 0.2 else fault.more * 2
        carrier_notices_s = fault.seconds / 5
        self._note(f"{phone.call_id} line breaks; the edge notices after {edge_notices_s}, the carrier after "
                   f"{carrier_notices_s:.2f} s")  # fmt: skip
        phone.connection.sever(edge_notices_s, carrier_notices_s)

    def _cut(self, fault: Fault) -> None:
        nodes = self._nodes() if fault.does == "cut all" else [_one(self._nodes(), fault)]
        for node in nodes:
            if node is not None:
                self._note(f"{node.name} is cut off from Redis for {fault.seconds:.2f} s")
                node.bus.cut(fault.seconds)
        self._until(fault.seconds)

    def _stall(self, fault: Fault) -> None:
        node = _one(self._nodes(), fault)
        if node is None:
            return
        seconds = fault.seconds / 2
        lane = node.bus.media if fault.does == "stall media" else node.bus.priority
        self._note(f"{node.name}: the {fault.does.split()[1]} reader stands still for {seconds:.2f} s")
        lane.stalled_until = self._run.loop.time() + seconds
        self._until(seconds)

    def _doubt(self, fault: Fault) -> None:
        node = _one(self._nodes(), fault)
        if node is None:
            return
        self._note(f"{node.name}: the ledger's answers are lost for {fault.seconds:.2f} s")
        node.network.doubt = 0.2 + 0.8 * fault.more
        node.network.doubt_until = self._run.loop.time() + fault.seconds
        self._until(fault.seconds)

    def _until(self, seconds: float) -> None:
        self.last_s = max(self.last_s, self._run.loop.time() + seconds)

    def _workers(self, pool: str) -> list[Worker]:
        return [worker for worker in self._run.workers if worker.pool == pool and worker.works]

    def _nodes(self) -> list[Node]:
        edges: list[Edge] = [edge for edge in self._run.edges if edge.alive]
        return [*edges, *(worker for worker in self._run.workers if worker.works)]

    def _note(self, text: str) -> None:
        self._run.note(f"FAULT  {text}")


def _one(these: Sequence[T], fault: Fault) -> T | None:
    if fault.victim:
        names = [(getattr(one, "name", ""), getattr(one, "call_id", "")) for one in these]
        return next((one for one, name in zip(these, names, strict=True) if fault.victim in name), None)
    return these[fault.choice % len(these)] if these else None
