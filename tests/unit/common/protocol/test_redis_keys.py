"""The names on the bus: what belongs together stays together, and everything has a bound."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.protocol import redis_keys

pytestmark = pytest.mark.fast

CALL = "0e516b32-0000-4000-8000-000000000001"


def test_the_names_are_what_running_pods_expect() -> None:
    assert redis_keys.shard("123456789") == "{s06}"  # the check value of CRC-32 is 0xCBF43926
    assert redis_keys.call_audio(CALL) == f"call:{{s15}}:{CALL}:audio"
    assert redis_keys.call_events(CALL) == f"call:{{s15}}:{CALL}:events"
    assert redis_keys.call_state(CALL) == f"call:{{s15}}:{CALL}:state"
    assert redis_keys.edge_audio("edge-a") == "edge:edge-a:audio"
    assert redis_keys.edge_priority("edge-a") == "edge:edge-a:priority"
    assert redis_keys.pool_calls("llm") == "pool:llm:calls"
    assert redis_keys.nodes("edge") == "nodes:edge"


@given(st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True))
def test_all_keys_of_a_call_share_one_slot(call_id: str) -> None:
    keys = [
        redis_keys.call_audio(call_id),
        redis_keys.call_events(call_id),
        redis_keys.call_state(call_id),
    ]
    assert len(set(keys)) == len(keys)
    tags = {re.findall(r"\{(.*?)\}", key)[0] for key in keys}  # Redis Cluster hashes the first pair of braces
    assert len(tags) == 1
    assert re.fullmatch(r"s[0-9]{2}", tags.pop())


def test_calls_are_spread_over_all_shards() -> None:
    counts: dict[str, int] = {}
    for number in range(3200):
        name = redis_keys.shard(f"call-{number}")
        counts[name] = counts.get(name, 0) + 1
    assert len(counts) == redis_keys.SHARDS
    assert max(counts.values()) < 2 * 3200 / redis_keys.SHARDS


def test_audio_is_bounded_and_a_story_never_trimmed() -> None:
    assert redis_keys.maxlen(redis_keys.call_audio(CALL)) == 1500  # 30 s
    assert redis_keys.maxlen(redis_keys.call_events(CALL)) is None
    assert redis_keys.maxlen(redis_keys.edge_audio("edge-a")) == 20_000
    assert redis_keys.maxlen(redis_keys.edge_priority("edge-a")) == 2000
    assert redis_keys.maxlen(redis_keys.pool_calls("stt")) == 10_000


def test_only_what_may_stop_the_agent_has_a_connection_of_its_own() -> None:
    assert redis_keys.is_priority(redis_keys.edge_priority("edge-a"))
    for stream in (redis_keys.edge_audio("edge-a"), redis_keys.call_audio(CALL), redis_keys.pool_calls("tts")):
        assert not redis_keys.is_priority(stream)


def test_the_keys_of_agents_versions_are_one_slot_and_stand_in_the_page() -> None:
    names = {redis_keys.AGENTS_IN_FILES, redis_keys.AGENT_PINS, redis_keys.agent_versions("<name>")}
    page = (Path(__file__).resolve().parents[4] / "docs/bus.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(\{agents\}[^`]+)`", page, re.M)) == names


def test_the_keys_of_fixed_sentences_are_one_slot_and_stand_in_the_page() -> None:
    names = {redis_keys.FIXED_SENTENCES, redis_keys.fixed_sentence("<key>")}
    page = (Path(__file__).resolve().parents[4] / "docs/bus.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(speech:[^`]+)`", page, re.M)) == names
    assert {name.partition("}")[0] for name in names} == {"speech:{fixed"}
