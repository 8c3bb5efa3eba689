"""Runs calls of tools, each at most once for all members of the pool, and keeps them when their session ends.

    begin_effect ── new ──▶ run the tool, until its deadline ──▶ finish_effect ──▶ the session writes ToolReturned
        ├─ done: its result
        └─ begun by another member: run again if the tool is `repeatable`, else the outcome is unknown

A call that has begun is never cancelled, because an order must not be half done: a session that ends (the phone call is
over, the process is asked to stop, Redis was away) leaves it running here, and the next session of the call in this
process finds it.  Only the death of the process ends it; then the effect stays begun.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from common.call.acts import ToolOutcome
from common.call.once import NotDone, once
from common.process.backoff import Backoff
from common.store import Claim, Effects
from common.store.effects import Effect, EffectState, Known
from common.telemetry import metrics
from workers.runtime.event_session import Fenced
from workers.tools.interfaces import CallableTool, ToolError, ToolRequest
from workers.tools.outcomes import TOO_MANY, UNKNOWN, ToolResult, from_effect, late, to_effect, without

log = logging.getLogger(__name__)

STORE_S = 60.0
"""How long the record of a begin or of a result is tried again while the call store is away."""
STORE_RETRIES = Backoff(first_s=0.1, longest_s=2.0, jitter=0.2)
KEPT_S = 120.0
"""How long a result is kept for a session that has not taken it."""
HANDED_OVER_S = 5.0
"""Beside the tool's timeout: how long a member waits for a result of the one that handed the call over."""
LOOK_S = 0.25
"""How often it looks."""
FAILED = "The tool failed. It is not certain what was done: say so, do not try again."

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RunOrder:
    """A call of a tool that is to be run: by which claim, which tool, with what."""

    effect: Effect
    claim: Claim
    tool: CallableTool | ToolError
    """The tool, or why there is none: that, too, is a result."""
    request: Callable[[Say], Awaitable[ToolRequest]]
    """Makes the request when the tool is run.  Raises ToolError."""
    handed_over: bool = False
    """The last owner left it running when it was asked to stop, and may still record its result."""


class ToolRun:
    """One call that runs or has run here."""

    def __init__(self, effect: Effect) -> None:
        self.effect = effect
        self.task: asyncio.Task[ToolResult]
        self.say: Say = _unheard
        """Takes the sentences of the tool: of the session that has the call."""
        self.acted = False
        """The tool was begun here."""
        self.took_ms = 0
        """How long the tool ran; 0 if it did not run here."""

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return not self.task.done()

    def speak(self, sentence: str) -> None:
        """Pass a sentence of the tool on."""
        self.say(sentence)


class ToolRuns:
    """All calls of tools of this process."""

    def __init__(self, store: Effects) -> None:
        self._store = _PatientEffects(store)
        self._runs: dict[str, ToolRun] = {}

    def of_call(self, call_id: str) -> list[str]:
        """The effect ids of the call's tools that run here."""
        mine = f"{call_id}:"
        return [key.removeprefix(mine) for key, run in self._runs.items() if key.startswith(mine) and run.running]

    def run(self, order: RunOrder) -> ToolRun:
        """Run the call, or find it running.  Its task returns a ToolResult; it raises Fenced and ConnectionError."""
        key = order.effect.key
        if (known := self._runs.get(key)) is not None:
            if known.acted:
                return known
            # It waits for the call store under a claim that may be past.  The same attempt begins again with this one.
            known.task.cancel()
            order = replace(order, effect=known.effect)
        run = self._runs[key] = ToolRun(order.effect)
        run.task = asyncio.create_task(self._once(order, run), name="tool")
        run.task.add_done_callback(lambda task: self._ended(key, run, task))
        return run

    def forget(self, effect: Effect) -> None:
        """Its result is in the event log."""
        self._runs.pop(effect.key, None)

    async def drain(self, seconds: float) -> None:
        """Wait until every call has ended, for so long at most; then the rest is cancelled."""
        if tasks := [run.task for run in self._runs.values() if run.running]:
            log.info("waiting for %d calls of tools", len(tasks))
            await asyncio.wait(tasks, timeout=seconds)
        await self.cancel_all()

    async def cancel_all(self) -> None:
        """End every call at once, as the death of the process would."""
        tasks = [run.task for run in self._runs.values() if run.running]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _ended(self, key: str, run: ToolRun, task: asyncio.Task[ToolResult]) -> None:
        failed = task.cancelled() or task.exception() is not None  # whoever waits raises it, if anybody does
        asyncio.get_running_loop().call_later(0 if failed else KEPT_S, self._drop, key, run)

    def _drop(self, key: str, run: ToolRun) -> None:
        if self._runs.get(key) is run:
            del self._runs[key]

    async def _once(self, order: RunOrder, run: ToolRun) -> ToolResult:
        async def act(key: str) -> str:
            return to_effect(await self._act(order, run))

        tool = order.tool
        again = isinstance(tool, CallableTool) and tool.options.repeatable
        try:
            if order.handed_over and (result := await self._left_result(order)):
                return from_effect(result)
            return from_effect(await once(self._store, order.effect, act, order.claim, again=again))
        except NotDone as error:
            if error.state is EffectState.FENCED:
                raise Fenced from None
            if error.state is EffectState.FULL:
                return _counted(tool, ToolResult(ToolOutcome.REFUSED, TOO_MANY))
            return _counted(tool, ToolResult(ToolOutcome.UNKNOWN, UNKNOWN))

    async def _left_result(self, order: RunOrder) -> str:
        """The result that the last owner records while it ends; "" if it does not."""
        tool = order.tool
        timeout_s = tool.options.timeout_s if isinstance(tool, CallableTool) else 0
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s + HANDED_OVER_S):
                while True:
                    known = await self._store.begin_effect(order.effect, order.claim)
                    if known.state is EffectState.DONE:
                        return known.result
                    if known.state is not EffectState.BEGUN:
                        return ""
                    await asyncio.sleep(LOOK_S)
        return ""

    async def _act(self, order: RunOrder, run: ToolRun) -> ToolResult:
        """Run the tool.  Whatever it raises becomes a result."""
        tool = order.tool
        if isinstance(tool, ToolError):
            return _counted(tool, ToolResult(tool.outcome, tool.text))
        loop = asyncio.get_running_loop()
        run.acted, began_s = True, loop.time()
        metrics.TOOLS_RUNNING.labels(tool.kind).inc()
        try:
            result = await _bounded(order, tool, run)
        finally:
            metrics.TOOLS_RUNNING.labels(tool.kind).dec()
            took_s = loop.time() - began_s
            run.took_ms = round(took_s * 1000)
        metrics.TOOL_SECONDS.labels(tool.kind).observe(took_s)
        return _counted(tool, result)


async def _bounded(order: RunOrder, tool: CallableTool, run: ToolRun) -> ToolResult:
    seconds = tool.options.timeout_s
    deadline = asyncio.timeout(seconds)
    secrets: tuple[str, ...] = ()
    try:
        async with deadline:
            request = await order.request(run.speak)
            secrets = request.secrets
            return ToolResult(ToolOutcome.DONE, without(await tool.run(request), secrets))
    except TimeoutError:
        if deadline.expired():
            return ToolResult(ToolOutcome.TIMEOUT, late(seconds, harmless=tool.options.repeatable))
        return ToolResult(ToolOutcome.FAILED, FAILED)
    except ToolError as error:
        return ToolResult(error.outcome, without(error.text, secrets))
    except Exception as error:  # noqa: BLE001 - one tool's error must not end the call's session
        log.error("a tool of the kind %s failed: %s", tool.kind, type(error).__name__)
        return ToolResult(ToolOutcome.FAILED, FAILED)


def _counted(tool: CallableTool | ToolError, result: ToolResult) -> ToolResult:
    kind = tool.kind if isinstance(tool, CallableTool) else "none"
    metrics.TOOL_CALLS.labels(kind, result.outcome.value).inc()
    return result


def _unheard(sentence: str) -> None:
    """Takes the sentences of a tool whose session has ended."""


class _PatientEffects:
    """Implements `common.store.Effects`: it tries again while the call store is away, and records a result even if the
    claim is past by then: it is the truth, and the first result counts.
    """

    def __init__(self, store: Effects) -> None:
        self._store = store

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        return await _patiently(lambda: self._store.begin_effect(effect, claim))

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        known = await _patiently(lambda: self._store.finish_effect(effect, result, claim))
        if known.state is EffectState.FENCED:
            return await _patiently(lambda: self._store.finish_effect(effect, result))
        return known


async def _patiently(ask: Callable[[], Awaitable[Known]]) -> Known:
    """The store's answer.  Raises ConnectionError if it is away for too long."""
    loop = asyncio.get_running_loop()
    until_s, repetition = loop.time() + STORE_S, 0
    while True:
        try:
            return await ask()
        except (ConnectionError, TimeoutError) as error:
            if loop.time() >= until_s:
                raise ConnectionError("the call store is away") from error
        await asyncio.sleep(STORE_RETRIES.pause_s(repetition))
        repetition += 1
