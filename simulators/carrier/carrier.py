"""Runs the simulated carrier: its calls, its account, and the REST server.

async with Carrier(CarrierOptions(callee=Callee(script=(WaitForAgent(), Say("yes"))))) as carrier:
    ...                                      # POST {carrier.api_url}/Account/MA_XXXXXXXX/Call/
    call = await carrier.phones_in("http://127.0.0.1:8000/answer", WaitForAgent(), Say("opening-hours"))
    assert call.cause.code == 4000
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType

from simulators.call import read_sentences
from simulators.carrier.account import Account
from simulators.carrier.hooks import HookSender
from simulators.carrier.people import STAYS, Callee, People
from simulators.carrier.phone_call import PhoneCall, World
from simulators.carrier.plan import CallPlan, CarrierOptions, Target
from simulators.carrier.record import ApiRequest, CallRecord
from simulators.carrier.recordings import Recordings
from simulators.carrier.refusals import Limits, Refusal, RequestFaults
from simulators.carrier.rooms import Rooms
from simulators.loopback_server import LoopbackServer
from simulators.script import Step
from simulators.sound import FRAME_MS

CALLS_KEPT_MAX = 20_000
REQUESTS_KEPT_MAX = 100_000
STOP_S_MAX = 10.0


class Carrier:
    """The carrier as an async context manager; its end cuts all calls off."""

    def __init__(self, options: CarrierOptions | None = None) -> None:
        self.options = options = options or CarrierOptions()
        self.calls: dict[str, CallRecord] = {}
        """Every call by its id, in the order of their starts."""
        self.requests: list[ApiRequest] = []
        self.live: dict[str, PhoneCall] = {}
        self.ended: dict[str, PhoneCall] = {}
        self.people = People(options.callee)
        for number, callees in options.callees.items():
            self.people.put(number, callees if isinstance(callees, tuple) else (callees,))
        self.account = Account(options.auth_id, numbers=dict.fromkeys(options.numbers, ""))
        self.limits = Limits(options.cps, options.calls_max)
        self.faults = RequestFaults()
        self.recordings = Recordings(options.auth_id, lambda: self.now_ms)
        self.rooms = Rooms()
        self.url = ""
        self.on_end: Callable[[CallRecord], None] = lambda call: None
        """Called with every call that is over."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._zero_s = self._zero_cpu_s = 0.0

    @property
    def now_ms(self) -> float:
        """Time since the start of the carrier."""
        return (asyncio.get_running_loop().time() - self._zero_s) * 1000

    @property
    def api_url(self) -> str:
        """The base URL of the REST API, which stands for `https://api.vobiz.ai/api/v1`."""
        return f"{self.url}/api/v1"

    async def __aenter__(self) -> "Carrier":
        from simulators.carrier.api import application

        options = self.options
        self._zero_s = asyncio.get_running_loop().time()
        self._zero_cpu_s = time.process_time()
        self._sender = HookSender(
            options.hooks, options.auth_token, options.parent_token, options.time_scale, lambda: self.now_ms
        )
        self.world = World(options, self._sender, self.people, self.recordings, self.rooms, lambda: self.now_ms)
        self._server = LoopbackServer(application(self), options.host, options.port)
        self.url = self.recordings.media_url = self._server.url
        await self._server.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_S_MAX)
        await self._server.__aexit__(kind, error, trace)
        await self._sender.aclose()

    def place_call(self, from_number: str, to_number: str, plan: CallPlan) -> PhoneCall:
        """Start an outbound call, which runs in a task of its own."""
        return self._start("outbound", from_number, to_number, plan, self.people.next_for(to_number))

    def phone(
        self,
        answer_url: str = "",
        *script: Step,
        from_number: str = "+911234567891",
        to_number: str = "",
        hangup_url: str = "",
        callee: Callee | None = None,
        plan: CallPlan | None = None,
    ) -> CallRecord:
        """Start an inbound call to one of the account's numbers.

        Without `answer_url` and `plan` the number's application answers; raises `Refusal` 404 if it has none.
        """
        to_number = to_number or next(iter(self.account.numbers))
        if plan is None:
            plan = CallPlan(Target(answer_url)) if answer_url else self.account.plan_for(to_number)
        if plan is None:
            raise Refusal(404, "no application is attached to this number")
        if hangup_url:
            plan = replace(plan, hangup=Target(hangup_url))
        person = callee or Callee()
        if script:
            person = replace(person, script=script)
        return self._start("inbound", from_number, to_number, plan, person).record

    async def phones_in(
        self,
        answer_url: str = "",
        *script: Step,
        from_number: str = "+911234567891",
        to_number: str = "",
        hangup_url: str = "",
        callee: Callee | None = None,
        plan: CallPlan | None = None,
    ) -> CallRecord:
        """Start a call by `phone` and wait until it is over."""
        record = self.phone(
            answer_url,
            *script,
            from_number=from_number,
            to_number=to_number,
            hangup_url=hangup_url,
            callee=callee,
            plan=plan,
        )
        return await record.over()

    def _start(self, direction: str, from_number: str, to_number: str, plan: CallPlan, person: Callee) -> PhoneCall:
        read_sentences(self.options.speech, person.script or STAYS)  # a script that cannot be played fails here
        record = CallRecord(str(uuid.uuid4()), direction, from_number, to_number, self.now_ms, datetime.now(UTC))
        call = PhoneCall(record, plan, person, self.world)
        self.calls[record.call_id] = record
        self.live[record.call_id] = call
        while len(self.calls) > CALLS_KEPT_MAX:
            oldest = next(iter(self.calls))
            self.calls.pop(oldest)
            self.ended.pop(oldest, None)
        task = asyncio.get_running_loop().create_task(self._carry(call), name="carrier call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call

    async def _carry(self, call: PhoneCall) -> None:
        try:
            await call.run()
        finally:
            self.live.pop(call.record.call_id, None)
            self.ended[call.record.call_id] = call
            self.on_end(call.record)

    def load(self) -> dict[str, float]:
        """Return the CPU cost of the calls and the lateness of media sent: over 20 ms, no other figure is valid."""
        streams = [stream for call in self.calls.values() for stream in call.streams]
        carried_s = sum(stream.frames_sent for stream in streams) * FRAME_MS / 1000
        cpu_s = time.process_time() - self._zero_cpu_s
        return {
            "calls_live": len(self.live),
            "calls_ended": len(self.ended),
            "cpu_s": round(cpu_s, 3),
            "cpu_ms_per_stream_s": round(1000 * cpu_s / carried_s, 3) if carried_s else 0.0,
            "lateness_ms_max": round(max((s.lateness_ms.get("max", 0.0) for s in streams), default=0.0), 1),
            "lateness_ms_p99_worst": round(max((s.lateness_ms.get("p99", 0.0) for s in streams), default=0.0), 1),
        }

    def note(self, request: ApiRequest, call_ids: Sequence[str]) -> None:
        """Record a REST request, also in the records of its calls."""
        if len(self.requests) < REQUESTS_KEPT_MAX:
            self.requests.append(request)
        for call_id in call_ids:
            if call_id in self.calls:
                self.calls[call_id].requests.append(request)
