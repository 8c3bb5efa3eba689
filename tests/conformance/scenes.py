"""Scenes: tests that are named by the row of the protocol that they walk.

SCENES = Scenes()

@SCENES.walk("2.2 nested start")
async def _(edge, call_id): ...

test_streams = SCENES.test()
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest

from tests.e2e.loopback_edge import Edge

Walk: TypeAlias = Callable[[Edge, str], Awaitable[None]]
"""Takes the module's edge, and the id of a call that nobody else uses."""


class Scenes:
    """The scenes of one module, by row."""

    def __init__(self) -> None:
        self.walks: dict[str, Walk] = {}

    def walk(self, *rows: str) -> Callable[[Walk], Walk]:
        """This scene walks these rows, each as a test of its own."""

        def register(walk: Walk) -> Walk:
            for row in rows:
                assert row not in self.walks, f"{row} is walked twice"
                self.walks[row] = walk
            return walk

        return register

    def test(self) -> Callable[..., Awaitable[None]]:
        """The test of all scenes registered so far."""

        @pytest.mark.anyio
        @pytest.mark.parametrize("row", list(self.walks))
        async def walked(row: str, edge: Edge, call_id: str) -> None:
            await self.walks[row](edge, call_id)

        return walked
