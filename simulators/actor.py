"""Performs a caller's script on a media stream and records when each step happened."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from simulators.result import StepResult
from simulators.script import NAMES, BargeIn, HangUp, Press, Say, Step, Wait, WaitForAgent, WaitForHangUp
from simulators.sound import Samples
from simulators.stream import Ending, MediaStream

LOOK_EVERY_S = 0.01  # resolution at which the caller notices that the agent begins or ends


@dataclass(frozen=True, slots=True)
class Sentence:
    """A recording and its text."""

    text: str
    samples: Samples


class Actor:
    """One caller on one stream.  `perform` returns when the script or the call is over."""

    def __init__(
        self, stream: MediaStream, sentences: Mapping[str, Sentence], report: Callable[[float, str], None]
    ) -> None:
        self.steps: list[StepResult] = []
        self._stream, self._sentences, self._report = stream, sentences, report
        self._heard: tuple[float, float | None] = (-1.0, None)
        self._listens_from_ms = 0.0  # the caller's last audible sound or key: the agent's speech after it is an answer

    async def perform(self, script: Sequence[Step]) -> None:
        """Perform the steps in order, skip those after the end of the call, then hang up."""
        for step in script:
            if self._stream.over:
                return
            result = StepResult(NAMES[type(step)], getattr(step, "name", None), self._stream.now_ms)
            self.steps.append(result)
            await self._perform(step, result)
            result.ended_ms = self._stream.now_ms
            if result.problem:
                self._report_line(f"{result.do} failed: {result.problem}")
        self._hang_up()

    async def _perform(self, step: Step, result: StepResult) -> None:
        match step:
            case Say(name):
                await self._say(name, result)
            case BargeIn(name, after_ms, deadline_ms):
                if await self._until(lambda: self._speaking_for(after_ms), deadline_ms):
                    await self._say(name, result)
                else:
                    result.problem = self._why(f"the agent did not speak for {after_ms:.0f} ms", deadline_ms)
            case WaitForAgent(silence_ms, deadline_ms):
                if not await self._until(lambda: self._finished_for(silence_ms), deadline_ms):
                    what = "the agent said nothing" if self._heard_ms() is None else "the agent did not stop speaking"
                    result.problem = self._why(what, deadline_ms)
                else:
                    self._report_answer()
            case Wait(wait_ms):
                await self._stream.wait_over(wait_ms)
            case Press(digit):
                await self._stream.press(digit)
                self._listens_from_ms = self._stream.now_ms
                self._report_line(f"caller presses {digit}")
            case WaitForHangUp(deadline_ms):
                if not await self._stream.wait_over(deadline_ms):
                    result.problem = self._why("the agent did not hang up", deadline_ms)
            case HangUp():
                self._hang_up()

    async def _say(self, name: str, result: StepResult) -> None:
        sentence = self._sentences[name]
        stream = self._stream
        stream.playback.caller_spoke(stream.now_ms)
        result.text = sentence.text
        result.speech = stream.line.say(sentence.samples)
        self._report_line(f"caller: {sentence.text}")
        self._listens_from_ms = result.speech.last_sound_ms
        ended_ms = result.speech.ended_ms
        await stream.wait_over(ended_ms - stream.now_ms)

    def _hang_up(self) -> None:
        self._stream.end(Ending("caller", "hung up"))

    async def _until(self, happened: Callable[[], bool], deadline_ms: float) -> bool:
        """Poll until the condition is true; False if the deadline passes or the call ends first."""
        stop_ms = self._stream.now_ms + deadline_ms
        while not self._stream.over:
            if happened():
                return True
            left_ms = stop_ms - self._stream.now_ms
            if left_ms <= 0:
                return False
            await asyncio.sleep(min(LOOK_EVERY_S, left_ms / 1000))
        return False

    def _heard_ms(self) -> float | None:
        """Return when the agent became audible after the caller's last word and after its last clearAudio."""
        playback = self._stream.playback
        cut_ms = max((clear.at_ms for clear in playback.clears if clear.dropped_ms), default=0.0)
        from_ms = max(self._listens_from_ms, cut_ms)
        if self._heard[0] != from_ms or self._heard[1] is None:  # the first audible moment does not change
            self._heard = from_ms, playback.first_loud_ms(from_ms, self._stream.now_ms)
        return self._heard[1]

    def _speaking_for(self, after_ms: float) -> bool:
        heard_ms = self._heard_ms()
        now_ms = self._stream.now_ms
        return heard_ms is not None and now_ms - heard_ms >= after_ms and self._stream.playback.playing(now_ms)

    def _finished_for(self, silence_ms: float) -> bool:
        return self._heard_ms() is not None and self._stream.now_ms - self._stream.playback.end_ms >= silence_ms

    def _why(self, what: str, deadline_ms: float) -> str:
        return "the call ended first" if self._stream.over else f"{what} within {deadline_ms / 1000:g} s"

    def _report_answer(self) -> None:
        heard_ms = self._heard_ms() or 0.0
        after = "the caller" if self._listens_from_ms else "the call began"
        spoke_s = (self._stream.playback.end_ms - heard_ms) / 1000
        self._report_line(f"agent spoke for {spoke_s:.1f} s, {heard_ms - self._listens_from_ms:.0f} ms after {after}")

    def _report_line(self, line: str) -> None:
        self._report(self._stream.now_ms, line)
