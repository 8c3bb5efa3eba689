"""Types and bounds of the fields of messages, and the two base classes of messages (messages.py)."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A number of something in one call, counted from 0 or 1; the upper bound is never reached."""
CountOrNone: TypeAlias = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
"""As `Count`; the meaning of -1 is given at the field."""
ClauseNumber: TypeAlias = Annotated[int, Meta(ge=0, le=20_000)]
"""A number of a clause; a reply has fewer clauses than a call may have events (EVENTS_MAXLEN)."""
PositionMs: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
UnixMs: TypeAlias = Annotated[int, Meta(ge=0, le=2**47)]
"""Unix time in ms, up to the year 6429."""
CallId: TypeAlias = Annotated[str, Meta(max_length=64)]
NodeId: TypeAlias = Annotated[str, Meta(max_length=300)]
Word: TypeAlias = Annotated[str, Meta(max_length=300)]
"""A pool, a reason or the name of a model; never a caller's words."""
Text: TypeAlias = Annotated[str, Meta(max_length=100_000)]
Mulaw: TypeAlias = Annotated[bytes, Meta(max_length=64_000)]
"""mu-law audio, at most 8 s; one entry has one frame to about ten frames."""
Amounts: TypeAlias = Annotated[tuple[tuple[Word, Annotated[int, Meta(ge=0, le=2**53)]], ...], Meta(max_length=100)]
CharTimings: TypeAlias = Annotated[tuple[tuple[Count, Count], ...], Meta(max_length=100_000)]

StageMs: TypeAlias = Annotated[tuple[UnixMs, ...], Meta(max_length=32)]
"""Unix times in ms of the stages of one reply, in the order of `STAGES`; each process appends its own."""

STAGES = ("speech_end", "endpoint", "transcript", "first_token", "first_clause", "first_audio", "first_frame")
"""The stages of a reply.  `first_frame - speech_end` is the caller's wait, up to the carrier."""

HeardPosition: TypeAlias = Annotated[tuple[Count, ...], Meta(max_length=3)]
"""How much of a reply the caller has heard: (turn, clause, ms) is every clause before `clause`, and `ms` of that one.
Empty: no reply is unfinished, or the position is not known."""

USAGE_UNITS = ("audio_ms", "characters", "tokens_in", "tokens_cached", "tokens_out")
"""Units in which providers charge: audio recognised, characters spoken, tokens (`tokens_in` includes the cached)."""


class Tagged(Struct, frozen=True, array_like=True, gc=False):
    """Base of all messages: the array `[tag, *fields]` on the bus, type-checked and bound-checked when decoded."""


class EdgeEvent(Tagged, frozen=True, eq=False):
    """Base of the events that an edge writes about its connection `epoch`; 0: of any connection.

    Comparison leaves the epoch out: what the caller heard does not depend on the connection that reported it.
    """

    def _compared_fields(self) -> tuple[object, ...]:
        return (type(self), *(getattr(self, name) for name in self.__struct_fields__ if name != "epoch"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EdgeEvent) and self._compared_fields() == other._compared_fields()

    def __hash__(self) -> int:
        return hash(self._compared_fields())
