"""The carrier beside the streams of a chaos run: it asks what follows a stream, and rings the persons of <Dial>.

A request that no edge answers is tried again, at another edge if the balancer has one.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import httpx

from benchmarks.chaos.transfers import PERSONS, RING_S, TALK_S
from simulators.answer import Stream
from simulators.carrier.causes import Dropped
from simulators.carrier.document import Dial, Document, Pause, Redirect, Speak, read_document
from simulators.webhooks import Party

ASK_S, ASKS_MAX, ASK_AGAIN_S = 5.0, 6, 0.3
DOCUMENTS_MAX = 20
STAGE_S = 8.0
"""Longest wait for a transfer to come to a stage."""
STATUS = {
    "nobody": ("no-answer", "NO_ANSWER"),
    "busy": ("busy", "USER_BUSY"),
    "mailbox": ("completed", "NORMAL_CLEARING"),
}
"""`DialStatus` and `DialHangupCause` of each person."""
_WHO = {number: name for name, number in PERSONS.items()}


@dataclass(slots=True)
class Switchboard:
    """`follow` a stream that has ended.  `rung` counts the rings by `call:turn.n`."""

    url: str
    rung: Counter[str] = field(default_factory=Counter)
    _reached: dict[str, asyncio.Event] = field(default_factory=lambda: defaultdict(asyncio.Event))

    def reach(self, stage: str) -> None:
        """A transfer has come to this stage (`transfers.STAGES`)."""
        self._reached.pop(stage, asyncio.Event()).set()

    async def reached(self, stage: str) -> None:
        """Wait until a transfer comes to this stage, `STAGE_S` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STAGE_S):
                await self._reached[stage].wait()

    async def follow(self, party: Party, unanswered: Callable[[float], None]) -> Stream | None:
        """The stream that follows; None if the call ends.  `unanswered` is told when nobody took the call (Unix ms)."""
        self.reach("left")
        url, more = f"{self.url}/after-stream", {"Event": "Redirect"}
        for _ in range(DOCUMENTS_MAX):
            for verb in await self._ask(url, party, more):
                match verb:
                    case Stream():
                        return verb
                    case Dial():
                        url, more = verb.action, await self._dial(verb, party)
                        unanswered(time.time() * 1000)
                        break
                    case Redirect(url=to):
                        url, more = to, {"Event": "Redirect"}
                        break
                    case Pause(length_s):
                        await asyncio.sleep(length_s)
                    case Speak():
                        pass
                    case _:
                        return None
            else:
                return None
        return None

    async def _dial(self, verb: Dial, party: Party) -> dict[str, str]:
        """Ring the person; return the fields of the request that follows."""
        attempt = parse_qs(urlsplit(verb.action).query)["attempt"][0]
        self.rung[f"{party.call_id}:{attempt}"] += 1
        self.reach("ringing")
        await asyncio.sleep(RING_S)
        status, cause = STATUS[_WHO[verb.numbers[0]]]
        if status == "completed":
            for event in ("DialAnswer", "DialConnected"):
                await self._ask(verb.callback_url, party, {"Event": event}, tries=1)
            await asyncio.sleep(TALK_S)
        self.reach("comes back")
        return {"Event": "DialAction", "DialStatus": status, "DialHangupCause": cause}

    async def _ask(self, url: str, party: Party, more: Mapping[str, str], tries: int = ASKS_MAX) -> Document:
        """The answer of an edge; empty if none answers, or if it has no document."""
        fields = party.fields("", "in-progress") | dict(more)
        for _ in range(tries):
            try:
                async with httpx.AsyncClient(timeout=ASK_S, trust_env=False) as client:  # the balancer sees each anew
                    reply = await client.post(url, data=fields)
                return read_document(reply.status_code, reply.headers.get("content-type", ""), reply.content, "action")
            except (httpx.HTTPError, Dropped):
                await asyncio.sleep(ASK_AGAIN_S)
        return ()
