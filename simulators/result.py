"""Measures a call from its two audio tracks, never from the server's own reports.  Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from simulators.line import Spoken
from simulators.playback import Clear, Playback, Underrun

SILENT_WITHIN_MS = 2000.0  # an agent that speaks for longer was not interrupted


@dataclass(slots=True)
class StepResult:
    """One step of the script, on the call's time line."""

    do: str
    name: str | None
    began_ms: float
    ended_ms: float = 0.0
    problem: str | None = None  # why the step failed; None if it did not
    text: str | None = None
    speech: Spoken | None = None
    answer: "Answered | None" = None
    barge_in: "BargedIn | None" = None


@dataclass(frozen=True, slots=True)
class Answered:
    """The agent's answer to an utterance."""

    began_ms: float
    ended_ms: float
    latency_ms: float  # from the caller's last audible sound; negative if the agent cut in
    after_old_reply: bool  # the agent first finished its previous reply


@dataclass(frozen=True, slots=True)
class BargedIn:
    """The agent's reaction to a barge-in; `clear_ms` and `silent_ms` count from the caller's first audible sound."""

    clear_ms: float | None
    silent_ms: float
    became_silent: bool
    dropped_bytes: int
    dropped_ms: float
    raced_bytes: int


@dataclass(slots=True)
class CallResult:
    """All times in ms on the call's time line, which begins when the socket is open."""

    call_id: str
    error: str | None = None
    ended_by: str = "carrier"
    how: str = ""
    duration_ms: float = 0.0
    answer: dict[str, Any] = field(default_factory=dict)
    steps: list[StepResult] = field(default_factory=list)
    agent_spans_ms: list[tuple[float, float]] = field(default_factory=list)
    underruns: list[Underrun] = field(default_factory=list)
    clears: list[Clear] = field(default_factory=list)
    heard_checkpoints: list[tuple[str, float]] = field(default_factory=list)
    drops: list[dict[str, Any]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    frames_sent: int = 0
    lateness_ms: dict[str, float] = field(default_factory=dict)
    hangup_status: int | None = None
    wav: str | None = None
    phantom: str | None = None
    """The server's reaction to a connection after the end, if one was tried."""

    @property
    def failures(self) -> list[str]:
        """The error of the call and the failed steps as text; empty if the call went as scripted."""
        failed = [f"step {n} ({step.do}): {step.problem}" for n, step in enumerate(self.steps, 1) if step.problem]
        return ([self.error] if self.error else []) + failed

    @property
    def turns(self) -> list[StepResult]:
        """The steps in which the caller spoke."""
        return [step for step in self.steps if step.speech is not None]

    def to_json(self) -> dict[str, Any]:
        """Return plain data, with times to 0.1 ms."""
        return {"failures": self.failures, **_rounded(asdict(self))}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 1)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def measure(steps: Sequence[StepResult], playback: Playback, until_ms: float) -> None:
    """Fill in `answer` and `barge_in` of every step in which the caller spoke."""
    spoken = [step for step in steps if step.speech is not None]
    for position, step in enumerate(spoken):
        assert step.speech is not None
        following = spoken[position + 1].speech if position + 1 < len(spoken) else None
        bound_ms = following.first_sound_ms if following else until_ms
        clear = _clear_within(playback, step.speech.first_sound_ms, bound_ms)
        step.answer = answer_to(step.speech, playback, clear, bound_ms)
        if step.do == "barge-in":
            step.barge_in = _barge_in(step.speech, playback, clear)


def answer_to(speech: Spoken, playback: Playback, clear: Clear | None, bound_ms: float) -> Answered | None:
    """Return the agent's audio from the utterance to `bound_ms`, without a reply that began before it."""
    silent_ms = playback.silent_from_ms(speech.first_sound_ms)
    after_old_reply = False
    if silent_ms == speech.first_sound_ms:
        search_ms = speech.first_sound_ms  # the agent was silent: its next speech is the answer
    elif clear is not None:
        search_ms = clear.at_ms
    else:
        search_ms = silent_ms
        after_old_reply = silent_ms > speech.last_sound_ms
    began_ms = playback.first_loud_ms(search_ms, bound_ms)
    if began_ms is None:
        return None
    ended_ms = max(end for start, end in playback.loud_spans_ms(bound_ms) if end > began_ms)
    return Answered(began_ms, ended_ms, began_ms - speech.last_sound_ms, after_old_reply)


def _clear_within(playback: Playback, from_ms: float, to_ms: float) -> Clear | None:
    return next((clear for clear in playback.clears if from_ms <= clear.at_ms < to_ms), None)


def _barge_in(speech: Spoken, playback: Playback, clear: Clear | None) -> BargedIn:
    silent_ms = playback.silent_from_ms(speech.first_sound_ms) - speech.first_sound_ms
    if clear is not None:
        silent_ms = min(silent_ms, clear.at_ms - speech.first_sound_ms)  # a new reply may follow immediately
    return BargedIn(
        clear_ms=clear.at_ms - speech.first_sound_ms if clear else None,
        silent_ms=silent_ms,
        became_silent=silent_ms <= SILENT_WITHIN_MS,
        dropped_bytes=clear.dropped_bytes if clear else 0,
        dropped_ms=clear.dropped_ms if clear else 0.0,
        raced_bytes=clear.raced_bytes if clear else 0,
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return p50, p99 (nearest rank) and max; empty for no values."""
    if not values:
        return {}
    ordered = sorted(values)
    rank = {
        name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in (("p50", 0.5), ("p99", 0.99))
    }
    return {**rank, "max": ordered[-1]}
