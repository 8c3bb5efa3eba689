"""The carrier beside its streams: it asks edges what follows, rings persons, and joins them with callers.

A request that an edge does not answer, because it died, is tried again at another one, as a load balancer does.  Every
person has a number of their own, so that one who is rung twice shows.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit
from xml.etree import ElementTree

from edge.vobiz.rest.errors import Refused, Uncertain
from tests.simulation.carrier_leg import CarrierLeg
from tests.simulation.persons import CODES, DIAL_CAUSES, DIAL_STATUS, OUR_NUMBER, PersonDoes, RungPerson
from tests.simulation.processes import OUTSIDE, ProcessLoop

ASK_SECONDS = 10.0
"""How long the carrier waits for an answer."""
ASKS_MAX = 8
ASK_AGAIN_SECONDS = 0.4
COPIES, COPY_SECONDS = (0.0, 0.0, 0.3), (0.0, 0.1)
"""How likely a request comes twice, in some runs, and how much later."""
ALONE_SECONDS_MAX = 15.0
"""How long a caller may be alone in a room: the way of the person takes seconds if an edge dies."""
REST_SECONDS = (0.02, 0.2)
GATHER_SECONDS = 2.0
HANGUP_SECONDS = 0.3


class ExchangeWitness(Protocol):
    """Is told what the carrier does."""

    def reached(self, stage: str, call_id: str) -> None: ...

    def note(self, text: str) -> None: ...

    def breach(self, text: str) -> None: ...


class AskedEdge(Protocol):
    """An edge, as the carrier asks it."""

    name: str

    def ask(self, path: str, fields: Mapping[str, str]) -> asyncio.Task[bytes]: ...


class Exchange:
    """See the module.  `persons` by number."""

    def __init__(
        self,
        loop: ProcessLoop,
        edges: Callable[[], AskedEdge | None],
        persons: Mapping[str, RungPerson],
        witness: ExchangeWitness,
        random: Random,
        copying: Random,
    ) -> None:
        self._loop = loop
        self._edges = edges
        self._persons = persons
        self._witness = witness
        self._random = random
        self._copying, self._copies = copying, copying.choice(COPIES)
        self.legs: dict[str, CarrierLeg] = {}
        self.rung: Counter[str] = Counter()
        self._rooms: dict[str, list[CarrierLeg]] = {}
        self._calling: set[asyncio.Task[None]] = set()
        self.streams: dict[str, Callable[[], None]] = {}
        """Call -> what takes it off its stream."""

    # --- the caller -------------------------------------------------------------------------------------------------

    def arrives(self, call_id: str, number: str) -> CarrierLeg:
        """A caller."""
        fields = {"CallUUID": call_id, "From": number, "To": OUR_NUMBER, "Direction": "inbound"}
        leg = self.legs[call_id] = CarrierLeg(call_id, fields, answered=True)
        return leg

    async def follow(self, leg: CarrierLeg) -> str:
        """What follows the caller's stream: the token of the next one, or "" if the call is over."""
        leg.transferred, leg.talked_s = False, 0.0
        await self._run(leg, f"/after-stream?CallUUID={leg.call_id}")
        if not leg.token and not leg.gone.is_set() and self._is_dropped(leg):
            self._witness.breach(f"{leg.call_id}: the caller is dropped")
        token, leg.token = leg.token, ""
        return token

    def _is_dropped(self, leg: CarrierLeg) -> bool:
        """Has the call ended though the caller was neither with a person nor told goodbye?"""
        return leg.transferred and not leg.talked_s

    async def ends(self, leg: CarrierLeg) -> None:
        """The call is over for the carrier."""
        leg.gone.set()
        self._leaves(leg)
        await asyncio.sleep(HANGUP_SECONDS)
        answer = {"AnswerTime": "2026-07-21 13:38:41"} if leg.answered else {}
        await self._post(leg.hangup_url, {**leg.fields, "Event": "Hangup", "HangupCauseCode": leg.cause, **answer})

    # --- documents --------------------------------------------------------------------------------------------------

    async def _run(self, leg: CarrierLeg, url: str) -> None:
        """Run documents until a stream follows, or nothing."""
        event = "Redirect"
        while url and not leg.gone.is_set():
            leg.doing = asyncio.ensure_future(self._document(leg, url, event))
            await asyncio.wait([leg.doing])
            if leg.doing.cancelled():
                url, leg.goto, event = leg.goto, "", "Transfer"
                self._leaves(leg)
                continue
            url = leg.doing.result()

    async def _document(self, leg: CarrierLeg, url: str, event: str) -> str:
        document = await self._ask(url, {**leg.fields, "Event": event})
        while document is not None:
            redirected = None
            for verb in document:
                match verb.tag:
                    case "Redirect":
                        redirected = await self._ask((verb.text or "").strip(), {**leg.fields, "Event": "Redirect"})
                        break
                    case "Stream":
                        leg.token = (verb.text or "").strip().rpartition("/")[2]
                        return ""
                    case "Dial":
                        redirected = await self._dial(leg, verb)
                        break
                    case "Conference":
                        await self._confer(leg, (verb.text or "").strip(), verb.get("callbackUrl", ""))
                    case "Gather":
                        await asyncio.sleep(GATHER_SECONDS)
                        if leg.person is not None and leg.person.key:
                            about = {**leg.fields, "Event": "Redirect", "Digits": leg.person.key}
                            redirected = await self._ask(verb.get("action", ""), about)
                            break
                        await asyncio.sleep(float(verb.get("executionTimeout", "15")))
                    case "Speak":
                        await asyncio.sleep(0.5)
                    case "Wait":
                        await asyncio.sleep(float(verb.get("length", "1")))
                    case "Hangup":
                        return ""
            document = redirected
        return ""

    async def _ask(self, url: str, fields: Mapping[str, str]) -> ElementTree.Element | None:
        answer = await self._post(url, fields)
        return ElementTree.fromstring(answer) if answer else None

    async def _post(self, url: str, fields: Mapping[str, str]) -> bytes:
        """The answer of an edge; empty if none answers."""
        parts = urlsplit(url)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        if self._copying.random() < self._copies:
            self._aside(self._copy(path, fields), "copy of a request")
        for _ in range(ASKS_MAX):
            edge = self._edges()
            if edge is not None:
                task = edge.ask(path, fields)
                await asyncio.wait([task], timeout=ASK_SECONDS)
                if task.done() and not task.cancelled() and task.exception() is None:
                    return task.result()
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        self._witness.note(f"no edge answers {parts.path}")
        return b""

    async def _copy(self, path: str, fields: Mapping[str, str]) -> None:
        """The same request once more; its answer is lost."""
        await asyncio.sleep(self._copying.uniform(*COPY_SECONDS))
        if edge := self._edges():
            await asyncio.wait([edge.ask(path, fields)], timeout=ASK_SECONDS)

    # --- a cold transfer --------------------------------------------------------------------------------------------

    async def _dial(self, leg: CarrierLeg, verb: ElementTree.Element) -> ElementTree.Element | None:
        number = verb.findtext("Number", "")
        person, events = self._persons[number], verb.get("callbackUrl", "")
        leg.transferred = True
        self._ring(number, leg.call_id)
        ring_s, most_s = person.ring_s, float(verb.get("timeout", "120"))
        await asyncio.sleep(min(ring_s, most_s))
        status = "no-answer" if ring_s > most_s else DIAL_STATUS[person.does]
        if status == "completed":
            await self._report(leg, events, "DialAnswer")
            await self._report(leg, events, "DialConnected")
            self._witness.reached("joined", leg.call_id)
            began_s = self._loop.time()
            await asyncio.sleep(person.talk_s)
            leg.talked_s = max(leg.talked_s, self._loop.time() - began_s)
            await self._report(leg, events, "DialHangup")
        about = {"Event": "DialAction", "DialStatus": status, "DialHangupCause": DIAL_CAUSES[person.does]}
        self._witness.reached("comes back", leg.call_id)
        return await self._ask(verb.get("action", ""), {**leg.fields, **about})

    def _ring(self, number: str, call_id: str) -> None:
        self.rung[number] += 1
        self._witness.note(f"{call_id} the person of {self._persons[number].word} is rung")
        if self.rung[number] > 1:
            self._witness.breach(f"{call_id}: the person of {self._persons[number].word} is rung again")
        self._witness.reached("ringing", call_id)

    async def _report(self, leg: CarrierLeg, url: str, event: str) -> None:
        if url:
            await self._post(url, {**leg.fields, "Event": event})

    # --- rooms ------------------------------------------------------------------------------------------------------

    async def _confer(self, leg: CarrierLeg, room: str, events: str) -> None:
        if room in leg.rooms:
            self._witness.breach(f"{leg.call_id} is put into the same room again")
        leg.rooms.add(room)
        members = self._rooms.setdefault(room, [])
        members.append(leg)
        leg.left.clear()
        leg.transferred = True
        began_s = self._loop.time()
        alone = self._loop.call_later(ALONE_SECONDS_MAX, self._still_alone, leg, room, context=OUTSIDE)
        together = asyncio.ensure_future(self._together(room)) if leg.person is not None else None
        try:
            await self._report(leg, events, "ConferenceEnter")
            self._witness.reached("joined", leg.call_id)
            await leg.left.wait()
        finally:
            alone.cancel()
            if together is not None:
                together.cancel()
            leg.talked_s = max(leg.talked_s, self._loop.time() - began_s)

    async def _together(self, room: str) -> None:
        """The person hangs up once they have talked, or after a while without the caller."""
        person = next(leg for leg in self._rooms[room] if leg.person is not None)
        assert person.person is not None
        until = self._loop.time() + ALONE_SECONDS_MAX
        while len(self._rooms.get(room, [])) < 2 and self._loop.time() < until:
            await asyncio.sleep(0.1)
        await asyncio.sleep(person.person.talk_s)
        person.hang_up()

    def _still_alone(self, leg: CarrierLeg, room: str) -> None:
        if self._rooms.get(room) == [leg] and not leg.gone.is_set() and leg.person is None:
            self._witness.breach(f"{leg.call_id}: the caller is alone in a room")

    def _leaves(self, leg: CarrierLeg) -> None:
        """A room ends for all who are in it when one leaves."""
        for room, members in list(self._rooms.items()):
            if leg in members:
                del self._rooms[room]
                for other in members:
                    other.left.set()

    # --- REST, as one edge's client ---------------------------------------------------------------------------------

    def rest(self, is_dead: Callable[[], bool]) -> Rest:
        """The REST API, as one process uses it."""
        return Rest(self, is_dead, self._random)

    def place(self, request: Any) -> str:
        """Ring a person."""
        call_id = f"person-{len(self.legs) + 1}"
        number = str(request.to)
        fields = {"CallUUID": call_id, "From": OUR_NUMBER, "To": number, "Direction": "outbound"}
        leg = self.legs[call_id] = CarrierLeg(call_id, fields, self._persons[number], request.hangup_url)
        self._ring(number, call_id)
        self._aside(self._call(leg, request), f"person {call_id}")
        return call_id

    async def _call(self, leg: CarrierLeg, request: Any) -> None:
        assert leg.person is not None
        await self._post(request.ring_url, {**leg.fields, "Event": "Ring", "CallStatus": "ringing"})
        ring_s, most_s = leg.person.ring_s, float(request.ring_timeout_s or 120)
        try:
            async with asyncio.timeout(min(ring_s, most_s)):
                await leg.gone.wait()
        except TimeoutError:
            if ring_s > most_s or leg.person.does in CODES:
                leg.cause = CODES.get(leg.person.does, CODES[PersonDoes.NO_ANSWER])
            else:
                leg.answered = True
                await self._run(leg, request.answer_url)
        await self.ends(leg)

    def _aside(self, work: Awaitable[None], name: str) -> None:
        async def run() -> None:
            await work

        task = self._loop.create_task(run(), name=name, context=OUTSIDE.copy())
        self._calling.add(task)
        task.add_done_callback(self._calling.discard)

    async def still_up(self, seconds: float) -> list[str]:
        """The calls to persons that do not end within this time."""
        until = self._loop.time() + seconds
        while self._calling and self._loop.time() < until:
            await asyncio.wait(set(self._calling), timeout=until - self._loop.time())
        return sorted(task.get_name() for task in self._calling)


@dataclass(frozen=True, slots=True)
class Rest:
    """See `edge.vobiz.rest.client.VobizClient`: what the dialer uses of it."""

    exchange: Exchange
    is_dead: Callable[[], bool]
    random: Random

    async def _take(self) -> None:
        await asyncio.sleep(self.random.uniform(*REST_SECONDS))
        if self.is_dead():
            await asyncio.Event().wait()  # it sends nothing any more

    async def make_call(self, request: Any) -> tuple[str, ...]:
        """Ring a person; sometimes the answer is lost."""
        await self._take()
        call_id = self.exchange.place(request)
        if self.random.random() < 0.1:
            raise Uncertain("the answer is lost")
        return (call_id,)

    async def hang_up(self, call_id: str) -> bool:
        """End a call."""
        await self._take()
        leg = self.exchange.legs.get(call_id)
        if leg is not None and not leg.gone.is_set():
            self.exchange._witness.note(f"{call_id} is ended by REST")
            leg.hang_up()
        return True

    async def transfer(self, call_id: str, *, aleg_url: str = "", bleg_url: str = "") -> None:
        """Send a call to another document."""
        await self._take()
        leg = self.exchange.legs[call_id]
        if take_off := self.exchange.streams.get(call_id):
            take_off()
        leg.go_to(aleg_url)

    async def send_digits(self, call_id: str, digits: str, *, leg: str = "aleg") -> None:
        """Send keys."""
        await self._take()

    async def call_details(self, call_id: str, status: str = "live") -> dict[str, Any]:
        """Nothing is known of a call."""
        raise Refused(404, "no such call")

    async def cdr_of(self, call_id: str) -> dict[str, Any]:
        """Nothing is known of a call."""
        raise Refused(404, "no such call")

    async def cdr(self, page: int, count: int, filters: Mapping[str, str]) -> dict[str, Any]:
        """No call has a record."""
        return {}

    async def queued_calls(self) -> list[str]:
        """No call is queued."""
        return []

    async def live_calls(self) -> list[str]:
        """The calls that are up."""
        return [call_id for call_id, leg in self.exchange.legs.items() if not leg.gone.is_set()]
