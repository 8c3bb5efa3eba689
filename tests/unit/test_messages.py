"""The wire between pods.  Every message class is found by itself: a new one is tested the day it is born."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, get_args, get_type_hints

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common import messages
from common.messages import AudioOut, Clause, Message, Played, ReplyEnded
from common.packing import TAGS, BadMessage, UnknownTag, decode, encode

NAMES = {
    1: "AudioStarted",
    2: "AudioIn",
    3: "AudioEnded",
    10: "CallStarted",
    11: "CallEnded",
    12: "OwnerChanged",
    20: "SpeechStarted",
    21: "SpeechEnded",
    22: "UserTurn",
    23: "MaybeTurn",
    24: "Understood",
    30: "ReplyStarted",
    31: "Clause",
    32: "ReplyEnded",
    33: "Release",
    34: "Withdrawn",
    40: "Spoken",
    50: "PlayStarted",
    51: "Played",
    52: "Interrupted",
    53: "ReplyPlayed",
    54: "Digit",
    55: "Used",
    56: "Resumed",
    60: "AudioOut",
    61: "ReplySpoken",
    70: "HangUp",
    80: "Offer",
}
"""What is out there in running pods.  This table only ever grows."""

VALUES: dict[Any, st.SearchStrategy[Any]] = {
    int: st.integers(-(2**31), 2**63 - 1),
    str: st.text(max_size=40),
    bytes: st.binary(max_size=400),
    bool: st.booleans(),
    tuple[tuple[int, int], ...]: st.lists(st.tuples(st.integers(0, 500), st.integers(0, 60_000)), max_size=8).map(
        tuple
    ),
    tuple[tuple[str, int], ...]: st.lists(st.tuples(st.text(max_size=20), st.integers(0, 2**40)), max_size=4).map(
        tuple
    ),
    messages.Stamps: st.lists(st.integers(0, 2**50), max_size=8).map(tuple),
}


def any_message(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{field.name: VALUES[hints[field.name]] for field in dataclasses.fields(cls)})


every_class = pytest.mark.parametrize("cls", TAGS, ids=lambda cls: cls.__name__)


@every_class
@given(data=st.data())
@settings(max_examples=30)
def test_every_message_comes_back_as_it_was(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(any_message(cls))
    again = decode(encode(message))
    assert type(again) is cls
    assert again == message


@every_class
def test_every_message_is_frozen_and_says_what_it_means(cls: type[Any]) -> None:
    assert cls.__dataclass_params__.frozen
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")


def test_every_class_has_a_tag_and_belongs_to_the_union() -> None:
    defined = {item for _, item in inspect.getmembers(messages, dataclasses.is_dataclass)}
    assert defined == set(TAGS) == set(get_args(Message))


def test_tags_are_unique_and_none_was_renumbered() -> None:
    tags = {tag: cls.__name__ for cls, tag in TAGS.items()}
    assert len(tags) == len(TAGS)
    assert tags.items() >= NAMES.items()


@every_class
def test_a_message_of_a_newer_pod_with_more_fields_is_understood(cls: type[Any]) -> None:
    message = _sample(cls)
    longer = msgpack.packb([*msgpack.unpackb(encode(message)), "a new field", {"another": 1}])
    assert decode(longer) == message


@every_class
def test_a_message_of_an_older_pod_lacks_only_fields_with_a_default(cls: type[Any]) -> None:
    fields = dataclasses.fields(cls)
    defaults = [field for field in fields if field.default is not dataclasses.MISSING]
    assert tuple(fields[len(fields) - len(defaults) :]) == tuple(defaults)  # a message grows at its end
    packed = msgpack.unpackb(encode(_sample(cls)))
    shortest = decode(msgpack.packb(packed[: len(packed) - len(defaults)]))
    for field in defaults:
        assert getattr(shortest, field.name) == field.default
    if len(fields) > len(defaults):
        with pytest.raises(BadMessage, match=cls.__name__):
            decode(msgpack.packb(packed[: len(packed) - len(defaults) - 1]))


def test_messages_that_grew_are_read_in_their_first_form() -> None:
    assert decode(msgpack.packb([31, 2, 0, "Hello."])) == Clause(2, 0, "Hello.", ())
    assert decode(msgpack.packb([32, 2, 1])) == ReplyEnded(2, 1, "")
    assert decode(msgpack.packb([60, "c-1", 1, 1, 2, 0, 0, b"\xff"])) == AudioOut("c-1", 1, 1, 2, 0, 0, b"\xff")


def test_an_unknown_tag_is_told_from_garbage() -> None:
    with pytest.raises(UnknownTag, match="199"):
        decode(msgpack.packb([199, "from a newer pod"]))


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"hello",
        msgpack.packb(17),
        msgpack.packb(None),
        msgpack.packb([]),
        msgpack.packb("text"),
        msgpack.packb({"a": 1}),
        msgpack.packb(["51", 1, 1]),
        msgpack.packb([None]),
        msgpack.packb([51.5, 1, 1]),
        encode(Played(1, 1))[:-1],
        encode(Played(1, 1)) + b"\x00",
    ],
)
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(raw)
    assert not isinstance(caught.value, UnknownTag)


@settings(max_examples=1500, deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_do_harm(raw: bytes) -> None:
    try:
        message = decode(raw)
    except BadMessage:
        return
    assert type(message) in TAGS


def test_an_error_does_not_tell_what_was_said() -> None:
    with pytest.raises(BadMessage) as caught:
        decode(msgpack.packb([22, "the caller's words"]))
    assert "words" not in str(caught.value)


def _sample(cls: type[Any]) -> Any:
    samples: dict[Any, Any] = {int: 7, str: "seven", bytes: b"\x07" * 160, bool: True, messages.Stamps: (1, 2, 3)}
    samples[tuple[tuple[int, int], ...]] = ((1, 2), (3, 4))
    samples[tuple[tuple[str, int], ...]] = (("tokens_in", 7),)
    hints = get_type_hints(cls)
    return cls(*(samples[hints[field.name]] for field in dataclasses.fields(cls)))
