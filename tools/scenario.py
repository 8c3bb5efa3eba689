"""`make demo SCENARIO=examples/<name>`: a call with the agents of a folder, printed as it happens.

The folder has, beside its agents:

    model.json    what the scripted language model answers, and which tools it calls (simulators/providers/cast.py)
    caller.json   what the caller says and presses (simulators/script.py)
    service.py    optional: a program that is started before the call, and whose output is printed
    people.json   optional: who answers other telephones (`--callees` of the simulated carrier); else nobody does

The tools, the keys and the platform's part of a transfer are real.  The language model is a script, and the carrier
is the simulated one, with all telephones.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from common.agents.model import Agent
from common.process.env_file import EnvFile
from tools.check import check
from tools.children import die_with_parent
from tools.fake_providers import CHOICE, fake_providers
from tools.live import LOOK_SECONDS, print_calls
from tools.stack import ROOT, Stack, StackError, StackOptions, workers_for
from tools.terminal import paint, say

OUT = ROOT / "out" / "scenario"
CALL_SECONDS_MAX = 180.0
STARTED_SECONDS = 20.0
STOP_SECONDS = 5.0
RINGING_SCALE = 0.25
"""Factor on the ringing of a telephone that nobody answers."""
LOCAL = {"STT_PROVIDER": "local/whisper-tiny.en", "TTS_PROVIDER": "local/piper"}
MODEL, CALLER, SERVICE, PEOPLE = "model.json", "caller.json", "service.py", "people.json"


async def play(folder: Path, *, fake: bool) -> int:
    """Play the scenario and return the exit status; `fake`: with fake vendors instead of local engines."""
    agents = usable(folder)
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    async with fake_providers(folder / MODEL) as providers, _service(folder):
        chosen = {**providers, **({} if fake else LOCAL), "AGENTS_DIR": str(folder)}
        say("starting Redis, one edge and the worker pools …")
        say(
            paint(
                "warn", "THE LANGUAGE MODEL IS A SCRIPT (model.json), the telephones are simulated; the tools are run."
            )
        )
        if fake:
            say(paint("warn", "PROVIDERS ARE FAKE: transcripts are scripted, the agent's voice is a tone."))
        say(paint("dim", "shown here only: what is said, and arguments and results of tools"))
        options = StackOptions({**os.environ, **chosen}, logs=OUT / "logs", workers=workers_for(agents))
        async with Stack(options) as stack, _carrier(folder) as carrier:
            printing = asyncio.create_task(print_calls(stack.redis_url, lambda record: True, details=True))
            try:
                call = await _phone(carrier, stack.url, json.loads((folder / CALLER).read_text("utf-8")))
                await asyncio.sleep(2 * LOOK_SECONDS)  # the last lines
            finally:
                printing.cancel()
                await asyncio.wait([printing])
    problems = problems_of(call)
    say()
    for problem in problems:
        say(paint("bad", f"problem: {problem}"))
    say(f"both voices: {_shown(OUT)}/*.wav    logs: {_shown(OUT / 'logs')}")
    say(paint("bad", "the call went wrong") if problems else paint("good", "the call went as scripted"))
    return 1 if problems else 0


def usable(folder: Path) -> list[Agent]:
    """The agents of the folder.  Raises StackError if it is no scenario, or an agent cannot be used."""
    missing = [name for name in (MODEL, CALLER) if not (folder / name).is_file()]
    if missing:
        there = sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob(f"examples/*/{MODEL}"))
        raise StackError(f"SCENARIO: {folder} has no {' and no '.join(missing)}; there are {', '.join(there)}")
    found = check(EnvFile(folder / "none"), {**CHOICE, **LOCAL, "OPENAI_API_KEY": "none", "AGENTS_DIR": str(folder)})
    if found.mistakes:
        raise StackError("\n".join(["The agents of the scenario cannot be used:", *found.mistakes]))
    return [agent for _, agent in found.agents]


def problems_of(call: Mapping[str, Any]) -> list[str]:
    """What did not go as the caller's script says, or against the carrier's protocol."""
    problems = [call["error"]] if call["error"] else []
    for stream in call["streams"]:
        problems += [*stream["failures"], *stream["violations"]]
    return problems


async def _phone(carrier: str, edge: str, script: list[Any]) -> dict[str, Any]:
    """Have a caller phone in, and return the carrier's record of the call when it is over.  Raises StackError."""
    asked = {"answer_url": f"{edge}/answer", "hangup_url": f"{edge}/hangup", "script": script}
    async with httpx.AsyncClient(base_url=carrier, trust_env=False, timeout=10.0) as http:
        reply = await http.post("/_phone_in", json=asked)
        if reply.status_code != 201:
            raise StackError(f"{CALLER}: {reply.text}")
        call_id = reply.json()["call_uuid"]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CALL_SECONDS_MAX):
                while True:
                    call: dict[str, Any] = (await http.get(f"/_calls/{call_id}")).json()
                    if call["cause"] is not None and any(hook["kind"] == "hangup" for hook in call["webhooks"]):
                        return call
                    await asyncio.sleep(0.2)
    raise StackError(f"The call was not over after {CALL_SECONDS_MAX:.0f} s.")


@asynccontextmanager
async def _carrier(folder: Path) -> AsyncIterator[str]:
    """Run the simulated carrier, where only the caller and those in PEOPLE answer; yield its address."""
    options = ["--port", "0", "--callee", "no-answer", "--time-scale", str(RINGING_SCALE), "--wavs", str(OUT)]
    if (folder / PEOPLE).is_file():
        options += ["--callees", str(folder / PEOPLE)]
    async with _child("-m", "simulators.vobiz", "carrier", *options) as process:
        url = await _address(process)
        if not url:
            raise StackError("The simulated carrier could not start.")
        async with _drained(process, ""):
            yield url


async def _address(carrier: asyncio.subprocess.Process) -> str:
    """The address that the carrier prints when it has started; empty if it does not start in time."""
    assert carrier.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STARTED_SECONDS):
            async for line in carrier.stdout:
                kind, _, url = line.decode().strip().partition(" ")
                if kind == "tester":
                    return url.strip().removesuffix("/_calls")
    return ""


@asynccontextmanager
async def _service(folder: Path) -> AsyncIterator[None]:
    """Run the scenario's own program, if it has one, and print what it prints."""
    if not (folder / SERVICE).is_file():
        yield
        return
    async with _child("-u", str(folder / SERVICE)) as process:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(STARTED_SECONDS):
                first = (await process.stdout.readline()).decode().strip()
        except TimeoutError:
            raise StackError(f"{SERVICE} printed nothing within {STARTED_SECONDS:.0f} s.") from None
        if not first or process.returncode is not None:
            raise StackError(f"{SERVICE} could not start; its error is above.")
        say(paint("dim", f"service     {first}"))
        async with _drained(process, "service"):
            yield


@asynccontextmanager
async def _drained(process: asyncio.subprocess.Process, shown: str) -> AsyncIterator[None]:
    """Read what the process prints while the block runs, and print it after the label `shown`, if there is one."""

    async def drain() -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            if shown:
                say(paint("dim", f"{shown:<11} {line.decode(errors='replace').rstrip()}"))

    draining = asyncio.create_task(drain(), name=f"output of {shown}")
    try:
        yield
    finally:
        draining.cancel()
        await asyncio.wait([draining])


@asynccontextmanager
async def _child(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a Python program while the block runs."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *command),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
        start_new_session=True,  # Ctrl-C must reach only the parent, which ends this process after the stack
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT))
