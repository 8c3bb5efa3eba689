"""Simulates a Vobiz caller: phones a voice server as the carrier would, and measures what the caller hears.

    python -m simulators.vobiz --answer-url http://127.0.0.1:8000/answer
    python -m simulators.vobiz carrier --port 8030        # the whole carrier, with its REST API

It uses only the carrier's protocol, so it works with any server that implements it.  As a library:

    result = await Caller(CallOptions(answer_url)).call([WaitForAgent(), Say("opening-hours"), WaitForAgent()])
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from simulators.call import Caller, CallOptions, read_sentences
from simulators.carrier.command import main as carrier_main
from simulators.loop import run_fast
from simulators.result import CallResult, percentiles
from simulators.script import DEMO, SPEECH, BadScript, Step, read_script
from simulators.sound import FRAME_MS
from simulators.wav import BadWav
from simulators.wire_arguments import add_wire_arguments, wire_options

CALLS_MAX = 1000


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m simulators.vobiz",
        description="Phone a voice server as Vobiz would, speak a script to it, and measure what the caller hears. "
        "`... vobiz carrier --help` is the whole carrier with its REST API. "
        "Exits 0 if every step of every call went as scripted, 1 if not, 2 if the script cannot be played.",
    )
    parser.add_argument("--answer-url", required=True, help="the server's answer webhook")
    parser.add_argument("--hangup-url", help="where the Hangup webhook goes after the call")
    parser.add_argument("--script", default="demo", help="a JSON file, or `demo` (the default)")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="folder of recordings with a sentences.json")
    parser.add_argument("--from", dest="from_number", default="+911234567890", help="the caller's number")
    parser.add_argument("--to", dest="to_number", default="+911234567899", help="the number that is called")
    parser.add_argument("--auth-token", help="sign the webhooks with it (V2 and V3), as Vobiz does")
    parser.add_argument("--calls", type=int, default=1, metavar="N", help=f"parallel calls, at most {CALLS_MAX}")
    parser.add_argument("--stagger-ms", type=float, default=137.0, help="pause between the starts of parallel calls")
    parser.add_argument("--max-s", type=float, default=600.0, help="end a call that lasts longer")
    parser.add_argument("--wav", type=Path, help="record here: caller left, agent right (call N: name-N.wav)")
    parser.add_argument("--json", type=Path, help="write the results here, `-` for standard output")
    add_wire_arguments(parser)
    parsed = parser.parse_args(argv)
    if not 1 <= parsed.calls <= CALLS_MAX:
        parser.error(f"--calls must be 1 to {CALLS_MAX}")
    if parsed.light and parsed.wav is not None:
        parser.error("--light keeps no samples, so there is nothing for --wav")
    return parsed


def call_options(parsed: argparse.Namespace) -> CallOptions:
    return CallOptions(
        answer_url=parsed.answer_url,
        hangup_url=parsed.hangup_url,
        from_number=parsed.from_number,
        to_number=parsed.to_number,
        auth_token=parsed.auth_token,
        call_s_max=parsed.max_s,
        speech=parsed.speech,
        wav=parsed.wav,
        wire_options=wire_options(parsed),
    )


async def place_calls(
    options: CallOptions, script: Sequence[Step], calls: int, stagger_ms: float, report: Callable[[str], None]
) -> list[CallResult]:
    """Run `calls` concurrent calls, their starts `stagger_ms` apart; return the results in the order of the starts."""

    async def one(number: int) -> CallResult:
        await asyncio.sleep((number - 1) * stagger_ms / 1000)
        label = f"call {number}  " if calls > 1 else ""
        mine = options
        if calls > 1 and options.wav is not None:
            mine = replace(options, wav=options.wav.with_name(f"{options.wav.stem}-{number}{options.wav.suffix}"))
        caller = Caller(mine, lambda at_ms, line: report(f"{label}{at_ms / 1000:7.2f} s  {line}"))
        result = await caller.call(script)
        for failure in result.failures:
            report(f"{label}           FAILED {failure}")
        return result

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(number), name=f"call {number}") for number in range(1, calls + 1)]
    return [task.result() for task in running]


def summary(results: Sequence[CallResult]) -> list[str]:
    """Return the summary lines of the calls."""
    failed = sum(1 for result in results if result.failures)
    turns = [turn for result in results for turn in result.turns]
    lines = [f"{len(results)} calls, {failed} failed, {len(turns)} caller turns"]
    clears = [turn.barge_in.clear_ms for turn in turns if turn.barge_in and turn.barge_in.clear_ms is not None]
    figures = {
        "response latency": [turn.answer.latency_ms for turn in turns if turn.answer],
        "barge-in to clearAudio": clears,
        "carrier's own lateness (worst frame of each call)": [r.lateness_ms["max"] for r in results if r.lateness_ms],
    }
    for what, values in figures.items():
        if values:
            text = ", ".join(f"{name} {value:.0f} ms" for name, value in percentiles(values).items())
            lines.append(f"{what}: {text}")
    lines.append(f"underruns: {sum(len(result.underruns) for result in results)}")
    violations = {violation for result in results for violation in result.violations}
    lines.extend(f"violation: {violation}" for violation in sorted(violations))
    return lines


def cost(results: Sequence[CallResult], cpu_s: float) -> list[str]:
    """Return the CPU cost of one second of a call; empty if no call had a stream."""
    carried_s = sum(result.frames_sent for result in results) * FRAME_MS / 1000
    return [f"the carrier's own cost: {1000 * cpu_s / carried_s:.2f} ms CPU per second of call"] if carried_s else []


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; `--json` gets `{"calls": [one object per call]}`."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["carrier"]:
        return carrier_main(argv[1:])
    parsed = arguments(argv)
    try:
        script = read_script(DEMO if parsed.script == "demo" else Path(parsed.script))
        read_sentences(parsed.speech, script)
    except (BadScript, BadWav, OSError) as error:
        print(f"cannot play the script: {error}", file=sys.stderr)
        return 2
    to_stdout = str(parsed.json) == "-"

    def report(line: str) -> None:
        print(line, file=sys.stderr if to_stdout else sys.stdout, flush=True)

    cpu_s = time.process_time()
    results = run_fast(place_calls(call_options(parsed), script, parsed.calls, parsed.stagger_ms, report))
    cpu_s = time.process_time() - cpu_s
    for line in [*summary(results), *cost(results, cpu_s)]:
        report(line)
    text = json.dumps({"calls": [result.to_json() for result in results]}, indent=2)
    if to_stdout:
        print(text)
    elif parsed.json is not None:
        parsed.json.parent.mkdir(parents=True, exist_ok=True)
        parsed.json.write_text(text + "\n", encoding="utf-8")
    return 1 if any(result.failures for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
