"""Messages as bytes: msgpack of `[tag, *fields]`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgpack

from common.messages import (
    AudioEnded,
    AudioIn,
    AudioOut,
    AudioStarted,
    CallEnded,
    CallStarted,
    Clause,
    Digit,
    HangUp,
    Interrupted,
    MaybeTurn,
    Message,
    Offer,
    OwnerChanged,
    Played,
    PlayStarted,
    Release,
    ReplyEnded,
    ReplyPlayed,
    ReplySpoken,
    ReplyStarted,
    Resumed,
    SpeechEnded,
    SpeechStarted,
    Spoken,
    Understood,
    Used,
    UserTurn,
    Withdrawn,
)


class BadMessage(ValueError):
    """The bytes are no message at all: not msgpack, no tag, or too few fields."""


class UnknownTag(BadMessage):
    """A message from a newer process: skip it and count it."""


TAGS: dict[type[Any], int] = {
    AudioStarted: 1,
    AudioIn: 2,
    AudioEnded: 3,
    CallStarted: 10,
    CallEnded: 11,
    OwnerChanged: 12,
    SpeechStarted: 20,
    SpeechEnded: 21,
    UserTurn: 22,
    MaybeTurn: 23,
    Understood: 24,
    ReplyStarted: 30,
    Clause: 31,
    ReplyEnded: 32,
    Release: 33,
    Withdrawn: 34,
    Spoken: 40,
    PlayStarted: 50,
    Played: 51,
    Interrupted: 52,
    ReplyPlayed: 53,
    Digit: 54,
    Used: 55,
    Resumed: 56,
    AudioOut: 60,
    ReplySpoken: 61,
    HangUp: 70,
    Offer: 80,
}
"""Forever: never renumber, never reuse."""


def _reader(cls: type[Any]) -> Callable[[Any], tuple[Any, ...]]:
    """All fields of a message as a tuple, by one C call."""
    names = [field.name for field in fields(cls)]
    if len(names) > 1:
        return attrgetter(*names)
    (name,) = names
    return lambda message: (getattr(message, name),)


_values = {cls: _reader(cls) for cls in TAGS}
_types: dict[int, tuple[type[Any], int]] = {tag: (cls, len(fields(cls))) for cls, tag in TAGS.items()}


def encode(message: Message) -> bytes:
    """The message as it stands in field `d` of a stream entry."""
    cls = type(message)
    packed: bytes = msgpack.packb((TAGS[cls], *_values[cls](message)))
    return packed


def decode(raw: bytes) -> Message:
    """The message in `raw`.  Raises `UnknownTag` for a newer process's message, `BadMessage` for anything else."""
    try:
        tag, *body = msgpack.unpackb(raw, use_list=False)
    except (ValueError, TypeError) as error:
        raise BadMessage(f"expected a msgpack array [tag, ...], got {len(raw)} bytes: {type(error).__name__}") from None
    if not isinstance(tag, int):
        raise BadMessage("expected a number as the tag")
    if tag not in _types:
        raise UnknownTag(f"tag {tag!r} is not known here")
    cls, count = _types[tag]
    try:
        message: Message = cls(*body[:count])
    except TypeError as error:
        raise BadMessage(f"{cls.__name__}: {error}") from None
    return message
