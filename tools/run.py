"""`make run`: runs the stack in the foreground until Ctrl-C.  Reads `.env`; with keys there, uses real providers.

Ctrl-C, SIGTERM and a closed terminal end it alike, at any time: the edge ends its calls at the carrier, then the
workers go.  A second Ctrl-C ends everything at once.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import FrameType

from common.agents.model import ANY_NUMBER
from common.agents.needs import needs_tools
from common.process.addresses import LOOPBACK
from common.process.env_file import EnvFile
from common.protocol.redis_keys import TOOLS_POOL
from common.settings import Settings
from tools.check import Configuration, check
from tools.live import print_calls
from tools.stack import ROOT, WORKERS, Stack, StackError, StackOptions
from tools.terminal import paint, say
from tools.tunnel import TunnelError, tunnel

MISUSED = 2
NUMBERS_SHOWN = 5
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class RunPlan:
    """The environment of the processes to run, and what the terminal shows."""

    environ: Mapping[str, str]
    settings: Settings
    found: Configuration
    quiet: bool


async def run(plan: RunPlan) -> int:
    """Run the stack until a signal or the end of a process, and return the exit status."""
    stop = asyncio.Event()
    stack = Stack(_options(plan))

    def asked() -> None:
        if stop.is_set():
            stack.kill_all()
        stop.set()

    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, asked)
    starting = asyncio.create_task(stack.__aenter__(), name="start")
    stopped = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        say("stopping …")
        starting.cancel()
        await asyncio.wait({starting})
        return 0
    stopped.cancel()
    await starting  # raises the error of the task, if it has one
    try:
        return await _serve(plan, stack, stop)
    finally:
        await stack.__aexit__()


def _options(plan: RunPlan) -> StackOptions:
    settings = plan.settings
    environ = {name: value for name, value in plan.environ.items() if name != "API_TOKEN_FILE"}
    environ |= {"PUBLIC_URL": settings.public_url, "API_TOKEN": settings.api_token}
    environ["REDIS_URL"] = settings.redis_url if _has_redis(environ) else ""
    return StackOptions(
        environ,
        settings.http_port or 8000,
        settings.http_host,
        workers=(*WORKERS, TOOLS_POOL),
        data=ROOT / settings.data_dir,
    )


def _has_redis(environ: Mapping[str, str]) -> bool:
    return bool(environ.get("REDIS_URL", "").strip() or environ.get("REDIS_URL_FILE", "").strip())


async def _serve(plan: RunPlan, stack: Stack, stop: asyncio.Event) -> int:
    _introduce(plan, stack)
    async with contextlib.AsyncExitStack() as around:
        if not plan.quiet and sys.stdout.isatty():
            printing = asyncio.create_task(
                print_calls(stack.redis_url, lambda record: record.edge.startswith(stack.edge_prefix)),
                name="printing calls",
            )
            around.callback(printing.cancel)
        while not stop.is_set():
            if ended := [name for name, process in stack.processes.items() if process.poll() is not None]:
                say(paint("bad", f"{', '.join(ended)} ended by itself; stopping."))
                return 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()
        say("stopping: hanging live calls up; press Ctrl-C again to end everything at once …")
    return 0


def _introduce(plan: RunPlan, stack: Stack) -> None:
    settings = plan.settings
    for pool in ("stt", "llm", "tts"):
        specs = settings.providers(pool)
        note = "  (a scripted dialogue, not a language model)" if specs[0] == "local/receptionist" else ""
        say(f"  {pool:<5} {', then '.join(specs)}{note}")
    with_tools = [agent.name for _, agent in plan.found.agents if needs_tools(agent)]
    say(f"  tools {', '.join(with_tools) or 'no agent has any'}")
    for line in agent_lines(plan.found):
        say(line)
    say(f"  answer URL   {settings.public_url or stack.url}/answer")
    say(f"  hangup URL   {settings.public_url or stack.url}/hangup")
    say(f"  metrics      {stack.url}/metrics")
    say(f"  a test call  .venv/bin/python -m simulators.vobiz --answer-url {stack.url}/answer")
    if not settings.public_url:
        say(paint("warn", "PUBLIC_URL is not set: Vobiz cannot reach this machine yet."))
    elif settings.vobiz_auth_id:
        say("  connect a number: make setup-number NUMBER=+911234567890    call out: make call TO=+911234567890")
    else:
        say("  in the Vobiz console, give your application these two URLs and attach a number to it")
    say(paint("good", "ready; Ctrl-C stops everything"))


def agent_lines(found: Configuration) -> list[str]:
    """Return a line for each agent: its numbers, its language, and providers that only it uses."""
    lines = []
    for _, agent in found.agents:
        others = "every number" if len(found.agents) == 1 else "every other number"
        shown = [others if number == ANY_NUMBER else number for number in agent.numbers[:NUMBERS_SHOWN]]
        if len(agent.numbers) > NUMBERS_SHOWN:
            shown.append(f"{len(agent.numbers) - NUMBERS_SHOWN} more")
        if not shown:
            shown = ["every number" if len(found.agents) == 1 else "no number: asked for by name only"]
        own = [f"{pool} {specs[0]}" for pool in ("stt", "llm", "tts") if (specs := getattr(agent.providers, pool))]
        lines.append(
            f"  agent {agent.name}  ({agent.language})  {', '.join(shown)}{'  ' + ', '.join(own) if own else ''}"
        )
    return lines


def plan_of(environ: Mapping[str, str], file: EnvFile, quiet: bool) -> RunPlan | None:
    """Check the configuration before anything starts; if it cannot work, print every mistake and return None."""
    found = check(file, environ)
    for warning in found.warnings:
        say(paint("warn", f"note: {warning}"))
    if found.settings is None or found.mistakes:
        say(paint("bad", "This configuration cannot work; nothing was started:"))
        for mistake in found.mistakes:
            say(paint("bad", f"  {mistake}"))
        return None
    merged = file.merged(environ)
    settings = found.settings
    if not merged.get("HTTP_HOST", "").strip() and not settings.public_url:
        settings = replace(settings, http_host=LOOPBACK)  # no other machine reaches it, and webhooks may be unsigned
    return RunPlan(merged, settings, found, quiet)


def _interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(prog="make run", description="The whole system in the foreground; reads .env.")
    parser.add_argument("--quiet", action="store_true", help="do not print transcripts of calls (make run QUIET=1)")
    quiet = parser.parse_args(argv).quiet
    logging.getLogger().addHandler(logging.NullHandler())  # this command prints what matters itself
    for number in SIGNALS:
        signal.signal(number, _interrupted)  # until the event loop installs its own handlers
    try:
        plan = plan_of(os.environ, EnvFile.read(), quiet)
        if plan is None:
            return MISUSED
        with tunnel(plan.settings) as public_url:
            return asyncio.run(run(replace(plan, settings=replace(plan.settings, public_url=public_url))))
    except (StackError, TunnelError) as error:
        say(paint("bad", str(error)))
        return 1
    except KeyboardInterrupt:
        say("stopped")
        return 130


if __name__ == "__main__":
    sys.exit(main())
