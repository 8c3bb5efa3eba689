"""Callers in the Compose network: the demo's, who talks through its script, and the fake carrier's, who hears XML."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.compose.engine import PROJECT, Engine, Failed

DEMO_SECONDS = 400.0
"""The script lasts 75 s; an edge that was killed and a busy machine make it longer."""
WAIT = re.compile(r"time +(\d+) ms from speech end")
"""The line of a turn that says how long the caller waited (tools/turn_lines.py)."""
CARRIER = f"{PROJECT}-carrier"
ANSWER_SECONDS = 60.0


@dataclass(slots=True)
class DemoCall:
    """A demo that is under way: `wait_for` a line of it, `finish` it."""

    process: subprocess.Popen[str]
    lines: list[str] = field(default_factory=list)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def follow(self) -> None:
        """Read its output; runs in a thread."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    def wait_for(self, pattern: str, seconds: float = 120.0) -> str:
        """The first line that has the pattern.  Raises Failed if none comes, or the demo ends."""
        until = time.monotonic() + seconds
        with self._news:
            while True:
                for line in self.lines:
                    if re.search(pattern, line):
                        return line
                if self.process.poll() is not None or not self._news.wait(max(0.0, until - time.monotonic())):
                    raise Failed(f"the demo never said {pattern!r}:\n" + "\n".join(self.lines[-15:]))

    def finish(self) -> str:
        """Its figures, once it has ended well.  Raises Failed if a turn was not answered."""
        try:
            code = self.process.wait(DEMO_SECONDS)
        except subprocess.TimeoutExpired:
            raise Failed("the demo did not end:\n" + "\n".join(self.lines[-15:])) from None
        if code:
            raise Failed(f"the demo ended with {code}:\n" + "\n".join(self.lines[-25:]))
        with self._news:
            waits = [int(found[1]) for line in self.lines if (found := WAIT.match(line))]
            heard = [line for line in self.lines if line.startswith(("1 calls", "response latency"))]
            if not waits and not heard:
                raise Failed("the demo printed no figures:\n" + "\n".join(self.lines[-25:]))
        return f"{len(waits)} turns answered, longest wait {max(waits)} ms" if waits else "; ".join(heard)


@contextmanager
def demo_call(engine: Engine, *command: str) -> Iterator[DemoCall]:
    """The demo's caller phones, or another `command` of its image; the container is removed however this ends."""
    call = DemoCall(engine.start("run", "--rm", "-T", "demo", *command))
    reader = threading.Thread(target=call.follow, daemon=True)
    reader.start()
    try:
        yield call
    finally:
        if call.process.poll() is None:
            call.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                call.process.wait(30)
        reader.join(5)


@contextmanager
def carrier(engine: Engine) -> Iterator[Carrier]:
    """The fake carrier as a container of its own."""
    command = ("python", "-m", "simulators.vobiz", "carrier", "--host", "0.0.0.0", "--signing", "none")
    engine.docker("rm", "--force", CARRIER, code=None)
    engine.compose("run", "--detach", "--name", CARRIER, "demo", *command)
    try:
        yield Carrier(engine)
    finally:
        engine.docker("rm", "--force", CARRIER, code=None)


@dataclass(frozen=True, slots=True)
class Carrier:
    """Phones the edge, and knows what the caller heard from the carrier itself."""

    engine: Engine

    def phone(self, script: list[dict[str, object]] | None = None) -> str:
        """A call to the edge; returns its id."""
        body: dict[str, object] = {
            "answer_url": "http://edge:8000/answer",
            "script": script or [{"do": "wait", "ms": 60000}],
        }
        return str(self._ask("POST", "_phone_in", body)["call_uuid"])

    def apology_s(self, call_id: str, seconds: float = ANSWER_SECONDS) -> float:
        """Seconds until the caller is told that the call cannot be taken.  Raises Failed if that never happens."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            spoken = self._ask("GET", f"_calls/{call_id}")["spoken"]
            if any("Sorry" in text for text in spoken):
                return time.monotonic() - began
            time.sleep(0.2)
        raise Failed(f"no apology within {seconds:.0f} s: {json.dumps(self._ask('GET', f'_calls/{call_id}'))[:600]}")

    def _ask(self, method: str, path: str, body: dict[str, object] | None = None) -> dict[str, object]:
        code = (
            "import json, sys, time, httpx\n"
            "method, path, body = sys.argv[1:]\n"
            "for attempt in range(50):\n"
            "    try:\n"
            "        said = httpx.request(method, 'http://127.0.0.1:8030/' + path, json=json.loads(body), timeout=10)\n"
            "        break\n"
            "    except httpx.ConnectError:\n"
            "        time.sleep(0.2)\n"
            "print(json.dumps(said.json()))\n"
        )
        said = self.engine.docker("exec", CARRIER, "python", "-c", code, method, path, json.dumps(body))
        read: dict[str, object] = json.loads(said.splitlines()[-1])
        return read
