"""A call that no worker takes: how long it waits, and when it is given up."""

import pytest

from edge.session.admission.unserved import Followed, Unserved, Waits

pytestmark = pytest.mark.fast

ALL = ("stt", "llm", "tts")


def unserved() -> Unserved:
    return Unserved(Waits(offer_ms=4000, takeover_ms=15_000))


def test_a_new_call_is_given_up_when_a_pool_has_not_taken_it_in_time() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0)})
    assert calls.suspects(ALL) == ["c-1"]
    assert calls.look({"c-1": {"llm"}}, ["c-1"], 3999) == {}
    assert calls.look({"c-1": {"llm"}}, ["c-1"], 4000) == {"c-1": "llm"}


def test_a_call_that_every_pool_holds_raises_no_question() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0)})
    assert calls.look({}, ["c-1"], 100) == {}
    calls.follow({"c-1": Followed(5000)})
    assert calls.suspects(ALL) == []
    assert calls.suspects({"stt", "llm"}) == ["c-1"]


def test_a_call_in_progress_waits_longer_and_from_the_moment_it_was_let_go() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0)})
    calls.look({}, ["c-1"], 100)
    assert calls.look({"c-1": {"tts"}}, ["c-1"], 60_000) == {}
    assert calls.suspects(ALL) == ["c-1"], "it is asked about until somebody holds it again"
    assert calls.look({"c-1": {"tts"}}, ["c-1"], 74_999) == {}
    assert calls.look({"c-1": {"tts"}}, ["c-1"], 75_000) == {"c-1": "tts"}


def test_who_takes_it_over_in_time_ends_the_wait() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(None)})
    assert calls.look({"c-1": {"stt"}}, ["c-1"], 1000) == {}
    assert calls.look({}, ["c-1"], 15_000) == {}
    assert calls.look({"c-1": {"stt"}}, ["c-1"], 17_000) == {}, "the wait begins anew"


def test_one_pool_after_another_is_not_one_long_wait() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(None)})
    for second, pool in ((0, "stt"), (10, "llm"), (20, "tts"), (30, "stt")):
        assert calls.look({"c-1": {pool}}, ["c-1"], second * 1000) == {}


def test_a_connection_that_came_back_counts_as_served() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(None)})
    assert calls.suspects(ALL) == []
    assert calls.look({"c-1": set(ALL)}, ["c-1"], 0) == {}
    assert calls.look({"c-1": set(ALL)}, ["c-1"], 14_000) == {}
    assert calls.look({"c-1": set(ALL)}, ["c-1"], 15_000).keys() == {"c-1"}


def test_time_without_redis_does_not_count() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0)})
    calls.redis_away(3900)
    assert calls.look({"c-1": {"llm"}}, ["c-1"], 7800) == {}
    assert calls.look({"c-1": {"llm"}}, ["c-1"], 7900) == {"c-1": "llm"}


def test_a_call_that_is_over_is_forgotten() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0), "c-2": Followed(0)})
    calls.follow({"c-2": Followed(0)})
    assert calls.suspects(ALL) == ["c-2"]
    assert calls.look({"c-1": set(ALL)}, ["c-1"], 9000) == {}


def test_a_call_goes_on_without_tools_and_that_is_told_once() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0, (*ALL, "tools")), "c-2": Followed(0)})
    assert calls.look({"c-1": {"tools"}}, calls.suspects(ALL), 100) == {}
    assert calls.suspects(ALL) == ["c-1"], "nobody asks about a call that needs no tools"
    assert calls.look({"c-1": {"tools"}}, ["c-1"], 4000) == {"c-1": "tools"}
    assert not calls.waiting and calls.suspects(ALL) == []
    assert calls.look({"c-1": {"tools", "llm"}}, ["c-1"], 5000) == {}
    assert calls.look({"c-1": {"tools", "llm"}}, ["c-1"], 20_000) == {"c-1": "llm"}, "it still needs the others"


def test_a_tools_worker_that_died_has_as_long_as_any_other() -> None:
    calls = unserved()
    calls.follow({"c-1": Followed(0, (*ALL, "tools"))})
    assert calls.look({}, ["c-1"], 100) == {}
    assert calls.look({"c-1": {"tools"}}, ["c-1"], 1000) == {}
    assert calls.look({"c-1": {"tools"}}, ["c-1"], 15_999) == {}
    assert calls.look({"c-1": {"tools"}}, ["c-1"], 16_000) == {"c-1": "tools"}
