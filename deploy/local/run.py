"""`make run`: the stack in the foreground, until Ctrl-C.  Reads `.env`; with keys there, uses the real providers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace

from common.settings import BadSettings, Settings
from deploy.local.stack import ROOT, Stack, StackError, StackOptions, read_env_file
from deploy.local.terminal import paint, say
from deploy.local.tunnel import TunnelError, tunnel


async def run() -> int:
    environ = {**os.environ, **read_env_file(ROOT / ".env"), **os.environ}
    try:
        settings = Settings.from_env(environ)
    except BadSettings as error:
        say(paint("bad", str(error)))
        return 2
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        with tunnel(settings) as public_url:
            settings = replace(settings, public_url=public_url)
            return await _serve({**environ, "PUBLIC_URL": public_url}, settings, stop)
    except (StackError, TunnelError) as error:
        say(paint("bad", str(error)))
        return 1


async def _serve(environ: dict[str, str], settings: Settings, stop: asyncio.Event) -> int:
    say("starting (the speech models take a few seconds) …")
    async with Stack(StackOptions(environ, settings.http_port or 8000, settings.http_host)) as stack:
        _introduce(settings, stack)
        while not stop.is_set():
            if ended := [name for name, process in stack.processes.items() if process.poll() is not None]:
                say(paint("bad", f"{', '.join(ended)} ended by itself; stopping."))
                return 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await stop.wait()
        say("stopping …")
    return 0


def _introduce(settings: Settings, stack: Stack) -> None:
    for pool in ("stt", "llm", "tts"):
        spec = settings.providers(pool)[0]
        note = "  (a scripted dialogue, not a language model)" if spec == "local/receptionist" else ""
        say(f"  {pool:<4} {spec}{note}")
    say(f"  answer URL   {settings.public_url or stack.url}/answer")
    say(f"  hangup URL   {settings.public_url or stack.url}/hangup")
    say(f"  metrics      {stack.url}/metrics")
    say(f"  a test call  .venv/bin/python -m tests.simulators.vobiz --answer-url {stack.url}/answer")
    if not settings.public_url:
        say(paint("warn", "PUBLIC_URL is not set: Vobiz cannot reach this machine yet."))
    elif settings.vobiz_auth_id:
        say("  connect a number: make setup-number NUMBER=+911234567890    call out: make call TO=+911234567890")
    else:
        say("  in the Vobiz console, give your application these two URLs and attach a number to it")
    say(paint("good", "ready; Ctrl-C stops everything"))


if __name__ == "__main__":
    sys.exit(asyncio.run(run()))
