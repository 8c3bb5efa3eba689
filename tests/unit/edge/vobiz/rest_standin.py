"""A stand-in for Vobiz's REST API on loopback, by hand from the wire, and a client that is connected to it.

A test says what the next answers are (`will`), or how to answer anything (`answers`); the stand-in remembers what it
was asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions

ID, TOKEN = "MA_XXXXXXXX", "token-not-to-be-seen"
HANG = "<hang>"
DROP = "<drop>"
TRICKLE = "<trickle>"


@dataclass
class Reply:
    """`body` is sent as JSON, or as it is if it is bytes; the faults come once the request was read."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fault: str = ""
    length: int | None = None
    """The Content-Length to claim."""


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: Any

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


class Standin:
    """Serve with `async with standing_in() as vobiz`."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.url = ""
        self.answers: Callable[[Request], Reply] | None = None
        self.serving: set[asyncio.Task[None]] = set()
        self._script: deque[Reply] = deque()

    def will(self, *replies: Reply) -> None:
        self._script.extend(replies)

    @property
    def asked(self) -> list[str]:
        return [str(request) for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task
        self.serving.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._exchange(reader, writer):
                    await writer.drain()
        finally:
            self.serving.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        content = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = head.split(" ")
        self.requests.append(Request(method, target, headers, json.loads(content) if content else None))
        if self.answers:
            reply = self.answers(self.requests[-1])
        else:
            reply = self._script.popleft() if self._script else Reply(418, {"error": "the test did not expect this"})
        if reply.fault == HANG:
            await reader.read()  # until the client has had enough
        if reply.fault == TRICKLE:
            writer.write(b"HTTP/1.1 201 Created\r\nX-Padding: ")
        while reply.fault == TRICKLE:  # never silent, never done
            writer.write(b".")
            await asyncio.sleep(0.01)
        if reply.fault:
            return False
        body = reply.body if isinstance(reply.body, bytes) else b""
        if reply.body is not None and not isinstance(reply.body, bytes):
            body = json.dumps(reply.body).encode()
        more = "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items())
        size = len(body) if reply.length is None else reply.length
        length = "" if reply.status == 204 else f"Content-Length: {size}\r\n"
        writer.write(f"HTTP/1.1 {reply.status} Whatever\r\n{length}{more}\r\n".encode() + body)
        return size == len(body)


@contextlib.asynccontextmanager
async def standing_in() -> AsyncIterator[Standin]:
    standin = Standin()
    server = await asyncio.start_server(standin.serve, "127.0.0.1", 0)
    standin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    try:
        yield standin
    finally:
        server.close()
        serving = list(standin.serving)
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


class Line:
    """The stand-in, the client, and the pauses that the client would have made."""

    def __init__(self, vobiz: Standin, **options: Any) -> None:
        self.vobiz = vobiz
        self.pauses: list[float] = []
        self.client = VobizClient(CarrierOptions(ID, TOKEN, vobiz.url, **options), sleep=self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@contextlib.asynccontextmanager
async def on_the_line() -> AsyncIterator[Line]:
    async with standing_in() as vobiz:
        line = Line(vobiz)
        async with line.client:
            yield line
