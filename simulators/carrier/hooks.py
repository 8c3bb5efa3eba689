"""Sends webhooks: signs (or mis-signs), encodes, delays, duplicates and retries them.

Two kinds go out.  A *question* (answer, fallback, transfer, redirect, action) is waited for: its reply is the next
document.  A *report* (ring, hangup, stream status, ...) is queued per call and delivered in order by one task; one that
is not answered with 200 is tried again by itself, so that what follows may overtake it, as on the real line.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx

from simulators.answer import XML_BYTES_MAX
from simulators.carrier.record import CallRecord, Try, Webhook
from simulators.webhooks import USER_AGENT, signatures, tls_context

REPORT_DEADLINE_S = 3.0
REPORT_TRIES = 3
RETRY_PAUSE_S = 0.5  # doubled after each try; Vobiz documents only "exponential"
PENDING_MAX = 10_000
FLUSH_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class HookHabits:
    """How this carrier sends its webhooks, where documents, captures and faults differ."""

    signing: Literal["right", "wrong", "none"] = "right"
    body: Literal["form", "json", "multipart"] = "form"
    doubled: frozenset[str] = frozenset()
    """Kinds of report that are delivered twice (`all`: every kind)."""
    delay_ms: float = 0.0
    """Delay of each report, scaled."""
    shuffle_ms: float = 0.0
    """Maximum of a random delay of each report, by which reports overtake each other."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class HookReply:
    """The server's reply; `status` is None if there is none, and `why` is the reason."""

    status: int | None
    content_type: str = ""
    body: bytes = b""
    why: str = ""


@dataclass(slots=True)
class HookSender:
    """Delivers the webhooks of all calls; the owner calls `aclose` at the end."""

    habits: HookHabits
    auth_token: str
    parent_token: str
    time_scale: float
    now_ms: Callable[[], float]
    _client: httpx.AsyncClient = field(init=False)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=1000, max_keepalive_connections=100, keepalive_expiry=5.0)
        self._client = httpx.AsyncClient(
            trust_env=False, limits=limits, timeout=REPORT_DEADLINE_S, verify=tls_context()
        )
        self._random = random.Random(self.habits.seed)

    async def aclose(self) -> None:
        await self._client.aclose()

    async def ask(self, call: CallRecord, webhook: Webhook, deadline_s: float) -> HookReply:
        """Send a question once; errors of the server are part of the reply and raise nothing."""
        call.webhooks.append(webhook)
        return await self._send(webhook, deadline_s)

    async def report(self, webhook: Webhook, tries_before: int = 0) -> bool:
        """Deliver a report once; return False if it has to be retried."""
        reply = await self._send(webhook, REPORT_DEADLINE_S)
        return reply.status == 200 or tries_before + 1 >= REPORT_TRIES

    async def insist(self, webhook: Webhook) -> None:
        """Deliver a report a second and third time."""
        for tried in range(1, REPORT_TRIES):
            await asyncio.sleep(RETRY_PAUSE_S * 2 ** (tried - 1) * self.time_scale)
            if await self.report(webhook, tried):
                return

    def wait_s(self) -> float:
        """Return the delay of the next report in s."""
        wait_ms = self.habits.delay_ms + self._random.uniform(0, self.habits.shuffle_ms)
        return wait_ms * self.time_scale / 1000

    def copies(self, kind: str) -> int:
        return 2 if self.habits.doubled & {kind, "all"} else 1

    async def _send(self, webhook: Webhook, deadline_s: float) -> HookReply:
        began_ms = self.now_ms()
        reply = await self._exchange(webhook, deadline_s)
        webhook.tries.append(Try(began_ms, self.now_ms() - began_ms, reply.status))
        return reply

    async def _exchange(self, webhook: Webhook, deadline_s: float) -> HookReply:
        headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "gzip"}
        headers |= self._signed(webhook.url)
        try:
            async with (
                asyncio.timeout(deadline_s),
                self._client.stream(
                    webhook.method, webhook.url, headers=headers, timeout=deadline_s, **self._encoded(webhook)
                ) as reply,
            ):
                body = b""
                async for piece in reply.aiter_bytes():
                    body += piece
                    if len(body) > XML_BYTES_MAX:
                        break
                return HookReply(reply.status_code, reply.headers.get("content-type", ""), body)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            return HookReply(None, why=f"{type(error).__name__} within {deadline_s:g} s")

    def _signed(self, url: str) -> dict[str, str]:
        if self.habits.signing == "none":
            return {}
        token = self.auth_token if self.habits.signing == "right" else f"{self.auth_token} but wrong"
        return signatures(token, url, parent_token=self.parent_token if self.habits.signing == "right" else token)

    def _encoded(self, webhook: Webhook) -> dict[str, Any]:
        if webhook.method == "GET":
            return {"params": {**httpx.URL(webhook.url).params, **webhook.fields}}
        match self.habits.body:
            case "json":
                return {"json": webhook.fields}
            case "multipart":
                return {"files": {name: (None, value) for name, value in webhook.fields.items()}}
        return {"data": webhook.fields}


class Reports:
    """The reports of one call, delivered in order by `run`; `flush` waits until none is left."""

    def __init__(self, call: CallRecord, sender: HookSender) -> None:
        self._call, self._sender = call, sender
        self._waiting: deque[Webhook] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._apart: set[asyncio.Task[None]] = set()

    def put(self, webhook: Webhook) -> None:
        """Queue a report and add it to the call's record; without a URL do nothing."""
        if not webhook.url:
            return
        for _ in range(self._sender.copies(webhook.kind)):
            if len(self._waiting) >= PENDING_MAX:
                return
            copy = Webhook(webhook.kind, webhook.url, webhook.method, webhook.fields)
            self._call.webhooks.append(copy)
            self._waiting.append(copy)
        self._idle.clear()
        self._changed.set()

    async def run(self) -> None:
        """Deliver the queue until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                while self._waiting:
                    webhook = self._waiting.popleft()
                    if self._sender.habits.shuffle_ms or self._sender.habits.delay_ms:
                        self._aside(tasks, self._later(webhook))
                    elif not await self._sender.report(webhook):
                        self._aside(tasks, self._sender.insist(webhook))
                self._settle()
                self._changed.clear()
                await self._changed.wait()

    async def flush(self) -> None:
        """Wait, with a deadline, until every queued report has been delivered or given up."""
        try:
            async with asyncio.timeout(FLUSH_S_MAX):
                await self._idle.wait()
        except TimeoutError:
            return

    async def _later(self, webhook: Webhook) -> None:
        await asyncio.sleep(self._sender.wait_s())
        if not await self._sender.report(webhook):
            await self._sender.insist(webhook)

    def _aside(self, tasks: asyncio.TaskGroup, work: Any) -> None:
        task = tasks.create_task(work, name="webhook")
        self._apart.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._apart.discard(task)
        self._settle()

    def _settle(self) -> None:
        if not self._waiting and not self._apart:
            self._idle.set()
