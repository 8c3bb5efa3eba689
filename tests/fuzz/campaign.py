"""A run of all properties: so many inputs for each part, from a seed, and what came out."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from edge.vobiz.signatures import Policy
from tests.e2e.loopback_edge import running_edge
from tests.fuzz.inputs import BODIES, FIELDS, FIELDS_OF_A_CALL, FRAMES, GOOD_TOKEN, HEADERS, KINDS, tokens
from tests.fuzz.properties import (
    HOOKS,
    Tally,
    check_frame,
    check_parameters,
    check_socket,
    check_token,
    check_webhook,
    webhooks,
)

SHARES = {"frames": 50, "tokens": 10, "parameters": 10, "webhooks": 15, "sockets": 15}
"""Per cent of all inputs."""
ROUNDS_MAX = 50
"""hypothesis stops early where it finds nothing new: then the next seed."""
SEQUENCE_MAX = 40


@dataclass
class Campaign:
    """`run` once.  A property that fails raises, with the smallest input that hypothesis finds."""

    inputs: int
    seed: int = 1
    tally: Tally = field(default_factory=Tally)
    took_s: dict[str, float] = field(default_factory=dict)

    def run(self) -> Tally:
        with asyncio.Runner() as runner:
            parts: dict[str, Callable[[asyncio.Runner], None]] = {
                "frames": self._frames,
                "tokens": self._tokens,
                "parameters": self._parameters,
                "webhooks": self._webhooks,
                "sockets": self._sockets,
            }
            for part, run in parts.items():
                began = time.perf_counter()
                run(runner)
                self.took_s[part] = time.perf_counter() - began
        return self.tally

    def _frames(self, runner: asyncio.Runner) -> None:
        self._feed("frames", FRAMES, lambda frame: check_frame(frame, self.tally))

    def _tokens(self, runner: asyncio.Runner) -> None:
        self._feed("tokens", tokens(), lambda token: check_token(token, GOOD_TOKEN, self.tally))

    def _parameters(self, runner: asyncio.Runner) -> None:
        def check(one: tuple[bytes, str, bytes]) -> None:
            body, kind, query = one
            runner.run(check_parameters(body, kind, query, self.tally))

        self._feed("parameters", st.tuples(BODIES, KINDS, st.binary(max_size=20)), check)

    def _webhooks(self, runner: asyncio.Runner) -> None:
        async def check(policy: Policy, client: httpx.AsyncClient, one: Any) -> None:
            method, path, headers, kind, content, query = one
            body = {"data": content} if isinstance(content, dict) else {"content": content}
            typed = {"content-type": kind} if kind and not isinstance(content, dict) else {}
            request = client.build_request(method, path, params=query, headers={**headers, **typed}, **body)
            await check_webhook(client, request, self.tally)

        requests = st.tuples(
            st.sampled_from(("POST",) * 6 + ("GET", "PUT")),
            st.sampled_from((*HOOKS, *HOOKS, "/v1/calls", "/v1/calls/call-1", "/answer/x", "/ws")),
            HEADERS, KINDS, FIELDS_OF_A_CALL | FIELDS | BODIES, st.just({}) | FIELDS,
        )  # fmt: skip
        stack = AsyncExitStack()
        clients = {policy: runner.run(stack.enter_async_context(webhooks(policy))) for policy in Policy}
        turns = itertools.cycle([Policy.OFF, Policy.OFF, Policy.IF_PRESENT, Policy.REQUIRED])
        try:
            self._feed("webhooks", requests, lambda one: runner.run(_on(clients, next(turns), check, one)))
        finally:
            runner.run(stack.aclose())

    def _sockets(self, runner: asyncio.Runner) -> None:
        numbers = itertools.count()
        sequences = st.lists(
            st.tuples(st.sampled_from((False, False, False, True)), FRAMES), min_size=1, max_size=SEQUENCE_MAX
        )
        stack = AsyncExitStack()
        edge = runner.run(stack.enter_async_context(running_edge(calls_max=10_000)))
        other = runner.run(stack.enter_async_context(edge.call("other")))

        def check(frames: list[tuple[bool, bytes]]) -> None:
            runner.run(check_socket(edge, other, f"call-{next(numbers)}", frames, self.tally))

        try:
            self._feed("sockets", sequences, check)
        finally:
            runner.run(stack.aclose())

    def _feed(self, part: str, strategy: st.SearchStrategy[Any], check: Callable[[Any], None]) -> None:
        """Until the part has had its share of the inputs."""
        wanted = self.inputs * SHARES[part] // 100
        for number in range(ROUNDS_MAX):
            missing = wanted - self.tally.inputs[part]
            if missing <= 0:
                return
            examples = max(20, missing // 20) if part == "sockets" else missing  # a sequence is many inputs

            @seed(self.seed + number)
            @settings(
                max_examples=examples,
                database=None,
                deadline=None,
                phases=(Phase.generate, Phase.shrink),
                suppress_health_check=list(HealthCheck),
            )
            @given(strategy)
            def feed(one: Any) -> None:
                check(one)

            feed()


async def _on(
    clients: dict[Policy, httpx.AsyncClient],
    policy: Policy,
    check: Callable[[Policy, httpx.AsyncClient, Any], Coroutine[Any, Any, None]],
    one: Any,
) -> None:
    await check(policy, clients[policy], one)
