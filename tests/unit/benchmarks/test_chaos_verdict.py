"""From what callers lived through to PASS and FAIL."""

import re
from dataclasses import replace

import pytest

from benchmarks.chaos.report import leaks, page, private_words
from benchmarks.chaos.scenario import EVERYONE, SCENARIOS, Scenario, Strike
from benchmarks.chaos.sentences import GREETING, PARDON, question
from benchmarks.chaos.tones import Phrase
from benchmarks.chaos.transcript import Owners, brief, read_owners
from benchmarks.chaos.turns import ANSWER_MS_MAX, Lived, Turn
from benchmarks.chaos.verdict import LATENESS_MS_MAX, Outcome, Row, absent, judge

pytestmark = pytest.mark.fast

KILL = Scenario("tts", "a voice is killed", "tts", "kill", 1500, 2000)
STRIKE = Strike(100_000.0, "tts-1", "tts-x-00000001", 102_000.0)
WHOLE = {0: 1, 1: 1, 2: 1}


def turn(number: int, asked_ms: float, delay_ms: float = 800.0, **more: object) -> Turn:
    first_ms = asked_ms + delay_ms
    lived = Turn(number, asked_ms - 600, asked_ms, first_ms=first_ms, last_ms=first_ms + 2000, parts=dict(WHOLE))
    return replace(lived, **more)  # type: ignore[arg-type]


def judged(*turns: Turn, owner: str = STRIKE.node, scenario: Scenario = KILL, **more: object) -> Row:
    call = Lived(3, "chaos-x", [turn(0, 50_000.0), turn(1, 60_000.0), *turns], greeted=1)
    owners = {"chaos-x": Owners({"tts": [(0.0, owner)]})}
    outcome = Outcome(scenario, [call], [STRIKE], owners, {}, 1.0)
    return judge(replace(outcome, **more))  # type: ignore[arg-type]


def test_a_turn_that_waited_a_second_more_passes():
    row = judged(turn(2, 100_500.0, 1800.0))
    assert (row.verdict, row.hit, row.turns, row.usual_ms, row.added_p95_ms) == ("PASS", 1, 3, 800.0, 1000.0)


def test_a_turn_that_waited_longer_than_the_bar_fails():
    assert judged(turn(2, 100_500.0, 2400.0)).verdict == "FAIL"


def test_silence_inside_the_answer_is_waiting_too():
    row = judged(turn(2, 98_500.0, silence_ms=1600.0))
    assert (row.verdict, row.added_p95_ms, row.silence_ms) == ("FAIL", 1600.0, 1600.0)


def test_only_calls_that_the_victim_held_are_hit():
    row = judged(turn(2, 100_500.0, 2400.0), owner="tts-x-00000002")
    assert (row.verdict, row.hit) == ("VOID", 0)
    assert judged(turn(2, 110_000.0)).hit == 0
    everyone = replace(KILL, pool=EVERYONE)
    assert judged(turn(2, 100_500.0), scenario=everyone, strikes=[replace(STRIKE, node="")], owner="y").hit == 1


def test_who_held_the_call_is_asked_for_the_time_of_the_strike():
    owners = Owners({"tts": [(0.0, STRIKE.node), (100_900.0, "tts-x-00000002")]})
    assert judged(turn(2, 100_500.0), owners={"chaos-x": owners}).hit == 1
    owners = Owners({"tts": [(0.0, "tts-x-00000002"), (100_900.0, STRIKE.node)]})
    assert judged(turn(2, 100_500.0), owners={"chaos-x": owners}).hit == 0


@pytest.mark.parametrize(
    ("column", "broken"),
    [
        ("unanswered", {"first_ms": 0.0, "last_ms": 0.0, "parts": {}}),
        ("unanswered", {"first_ms": 100_500.0 + ANSWER_MS_MAX + 1, "last_ms": 115_000.0}),
        ("lost", {"first_ms": 0.0, "last_ms": 0.0, "parts": {}}),
        ("unheard", {"parts": {0: 1, 2: 1}}),
        ("repeated", {"parts": {0: 1, 1: 2, 2: 1}}),
    ],
)
def test_whatever_is_lost_or_repeated_fails_and_is_told_with_its_call(column: str, broken: dict):
    row = judged(turn(2, 100_500.0, **broken))
    assert getattr(row, column) == 1
    assert row.verdict == "FAIL"
    assert any("call 03 (chaos-x) turn 2" in finding and "+0.5 s" in finding for finding in row.findings)


def test_a_second_answer_is_doubled_only_if_the_model_was_asked_twice():
    again = turn(2, 100_500.0, parts={0: 2, 1: 1, 2: 1})
    assert judged(again).doubled == 0
    assert judged(again, asked={question(3, 2): 2}).doubled == 1
    assert judged(turn(2, 100_500.0), asked={question(3, 2): 2}).doubled == 0


def test_what_the_line_itself_cut_counts_nowhere_but_must_not_be_repeated():
    row = judged(turn(2, 100_500.0, cut=True, first_ms=0.0, last_ms=0.0, parts={}), turn(3, 101_000.0))
    assert (row.cut, row.lost, row.unanswered, row.verdict) == (1, 0, 0, "PASS")
    assert judged(turn(2, 100_500.0, cut=True, parts={0: 2}), turn(3, 101_000.0)).repeated == 1


def test_the_time_without_a_line_is_told_apart():
    call = Lived(3, "chaos-x", [turn(0, 50_000.0), turn(1, 100_500.0, silence_ms=900.0)], greeted=1)
    call.breaks = [(100_200.0, 100_800.0), (101_000.0, 101_600.0), (200_000.0, 0.0)]
    row = judge(Outcome(KILL, [call], [STRIKE], {}, {}, 1.0))
    assert (row.hit, row.added_p95_ms, row.off_line_p50_ms) == (1, 900.0, 900.0)


def test_a_dead_call_and_a_second_greeting_fail():
    dead = Lived(4, "chaos-y", [turn(0, 100_500.0)], died="the carrier gave up", greeted=2)
    row = judge(Outcome(KILL, [dead], [STRIKE], {}, {}, 1.0))
    assert (row.died, row.repeated, row.verdict) == (1, 1, "FAIL")


def test_a_busy_machine_says_nothing_and_no_platform_fails():
    assert judged(turn(2, 100_500.0), lateness_p99_ms=LATENESS_MS_MAX + 1).verdict == "VOID"
    row = absent(KILL, "the platform did not come up")
    assert (row.verdict, row.findings) == ("FAIL", ["the platform did not come up"])


# --- what one caller hears -----------------------------------------------------------------------------------------


def phrase(text: str, began_ms: float, whole: bool = True) -> Phrase:
    return Phrase(text, began_ms, began_ms + 600, whole)


def test_a_caller_counts_what_it_hears_of_each_answer():
    call = Lived(3, "chaos-x", [Turn(0, 0.0, 600.0)])
    for at_ms in (1400.0, 1420.0, 1900.0):
        call.sounds(at_ms)
    for part in ("alpha", "bravo", "bravo", "charlie"):
        call.hears(phrase(f"{part} zero zero for zero three.", 1400.0))
    call.hears(phrase("alpha ze", 9000.0, whole=False))
    (lived,) = call.turns
    assert (lived.delay_ms, lived.silence_ms, lived.repeated, lived.torn) == (800.0, 460.0, 1, 1)
    assert lived.answered


@pytest.mark.parametrize(("lost_ms", "repeated"), [(2000.0, 0), (2060.0, 0), (2061.0, 1), (1999.0, 1)])
def test_a_part_whose_end_was_lost_with_the_line_may_be_heard_again(lost_ms: float, repeated: int):
    call = Lived(3, "chaos-x", [Turn(0, 0.0, 600.0)], breaks=[(lost_ms, lost_ms + 500)])
    for began_ms in (1400.0, 3000.0):
        call.hears(phrase("alpha zero zero for zero three.", began_ms))
    assert (call.turns[0].repeated, call.turns[0].unconfirmed) == (repeated, 1 - repeated)


def test_a_late_answer_is_the_old_sentences_and_not_the_new_ones():
    call = Lived(3, "chaos-x", [Turn(0, 0.0, 600.0), Turn(1, 20_000.0, 20_600.0)])
    call.sounds(21_000.0)
    call.hears(phrase("alpha zero zero for zero three.", 21_000.0))
    assert call.turns[0].delay_ms == 20_400.0
    assert call.turns[1].delay_ms is None


def test_another_calls_answer_is_nobodys():
    call = Lived(3, "chaos-x", [Turn(0, 0.0, 600.0)])
    for text in (GREETING.lower(), PARDON.lower(), "alpha zero zero for zero four."):
        call.hears(phrase(text, 700.0))
    assert (call.greeted, call.pardons, len(call.foreign)) == (1, 1, 1)
    assert not call.turns[0].parts


# --- stories and reports -------------------------------------------------------------------------------------------

EVENTS = """id: 1-0
event: CallStarted
data: {"epoch": 1, "edge": "edge-a", "at_ms": 10}

id: 2-0
event: OwnerChanged
data: {"pool": "stt", "token": 1, "owner": "stt-a", "at_ms": 20}

: nothing new

id: 3-0
event: OwnerChanged
data: {"pool": "stt", "token": 2, "owner": "stt-b", "at_ms": 90}

id: 4-0
event: CallEnded
data: {"epoch": 1, "reason": "caller hung up", "at_ms": 99}

"""


def test_a_story_tells_who_held_the_call_when():
    owners = read_owners(EVENTS)
    assert [owners.at("stt", at_ms) for at_ms in (19, 20, 89, 90)] == ["", "stt-a", "stt-a", "stt-b"]
    assert owners.at("edge", 50) == "edge-a"
    assert owners.ended_because == "caller hung up"
    assert len(brief(EVENTS)) == 4


def test_private_words_in_logs_are_counted(tmp_path):
    (tmp_path / "stt-1.log").write_text('fine\n{"says": "heard Ask one two by zero one"}\n')
    (tmp_path / "edge-1.log").write_text("from 911234567890\nkey chaos-openai-key-placeholder\n")
    assert leaks(tmp_path) == {"phone numbers": 1, "transcripts": 1, "secrets": 1}
    assert set(private_words()) == set(leaks(tmp_path))


def test_the_page_has_a_line_for_each_run_and_the_findings_of_those_that_failed():
    rows = [judged(turn(2, 100_500.0)), judged(turn(2, 100_500.0, parts={0: 1}))]
    around = {"command": "c", "commit": "0", "cpus": 2, "python": "3", "note": "n"}
    text = page(rows, {"secrets": 0}, around)
    assert len(re.findall(r"\| a voice is killed \|", text)) == 2
    assert "## FAIL: a voice is killed" in text
    assert "parts [1, 2] of the answer never heard" in text


def test_what_tools_and_transfers_did_wrong_fails_the_run_whatever_the_callers_heard():
    for group in ("tools", "transfers"):
        scenario = next(each for each in SCENARIOS if each.group == group)
        strict = replace(scenario, pool="tts")
        assert judged(turn(2, 100_500.0), scenario=strict).verdict == "PASS"
        assert judged(turn(2, 100_500.0), scenario=strict, trouble=["rung twice"]).verdict == "FAIL"


def test_every_scenario_has_a_bar_and_ends_after_its_last_strike():
    assert {s.group for s in SCENARIOS} == {
        "stt",
        "llm",
        "tts",
        "edge",
        "redis",
        "sentinel",
        "rolling",
        "vendor",
        "tools",
        "transfers",
        "grey",
        "poison",
    }
    for scenario in SCENARIOS:
        assert scenario.bar_ms > 0
        assert scenario.asks_s > scenario.strikes_s[-1] or scenario.fault.startswith("roll")
