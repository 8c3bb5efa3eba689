"""Runs the whole system in one process, on a counting loop: an edge, a worker of each pool, vendors, callers.

The processes' own `serve` coroutines run, with their servers, sockets and connections to Redis; only the vendors and
the carrier are ours.
"""

import asyncio
import json
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import workers.llm.__main__ as llm_main
import workers.stt.__main__ as stt_main
import workers.tts.__main__ as tts_main
from benchmarks.answers.bare_protocol import TEXT, BareWebSocket, client_request
from benchmarks.answers.caller import NS_PER_BYTE, SILENCE, speech_frame
from benchmarks.answers.plan import ANSWER, SAID
from benchmarks.bare_socket import FRAME_BYTES
from common.agents.folder import AgentFolder
from common.settings import Settings
from edge import __main__ as edge_main
from simulators.answer import read_answer
from simulators.loopback_server import LoopbackServer
from simulators.providers.cast import Cast, CastPace, CastScript, settings
from simulators.providers.openai_chat import Answer, ChatTiming
from simulators.providers.voices import VoicePace
from tests.counts.loop import CountingLoop
from tools.ports import free_port
from workers.runtime.process import ProviderPool, serve

ROLES = ("edge", "stt", "llm", "tts")
CALLS = 3
AGENTS = Path("benchmarks/answers/agents-defaults")
FRAME_S = 0.02
SETTLE_S, IDLE_S = 2.0, 5.0
GREETING_S, TALK_S, END_S = 3.0, 10.0, 2.0
"""Whole multiples of 5 s, the longest pause of a loop of ours, alone and (beginning and end) together: wherever in its
pause a loop is when the first call begins, it falls equally often into each part.
"""
SCRIPT = ((1.2, 2.4), (1.2, 5.2))
"""(speech, silence) in s: the second speech interrupts the answer to the first."""
PATIENCE_S = 30.0
FENCE_SECONDS = 5.0

Counts = dict[str, float]
"""What is counted -> how often, such as "edge: redis XADD"."""


def measure(redis_url: str) -> dict[str, Counts]:
    """Return the counts of an idle second, of a second of a call, and of a call's beginning and end.

    It takes half a minute: Redis's clock is real.
    """
    with asyncio.Runner(loop_factory=CountingLoop) as runner:
        return runner.run(_measure(redis_url))


async def _measure(redis_url: str) -> dict[str, Counts]:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, CountingLoop)
    address = urlsplit(redis_url)
    loop.redis_port = address.port or 6379
    with socket.create_connection((address.hostname, address.port), FENCE_SECONDS) as probe:
        loop.fence = lambda: _fence(probe)
        try:
            return await _System(loop, redis_url).run()
        finally:
            loop.fence = lambda: None  # its socket is closed before the loop


def _fence(probe: socket.socket) -> None:
    """Return once Redis has read and answered all that was written to it before.

    It reads every socket that has something to read, answers, and begins again: by the second answer all is sent.
    """
    for _ in range(2):
        probe.sendall(b"PING\r\n")
        while not probe.recv(64).endswith(b"PONG\r\n"):
            pass


class _System:
    def __init__(self, loop: CountingLoop, redis_url: str) -> None:
        self._loop = loop
        self._redis_url = redis_url
        self._tasks: list[asyncio.Task[None]] = []
        self._port = free_port()

    async def run(self) -> dict[str, Counts]:
        """Measure and stop everything."""
        script, pace = CastScript((SAID,), (Answer(ANSWER),)), CastPace(50, ChatTiming(), VoicePace(100.0, 0.1))
        vendors = LoopbackServer(Cast(script, pace), ws="websockets-sansio")
        async with vendors:
            try:
                self._start(vendors.url)
                await self._until_ready()
                await asyncio.sleep(SETTLE_S)
                return await self._windows()
            finally:
                self._loop.terminate()
                await asyncio.wait(self._tasks, timeout=PATIENCE_S)

    async def _windows(self) -> dict[str, Counts]:
        before = self._loop.counts.copy()
        await asyncio.sleep(IDLE_S)
        idle = self._since(before, IDLE_S)

        before = self._loop.counts.copy()
        callers = [_Caller(self._loop, self._port, number) for number in range(CALLS)]
        began = self._loop.time()
        for caller in callers:
            await caller.begin()
        await asyncio.sleep(began + GREETING_S - self._loop.time())
        beginning = self._since(before, CALLS)

        before = self._loop.counts.copy()
        for caller in callers:
            caller.talk()
        await asyncio.sleep(TALK_S)
        talking = self._since(before, CALLS * TALK_S)

        before = self._loop.counts.copy()
        for caller in callers:
            await caller.end()
        await asyncio.sleep(END_S)
        ending = self._since(before, CALLS)
        assert all(caller.answers >= 3 and caller.clears >= 1 for caller in callers), "the calls went wrong"
        besides = {what: beginning.get(what, 0.0) + ending.get(what, 0.0) for what in {**beginning, **ending}}
        return {"an idle second": idle, "a second of a call": talking, "beginning and end of a call": besides}

    def _since(self, before: Counter[tuple[str, str]], by: float) -> Counts:
        grown = {key: value - before[key] for key, value in self._loop.counts.items() if key[0] in ROLES}
        return {f"{role}: {what}": round(value / by, 3) for (role, what), value in sorted(grown.items()) if value}

    def _start(self, vendors_url: str) -> None:
        environ = {
            **settings(vendors_url),
            "REDIS_URL": self._redis_url,
            "AGENTS_DIR": str(AGENTS),
            "HTTP_HOST": "127.0.0.1",
            "HTTP_PORT": str(self._port),
            "STT_PROVIDER": "deepgram/nova-3",
            "LLM_PROVIDER": "openai/gpt-4o-mini",
            "TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5",
            "LOG_LEVEL": "ERROR",
        }
        chosen = Settings.from_env(environ)
        self._tasks.append(self._loop.start("edge", edge_main.serve(chosen, AgentFolder(AGENTS))))
        workers = {
            "stt": (stt_main.CATALOG, stt_main.listen),
            "llm": (llm_main.CATALOG, llm_main.Replies()),
            "tts": (tts_main.CATALOG, tts_main.speak),
        }
        for pool, (catalog, open_session) in workers.items():
            own = Settings.from_env({**environ, "METRICS_PORT": str(free_port())})
            providers: ProviderPool = ProviderPool(pool, catalog.build, own.as_environment())
            self._tasks.append(self._loop.start(pool, serve(pool, own, providers, open_session)))

    async def _until_ready(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for task in self._tasks:
                    if task.done():
                        task.result()
                status, *_ = await _request(self._port, "GET", "/readyz")
                if status == 200:
                    return
                await asyncio.sleep(0.25)


class _Caller:
    """One caller of the carrier: webhooks, the media socket, a frame each 20 ms."""

    def __init__(self, loop: CountingLoop, port: int, number: int) -> None:
        self._loop = loop
        self._port = port
        self._number = number
        self._call_id = f"counted-{number}"
        self._frames: list[bool] = []
        self._dry = 0.0
        self._hung_up = False
        self.answers = self.clears = 0

    async def begin(self) -> None:
        """Be answered, and open the stream."""
        form = {"CallUUID": self._call_id, "From": "911234567890", "To": "911234567899", "Direction": "inbound"}
        status, kind, body = await _request(self._port, "POST", "/answer", {**form, "Event": "StartApp"})
        stream = read_answer(status, kind, body)
        media = urlsplit(stream.url)
        self._socket = BareWebSocket(self._hear, client_request(f"http://{media.netloc}{media.path}?", "X-Nothing: 1"))
        await self._loop.create_connection(lambda: self._socket, media.hostname, media.port)
        await self._socket.opened
        media_format = {"encoding": "audio/x-mulaw", "sampleRate": 8000}
        start = {"callId": self._call_id, "streamId": self._call_id, "mediaFormat": media_format}
        self._say({"event": "start", "start": start})
        self._due = self._loop.time() + FRAME_S * self._number / CALLS
        self._loop.call_at(self._due, self._frame)

    def talk(self) -> None:
        """Begin the script."""
        self._frames = [speaks for span in SCRIPT for speaks, s in zip((True, False), span, strict=True)
                        for _ in range(round(s / FRAME_S))][::-1]  # fmt: skip

    async def end(self) -> None:
        """Hang up."""
        self._hung_up = True
        self._say({"event": "stop"})
        self._socket.close()
        await _request(self._port, "POST", "/hangup", {"CallUUID": self._call_id, "Event": "Hangup"})

    def _frame(self) -> None:
        if self._hung_up:
            return
        speaks = self._frames.pop() if self._frames else False
        mulaw = speech_frame(self._number) if speaks else SILENCE * FRAME_BYTES
        self._say({"event": "media", "media": {"track": "inbound", "payload": b64encode(mulaw).decode()}})
        self._due += FRAME_S
        self._loop.call_at(self._due, self._frame)

    def _hear(self, text: bytes) -> None:
        message = json.loads(text)
        now = self._loop.time()
        match message["event"]:
            case "playAudio":
                size = len(message["media"]["payload"]) * 3 // 4
                if self._dry < now:
                    self.answers += 1
                self._dry = max(self._dry, now) + size * NS_PER_BYTE / 1e9
            case "checkpoint":
                name = message["name"]
                self._loop.call_at(max(self._dry, now), self._played, name, self.clears)
            case "clearAudio":
                self.clears += 1
                self._dry = now
                self._say({"event": "clearedAudio", "streamId": self._call_id})

    def _played(self, name: str, clears: int) -> None:
        if clears == self.clears and not self._hung_up:
            self._say({"event": "playedStream", "streamId": self._call_id, "name": name})

    def _say(self, message: Mapping[str, object]) -> None:
        self._socket.send(TEXT, json.dumps(message).encode())


async def _request(port: int, method: str, path: str, form: Mapping[str, str] | None = None) -> tuple[int, str, bytes]:
    """Send a request on a new connection; return status, content type and body.  Status 0: nobody listens yet."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return 0, "", b""
    body = urlencode(form or {}).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    head += f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = await reader.read()
    writer.close()
    top, _, rest = answer.partition(b"\r\n\r\n")
    lines = top.decode().split("\r\n")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), fields.get("content-type", ""), rest
