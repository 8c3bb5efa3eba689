"""What may stand in Redis and is no message: wrong types, lies about lengths, nesting, noise (for hypothesis)."""

from __future__ import annotations

from typing import Any

import msgpack
from hypothesis import strategies as st

from common.protocol.codec import TAGS, BadMessage, decode

NESTED: Any = None
for _ in range(200):
    NESTED = [NESTED]

ODD_VALUES: tuple[Any, ...] = (
    *(None, True, -1, -(2**63), 2**31, 2**64 - 1, 0.5, float("nan"), float("inf"), float("-inf")),
    *("", "call-1", "\0", "x" * 70_000, b"", b"\xff\xfe", b"\xff" * 70_000),
    *([], {}, {"call-1": 1}, {1: {2: [3]}}, [["call-1"]], [1, [2, [3, [4]]]], NESTED),
)
RAWS = (
    b"",
    b"\xc1",
    b"hello",
    b"\xff\xfe\xfd",
    b"\x91" * 50_000,
    b"\xdd\xff\xff\xff\xff",
    b"\x92\x46\xdb\xff\xff\xff\xff",
    b"\x92\x3c\xc6\x7f\xff\xff\xffabc",
    b"\x81\x01",
    b"\x92\x46\xd9\x02\xff\xfe",
    b"\x00" * 200_000,
    *map(msgpack.packb, (None, 17, 2**64 - 1, float("nan"), "text", [], [None], ["70", "call-1"], [[70], "call-1"])),
    *map(
        msgpack.packb, ({"tag": 70}, [70.0, "call-1", "error"], [True, 1, "edge-1"], [199, "call-1"], [-70, "call-1"])
    ),
)
"""Of every shape, and each unreadable."""


def is_unreadable(raw: bytes) -> bool:
    try:
        decode(raw)
    except BadMessage:
        return True
    return False


@st.composite
def broken(draw: st.DrawFn, call_id: str, edge: str) -> bytes:
    """A message about a real call in which a field or two are not what they should be, or that ends too soon."""
    cls, tag = draw(st.sampled_from(sorted(TAGS.items(), key=lambda item: item[1])))
    texts = {"call_id": call_id, "edge": edge}
    values: list[Any] = [texts.get(name, draw(st.sampled_from([0, 1, "a", b"a"]))) for name in cls.__struct_fields__]
    for _ in range(draw(st.integers(1, 3))):
        values[draw(st.integers(0, len(values) - 1))] = draw(st.sampled_from(ODD_VALUES))
    raw: bytes = msgpack.packb([tag, *values])
    return raw[: draw(st.integers(0, len(raw)))] if draw(st.booleans()) else raw


def unreadable(call_id: str, edge: str) -> st.SearchStrategy[bytes]:
    """An entry that nobody can read."""
    return (st.sampled_from(RAWS) | broken(call_id, edge) | st.binary(max_size=60)).filter(is_unreadable)
