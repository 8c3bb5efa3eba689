"""The append that is put together from a kept head is the one that the library would pack."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.bus.redis import FIELD, append_command
from common.protocol.redis_keys import call_audio, call_events, edge_audio, edge_priority, maxlen, pool_calls
from common.redis.connection import pack

pytestmark = pytest.mark.fast

KEYS = [call_audio("call-1"), call_events("call-1"), edge_audio("edge-1"), edge_priority("edge-1"), pool_calls("stt")]
STREAMS = [*KEYS, call_audio("ein Anruf mit Ümlaut"), "$0\r\n\r\n"]


@given(st.sampled_from(STREAMS), st.binary(max_size=300))
def test_it_is_what_the_library_would_pack(stream: str, encoded: bytes) -> None:
    bound = maxlen(stream)
    trim: tuple[str | int, ...] = ("MAXLEN", "~", bound) if bound else ()
    assert append_command(stream, encoded) == pack("XADD", stream, *trim, "*", FIELD, encoded)
