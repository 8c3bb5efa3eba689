"""`make demo`: starts the stack, lets a simulated Vobiz caller phone in, and tells what happened.

Writes out/demo/call.wav (caller left, agent right) and out/demo/call.json.  Exits 0 only if every turn was answered
and the barge-in silenced the agent.

`PROVIDERS=fake` has the stack speak to vendors over their own protocols; the vendors are scripted fakes.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from common.bus.redis import BusOptions, RedisBus
from common.story import Exchange, Story
from common.streams import call_events
from deploy.local.fake_providers import CALLER, fake_providers
from deploy.local.stack import ROOT, Stack, StackError, StackOptions
from deploy.local.terminal import paint, say

OUT = ROOT / "out" / "demo"
CALL_SECONDS_MAX = 180.0
KEYLESS = {
    "STT_PROVIDER": "local/whisper-tiny.en",
    "LLM_PROVIDER": "local/receptionist",
    "TTS_PROVIDER": "local/piper",
    "AGENTS_DIR": str(ROOT / "agents"),
}
STAGES_SHOWN = {
    "endpoint": "waiting for silence",
    "transcript": "transcribing",
    "first_token": "thinking",
    "first_clause": "first clause",
    "first_audio": "first audio",
    "first_frame": "to the carrier",
}


async def demo() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    fake = _fake()
    async with _providers(fake) as chosen, Stack(StackOptions({**os.environ, **chosen}, logs=OUT / "logs")) as stack:
        say("the caller phones in:")
        caller = await _phone(stack, str(CALLER) if fake else "demo")
        story = await _story(stack, caller["call_id"])
    exchanges = _matched(story, caller)
    for exchange in exchanges:
        _tell(exchange)
    problems = _problems(caller, exchanges)
    _write(story, caller, exchanges)
    say()
    for problem in problems:
        say(paint("bad", f"not as it should be: {problem}"))
    say(f"both voices: {_shown(OUT / 'call.wav')}    the call: {_shown(OUT / 'call.json')}")
    say(paint("bad", "the demo failed") if problems else paint("good", "every turn was answered; the barge-in worked"))
    if fake:
        say(paint("warn", "the providers were fake"))
    return 1 if problems else 0


def _fake() -> bool:
    choice = os.environ.get("PROVIDERS") or "local"
    if choice not in ("local", "fake"):
        raise StackError(f"PROVIDERS: expected local or fake, got {choice!r}")
    return choice == "fake"


@asynccontextmanager
async def _providers(fake: bool) -> AsyncIterator[dict[str, str]]:
    """The settings of the providers: local engines, or fakes of vendors that live as long as the block."""
    synthetic = "the caller's voice is synthetic"
    if not fake:
        say("starting Redis, one edge and the three worker pools (local engines, no keys) …")
        say(paint("dim", f"{synthetic}; the agent's answers are scripted (local/receptionist)"))
        yield KEYLESS
        return
    say("starting fake vendors, Redis, one edge and the three worker pools …")
    say(paint("warn", "PROVIDERS ARE FAKE: transcripts and answers are scripted, the agent's voice is a tone."))
    say(paint("dim", f"{synthetic}; what is real is the wire to the vendors and everything behind it"))
    async with fake_providers() as settings:
        yield {**KEYLESS, **settings}


async def _phone(stack: Stack, script: str) -> dict[str, Any]:
    """Run the simulated caller as a process of its own; its progress is shown as it comes."""
    result = OUT / "caller.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulators.vobiz"),
        *("--answer-url", f"{stack.url}/answer", "--hangup-url", f"{stack.url}/hangup"),
        *("--script", script, "--wav", str(OUT / "call.wav"), "--json", str(result)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(CALL_SECONDS_MAX):
            async for line in process.stdout:
                say(paint("dim", f"  {line.decode().rstrip()}"))
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if not result.exists():
        raise StackError("the simulated caller could not make the call")
    call: dict[str, Any] = json.loads(result.read_text())["calls"][0]
    return call


async def _story(stack: Stack, call_id: str) -> Story:
    """The call as the system itself recorded it: its events on the bus."""
    story = Story()
    async with RedisBus.connect(BusOptions(stack.redis_url, "demo")) as bus:
        for _, message in await bus.read(call_events(call_id)):
            story.receive(message)
    return story


def _matched(story: Story, caller: dict[str, Any]) -> list[dict[str, Any]]:
    """Each thing the caller said, with what the system made of it in that time."""
    spoken = [step for step in caller["steps"] if step["speech"]]
    matched = []
    for number, step in enumerate(spoken):
        begin = step["speech"]["onset_ms"] - 300
        end = spoken[number + 1]["speech"]["onset_ms"] - 300 if number + 1 < len(spoken) else float("inf")
        mine = [e for e in story.exchanges if e.utterance and begin <= e.begin_ms < end]
        matched.append(_exchange(step, mine))
    for earlier, later in pairwise(matched):
        earlier["interrupted"] = earlier["interrupted"] and later["barge_in"]
    return matched


def _exchange(step: dict[str, Any], mine: list[Exchange]) -> dict[str, Any]:
    timed = next((exchange for exchange in mine if exchange.timings_ms), None)
    answer = step["answer"]
    barge_in = step.get("barge_in")
    return {
        "caller_said": step["said"],
        "understood": " ".join(exchange.understood for exchange in mine),
        "answered": " ".join(exchange.answered for exchange in mine if exchange.answered),
        "heard": " ".join(exchange.heard for exchange in mine if exchange.heard),
        "interrupted": any(exchange.interrupted for exchange in mine),
        "barge_in": barge_in is not None,
        "clear_ms": barge_in["clear_ms"] if barge_in else None,
        "wait_ms": round(answer["latency_ms"]) if answer else None,
        "timings_ms": timed.timings_ms if timed else {},
    }


def _tell(turn: dict[str, Any]) -> None:
    say()
    over = paint("warn", "  (talks over the agent)") if turn["barge_in"] else ""
    say(f"{paint('caller', 'caller')}      {turn['caller_said']}{over}")
    say(f"{paint('dim', 'understood')}  {turn['understood'] or paint('bad', '(nothing)')}")
    say(f"{paint('agent', 'agent')}       {turn['answered'] or paint('bad', '(no answer)')}")
    if turn["interrupted"]:
        say(f"{paint('warn', 'heard')}       {turn['heard']}")
    stages = ", ".join(f"{STAGES_SHOWN[name]} {ms}" for name, ms in turn["timings_ms"].items())
    wait = f"{turn['wait_ms']} ms heard from speech end to answer" if turn["wait_ms"] is not None else ""
    clear = f"; cleared {turn['clear_ms']:.0f} ms after the caller began" if turn["clear_ms"] is not None else ""
    say(paint("dim", f"time        {wait}{clear}"))
    if stages:
        say(paint("dim", f"            of it, ms: {stages}"))


def _problems(caller: dict[str, Any], turns: list[dict[str, Any]]) -> list[str]:
    problems = list(caller["failures"]) + list(caller["violations"])
    for turn in turns:
        if not turn["understood"]:
            problems.append(f"{turn['caller_said']!r} was not understood")
        if not turn["answered"] or turn["wait_ms"] is None:
            problems.append(f"{turn['caller_said']!r} went unanswered")
        if turn["barge_in"] and turn["clear_ms"] is None:
            problems.append("the barge-in did not clear the agent's audio")
    if len(turns) < 4:
        problems.append(f"only {len(turns)} turns")
    return problems


def _write(story: Story, caller: dict[str, Any], turns: list[dict[str, Any]]) -> None:
    greeting = next((exchange.answered for exchange in story.exchanges if exchange.utterance == 0), "")
    call = {
        "greeting": greeting,
        "turns": turns,
        "ended_by": caller["ended_by"],
        "reason": story.ended_by,
        "audio": _shown(OUT / "call.wav"),
    }
    (OUT / "call.json").write_text(json.dumps(call, indent=2, ensure_ascii=False) + "\n")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def main() -> int:
    try:
        return asyncio.run(demo())
    except StackError as error:
        say(paint("bad", str(error)))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
