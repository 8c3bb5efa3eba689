"""Measures the cost of one token of a streamed answer: the openai package's decoder, and workers/llm/engines/sse.py.

    python -m benchmarks.tokens --tokens 2000 --rounds 5

CPU time of this process, which is also the server, for both decoders.  Rounds alternate; medians are compared.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

import openai

from benchmarks.report import surroundings, table
from simulators.openai_standin import OpenAIStandin, standing_in, stop, text
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat

ASKED = [{"role": "user", "content": "Tell me everything."}]


async def by_the_package(client: openai.AsyncOpenAI) -> None:
    """Decode every chunk as an object of the package."""
    stream = await client.chat.completions.create(model="gpt-4o-mini", messages=ASKED, stream=True)  # type: ignore
    async for chunk in stream:
        for choice in chunk.choices:
            assert choice.delta is not None


async def by_ours(model: OpenAIChat) -> None:
    """Decode as the LLM worker does."""
    async for _ in model.reply(ASKED):
        pass


async def measured(server: OpenAIStandin, tokens: int, ask: Callable[[], Awaitable[None]]) -> float:
    """Return the CPU microseconds per token."""
    server.will(*text(*["word "] * tokens), *stop())
    began = time.process_time()
    await ask()
    return 1e6 * (time.process_time() - began) / tokens


async def run(tokens: int, rounds: int) -> None:
    """Measure both decoders and print the table."""
    async with standing_in() as server:
        model = OpenAIChat("gpt-4o-mini", key="none", url=server.url, options=ChatOptions(tokens_max=None))
        client = openai.AsyncOpenAI(api_key="none", base_url=server.url, max_retries=0)
        took: dict[str, list[float]] = {"the package": [], "ours": []}
        for _ in range(rounds):
            took["the package"].append(await measured(server, tokens, lambda: by_the_package(client)))
            took["ours"].append(await measured(server, tokens, lambda: by_ours(model)))
        await model.aclose()
        await client.close()
    rows = [[name, f"{statistics.median(times):.0f}"] for name, times in took.items()]
    print(table(["decoder", "CPU µs per token, server included"], rows))
    around = surroundings("benchmarks.tokens", "no Redis")
    print(f"\n`{around['command']}`, commit {around['commit']}, Python {around['python']}; {around['note']}")


def main() -> None:
    """Parse the command line and run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tokens", type=int, default=2000)
    options.add_argument("--rounds", type=int, default=5)
    chosen = options.parse_args()
    asyncio.run(run(chosen.tokens, chosen.rounds))


if __name__ == "__main__":
    main()
