"""`docker compose run --rm demo`: a simulated Vobiz caller phones the running edge; prints each turn of the call.

    python -m deploy.compose.demo --url http://edge:8000

Waits until the edge takes calls.

Reads REDIS_URL (for the call's event log) and VOBIZ_AUTH_TOKEN (an edge that has it requires signed webhooks).
Exits 0 if every turn was understood and answered and the barge-in silenced the agent, 1 if not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys

import httpx

from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.call.transcript import CallTranscript
from common.protocol.redis_keys import call_events
from common.settings import BadSettings, Settings
from simulators.call import Caller, CallOptions
from simulators.loop import run_fast
from simulators.script import DEMO, read_script
from tools.terminal import paint, say
from tools.turn_lines import faults, matched, print_turn

CALL_SECONDS_MAX = 300.0
READY_SECONDS = 60.0
"""Time until the edge takes calls: the engines load for some seconds, or many on a busy machine."""
REDIS_SECONDS = 10.0


async def ready(url: str) -> bool:
    """Wait until the edge at `url` takes calls; if it does not, print advice and return False."""
    last_answer = ""
    async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
        until = asyncio.get_running_loop().time() + READY_SECONDS
        while asyncio.get_running_loop().time() < until:
            try:
                answer = (await client.get(f"{url}/readyz")).text.strip()
            except httpx.HTTPError:
                answer = "it does not answer"
            if answer == "ready":
                return True
            if answer != last_answer:
                say(f"waiting for {url}: {answer} …")
            last_answer = answer
            await asyncio.sleep(0.2)
    say(
        paint(
            "bad",
            f"{url} takes no calls: {last_answer}. Is the stack up? docker compose up --wait; docker compose logs",
        )
    )
    return False


async def demo(url: str, settings: Settings) -> int:
    """Phone the edge at `url`, print the call, and return the exit code."""
    if not await ready(url):
        return 1
    options = CallOptions(
        answer_url=f"{url}/answer",
        hangup_url=f"{url}/hangup",
        auth_token=settings.vobiz_auth_token or None,
        call_s_max=CALL_SECONDS_MAX,
    )
    say(f"the caller phones {url} …")
    caller = Caller(options, lambda at_ms, line: say(paint("dim", f"  {at_ms / 1000:7.2f} s  {line}")))
    result = (await caller.call(read_script(DEMO))).to_json()
    if result["error"]:
        say(paint("bad", f"the call failed: {result['error']}"))
        return 1
    try:
        async with asyncio.timeout(REDIS_SECONDS):
            transcript = await _transcript(settings.redis_url, result["call_id"])
    except (OSError, TimeoutError):
        say(paint("bad", f"the call's event log could not be read from Redis at {settings.redis_target}"))
        return 1
    turns = matched(transcript, result)
    for turn in turns:
        print_turn(turn)
    problems = faults(result, turns)
    say()
    for problem in problems:
        say(paint("bad", f"problem: {problem}"))
    say(paint("bad", "the demo failed") if problems else paint("good", "every turn was answered; the barge-in worked"))
    return 1 if problems else 0


async def _transcript(redis_url: str, call_id: str) -> CallTranscript:
    """Read the call's event log and return its transcript."""
    transcript = CallTranscript()
    async with connect_bus(BusOptions(redis_url, "demo")) as bus:
        for _, message in await bus.read(call_events(call_id)):
            transcript.receive(message)
    return transcript


def main() -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m deploy.compose.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="where the edge is")
    parsed = parser.parse_args()
    try:
        settings = Settings.from_env()
    except BadSettings as error:
        say(str(error))
        return 2
    return run_fast(demo(parsed.url.rstrip("/"), settings))


if __name__ == "__main__":
    sys.exit(main())
