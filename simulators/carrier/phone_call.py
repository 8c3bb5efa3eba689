"""Runs one call on the carrier, from the first ring to the last webhook.

    dial ──▶ ring ──▶ (busy, no answer, ...) ──────────────────────────────┐
               └──▶ answer URL ──▶ run the document ──▶ end of it ──▶ cause ─▶ Hangup webhook
                                      ▲       │
               transfer (REST) ───────┘       └── hang-up (REST, callee, time limit, machine detection)

Orders from outside (`hang_up`, `transfer`) interrupt the call; the first one counts.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from simulators.carrier.causes import Cause, Dropped, cause, invalid_url, unreachable
from simulators.carrier.document import Document, HangupVerb, is_web_url, read_document
from simulators.carrier.fields import call_fields, hangup_fields, machine_fields, ring_fields
from simulators.carrier.hooks import HookSender, Reports
from simulators.carrier.interpreter import Interpreter
from simulators.carrier.media import CallStreams
from simulators.carrier.people import CAUSE_OF, Callee, People
from simulators.carrier.plan import CallPlan, CarrierOptions, Target
from simulators.carrier.record import CallRecord, Webhook
from simulators.carrier.recordings import Recordings
from simulators.carrier.rooms import Rooms

QUESTION_PAUSE_S = 0.5  # between tries of the answer URL, doubled each time
END_S_MAX = 60.0


@dataclass(frozen=True, slots=True)
class World:
    """State that all calls of a carrier share."""

    options: CarrierOptions
    sender: HookSender
    people: People
    recordings: Recordings
    rooms: Rooms
    now_ms: Callable[[], float]


@dataclass(frozen=True, slots=True)
class HangUpOrder:
    cause: Cause


@dataclass(frozen=True, slots=True)
class TransferOrder:
    target: Target


Order: TypeAlias = HangUpOrder | TransferOrder


@dataclass(slots=True)
class PhoneCall:
    """One call; `run` runs it.  `record` describes it, during and after the call."""

    record: CallRecord
    plan: CallPlan
    callee: Callee
    world: World
    streams: CallStreams = field(init=False)
    reports: Reports = field(init=False)
    interpreter: Interpreter = field(init=False)
    _orders: asyncio.Queue[Order] = field(init=False)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _sounding: dict[str, asyncio.Task[Any]] = field(default_factory=dict)
    _ending: bool = False

    def __post_init__(self) -> None:
        self.reports = Reports(self.record, self.world.sender)
        self.streams = CallStreams(self.record, self.world.options, self.callee.script, self.reports.put)
        self.interpreter = Interpreter(self)
        self._orders = asyncio.Queue(maxsize=100)

    # --- orders from outside ---

    def hang_up(self, code: int, source: str) -> None:
        """End the call; the first order counts."""
        self._ending = True
        with contextlib.suppress(asyncio.QueueFull):  # a hundred orders are queued: the first one ends the call
            self._orders.put_nowait(HangUpOrder(cause(code, source)))

    def transfer(self, target: Target) -> None:
        """Interrupt the call and run the document at `target`."""
        with contextlib.suppress(asyncio.QueueFull):
            self._orders.put_nowait(TransferOrder(target))

    @property
    def ending(self) -> bool:
        """Whether a hang-up was ordered."""
        return self._ending or not self.record.live

    def sound(self, kind: str, pieces: Sequence[tuple[str, float]]) -> None:
        """Play or speak into the call: texts or URLs with their lengths in seconds.  `quiet` stops it."""
        self.quiet(kind)
        self._sounding[kind] = self.aside(self._sound(pieces), kind)

    def quiet(self, kind: str) -> None:
        task = self._sounding.pop(kind, None)
        if task is not None:
            task.cancel()

    async def _sound(self, pieces: Sequence[tuple[str, float]]) -> None:
        for text, seconds in pieces:
            self.record.spoken.append(text)
            await self.pause(seconds)

    def aside(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start a task beside the document; it ends with the call at the latest."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def pause(self, seconds: float) -> None:
        """Wait by the carrier's (scaled) clock."""
        await asyncio.sleep(seconds * self.world.options.time_scale)

    @property
    def party(self) -> str:
        """The person in the call, as `HangupSource` names them."""
        return "Caller" if self.record.direction == "inbound" else "Callee"

    # --- the life of the call ---

    async def run(self) -> None:
        """Run the whole call; return after the delivery of its last webhook."""
        reporting = asyncio.get_running_loop().create_task(self.reports.run(), name="reports")
        try:
            ended = await self._live()
            await self._stop_asides()
            self._end(ended)
            await self.pause(self.world.options.hangup_delay_ms / 1000)
            target = self.plan.hangup if self.plan.hangup.url else self.plan.answer
            fields = hangup_fields(self.record, self.world.options.account, ended) | self._sip_fields()
            self.reports.put(Webhook("hangup", target.url, target.method, fields))
            self.world.recordings.finish(self.record, self.reports.put)
            await self.reports.flush()
            await self.streams.haunt()
        finally:
            await self._stop_asides()
            reporting.cancel()
            await asyncio.wait([reporting], timeout=END_S_MAX)
            self.record.finished.set()

    async def _live(self) -> Cause:
        """Carry out the plan, then the orders; return the cause of the end."""
        work = self._from_the_start()
        while True:
            doing = self.aside(self._dropped_or(work), "document")
            ordered = self.aside(self._orders.get(), "order")
            await asyncio.wait({doing, ordered}, return_when=asyncio.FIRST_COMPLETED)
            if doing.done() and not ordered.done():
                ordered.cancel()
                ended: Cause = doing.result()
                return ended
            doing.cancel()
            await asyncio.wait({doing}, timeout=END_S_MAX)
            match ordered.result():
                case TransferOrder(target):
                    self.streams.stop(None, "the call was transferred")
                    work = self._transferred(target)
                case HangUpOrder(why):
                    return why

    async def _dropped_or(self, work: Coroutine[Any, Any, Cause]) -> Cause:
        try:
            return await work
        except Dropped as dropped:
            self.record.error = str(dropped)
            return dropped.cause

    async def _from_the_start(self) -> Cause:
        record = self.record
        if record.direction == "inbound":
            record.state = "ringing"
            document = await self._ask_answer("ringing")
            if refusal := _refusal(document):
                return refusal
            self._answered()
            return await self.interpreter.run(document)
        unanswered = await self._ring()
        if unanswered is not None:
            if self.callee.asked_early:
                await self._ask_answer("in-progress")
            return unanswered
        self._answered()
        if self.plan.send_digits:
            record.digits.append(self.plan.send_digits)
        if self.plan.detection.mode:
            self.aside(self._detect(), "machine detection")
        document = await self._ask_answer("in-progress")
        return await self.interpreter.run(document)

    async def _transferred(self, target: Target) -> Cause:
        return await self.interpreter.run(await self.ask(target, "transfer", "Transfer"))

    async def _ring(self) -> Cause | None:
        """Ring until the callee acts; return None if it answers, else the cause."""
        self.record.state = "ringing"
        self.reports.put(Webhook("ring", self.plan.ring.url, self.plan.ring.method, ring_fields(self.record)))
        callee, plan = self.callee, self.plan
        rings_s = plan.ring_timeout_s if callee.does == "no-answer" else callee.ring_ms / 1000
        if plan.hangup_on_ring_s and plan.hangup_on_ring_s < min(rings_s, plan.ring_timeout_s):
            await self.pause(plan.hangup_on_ring_s)
            return cause(1000, "API Request")
        await self.pause(min(rings_s, plan.ring_timeout_s))
        if callee.does == "no-answer" or rings_s > plan.ring_timeout_s:
            return cause(6010, "Vobiz")
        if callee.does == "fails":
            return cause(callee.code, "Carrier")
        code = CAUSE_OF.get(callee.does)
        return cause(code, "Callee") if code else None

    def _answered(self) -> None:
        self.record.state = "in-progress"
        self.record.answered_ms = self.world.now_ms()
        self.aside(self._limit(self.plan.time_limit_s, 6000, "Vobiz"), "time limit")
        if self.callee.hangs_up_after_ms is not None:
            self.aside(self._limit(self.callee.hangs_up_after_ms / 1000, 4000, self.party), "callee hangs up")

    async def _limit(self, after_s: float, code: int, source: str) -> None:
        await self.pause(after_s)
        self.hang_up(code, source)

    async def _detect(self) -> None:
        detection = self.plan.detection
        await self.pause(min(self.callee.detect_ms, detection.time_ms) / 1000)
        machine = self.callee.does == "machine"
        self.record.machine = machine
        if_machine = "hangup" if detection.mode == "hangup" else "continue"
        fields = machine_fields(self.record, machine, if_machine)
        self.reports.put(Webhook("machine", detection.target.url, detection.target.method, fields))
        if machine and detection.mode == "hangup":
            self.hang_up(9100, "Vobiz")

    def _end(self, ended: Cause) -> None:
        self.record.ended_ms = self.world.now_ms()
        self.record.cause = ended
        answered = self.record.answered_ms is not None
        self.record.state = "completed" if answered else ended.status

    async def _stop_asides(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=END_S_MAX)

    # --- questions to the server ---

    async def _ask_answer(self, status: str) -> Document:
        """Fetch the first document: from the answer URL, up to three times, then from the fallback URL."""
        last: Dropped | None = None
        for kind, target in (("answer", self.plan.answer), ("fallback", self.plan.fallback)):
            if not target.url:
                continue
            for tried in range(self.world.options.answer_tries):
                if tried:
                    await self.pause(QUESTION_PAUSE_S * 2 ** (tried - 1))
                try:
                    return await self.ask(target, kind, "StartApp", status)
                except Dropped as dropped:
                    last = dropped
                    if dropped.cause.code // 1000 == 8:
                        break  # the reply cannot be read: a retry would not help
        raise last or unreachable("answer", "no URL")

    async def ask(
        self, target: Target, kind: str, event: str, status: str = "in-progress", more: dict[str, str] | None = None
    ) -> Document:
        """Fetch a document; `kind` is a key of `causes.WHERE`.  Raises `Dropped`."""
        if not is_web_url(target.url):
            raise invalid_url("answer" if kind == "fallback" else kind, "not an absolute http or https URL")
        fields = call_fields(self.record, self.world.options.account, event, status) | self._sip_fields() | (more or {})
        webhook = Webhook(kind, target.url, target.method, fields)
        reply = await self.world.sender.ask(self.record, webhook, self.world.options.answer_deadline_s)
        if reply.status is None:
            raise unreachable(kind, reply.why)
        return read_document(reply.status, reply.content_type, reply.body, kind)

    def _sip_fields(self) -> dict[str, str]:
        named = {"CallerName": self.plan.caller_name} if self.plan.caller_name else {}
        return named | {f"X-VH-{key}": value for key, value in self.plan.sip_headers}


def _refusal(document: Document) -> Cause | None:
    """Return the cause if the first verb is `<Hangup reason=...>`, which refuses an inbound call before the answer."""
    first = document[0] if document else None
    if isinstance(first, HangupVerb) and first.reason in ("busy", "rejected"):
        return cause(3010 if first.reason == "busy" else 3020, "Answer XML")
    return None
