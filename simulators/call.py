"""Simulates one call from the answer request to the hangup webhook.

result = await Caller(CallOptions("http://127.0.0.1:8000/answer")).call([WaitForAgent(), Say("opening-hours"), ...])
"""

import asyncio
import json
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

from simulators.actor import Actor, Sentence
from simulators.answer import END_OF_XML, NORMAL, CallDropped, Stream
from simulators.result import CallResult, measure, percentiles
from simulators.script import SPEECH, BadScript, BargeIn, Say, Step
from simulators.stream import Ending, MediaStream, StreamRefused, WireOptions
from simulators.wav import read_wav, write_stereo_wav
from simulators.webhooks import AnswerReply, Hangup, Party, fetch_answer, report_hangup

SENTENCES_MAX = 1000


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The URLs, the numbers, and the carrier's behaviour."""

    answer_url: str
    hangup_url: str | None = None
    from_number: str = "+911234567890"
    to_number: str = "+911234567899"
    auth_token: str | None = None  # signs the webhooks as Vobiz does
    wire_options: WireOptions = field(default_factory=WireOptions)
    answer_deadline_s: float = 10.0
    call_s_max: float = 600.0
    speech: Path = SPEECH
    wav: Path | None = None


def read_sentences(folder: Path, script: Sequence[Step]) -> dict[str, Sentence]:
    """The recordings that `script` speaks, by name (the file's, without `.wav`), as `sentences.json` lists them.

    Raises `BadScript`, `BadWav` or `OSError` if the script cannot be played.
    """
    texts = json.loads((folder / "sentences.json").read_text(encoding="utf-8"))
    if len(texts) > SENTENCES_MAX:
        raise BadScript(f"{folder.name}/sentences.json: more than {SENTENCES_MAX} recordings")
    files = {Path(file).stem: file for file in texts}
    names = {step.name for step in script if isinstance(step, Say | BargeIn)}
    if unknown := sorted(names - set(files)):
        raise BadScript(f"no recording {unknown[0]!r}, only {', '.join(files)}")
    return {name: Sentence(texts[files[name]], _recording(folder / files[name])) for name in names}


_recording = lru_cache(maxsize=SENTENCES_MAX)(read_wav)  # decoding would delay the frames of other calls


class Caller:
    """Places calls, one after another or several at a time; `report(time_ms, line)` is called with the progress."""

    def __init__(self, options: CallOptions, report: Callable[[float, str], None] = lambda at_ms, line: None) -> None:
        self._options, self._report = options, report

    async def call(self, script: Sequence[Step]) -> CallResult:
        """Place one call.  A failed call gives a result with `error`; raises only if the script cannot be played."""
        options = self._options
        sentences = read_sentences(options.speech, script)
        party = Party(str(uuid.uuid4()), options.from_number, options.to_number, datetime.now(UTC), options.auth_token)
        result = CallResult(party.call_id)
        try:
            answer = await fetch_answer(options.answer_url, party, options.answer_deadline_s)
            hangup, stream = await self._talk(answer, party, script, sentences, result)
        except CallDropped as dropped:
            result.error, result.how = str(dropped), "dropped before the stream"
            hangup, stream = Hangup(dropped.code, dropped.name, "Error"), None
        if options.hangup_url:
            result.hangup_status = await report_hangup(options.hangup_url, party, result.duration_ms / 1000, hangup)
        if stream is not None:
            result.phantom = await stream.haunt()
        return result

    async def _talk(
        self,
        answer: AnswerReply,
        party: Party,
        script: Sequence[Step],
        sentences: dict[str, Sentence],
        result: CallResult,
    ) -> tuple[Hangup, MediaStream | None]:
        """Run the media stream from its opening to its end and fill in `result`."""
        options = self._options
        result.answer = _answered(answer)
        self._report(0.0, f"answered in {answer.took_ms:.0f} ms: {answer.stream.content_type}")
        numbers = (options.from_number.lstrip("+"), options.to_number.lstrip("+"))
        stream = MediaStream(answer.stream, party.call_id, numbers, options.wire_options)
        try:
            await stream.open()
        except StreamRefused as refused:
            result.error, result.how = f"the media stream was refused: {refused}", "refused"
            return _after_stream(answer.stream), None
        actor = Actor(stream, sentences, self._report)
        ending = await self._carry(stream, actor, script, answer.stream.stream_timeout_s)
        result.duration_ms = stream.now_ms
        result.ended_by, result.how = ending.by, ending.how
        if ending.by == "carrier":
            result.error = ending.how
        self._report(result.duration_ms, f"call ended by the {ending.by}: {ending.how}")
        result.steps = actor.steps
        fill(result, stream)
        if options.wav is not None:
            agent = stream.playback.track(result.duration_ms)
            await asyncio.to_thread(write_stereo_wav, options.wav, stream.line.track, agent)
            result.wav = str(options.wav)
        return Hangup(*NORMAL, "Caller") if ending.by == "caller" else _after_stream(answer.stream), stream

    async def _carry(self, stream: MediaStream, actor: Actor, script: Sequence[Step], timeout_s: int) -> Ending:
        """Run media and script concurrently until the call is over."""
        limit_s = min(self._options.call_s_max, timeout_s)
        async with asyncio.TaskGroup() as tasks:
            media = tasks.create_task(stream.run(), name="media stream")
            try:
                async with asyncio.timeout(limit_s):
                    await actor.perform(script)
            except TimeoutError:
                stream.end(Ending("carrier", f"the call was still on after {limit_s:g} s"))
        return media.result()


def _answered(answer: AnswerReply) -> dict[str, object]:
    stream = {key: value for key, value in asdict(answer.stream).items() if key not in ("url", "status_callback_url")}
    return {
        "status": answer.status,
        "content_type": answer.content_type,
        "took_ms": answer.took_ms,
        "stream": stream,  # without its URLs, which contain the secret that opens the socket
    }


def _after_stream(stream: Stream) -> Hangup:
    """Return the hangup that the carrier reports after the last element of the document."""
    return Hangup(*NORMAL, "Answer XML") if "Hangup" in stream.verbs_after else Hangup(*END_OF_XML, "Vobiz")


def fill(result: CallResult, stream: MediaStream) -> None:
    """Fill `result` from a stream that is over; `duration_ms` and `steps` must be set."""
    playback, until_ms = stream.playback, result.duration_ms
    measure(result.steps, playback, until_ms)
    result.agent_spans_ms = playback.loud_spans_ms(until_ms)
    result.underruns, result.clears = playback.underruns, playback.clears
    result.heard_checkpoints = playback.heard_checkpoints
    result.drops = [asdict(drop) for drop in stream.drops]
    result.violations = [text if times == 1 else f"{text} ({times} times)" for text, times in stream.violations.items()]
    if playback.overflow_bytes:
        result.violations.append(f"{playback.overflow_bytes} bytes of audio did not fit into the playback queue")
    result.frames_sent = len(stream.lateness_ms)
    result.lateness_ms = percentiles(stream.lateness_ms)
