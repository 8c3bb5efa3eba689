"""A worker of whichever release is on the path, with that release's own test doubles as its provider.

Run as a file with the release's folder as PYTHONPATH: `python -P scripted_worker.py <pool> <answers as JSON>`.
"""

import asyncio
import importlib
import json
import runpy
import sys
from typing import Any


async def _nothing() -> None:
    await asyncio.sleep(0)


def provider(pool: str, answers: dict[str, str]) -> Any:
    """The double of the pool; speech is text that can be read off the audio (tests/calls/doubles.py)."""
    doubles = importlib.import_module("tests.calls.doubles")
    made = {"stt": doubles.TextEars, "llm": lambda: doubles.Mind(answers), "tts": doubles.Mouth}[pool]()
    made.warm = made.aclose = _nothing
    return made


def main() -> None:
    """Add the double to the pool's vendors, as "test", and be `python -m workers.<pool>`."""
    pool, answers = sys.argv[1], json.loads(sys.argv[2])
    vendors = importlib.import_module(f"workers.{pool}.engines.catalog")
    made = provider(pool, answers)
    vendor = importlib.import_module("workers.providers.catalog").Vendor
    vendors.VENDORS["test"] = vendor(lambda model, environ: made, "test/it")
    sys.argv = [f"workers.{pool}"]
    runpy.run_module(f"workers.{pool}", run_name="__main__")


if __name__ == "__main__":
    main()
