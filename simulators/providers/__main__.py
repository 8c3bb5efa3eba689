"""`python -m simulators.providers`: serves fake vendors on one port, for a stack on this machine without keys.

Transcripts and answers come from a script, and voices are tones.  Prints the settings that point a stack to this port,
then serves until it is stopped.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path
from typing import get_args

from common.process.node import run_process
from simulators.loopback_server import LoopbackServer
from simulators.providers.bad_minutes import BadMinutes, Plan
from simulators.providers.cast import BadCastScript, Cast, CastPace, CastScript, read_cast_script, settings
from simulators.providers.faults import Kind
from simulators.providers.openai_chat import ChatTiming
from simulators.providers.voices import VoicePace

FAKE = "FAKE providers: scripted transcripts, scripted answers, tones for voices. No vendor is involved."


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m simulators.providers", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--script", type=Path, help='a JSON file: {"said": [...], "answers": [...]}')
    parser.add_argument("--final-ms", type=float, default=50.0, help="time from the silence to the final result")
    parser.add_argument("--first-token-ms", type=float, default=150.0)
    parser.add_argument("--tokens-per-s", type=float, default=60.0)
    parser.add_argument("--first-byte-ms", type=float, default=100.0, help="time from a clause to its audio")
    bad = parser.add_argument_group("bad minutes", "a vendor breaks its open connections and faults new ones")
    bad.add_argument("--vendor", help="deepgram, openai, elevenlabs, cartesia or sarvam")
    bad.add_argument("--kind", choices=get_args(Kind), default="broken", help="the fault of new connections")
    bad.add_argument("--fault-every", type=float, metavar="SECONDS", default=0.0)
    bad.add_argument("--fault-for", type=float, metavar="SECONDS", default=5.0)
    options = parser.parse_args()
    if options.vendor and not 0 < options.fault_for < options.fault_every:
        parser.error("bad minutes need --fault-every and a shorter --fault-for")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    script = read_cast_script(options.script) if options.script else CastScript()
    chat = ChatTiming(options.first_token_ms, options.tokens_per_s)
    cast = Cast(script, CastPace(options.final_ms, chat, VoicePace(options.first_byte_ms, 0.1)))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with LoopbackServer(cast, options.host, options.port, ws="websockets-sansio") as server:
        print(f"# {FAKE}")
        print("\n".join(f"{name}={value}" for name, value in settings(server.url).items()))
        minutes = _bad_minutes(cast, options)
        print("# ready", flush=True)
        waiting = [asyncio.create_task(each) for each in (stop.wait(), *([minutes.run()] if minutes else []))]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)


def _bad_minutes(cast: Cast, options: argparse.Namespace) -> BadMinutes | None:
    if not options.vendor:
        return None
    plan = Plan(options.fault_every, options.fault_for, options.kind)
    minutes = BadMinutes(cast.app(options.vendor), cast.routes[options.vendor], cast.faults[options.vendor], plan)
    cast.wrap(options.vendor, minutes)
    print(f"# {options.vendor}: {options.kind} for {plan.for_s:g} s of every {plan.every_s:g} s")
    return minutes


def main() -> int:
    try:
        return run_process(serve(arguments()))
    except (BadCastScript, OSError, KeyError) as error:
        print(f"the fake providers cannot start: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
