"""Reads the chunks of one answer from its bytes."""

from __future__ import annotations

import asyncio
import json
from collections import deque

from workers.llm.engines.openai_chunks import ChatChunk, understood
from workers.llm.engines.openai_http import OpenAnswer
from workers.llm.engines.openai_server import BODY_CHARS_MAX, ServerAnswer
from workers.llm.engines.sse import EVENT_BYTES_MAX, Events

DONE = "[DONE]"


class ChunkStream:
    """The chunks of an answer: call `next` until it returns None.  `answer` holds the beginning, for error messages."""

    def __init__(self, opened: OpenAnswer) -> None:
        self._opened = opened
        self._media = opened.media
        self._events = Events()
        self._waiting: deque[bytes] = deque()
        self._understood: deque[ChatChunk] = deque()
        self._head = b""
        self._whole: bytearray | None = bytearray() if "json" in self._media or "html" in self._media else None
        self._over = False
        self._reading: asyncio.Task[ChatChunk | None] | None = None

    async def next(self, deadline: float) -> ChatChunk | None:
        """Return the next chunk; None at the end.  Reading to the end returns the connection to the pool.

        Raises TimeoutError after `deadline` (loop time), the HTTP library's errors, and ValueError or TypeError for
        malformed data.
        """
        reading, self._reading = self._reading, None
        async with asyncio.timeout_at(deadline):
            return await (reading or self._next())

    async def comes_before(self, time: float) -> bool:
        """Wait for the next chunk until `time` (loop time).  Unlike with `next`, a timeout leaves the stream usable."""
        self._reading = self._reading or asyncio.create_task(self._next(), name="next chunk")
        timeout = max(0.0, time - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait([self._reading], timeout=timeout)
        return bool(done)

    async def close(self) -> None:
        """Close the answer; its connection is closed too, unless the answer was read to its end."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        self._opened.close()

    @property
    def answer(self) -> ServerAnswer:
        """The server's answer, as far as it was kept."""
        opened = self._opened
        return ServerAnswer(opened.status, self._media, self._head.decode("utf-8", "replace"), opened.moved_to)

    async def _next(self) -> ChatChunk | None:
        while not self._understood:
            if self._waiting:
                self._understood.extend(_chunks(self._waiting.popleft()))
            elif self._over:
                return None
            else:
                await self._read()
        return self._understood.popleft()

    async def _read(self) -> None:
        data = await self._opened.read()
        if not data:
            self._over = True
            self._understood.extend(self._last())
            return
        if len(self._head) < BODY_CHARS_MAX:
            self._head += data[:BODY_CHARS_MAX]
        if self._whole is None:
            self._waiting.extend(self._events.feed(data))
            return
        self._whole += data
        if len(self._whole) > EVENT_BYTES_MAX:
            raise ValueError("the document exceeds the size limit")

    def _last(self) -> list[ChatChunk]:
        """Parse what is complete only at the end: a whole document, or an event without its blank line."""
        if self._whole is None:
            try:
                return [chunk for event in self._events.rest() for chunk in _chunks(event)]
            except ValueError:
                return []  # the stream was cut off within it
        if "html" in self._media:
            return []
        chunks = [chunk for chunk in _chunks(bytes(self._whole)) if chunk != ChatChunk()]
        if chunks:
            chunks[-1].finish_reason = chunks[-1].finish_reason or "stop"
        return chunks


def _chunks(data: bytes) -> list[ChatChunk]:
    """Parse one event: a chunk as a rule, none, or several if the server leaves out the blank lines."""
    text = data.decode().strip().removeprefix("\ufeff")
    if not text:
        return []
    if text == DONE:
        return [ChatChunk(finish_reason="done")]
    try:
        return [understood(json.loads(text))]
    except json.JSONDecodeError:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) < 2:
            raise
    return [chunk for line in lines for chunk in _chunks(line.removeprefix("data:").encode())]
