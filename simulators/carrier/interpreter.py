"""Runs XML documents verb by verb, in simulated form.

Speak, Play and Wait take (scaled) time and are recorded; a `<Stream>` with `keepCallAlive` is a real WebSocket and
holds the document until it ends, one without runs beside it.  At the end of the instructions the call ends with 4010.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, TypeAlias

from simulators.answer import Stream
from simulators.carrier.causes import Cause, Dropped, cause
from simulators.carrier.conversation import CHARS_PER_S, Joint
from simulators.carrier.document import (
    Conference,
    Dial,
    Document,
    Dtmf,
    Gather,
    HangupVerb,
    Pause,
    Play,
    PreAnswer,
    Record,
    Redirect,
    Speak,
    Verb,
)
from simulators.carrier.media import StreamEntry
from simulators.carrier.plan import Target

if TYPE_CHECKING:
    from simulators.carrier.phone_call import PhoneCall


PLAY_S = 3.0  # the assumed length of a file; it is never opened
LOOPS_MAX = 1000
DOCUMENTS_MAX = 100
"""Limit for a document that redirects to itself for ever."""
SPEECH_CONFIDENCE = "0.95"


@dataclass(frozen=True, slots=True)
class Goto:
    """Carries the next document; the rest of the present one is dropped."""

    document: Document


Outcome: TypeAlias = Cause | Goto | None


class Interpreter:
    """Runs the documents of one call."""

    def __init__(self, call: PhoneCall) -> None:
        self._call = call
        self._joint = Joint(call)
        self._digits = [keys for keys in call.callee.digits.split(",") if keys]
        self._says = list(call.callee.says)

    async def run(self, document: Document) -> Cause:
        """Run the document and those that follow it; return the cause of the end.  Raises `Dropped`."""
        for _ in range(DOCUMENTS_MAX):
            outcome = await self._run(document)
            if not isinstance(outcome, Goto):
                return outcome or cause(4010, "Vobiz")
            document = outcome.document
        raise Dropped(5010, f"more than {DOCUMENTS_MAX} documents in one call")

    async def _run(self, document: Document) -> Outcome:
        for position, verb in enumerate(document):
            self._call.record.verbs.append("Wait" if isinstance(verb, Pause) else _tag(verb))
            more = position + 1 < len(document)
            outcome = await self._perform(verb, more)
            if outcome is not None:
                return outcome
        return None

    async def _perform(self, verb: Verb, more: bool) -> Outcome:
        call = self._call
        match verb:
            case Speak() | Play() | Pause():
                await self._sound(verb)
            case PreAnswer(verbs):
                for early in verbs:
                    await self._sound(early)
            case Dtmf(digits):
                call.record.digits.append(digits)
            case HangupVerb(_, schedule_s) if schedule_s and more:
                call.aside(self._hang_up_after(schedule_s), "scheduled hangup")
            case HangupVerb():
                return cause(4000, "Answer XML")
            case Redirect(url, method):
                return Goto(await call.ask(Target(url, method), "redirect", "Redirect"))
            case Gather():
                return await self._gather(verb)
            case Record():
                return await self._record(verb)
            case Dial():
                return await self._after(await self._joint.dial(verb), verb.action, verb.method, verb.redirect)
            case Conference():
                return await self._joint.confer(verb)
            case Stream():
                return await self._stream(verb)
        return None

    async def _sound(self, verb: Verb) -> None:
        record = self._call.record
        match verb:
            case Speak(text, loop):
                for _ in repeat(None, min(loop or LOOPS_MAX, LOOPS_MAX)):
                    record.spoken.append(text)
                    await self._call.pause(len(text) / CHARS_PER_S)
            case Play(url, loop):
                for _ in repeat(None, min(loop or LOOPS_MAX, LOOPS_MAX)):
                    record.spoken.append(url)
                    await self._call.pause(PLAY_S)
            case Pause(length_s):
                await self._call.pause(length_s)

    async def _hang_up_after(self, seconds: float) -> None:
        await self._call.pause(seconds)
        self._call.hang_up(6000, "Answer XML")

    async def _gather(self, verb: Gather) -> Outcome:
        """Play the prompts, then take the callee's next keys or words; without any, continue after the timeout."""
        for prompt in verb.prompts:
            await self._sound(prompt)
        fields = {"InputType": "", "Digits": "", "Speech": "", "SpeechConfidenceScore": "", "BilledAmount": "0.00000"}
        if "dtmf" in verb.input_type and self._digits:
            keys = self._digits.pop(0)
            if verb.finish_on_key:
                keys = keys.partition(verb.finish_on_key)[0]
            fields |= {"InputType": "dtmf", "Digits": keys[: verb.digits_max]}
        elif "speech" in verb.input_type and self._says:
            words = self._says.pop(0)
            fields |= {"InputType": "speech", "Speech": words, "SpeechConfidenceScore": SPEECH_CONFIDENCE}
        else:
            await self._call.pause(verb.execution_timeout_s)
            return None
        return Goto(await self._call.ask(Target(verb.action, verb.method), "action", "Redirect", more=fields))

    async def _record(self, verb: Record) -> Outcome:
        call, recordings = self._call, self._call.world.recordings
        callback = Target(verb.callback_url, verb.callback_method)
        recording = recordings.start(
            call.record, verb.file_format, callback, verb.length_s_max, verb.channel_type, by_rest=False
        )
        if verb.session:
            return None
        talk_s = call.callee.talk_ms / 1000
        await call.pause(min(talk_s, verb.length_s_max))
        recordings.stop(recording, "maxLength" if talk_s >= verb.length_s_max else "RecordingTimeout")
        recordings.report_stop(call.record, recording, call.reports.put)
        fields = {"RecordUrl": recording.url, "RecordingID": recording.recording_id}
        return await self._after(fields, verb.action, verb.method, verb.redirect, "Record")

    async def _after(
        self, fields: dict[str, str], action: str, method: str, redirect: bool, event: str = "DialAction"
    ) -> Outcome:
        """Send the action request; with `redirect` its reply is the next document."""
        if not action:
            return None
        try:
            document = await self._call.ask(Target(action, method), "action", event, more=fields)
        except Dropped:
            if redirect:
                raise
            return None
        return Goto(document) if redirect else None

    async def _stream(self, verb: Stream) -> Outcome:
        entry = self._call.streams.new(verb)
        if not verb.keep_call_alive:
            self._call.aside(self.beside(entry), "stream")
            return None
        ending = await self._call.streams.carry(entry)
        return cause(4000, self._call.party) if ending.by == "caller" else None

    async def beside(self, entry: StreamEntry) -> None:
        """Run a stream beside the document; a hang-up of the caller on it still ends the call."""
        ending = await self._call.streams.carry(entry)
        if ending.by == "caller":
            self._call.hang_up(4000, self._call.party)


def _tag(verb: Verb) -> str:
    return {"HangupVerb": "Hangup", "Dtmf": "DTMF"}.get(type(verb).__name__, type(verb).__name__)
