"""Runs the scripted vendors of simulators/providers as a separate process, so that a stack needs no keys."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tools.children import die_with_parent
from tools.stack import ROOT, StackError

SCRIPT = ROOT / "simulators" / "providers" / "demo.json"
CALLER = SCRIPT.with_name("demo_caller.json")
"""The script of the demo's caller: pauses in its recordings separate the speeches as `SCRIPT` lists them."""
CHOICE = {
    "STT_PROVIDER": "deepgram/nova-3",
    "LLM_PROVIDER": "openai/gpt-4o-mini",
    "TTS_PROVIDER": "elevenlabs/eleven_flash_v2_5",
}
READY_SECONDS = 30.0
STOP_SECONDS = 5.0
READY = "# ready"


@asynccontextmanager
async def fake_providers(script: Path = SCRIPT) -> AsyncIterator[dict[str, str]]:
    """Yield the settings that point a stack to the fake vendors while the block runs.  Raises StackError."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "simulators.providers", "--script", str(script)),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        preexec_fn=die_with_parent(),
        start_new_session=True,  # Ctrl-C must reach only the parent, which ends this process after the stack
    )
    try:
        yield {**CHOICE, **await _settings(process)}
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _settings(process: asyncio.subprocess.Process) -> dict[str, str]:
    """Return the `NAME=value` lines that the process prints until it is ready.  Raises StackError."""
    assert process.stdout is not None
    found: dict[str, str] = {}
    try:
        async with asyncio.timeout(READY_SECONDS):
            async for raw in process.stdout:
                line = raw.decode().strip()
                if line == READY:
                    return found
                name, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    found[name] = value
    except TimeoutError:
        raise StackError(f"The fake providers were not ready within {READY_SECONDS:.0f} s.") from None
    raise StackError("The fake providers could not start; their error is above.")
