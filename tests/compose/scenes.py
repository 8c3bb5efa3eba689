"""What is done to the stack, one scene after another; each returns what was seen, or raises Failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.compose.calls import carrier, demo_call
from tests.compose.engine import OURS, Engine, Failed

BUILD_SECONDS = 1200.0
UP_SECONDS = 240.0
POOLS = ("stt", "llm", "tts")
APOLOGY_SECONDS = 5.0


RECONNECTING = ("python", "-m", "simulators.vobiz", "--answer-url", "http://edge:8000/answer")
RECONNECTING += ("--retry-pause-ms", "3000")
"""A caller whose carrier comes back: three tries must outlast the start of the only edge (the real carrier's pause is
not known).  It judges by what it hears; the demo compares times, which such a break shifts.
"""


@dataclass(frozen=True, slots=True)
class Scene:
    """One row of the table."""

    name: str
    does: str
    play: Callable[[Engine], str]


def build(engine: Engine) -> str:
    engine.compose("--profile", "demo", "build", seconds=BUILD_SECONDS)
    return ", ".join(f"{image} {engine.megabytes(f'voice-{image}:0.1.0'):.0f} MB" for image in ("edge", "llm", "redis"))


def up(engine: Engine) -> str:
    engine.compose("up", "--wait", seconds=UP_SECONDS)
    running = engine.containers()
    if set(running) != set(OURS):
        raise Failed(f"these run: {', '.join(running)}")
    return "all healthy"


def demo(engine: Engine) -> str:
    with demo_call(engine) as call:
        return call.finish()


def scaled(engine: Engine) -> str:
    """Two of each pool; the demo leaves them alone."""
    engine.settings |= {f"{pool.upper()}_WORKERS": "2" for pool in POOLS}
    engine.compose("up", "--wait", seconds=UP_SECONDS)
    before = engine.containers()
    if [len(before[pool]) for pool in POOLS] != [2, 2, 2]:
        raise Failed(f"not two of each: {before}")
    with demo_call(engine) as call:
        figures = call.finish()
    if engine.containers() != before:
        raise Failed("the demo changed what runs")
    return figures


def killed(service: str) -> Callable[[Engine], str]:
    """SIGKILL to one container of the service in the first turn; it is started again a second later."""

    def scene(engine: Engine) -> str:
        with demo_call(engine, *(RECONNECTING if service == "edge" else ())) as call:
            call.wait_for("caller: ")
            time.sleep(3)
            victim = engine.containers()[service][0]
            engine.docker("kill", "--signal", "KILL", victim)
            time.sleep(1)
            engine.docker("start", victim)
            return call.finish()

    return scene


def restarted(service: str) -> Callable[[Engine], str]:
    def scene(engine: Engine) -> str:
        with demo_call(engine) as call:
            call.wait_for("caller: ")
            time.sleep(3)
            engine.compose("restart", service)
            return call.finish()

    return scene


def replaced(engine: Engine) -> str:
    """Every container but the edge's and Redis's is made anew during a call, one pool after the other."""
    with demo_call(engine) as call:
        call.wait_for("caller: ")
        for pool in POOLS:
            engine.compose("up", "--detach", "--wait", "--no-deps", "--force-recreate", pool, seconds=UP_SECONDS)
        return call.finish()


def edge_replaced(engine: Engine) -> str:
    """The edge is made anew during a call: the old one serves the call to its end first."""
    with demo_call(engine) as call:
        call.wait_for("caller: ")
        engine.compose("up", "--detach", "--no-deps", "--force-recreate", "edge", seconds=UP_SECONDS + 320)
        figures = call.finish()
    engine.compose("up", "--wait", seconds=UP_SECONDS)
    return figures


def pool_gone(pool: str) -> Callable[[Engine], str]:
    """The pool is stopped, and somebody phones."""

    def scene(engine: Engine) -> str:
        engine.compose("stop", pool)
        try:
            with carrier(engine) as phones:
                seconds = phones.apology_s(phones.phone())
        finally:
            engine.compose("start", pool)
            engine.compose("up", "--wait", seconds=UP_SECONDS)
        if seconds > APOLOGY_SECONDS:
            raise Failed(f"the apology came after {seconds:.1f} s")
        return f"apology after {seconds:.1f} s"

    return scene


def pool_killed(engine: Engine) -> str:
    """Nobody had time to say goodbye: the edge answers, and the new call waits OFFER_WAIT_MS."""
    for name in engine.containers()["llm"]:
        engine.docker("kill", "--signal", "KILL", name)
    try:
        with carrier(engine) as phones:
            seconds = phones.apology_s(phones.phone())
    finally:
        engine.compose("up", "--wait", seconds=UP_SECONDS)
    if seconds > APOLOGY_SECONDS:
        raise Failed(f"the apology came after {seconds:.1f} s")
    return f"apology after {seconds:.1f} s"


def pool_leaves(engine: Engine) -> str:
    """The pool is stopped in the middle of a call, for good."""
    try:
        with carrier(engine) as phones:
            call_id = phones.phone()
            time.sleep(5)
            engine.compose("stop", "tts")
            seconds = phones.apology_s(call_id)
    finally:
        engine.compose("start", "tts")
        engine.compose("up", "--wait", seconds=UP_SECONDS)
    if seconds > 20:
        raise Failed(f"the apology came after {seconds:.1f} s")
    return f"apology {seconds:.1f} s after the pool was gone (TAKEOVER_WAIT_MS 15 s)"


def down(engine: Engine) -> str:
    began = time.monotonic()
    engine.compose("stop", seconds=60)
    stopped = time.monotonic() - began
    codes = engine.exit_codes()
    engine.compose("down", "--remove-orphans", seconds=60)
    bad = {service: code for service, code in codes.items() if code and service in OURS}
    if bad:
        raise Failed(f"exit codes: {bad}")
    return f"all ended with 0, {stopped:.0f} s"


SCENES = (
    Scene("build", "every image", build),
    Scene("up", "`up --wait`, no .env", up),
    Scene("demo", "`run --rm demo`", demo),
    Scene("pool stopped", "`stop llm`, and phone", pool_gone("llm")),
    Scene("pool killed", "SIGKILL of the only llm, and phone", pool_killed),
    Scene("pool leaves", "`stop tts` in a call", pool_leaves),
    *(Scene(f"kill the only {name}", f"SIGKILL of {name} in a call, started 1 s later", killed(name)) for name in OURS),
    Scene("scale", "two of each pool, and the demo", scaled),
    *(Scene(f"kill {name}", f"SIGKILL of one of two {name} in a call", killed(name)) for name in POOLS),
    Scene("restart redis", "`restart redis` in a call", restarted("redis")),
    Scene("replace pools", "each pool made anew in a call", replaced),
    Scene("replace edge", "the edge made anew in a call", edge_replaced),
    Scene("down", "`down`", down),
)
