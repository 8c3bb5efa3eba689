"""Whoever keeps failing is told to wait; whoever is valid never is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from edge.http.limits.rate_limit import GUESSES_AT_ONCE, Buckets, Limited, client_address
from edge.http.limits.slow_clients import HALF_OPEN_MAX, HalfOpen

pytestmark = pytest.mark.fast

PROXIES = ("10.0.0.0/8", "fd00::/8")


def test_a_stranger_may_fail_for_a_while_and_then_waits() -> None:
    buckets = Buckets(at_once=3, per_second=0.5)
    for _ in range(3):
        assert buckets.wait_s("198.51.100.7", 100.0) == 0
        buckets.charge("198.51.100.7", 100.0)
    assert buckets.wait_s("198.51.100.7", 100.0) == 2
    assert buckets.wait_s("198.51.100.7", 101.0) == 1
    assert buckets.wait_s("198.51.100.7", 102.0) == 0
    assert buckets.wait_s("203.0.113.9", 100.0) == 0  # somebody else


def test_a_flood_is_forgiven_once_it_is_over() -> None:
    buckets = Buckets(at_once=3, per_second=1.0)
    for _ in range(10_000):
        buckets.charge("198.51.100.7", 100.0)
    assert buckets.wait_s("198.51.100.7", 103.0) == 0
    buckets.charge("198.51.100.7", 103.0)
    assert buckets.wait_s("198.51.100.7", 103.0) == 0  # there were three again


def test_the_table_has_an_end_and_forgets_who_was_quiet_longest() -> None:
    buckets = Buckets(at_once=1, per_second=0.001, addresses_max=100)
    for number in range(1000):
        buckets.charge(f"192.0.2.1-{number}", float(number) / 1000)
        buckets.charge("198.51.100.7", float(number) / 1000)  # never quiet
        assert len(buckets) <= 100
    assert buckets.wait_s("198.51.100.7", 1.0) > 0
    assert buckets.wait_s("192.0.2.1-0", 1.0) == 0


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # no proxy of ours: it may write what it likes
        ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("10.1.2.3", "1.1.1.1, 203.0.113.9, 10.9.9.9", "203.0.113.9"),  # what stands before it, the client wrote
        ("10.1.2.3", "", "10.1.2.3"),
        ("10.1.2.3", "unknown", ""),
        ("10.1.2.3", "10.4.4.4", "10.4.4.4"),
        ("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3::4", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::9", "", "2001:db8:1:2::/64"),
        ("::ffff:198.51.100.7", "", "198.51.100.7"),
        ("", "", ""),
    ],
)
def test_who_asks(peer: str, forwarded_for: str, address: str) -> None:
    assert client_address(peer, forwarded_for, PROXIES) == address


class Edge:
    """An edge that answers every request with `status`, behind a proxy of ours."""

    def __init__(self) -> None:
        self.status, self.now_s = 401, 1000.0
        self._app = Limited(self._answer, Buckets(), ("10.0.0.0/8",), lambda: self.now_s)

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def asked_by(self, address: str, peer: str = "10.0.0.1") -> int:
        """The status that the address gets."""
        sent: list[dict[str, Any]] = []
        headers = [(b"x-forwarded-for", address.encode())]
        scope = {"type": "http", "path": "/v1/calls", "client": (peer, 1), "headers": headers, "method": "GET"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, None, send))  # type: ignore[arg-type]
        return int(sent[0]["status"])


def test_who_guesses_tokens_is_slowed_soon_and_nobody_else_is() -> None:
    edge = Edge()
    guesses = [edge.asked_by("198.51.100.7") for _ in range(GUESSES_AT_ONCE + 5)]
    assert guesses == [401] * GUESSES_AT_ONCE + [429] * 5
    assert edge.asked_by("203.0.113.9") == 401, "another client behind the same proxy"
    assert edge.asked_by("", peer="198.51.100.8") == 401
    edge.status = 403
    assert edge.asked_by("198.51.100.7") == 403, "other failures have a count of their own"
    edge.status = 200
    assert edge.asked_by("198.51.100.7") == 200, "the right token is served"
    edge.status, edge.now_s = 401, edge.now_s + 5.0
    assert [edge.asked_by("198.51.100.7") for _ in range(2)] == [401, 429]


class Later:
    """`call_later`, done by hand."""

    def __init__(self) -> None:
        self.timers: list[Later.Timer] = []

    def __call__(self, seconds: float, callback: object, *about: object) -> Later.Timer:
        self.timers.append(timer := Later.Timer(callback, about))
        return timer

    class Timer:
        def __init__(self, callback: object, about: tuple[object, ...]) -> None:
            self.callback, self.about, self.cancelled = callback, about, False

        def cancel(self) -> None:
            self.cancelled = True

        def fire(self) -> None:
            assert not self.cancelled
            self.callback(*self.about)  # type: ignore[operator]


def test_a_connection_that_asks_for_nothing_is_closed_in_time() -> None:
    later, closed = Later(), []
    half_open = HalfOpen(later)
    half_open.enter("silent", lambda: closed.append("silent"))
    half_open.enter("asks", lambda: closed.append("asks"))
    half_open.leave("asks")
    assert [timer.cancelled for timer in later.timers] == [False, True]
    later.timers[0].fire()
    assert (closed, len(half_open)) == (["silent"], 0)
    half_open.leave("silent")  # its connection_lost


def test_a_request_that_drips_has_the_same_time_from_its_first_byte() -> None:
    later, closed = Later(), []
    half_open = HalfOpen(later)
    half_open.enter("slow", lambda: closed.append("slow"))
    half_open.enter("slow", lambda: closed.append("slow"))  # its first byte
    assert [timer.cancelled for timer in later.timers] == [True, False]
    assert len(half_open) == 1


def test_in_a_crowd_the_oldest_goes() -> None:
    later, closed = Later(), []
    half_open = HalfOpen(later, most=HALF_OPEN_MAX)
    for number in range(2 * HALF_OPEN_MAX):
        half_open.enter(number, lambda number=number: closed.append(number))  # type: ignore[misc]
        assert len(half_open) <= HALF_OPEN_MAX
    assert closed == list(range(HALF_OPEN_MAX))
    assert sum(not timer.cancelled for timer in later.timers) == HALF_OPEN_MAX
