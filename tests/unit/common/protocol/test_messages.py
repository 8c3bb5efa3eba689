"""The wire between pods.  Every message class is found by itself: a new one is tested the day it is born."""

from __future__ import annotations

import inspect
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.protocol import acts, messages
from common.protocol.codec import TAGS, BadMessage, UnknownTag, decode, encode
from common.protocol.messages import AudioOut, Clause, ClausePlayed, Message, ReplyEnded
from tests.hypothesis_profile import examples

pytestmark = pytest.mark.fast

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
    23: "EagerUserTurn",
    24: "WordsDetected",
    25: "KeysEntered",
    30: "ReplyStarted",
    31: "Clause",
    32: "ReplyEnded",
    33: "ReplyReleased",
    34: "ReplyDiscarded",
    35: "ToolsCalled",
    36: "ToolReturned",
    37: "ToolsOffered",
    38: "AgentChanged",
    40: "ClauseSynthesized",
    50: "PlaybackStarted",
    51: "ClausePlayed",
    52: "Interrupted",
    53: "ReplyPlayed",
    54: "DtmfReceived",
    55: "UsageReported",
    56: "ReplyResumed",
    57: "TransferUpdated",
    60: "AudioOut",
    61: "ReplySynthesized",
    70: "HangUp",
    71: "TransferCall",
    72: "SendKeys",
    73: "KeepKeysSecret",
    80: "CallOffered",
}
"""What is out there in running pods.  This table only ever grows."""


def any_value(hint: Any) -> st.SearchStrategy[Any]:
    """Whatever a field of this type may hold."""
    bounds: msgspec.Meta = msgspec.Meta()
    if get_origin(hint) is Annotated:
        hint, bounds = get_args(hint)
    size = min(bounds.max_length or 40, 400)
    match get_origin(hint) or hint:
        case type() as kind if kind is bool:
            return st.booleans()
        case type() as kind if kind is int:
            return st.integers(int(bounds.ge or 0), int(bounds.le or 0))
        case type() as kind if kind is str and bounds.pattern:
            return st.from_regex(bounds.pattern, fullmatch=True).filter(lambda text: len(text) <= size)
        case type() as kind if kind is str:
            return st.text(max_size=min(size, 40))
        case type() as kind if kind is bytes:
            return st.binary(max_size=size)
    *items, last = get_args(hint)
    if last is Ellipsis:
        return st.lists(any_value(items[0]), max_size=min(size, 8)).map(tuple)
    return st.tuples(*map(any_value, get_args(hint)))


def any_message(cls: type[Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls, include_extras=True)
    return st.builds(cls, **{name: any_value(hints[name]) for name in cls.__struct_fields__})


every_class = pytest.mark.parametrize("cls", TAGS, ids=lambda cls: cls.__name__)


@every_class
@given(data=st.data())
@settings(max_examples=examples(30))
def test_every_message_comes_back_as_it_was(cls: type[Any], data: st.DataObject) -> None:
    message = data.draw(any_message(cls))
    again = decode(encode(message))
    assert type(again) is cls
    assert again == message


@every_class
def test_every_message_is_frozen_and_says_what_it_means(cls: type[Any]) -> None:
    assert cls.__struct_config__.frozen
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}(")


def test_every_class_has_a_tag_and_belongs_to_the_union() -> None:
    classes = [item for module in (messages, acts) for _, item in inspect.getmembers(module, inspect.isclass)]
    shapes = {messages.Tagged, messages.EdgeEvent}
    defined = {item for item in classes if issubclass(item, messages.Tagged)} - shapes
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
    fields = msgspec.structs.fields(cls)
    defaults = [field for field in fields if not field.required]
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
        encode(ClausePlayed(1, 1))[:-1],
        encode(ClausePlayed(1, 1)) + b"\x00",
    ],
)
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(raw)
    assert not isinstance(caught.value, UnknownTag)


@settings(max_examples=examples(1500), deadline=None)
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


NO_VALUES = (None, "text", b"bytes", 1.5, float("nan"), float("inf"), -(2**62), 2**63, [], [[]], {"a": 1}, ["x", [b""]])


@every_class
def test_a_field_of_another_type_makes_the_entry_unreadable(cls: type[Any]) -> None:
    packed = msgpack.unpackb(encode(_sample(cls)))
    hints = get_type_hints(cls)
    for at, name in enumerate(cls.__struct_fields__, start=1):
        for value in NO_VALUES:
            if isinstance(value, get_origin(hints[name]) or hints[name]) and not isinstance(value, int):
                continue
            if value == [] and get_origin(hints[name]) is tuple:
                continue
            with pytest.raises(BadMessage) as caught:
                decode(msgpack.packb([*packed[:at], value, *packed[at + 1 :]]))
            assert not isinstance(caught.value, UnknownTag)


@pytest.mark.parametrize(
    "fields",
    [
        [70, {"a": 1}, "error"],
        [80, {"call": "c-1"}],
        [80, ["c-1"]],
        [80, b"c-1"],
        [80, "c" * 65],
        [51, 1, 2**40],
        [51, 1, -1],
        [60, "c-1", 1, 1, 2, 0, 0, b"\xff" * 10_000_000],
        [22, 1, "hello", [1, 2, float("nan")]],
        [22, 1, "hello", [-1]],
        [22, 1, "hello", [1], 1],
        [True, 1, "edge-1"],
    ],
    ids=lambda fields: repr(fields)[:60],
)
def test_what_ended_a_process_once_is_one_unreadable_entry(fields: list[Any]) -> None:
    with pytest.raises(BadMessage) as caught:
        decode(msgpack.packb(fields))
    assert not isinstance(caught.value, UnknownTag)
    assert len(str(caught.value)) < 300


def test_nesting_without_end_is_one_unreadable_entry() -> None:
    for raw in (
        b"\x91" * 100_000,
        b"\x92\x46" + b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x46\xdb\xff\xff\xff\xff",
    ):
        with pytest.raises(BadMessage):
            decode(raw)


def test_half_an_emoji_leaves_as_a_question_mark_and_not_as_an_error() -> None:
    assert decode(encode(Clause(2, 0, "fine \ud83d", ()))) == Clause(2, 0, "fine ?", ())


def _sample(cls: type[Any]) -> Any:
    hints = get_type_hints(cls)
    return cls(*(_sample_value(hints[name]) for name in cls.__struct_fields__))


def _sample_value(hint: Any) -> Any:
    samples: dict[Any, Any] = {int: 7, str: "7", bytes: b"\x07" * 160, bool: True}
    if hint in samples:
        return samples[hint]
    *items, last = get_args(hint)
    return (_sample_value(items[0]),) * 2 if last is Ellipsis else tuple(map(_sample_value, get_args(hint)))
