"""`python -m simulators.vobiz carrier`: runs the carrier until it is interrupted."""

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from simulators.call import read_sentences
from simulators.carrier.carrier import Carrier
from simulators.carrier.hooks import HookHabits
from simulators.carrier.people import DOES, BadCallee, Callee, read_callee
from simulators.carrier.plan import ACCOUNT, CarrierOptions
from simulators.loop import run_fast
from simulators.script import DEMO, SPEECH, BadScript, read_script
from simulators.wav import BadWav
from simulators.wire_arguments import add_wire_arguments, wire_options

PORT = 8030
EXAMPLES = """
Set your server's Vobiz base URL to http://127.0.0.1:8030/api/v1 and its credentials to --auth-id, --auth-token; then:

  make a call    curl -H 'X-Auth-ID: MA_XXXXXXXX' -H 'X-Auth-Token: simulated-token' -d '{"from": "911234567890",
                 "to": "911234567891", "answer_url": "http://127.0.0.1:8000/answer"}' \\
                 http://127.0.0.1:8030/api/v1/Account/MA_XXXXXXXX/Call/
  be called      curl -d '{"answer_url": "http://127.0.0.1:8000/answer"}' http://127.0.0.1:8030/_phone_in
  a busy number  curl -d '{"number": "911234567891", "does": "busy"}' http://127.0.0.1:8030/_callees
  a fault        curl -d '{"kind": "503", "next": 2, "path": "Call"}' http://127.0.0.1:8030/_faults
                 kinds: 429, 500, 503, timeout-before, timeout-after (done, but unanswered), malformed
  what happened  curl http://127.0.0.1:8030/_calls        also /_calls/{id}, /_requests, /_load
"""


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.vobiz carrier",
        description="Simulate Vobiz: answer REST, call simulated numbers, run XML, stream media, send webhooks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (there is no TLS)")
    parser.add_argument("--port", type=int, default=PORT, help=f"{PORT} by default, 0 for a free one")
    parser.add_argument("--auth-id", default=ACCOUNT)
    parser.add_argument("--auth-token", default="simulated-token", help="also signs the webhooks")
    parser.add_argument("--parent-token", default="", help="the main account's token, for the MA signatures")
    parser.add_argument("--cps", type=int, default=0, help="call starts per second; 0 no limit, 1 on a trial account")
    parser.add_argument("--max-concurrent", type=int, default=1000, help="calls at a time; 3 on a trial account")
    parser.add_argument("--error-shape", type=int, choices=(0, 1, 2), help="which of the three error bodies to use")
    parser.add_argument("--number", action="append", default=[], help="a number of the account; may be repeated")
    parser.add_argument("--time-scale", type=float, default=1.0, help="factor on ringing, Speak, Wait and pauses")
    parser.add_argument("--hangup-delay-ms", type=float, default=1000.0, help="from the end to the Hangup webhook")
    parser.add_argument("--degraded-after-ms", type=float, metavar="MS", help="then report each stream as degraded")
    parser.add_argument("--wavs", type=Path, help="record every stream into this folder")
    people = parser.add_argument_group("who answers")
    people.add_argument("--callee", choices=DOES, default="answers", help="behaviour of a number that is not listed")
    people.add_argument("--ring-ms", type=float, default=2000.0, help="ringing time before that")
    people.add_argument("--script", help="what a callee does on the stream: a JSON file, or `demo`; else it listens")
    people.add_argument("--callees", type=Path, help='a JSON file: [{"number": "...", "does": "busy", ...}, ...]')
    people.add_argument("--speech", type=Path, default=SPEECH, help="folder of recordings with a sentences.json")
    hooks = parser.add_argument_group("delivery of the webhooks")
    hooks.add_argument("--signing", choices=("right", "wrong", "none"), default="right")
    hooks.add_argument("--body", choices=("form", "json", "multipart"), default="form")
    hooks.add_argument("--double", action="append", default=[], metavar="KIND", help="send it twice; `all` for all")
    hooks.add_argument("--delay-ms", type=float, default=0.0, help="delay every report")
    hooks.add_argument("--shuffle-ms", type=float, default=0.0, help="... by a random time up to this: out of order")
    add_wire_arguments(parser)
    return parser.parse_args(argv)


def carrier_options(parsed: argparse.Namespace) -> CarrierOptions:
    """Read the options.  Raises `BadScript`, `BadCallee`, `OSError` or `ValueError` for files that cannot be read."""
    listed = json.loads(parsed.callees.read_text(encoding="utf-8")) if parsed.callees else []
    table: dict[str, tuple[Callee, ...]] = {}
    for entry in listed:
        table[entry["number"]] = (*table.get(entry["number"], ()), read_callee(entry))
    callee = Callee(does=parsed.callee, ring_ms=parsed.ring_ms)
    if parsed.script:
        script = tuple(read_script(DEMO if parsed.script == "demo" else Path(parsed.script)))
        read_sentences(parsed.speech, script)
        callee = Callee(does=parsed.callee, ring_ms=parsed.ring_ms, script=script)
    return CarrierOptions(
        port=parsed.port,
        host=parsed.host,
        auth_id=parsed.auth_id,
        auth_token=parsed.auth_token,
        parent_token=parsed.parent_token,
        cps=parsed.cps,
        calls_max=parsed.max_concurrent,
        error_shape=parsed.error_shape,
        callee=callee,
        callees=table,
        numbers=tuple(parsed.number) or ("+911234567890",),
        wire_options=wire_options(parsed),
        hooks=HookHabits(
            parsed.signing,
            parsed.body,
            frozenset(parsed.double),
            parsed.delay_ms,
            parsed.shuffle_ms,
            parsed.seed,
        ),
        time_scale=parsed.time_scale,
        degraded_after_ms=parsed.degraded_after_ms,
        hangup_delay_ms=parsed.hangup_delay_ms,
        speech=parsed.speech,
        wavs=parsed.wavs,
    )


async def serve(options: CarrierOptions) -> None:
    """Run until SIGINT or SIGTERM, and print one line for each call that is over."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Carrier(options) as carrier:
        print(f"REST   {carrier.api_url}/Account/{options.auth_id}/\ntester {carrier.url}/_calls", flush=True)
        carrier.on_end = lambda call: print(_line(call.to_json()), flush=True)
        await stop.wait()


def _line(call: dict[str, object]) -> str:
    ended = call["cause"]
    why = f"{ended['code']} {ended['name']} by {ended['source']}" if isinstance(ended, dict) else "cut off"
    error = f", {call['error']}" if call["error"] else ""
    return f"{call['call_id']}  {call['direction']}  {call['state']}, {call['answered_s']} s: {why}{error}"


def main(argv: Sequence[str]) -> int:
    parsed = arguments(argv)
    try:
        options = carrier_options(parsed)
    except (BadScript, BadCallee, BadWav, OSError, ValueError, KeyError, TypeError) as error:
        print(f"cannot use these options: {error}", file=sys.stderr)
        return 2
    run_fast(serve(options))
    return 0
