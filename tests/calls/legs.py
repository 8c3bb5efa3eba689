"""The legs of a call at the carrier, caller and person; each runs the documents that edges give (transferring.py)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from xml.etree import ElementTree

from starlette.websockets import WebSocket

from common.process.tasks import cancel
from tests.calls.carrier import CALL, SILENCE, Socket

if TYPE_CHECKING:
    from tests.calls.transferring import Desk

FRAMES_S = 5.0
RETRIES, RETRY_S = 3, 0.5
"""How often the carrier opens a lost stream again, and how long it waits each time."""


@dataclass
class Person:
    """The telephone of the person, and what they do."""

    does: str = "answers"
    """answers, busy, no answer, declines, failed; "is not rung": the carrier took the call and says nothing more."""
    ring_s: float = 4.0
    talk_s: float = 60.0
    keys: str = "1"
    """Pressed at each <Gather>; "" presses none."""
    says: str = ""
    hears: list[str] = field(default_factory=list)


class Line(Socket):
    """The stream of the caller; the carrier closes it on `stop`, unless it does not mind it."""

    def __init__(self, minds_stop: bool = True) -> None:
        super().__init__()
        self.minds_stop = minds_stop
        self.gone = asyncio.Event()
        self.stopped = False

    def send_texts(self, messages: list[bytes]) -> None:
        super().send_texts(messages)
        if any(json.loads(message)["event"] == "stop" for message in messages):
            self.stopped = True
            if self.minds_stop:
                asyncio.get_running_loop().call_later(0.05, self.ends)

    def ends(self, clean: bool = True) -> None:
        if not self.gone.is_set():
            self.gone.set()
            self.close(clean)

    def end(self, code: int = 1000) -> None:
        self.gone.set()

    async def talks(self) -> None:
        """Now and then a frame, until the line is gone."""
        while not self.gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FRAMES_S):
                    await self.gone.wait()
            if hasattr(self, "text") and not self.gone.is_set():
                self.text(SILENCE)


class HungUp(Exception):
    """The leg is over."""


class Leg:
    """One call at the carrier: it runs the documents that it is given."""

    def __init__(self, desk: Desk, call_id: str, fields: dict[str, str], hangup_url: str, person: Person) -> None:
        self.desk, self.call_id, self.fields, self.hangup_url, self.person = desk, call_id, fields, hangup_url, person
        self.line: Line | None = None
        self.verbs: list[str] = []
        self.room = ""
        self._goto = ""
        self._cause = "4000"
        self._doing: asyncio.Task[Any] | None = None
        self._hung_up = False
        self._over = asyncio.Event()
        self.answered = False

    async def over(self) -> Leg:
        async with asyncio.timeout(7_200):
            await self._over.wait()
        return self

    def hangs_up(self, cause: str = "4000") -> None:
        self._hung_up, self._cause = True, cause
        if self._doing is not None:
            self._doing.cancel()

    def goes_to(self, url: str) -> None:
        """REST transfer."""
        self._goto = url
        if self._doing is not None:
            self._doing.cancel()

    async def run(self, url: str) -> None:
        try:
            document = await self.asks(url, Event="StartApp")
            while document is not None:
                self._doing = asyncio.ensure_future(self._run(document))
                await asyncio.wait([self._doing])
                if self._hung_up:
                    break
                if self._doing.cancelled():
                    document = await self.asks(self._goto, Event="Transfer")
                else:
                    document = self._doing.result()
        except HungUp:
            self._hung_up = True
        finally:
            await self._finish()

    async def _finish(self) -> None:
        if self.line is not None:
            self.line.ends()
        self.leaves_room()
        await asyncio.sleep(self.desk.hangup_s)
        answer = {"AnswerTime": "2026-07-21 13:38:41"} if self.answered else {}
        await self.desk.posts(
            self.hangup_url, {**self.fields, "Event": "Hangup", "HangupCauseCode": self._cause, **answer}
        )
        self._over.set()

    async def asks(self, url: str, **more: str) -> ElementTree.Element:
        body = await self.desk.posts(url, {**self.fields, **more})
        return ElementTree.fromstring(body)

    async def _run(self, document: ElementTree.Element) -> ElementTree.Element | None:
        for verb in document:
            self.verbs.append(verb.tag)
            text = (verb.text or "").strip()
            match verb.tag:
                case "Stream":
                    await self._stream(text)
                case "Speak":
                    self.person.hears.append(text)
                    await asyncio.sleep(1)
                case "Wait":
                    await asyncio.sleep(float(verb.get("length", "1")))
                case "Redirect":
                    return await self.asks(text, Event="Redirect")
                case "Hangup":
                    return None
                case "Dial":
                    return await self._dial(verb)
                case "Gather":
                    self.person.hears += [(prompt.text or "").strip() for prompt in verb]
                    await asyncio.sleep(2)
                    if self.person.keys or self.person.says:
                        answer = {"Digits": self.person.keys, "Speech": self.person.says}
                        return await self.asks(verb.get("action", ""), Event="Redirect", **answer)
                    await asyncio.sleep(float(verb.get("executionTimeout", "15")))
                case "Conference":
                    await self._confer(text, verb)
        return None

    async def _stream(self, url: str) -> None:
        """As often as the carrier opens it again; then the next verb runs."""
        for _ in range(RETRIES + 1):
            line = self.line = Line(self.desk.minds_stop)
            edge = self.desk.edge
            serving = asyncio.ensure_future(edge.media.serve(cast(WebSocket, line), url.rpartition("/")[2]))
            edge.tasks.append(serving)
            talking = asyncio.ensure_future(line.talks())
            await asyncio.wait([serving, talking], return_when=asyncio.FIRST_COMPLETED)
            await cancel(talking)
            if line.stopped or self._hung_up:
                return
            await asyncio.sleep(RETRY_S)

    async def _dial(self, verb: ElementTree.Element) -> ElementTree.Element:
        """Ring the person, and report it; <Dial> has no event for ringing."""
        person, events = self.desk.person, verb.get("callbackUrl", "")
        self.desk.rung.append(verb.findtext("Number", ""))
        await asyncio.sleep(min(person.ring_s, float(verb.get("timeout", "120"))))
        status = "no-answer" if person.ring_s > float(verb.get("timeout", "120")) else STATUS[person.does]
        if status == "completed":
            await self._report(events, "DialAnswer")
            if whisper := verb.get("confirmSound"):
                person.hears += [speak.text or "" for speak in await self.asks(whisper)]
                await asyncio.sleep(1)
            await self._report(events, "DialConnected")
            await asyncio.sleep(person.talk_s)
            await self._report(events, "DialHangup")
        fields = {"Event": "DialAction", "DialStatus": status, "DialHangupCause": CAUSES[person.does]}
        for _ in range(self.desk.copies - 1):
            await self.asks(verb.get("action", ""), **fields)
        return await self.asks(verb.get("action", ""), **fields)

    async def _report(self, url: str, event: str) -> None:
        for _ in range(self.desk.copies):
            await self.desk.posts(url, {**self.fields, "Event": event})

    async def _confer(self, room: str, verb: ElementTree.Element) -> None:
        self.room = room
        members = self.desk.rooms.setdefault(room, [])
        members.append(self)
        ended = self._left = asyncio.Event()
        if url := verb.get("callbackUrl"):
            await self._report(url, "ConferenceEnter")
        if self.call_id != CALL:
            leaving = asyncio.get_running_loop().call_later(self.person.talk_s, self.hangs_up)
            try:
                await ended.wait()
            finally:
                leaving.cancel()
        else:
            await ended.wait()
        if self.desk.conference_hangs_up:
            raise HungUp

    def leaves_room(self) -> None:
        """`endConferenceOnExit`: the others leave with it, if this carrier knows that."""
        members = self.desk.rooms.pop(self.room, []) if self.room else []
        for other in members:
            if other is not self and self.desk.ends_conferences:
                other._left.set()


STATUS = {
    "answers": "completed",
    "busy": "busy",
    "no answer": "no-answer",
    "declines": "failed",
    "failed": "failed",
}
CAUSES = {
    "answers": "NORMAL_CLEARING",
    "busy": "USER_BUSY",
    "no answer": "NO_ANSWER",
    "declines": "CALL_REJECTED",
    "failed": "SERVER_ERROR",
}
CODES = {"busy": "3010", "no answer": "6010", "declines": "3020", "failed": "3080"}
