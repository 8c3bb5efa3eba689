"""`python -m benchmarks.chaos.crashing_llm`: runs an LLM worker that dies of one caller's words.

It is `python -m workers.llm`, except that a request whose dialogue contains `POISON` ends the process at once, like a
segmentation fault in a library.
"""

from __future__ import annotations

import os
import runpy
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.chaos.sentences import POISON
from workers.llm.engines.catalog import VENDORS
from workers.providers.interfaces import ChatMessage, LanguageModel, Piece

EXIT_CODE = 139


class CrashingModel:
    """See `workers.providers.interfaces.LanguageModel`."""

    def __init__(self, model: LanguageModel) -> None:
        self._model = model

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> AsyncIterator[Piece]:
        if any(POISON in str(message.get("content")) for message in dialogue):
            os._exit(EXIT_CODE)
        async for piece in self._model.reply(dialogue, tools, prefix):
            yield piece

    async def warm(self) -> None:
        await self._model.warm()

    async def aclose(self) -> None:
        await self._model.aclose()


def main() -> None:
    """Run the worker."""
    known = VENDORS["openai"]

    def build(model: str, environ: Mapping[str, str]) -> LanguageModel:
        return CrashingModel(known.build(model, environ))

    VENDORS["openai"] = replace(known, build=build)
    runpy.run_module("workers.llm", run_name="__main__")


if __name__ == "__main__":
    main()
