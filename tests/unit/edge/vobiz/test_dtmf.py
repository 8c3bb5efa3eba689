"""Keys, in every shape in which a stream may tell them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from edge.vobiz.dtmf import KEYS_MAX
from edge.vobiz.stream_protocol import BadFrame, DtmfMessage, parse

pytestmark = pytest.mark.fast

SHAPES: list[tuple[dict[str, Any], str]] = [
    ({"dtmf": {"digit": "1", "track": "inbound", "timestamp": "1778597597091"}}, "1"),
    ({"digit": "1"}, "1"),
    ({"dtmf": "3"}, "3"),
    ({"dtmf": 3}, "3"),
    ({"dtmf": 0}, "0"),
    ({"dtmf": {"digits": "42#"}}, "42#"),
    ({"digits": "42#"}, "42#"),
    ({"dtmf": "560001"}, "560001"),
    ({"dtmf": {"digit": "d"}}, "D"),
    ({"dtmf": "abcd"}, "ABCD"),
    ({"dtmf": "*"}, "*"),
    ({"dtmf": {"digit": 7}}, "7"),
    ({"dtmf": {"digit": " 7 "}}, "7"),
    ({"dtmf": {"digits": ["4", 2, "#"]}}, "42#"),
    ({"dtmf": ["4", "2"]}, "42"),
    ({"dtmf": {"key": "5"}}, "5"),
    ({"dtmf": {"digit": "star"}}, "*"),
    ({"digit": "pound"}, "#"),
    ({"dtmf": {"digit": None, "digits": "9"}}, "9"),
    ({"dtmf": {"digit": ""}, "digit": "9"}, "9"),
    ({"dtmf": None, "digit": "9"}, "9"),
    ({"dtmf": {}, "digits": "9"}, "9"),
    ({"dtmf": "1" * KEYS_MAX}, "1" * KEYS_MAX),
]
NO_KEYS: list[dict[str, Any]] = [
    {}, {"dtmf": None}, {"dtmf": ""}, {"dtmf": " "}, {"dtmf": "E"}, {"dtmf": "1x2"}, {"dtmf": True}, {"dtmf": 1.5},
    {"dtmf": -1}, {"dtmf": [["1"]]}, {"dtmf": [None]}, {"dtmf": {"digit": {"a": 1}}}, {"dtmf": "1" * (KEYS_MAX + 1)},
    {"dtmf": ["1"] * (KEYS_MAX + 1)}, {"dtmf": "\u0661"}, {"dtmf": "\0"},
]  # fmt: skip


@pytest.mark.parametrize(("message", "keys"), SHAPES, ids=lambda value: json.dumps(value)[:40])
def test_keys_are_read_in_every_shape(message: dict[str, Any], keys: str) -> None:
    assert parse(json.dumps({"event": "dtmf", "streamId": "s", **message})) == DtmfMessage(keys)


@pytest.mark.parametrize("message", NO_KEYS, ids=lambda value: json.dumps(value)[:40])
def test_what_is_no_key_is_none(message: dict[str, Any]) -> None:
    with pytest.raises(BadFrame) as caught:
        parse(json.dumps({"event": "dtmf", **message}))
    assert caught.value.kind == "bad dtmf"
