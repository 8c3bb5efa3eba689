"""Prints a demo call turn by turn, from the caller's and the system's side, and lists its problems."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from common.call.transcript import CallTranscript, TranscriptTurn
from tools.terminal import paint, say

STAGES_SHOWN = {
    "endpoint": "waiting for silence",
    "transcript": "transcribing",
    "first_token": "thinking",
    "first_clause": "first clause",
    "first_audio": "first audio",
    "first_frame": "to the carrier",
}


def matched(transcript: CallTranscript, caller: dict[str, Any]) -> list[dict[str, Any]]:
    """Return a dict for each speech of the caller, with the system's transcript and reply in that time."""
    spoken = [step for step in caller["steps"] if step["speech"]]
    turns = []
    for number, step in enumerate(spoken):
        begin = step["speech"]["first_sound_ms"] - 300
        end = spoken[number + 1]["speech"]["first_sound_ms"] - 300 if number + 1 < len(spoken) else float("inf")
        mine = [e for e in transcript.exchanges if e.utterance and begin <= e.begin_ms < end]
        turns.append(_exchange(step, mine))
    for earlier, later in pairwise(turns):
        earlier["interrupted"] = earlier["interrupted"] and later["barge_in"]
    return turns


def _exchange(step: dict[str, Any], mine: list[TranscriptTurn]) -> dict[str, Any]:
    timed = next((exchange for exchange in mine if exchange.timings_ms), None)
    answer = step["answer"]
    barge_in = step.get("barge_in")
    return {
        "caller_said": step["text"],
        "understood": " ".join(exchange.understood for exchange in mine),
        "answered": " ".join(exchange.answered for exchange in mine if exchange.answered),
        "heard": " ".join(exchange.heard for exchange in mine if exchange.heard),
        "interrupted": any(exchange.interrupted for exchange in mine),
        "barge_in": barge_in is not None,
        "clear_ms": barge_in["clear_ms"] if barge_in else None,
        "wait_ms": round(answer["latency_ms"]) if answer else None,
        "timings_ms": timed.timings_ms if timed else {},
    }


def print_turn(turn: dict[str, Any]) -> None:
    say()
    over = paint("warn", "  (talks over the agent)") if turn["barge_in"] else ""
    say(f"{paint('caller', 'caller')}      {turn['caller_said']}{over}")
    say(f"{paint('dim', 'understood')}  {turn['understood'] or paint('bad', '(nothing)')}")
    say(f"{paint('agent', 'agent')}       {turn['answered'] or paint('bad', '(no answer)')}")
    if turn["interrupted"]:
        say(f"{paint('warn', 'heard')}       {turn['heard']}")
    wait = f"{turn['wait_ms']} ms from speech end to audible answer" if turn["wait_ms"] is not None else ""
    clear = f"; cleared {turn['clear_ms']:.0f} ms after the caller began" if turn["clear_ms"] is not None else ""
    say(paint("dim", f"time        {wait}{clear}"))
    print_stages(turn["timings_ms"])


def print_words(exchange: TranscriptTurn) -> None:
    """Print what the caller said, as far as it was understood."""
    say(f"{paint('caller', 'caller')}      {exchange.understood or paint('bad', '(nothing)')}")


def print_live(exchange: TranscriptTurn, *, words: bool = True) -> None:
    """Print one turn of a live call; `words`: with what the caller said, which is known only as it was understood."""
    if words:
        say()
    if words and exchange.utterance:
        print_words(exchange)
    say(f"{paint('agent', 'agent')}       {exchange.answered or paint('bad', '(no answer)')}")
    if exchange.interrupted:
        say(f"{paint('warn', 'heard')}       {exchange.heard or '(nothing)'}")
    if exchange.timings_ms:
        say(paint("dim", f"time        {exchange.answer_ms} ms from speech end to answer"))
        print_stages(exchange.timings_ms)


def print_stages(timings_ms: Mapping[str, int]) -> None:
    """Print the stages of an answer in ms."""
    if stages := ", ".join(f"{STAGES_SHOWN[name]} {ms}" for name, ms in timings_ms.items() if name in STAGES_SHOWN):
        say(paint("dim", f"            of it, ms: {stages}"))


def faults(caller: dict[str, Any], turns: list[dict[str, Any]]) -> list[str]:
    problems = list(caller["failures"]) + list(caller["violations"])
    for turn in turns:
        if not turn["understood"]:
            problems.append(f"{turn['caller_said']!r} was not transcribed")
        if not turn["answered"] or turn["wait_ms"] is None:
            problems.append(f"{turn['caller_said']!r} went unanswered")
        if turn["barge_in"] and turn["clear_ms"] is None:
            problems.append("the barge-in did not clear the agent's audio")
    if len(turns) < 4:
        problems.append(f"only {len(turns)} turns")
    return problems
