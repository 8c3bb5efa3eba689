"""A stand-in for OpenAI's chat completions on loopback, by raw HTTP/1.1; it shares no code with the adapter.

A test scripts the next replies (`will`, `will_refuse`); the stand-in sends them as server-sent events in chunks.
It records the requests, and `closed` waits until the client closes a socket in the middle of a reply.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

STALL = "<stall>"
CLOSE = "<close>"
PAUSE = "<pause>"
PAUSE_S = 0.02
CLOSED_S_MAX = 30.0
"""How long `closed` waits for the client."""


def chunk(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> str:
    """Return one event of a stream as text."""
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}] if delta is not None else []
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    return f"data: {json.dumps({**head, 'choices': choices, **more}, ensure_ascii=False)}\n\n"


def text(*words: str) -> list[str]:
    return [chunk({"role": "assistant", "content": ""}), *(chunk({"content": word}) for word in words)]


def tool_piece(index: int, arguments: str, **first: Any) -> str:
    """Return a piece of a tool call; only the first piece has `id` and `name`."""
    function = {"arguments": arguments, **({"name": first["name"]} if "name" in first else {})}
    call = {"index": index, "function": function, **({"id": first["id"], "type": "function"} if "id" in first else {})}
    return chunk({"tool_calls": [call]})


USAGE = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
END = [chunk(usage=USAGE), "data: [DONE]\n\n"]


def stop(reason: str = "stop") -> list[str]:
    return [chunk({}, reason), *END]


@dataclass
class Reply:
    """`status` and what follows: events as text, raw bytes (sent as they are), `STALL`, `PAUSE` or `CLOSE`."""

    events: list[str | bytes] = field(default_factory=list)
    status: int = 200
    body: str = ""
    media: str = "application/json"
    """Content type of the body."""
    location: str = ""
    """Target of a redirect."""


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class OpenAIStandin:
    """The stand-in; `async with standing_in() as server` serves it."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.rule: Callable[[Request], Reply | None] = lambda request: None
        """Returns the reply to a request; None: the next scripted one."""
        self.connections = 0
        self.url = ""
        self._replies: deque[Reply] = deque()
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._closed = asyncio.Event()
        self.asked = asyncio.Event()

    def will(self, *events: str | bytes) -> None:
        """Answer the next request with these events."""
        self._replies.append(Reply(list(events)))

    def will_refuse(
        self, status: int, body: str = '{"error": {"message": "secret words", "code": "some_code"}}'
    ) -> None:
        self._replies.append(Reply(status=status, body=body))

    async def closed(self) -> None:
        """Wait until the client has closed a socket in the middle of a reply."""
        async with asyncio.timeout(CLOSED_S_MAX):
            await self._closed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        self.connections += 1
        try:
            while request := await self._request(reader):
                self.requests.append(request)
                self.asked.set()
                if not await self._answer(request, reader, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self._closed.set()
        finally:
            self._open.pop(task)
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> Request | None:
        line = await reader.readline()
        if not line:
            return None
        headers: dict[str, str] = {}
        while (header := (await reader.readline()).decode().strip()) != "":
            name, _, value = header.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(line.decode().split()[1], headers, json.loads(body or b"{}"))

    async def _answer(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send the next reply; return False when the connection is over."""
        reply = self.rule(request)
        if reply is None:
            nothing = Reply(status=500, body='{"error": {"message": "no reply"}}')
            reply = self._replies.popleft() if self._replies else nothing
        if not reply.events or reply.status != 200:
            body = reply.body.encode()
            head = [f"HTTP/1.1 {reply.status} X", f"content-type: {reply.media}", f"content-length: {len(body)}"]
            if reply.location:
                head.append(f"location: {reply.location}")
            writer.write("\r\n".join([*head, "", ""]).encode() + body)
            await writer.drain()
            return True
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await writer.drain()
        for event in reply.events:
            if event == STALL:
                await writer.drain()
                if not await reader.read(1):  # the only input is the end of the connection
                    self._closed.set()
                return False
            if event == PAUSE:
                await asyncio.sleep(PAUSE_S)
                continue
            if event == CLOSE:
                await writer.drain()
                return False
            raw = event.encode() if isinstance(event, str) else event
            if writer.is_closing():  # the client has disconnected: uvloop refuses to write
                self._closed.set()
                return False
            writer.write(b"%x\r\n%s\r\n" % (len(raw), raw))
            await writer.drain()
            await asyncio.sleep(0)
        if writer.is_closing():
            self._closed.set()
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def hang_up(self) -> None:
        for writer in self._open.values():
            writer.transport.abort()
        await asyncio.gather(*self._open)


@contextlib.asynccontextmanager
async def standing_in() -> AsyncIterator[OpenAIStandin]:
    """Serve the stand-in on a free port of loopback while the block runs."""
    standin = OpenAIStandin()
    server = await asyncio.start_server(standin.serve, "127.0.0.1", 0)
    standin.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield standin
    finally:
        server.close()
        await standin.hang_up()
        await server.wait_closed()
