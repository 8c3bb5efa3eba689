"""The contract between the socket shell (`socket_stream.py`) and a vendor's core.  Pure.

A core translates one vendor's protocol.  It does no I/O and reads no clock: `now` is an argument, in seconds of any
monotonic clock.  A new vendor is a core and an engine file that opens the socket.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from workers.providers.interfaces import Down, SttEvent

PING = "\x00ping"
"""Stands for a WebSocket ping among the texts to send."""
IDLE_S = 5.0
"""After this long without audio (the edge is gone), cores that place turns by the audio end an open turn in `wake`."""

Effect: TypeAlias = SttEvent | str
"""An event for the session, or a text to send to the vendor after all audio fed so far."""


class SttCore(Protocol):
    """One stream's core.

    The shell sends the audio itself, from an `AudioFeed`: its bound drops the oldest audio before a position in the
    vendor's time is given away, so audio is not among the effects.  Each method raises a ProviderError when the stream
    cannot go on: `UnresponsiveVendor` if there are events to deliver first.
    """

    @property
    def deadline(self) -> float | None:
        """When `wake` is due; None: not until something else happens."""

    def feed(self, position_ms: int, mulaw: bytes, now: float) -> Iterable[Effect]:
        """Take audio that was put into the feed: never twice the same, and in order."""

    def receive(self, raw: str | bytes, now: float) -> Iterable[Effect]:
        """Take a message.  A LookupError, TypeError, ValueError, ArithmeticError or AttributeError: it is malformed."""

    def wake(self, now: float) -> Iterable[Effect]:
        """Take note that `deadline` has passed, or that audio was sent."""


class UnresponsiveVendor(Down):
    """The final words did not come; `events` is what is known without them."""

    def __init__(self, text: str, events: tuple[SttEvent, ...] = ()) -> None:
        super().__init__(text)
        self.events = events


@dataclass(frozen=True, slots=True)
class SttStreamOptions:
    """The deadlines of a stream, in seconds, and the bound of its backlog."""

    connect_s: float = 3.0
    """Name, TCP, TLS and upgrade together."""
    mute_s: float = 3.0
    """Audio was sent and no message of any kind came for this long: the socket is pinged."""
    pong_s: float = 3.0
    """How long a ping may stay unanswered."""
    ping_s: float = 5.0
    """Pause between two pings, for a vendor that is pinged regularly (`SocketProfile.answer_ms` is 0)."""
    send_s: float = 5.0
    """How long one message may take to leave, for the same vendors; others are found by `mute_s`."""
    unresponsive_s: float = 6.0
    """This much speech, over at least as much time, without any message: the vendor does not process the audio."""
    final_s: float = 1.5
    """How long the final words of a turn may take before the vendor is asked for them, or given up."""
    grace_s: float = 0.7
    """How long after that the known words are taken as they are."""
    keepalive_s: float = 4.0
    """After this long without audio, `SocketProfile.keepalive` is sent."""
    backlog_ms_max: int = 60_000
    """Audio that waits to be sent; a replay after a takeover brings up to 30 s at once."""


def _untouched(mulaw: bytes) -> bytes | str:
    return mulaw


@dataclass(frozen=True, slots=True)
class SocketProfile:
    """How a vendor's socket is spoken to."""

    name: str
    """"vendor/model", for errors and metrics."""
    message_ms: int = 20
    """Live audio is sent in messages at least this long."""
    message_ms_max: int = 200
    """A backlog is sent in messages at most this long."""
    answer_ms: int = 0
    """A vendor that works has answered something after this much audio, speech or not.

    0: this vendor is silent while the caller is, so silence proves nothing; its socket is pinged regularly.
    """
    keepalive: str = ""
    """The text that keeps an idle socket open, or `PING`; empty: the vendor does not close idle sockets."""
    goodbye: str = ""
    """The last text."""
    encode: Callable[[bytes], bytes | str] = _untouched
    """Makes a message of mu-law audio."""
