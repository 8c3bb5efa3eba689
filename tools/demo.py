"""`make demo`: starts the stack, has a simulated Vobiz caller phone in, and prints each turn of the call.

Writes out/demo/call.wav (caller left, agent right) and out/demo/call.json.  Exits 0 only if every turn was answered
and the barge-in silenced the agent.

With `PROVIDERS=fake` the stack connects to scripted fake vendors over the vendors' own protocols.  `SCENARIO=<folder>`
plays another call, with the agents of that folder (tools/scenario.py).
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from common.agents.model import Agent
from common.bus.redis import BusOptions, RedisBus
from common.call.transcript import CallTranscript
from common.process.command_line import no_arguments
from common.process.env_file import ENV_FILE, EnvFile
from common.protocol.redis_keys import call_events
from tools.check import check
from tools.children import die_with_parent
from tools.fake_providers import CALLER, fake_providers
from tools.scenario import play
from tools.stack import ROOT, Stack, StackError, StackOptions, workers_for
from tools.terminal import paint, say
from tools.turn_lines import faults, matched, print_turn

OUT = ROOT / "out" / "demo"
CALL_SECONDS_MAX = 180.0
KEYLESS = {
    "STT_PROVIDER": "local/whisper-tiny.en",
    "LLM_PROVIDER": "local/receptionist",
    "TTS_PROVIDER": "local/piper",
    "AGENTS_DIR": str(ROOT / "agents"),
}


async def demo() -> int:
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    fake = _fake()
    workers = workers_for(usable_agents())
    async with _providers(fake) as chosen:
        options = StackOptions({**os.environ, **chosen}, logs=OUT / "logs", workers=workers)
        async with Stack(options) as stack:
            say("the caller phones in:")
            caller = await _phone(stack, str(CALLER) if fake else "demo")
            transcript = await _transcript(stack, caller["call_id"])
    exchanges = matched(transcript, caller)
    for exchange in exchanges:
        print_turn(exchange)
    problems = faults(caller, exchanges)
    _write(transcript, caller, exchanges)
    say()
    for problem in problems:
        say(paint("bad", f"problem: {problem}"))
    say(f"both voices: {_shown(OUT / 'call.wav')}    the call: {_shown(OUT / 'call.json')}")
    say(paint("bad", "the demo failed") if problems else paint("good", "every turn was answered; the barge-in worked"))
    if fake:
        say(paint("warn", "the providers were fake"))
    return 1 if problems else 0


def usable_agents() -> list[Agent]:
    """The agents that answer.  Raises StackError if an agent's file cannot be used, or cannot work without keys."""
    found = check(EnvFile(ENV_FILE), KEYLESS)
    if found.mistakes:
        raise StackError("\n".join(["The demo answers with the agents of agents/:", *found.mistakes]))
    return [agent for _, agent in found.agents]


def _fake() -> bool:
    choice = os.environ.get("PROVIDERS") or "local"
    if choice not in ("local", "fake"):
        raise StackError(f"PROVIDERS: expected local or fake, got {choice!r}")
    return choice == "fake"


@asynccontextmanager
async def _providers(fake: bool) -> AsyncIterator[dict[str, str]]:
    """Yield the settings of the providers: local engines, or fake vendors that run while the block runs."""
    synthetic = "the caller's voice is synthetic"
    if not fake:
        say("starting Redis, one edge and the three worker pools (local engines, no keys) …")
        say(paint("dim", f"{synthetic}; the agent's answers are scripted (local/receptionist)"))
        yield KEYLESS
        return
    say("starting fake vendors, Redis, one edge and the three worker pools …")
    say(paint("warn", "PROVIDERS ARE FAKE: transcripts and answers are scripted, the agent's voice is a tone."))
    say(paint("dim", f"{synthetic}; the connections to the vendors and the whole system behind them are real"))
    async with fake_providers() as settings:
        yield {**KEYLESS, **settings}


async def _phone(stack: Stack, script: str) -> dict[str, Any]:
    """Run the simulated caller as a separate process and print its progress; return its result.  Raises StackError."""
    result = OUT / "caller.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators.vobiz"),
        *("--answer-url", f"{stack.url}/answer", "--hangup-url", f"{stack.url}/hangup"),
        *("--script", script, "--wav", str(OUT / "call.wav"), "--json", str(result)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=die_with_parent(),
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


async def _transcript(stack: Stack, call_id: str) -> CallTranscript:
    """Read the call's event log from the bus and return its transcript."""
    transcript = CallTranscript()
    async with RedisBus.connect(BusOptions(stack.redis_url, "demo")) as bus:
        for _, message in await bus.read(call_events(call_id)):
            transcript.receive(message)
    return transcript


def _write(transcript: CallTranscript, caller: dict[str, Any], turns: list[dict[str, Any]]) -> None:
    greeting = next((exchange.answered for exchange in transcript.exchanges if exchange.utterance == 0), "")
    call = {
        "greeting": greeting,
        "turns": turns,
        "ended_by": caller["ended_by"],
        "reason": transcript.ended_by,
        "audio": _shown(OUT / "call.wav"),
    }
    (OUT / "call.json").write_text(json.dumps(call, indent=2, ensure_ascii=False) + "\n")


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def main(argv: Sequence[str] = ()) -> int:
    no_arguments(
        "make demo",
        "A simulated caller phones in, is answered and interrupts; writes out/demo. PROVIDERS=fake takes fake vendors. "
        "SCENARIO=examples/order-status plays another call.",
        argv,
        "It takes no arguments, and reads no .env.",
    )
    try:
        if scenario := os.environ.get("SCENARIO"):
            return asyncio.run(play((ROOT / scenario).resolve(), fake=_fake()))
        return asyncio.run(demo())
    except StackError as error:
        say(paint("bad", str(error)))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
