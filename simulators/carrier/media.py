"""Runs the media streams of one call: opens each, performs the script, measures it, and sends status callbacks."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from simulators.actor import Actor
from simulators.answer import Stream
from simulators.call import fill, read_sentences
from simulators.carrier.fields import bare, stream_fields
from simulators.carrier.people import STAYS
from simulators.carrier.plan import CarrierOptions
from simulators.carrier.record import CallRecord, Webhook, iso_text
from simulators.result import CallResult
from simulators.script import Step
from simulators.stream import DROPPED, Ending, MediaStream, StreamRefused
from simulators.wav import write_stereo_wav

RETRY_PAUSE_S = 0.5
STREAMS_MAX = 100


class TooManyStreams(Exception):
    """The call has opened more streams than the limit."""


@dataclass(slots=True)
class StreamEntry:
    """One stream as REST returns it."""

    stream: Stream
    media: MediaStream
    stream_id: str
    started: datetime
    ended: datetime | None = None
    status: str = "in-progress"
    reason: str = ""

    def to_json(self, auth_id: str, call_id: str) -> dict[str, Any]:
        return {
            "stream_id": self.stream_id,
            "call_uuid": call_id,
            "service_url": self.stream.url,
            "audio_track": "inbound",
            "bidirectional": self.stream.bidirectional,
            "content_type": self.stream.content_type,
            "sampling_rate": self.stream.rate_hz,
            "stream_timeout": self.stream.stream_timeout_s,
            "status_callback_url": self.stream.status_callback_url,
            "status_callback_method": self.stream.status_callback_method,
            "status": self.status,
            "start_time": iso_text(self.started),
            "end_time": iso_text(self.ended),
            "resource_uri": f"/v1/Account/{auth_id}/Call/{call_id}/Stream/{self.stream_id}/",
        }


@dataclass(slots=True)
class CallStreams:
    """All streams of a call.  The script is performed once: each stream continues where the last one stopped."""

    call: CallRecord
    options: CarrierOptions
    script: Sequence[Step]
    report: Callable[[Webhook], None]
    entries: list[StreamEntry] = field(default_factory=list)
    _acting: bool = False
    _results: list[tuple[StreamEntry, CallResult]] = field(default_factory=list)

    def new(self, stream: Stream) -> StreamEntry:
        """Add a stream, which `carry` opens.  Raises `TooManyStreams`."""
        if len(self.entries) >= STREAMS_MAX:
            raise TooManyStreams

        def on_status(event: str, fields: dict[str, str]) -> None:
            self._report_status(entry, event, fields)

        numbers = (bare(self.call.from_number), bare(self.call.to_number))
        media = MediaStream(stream, self.call.call_id, numbers, self.options.wire_options, on_status)
        entry = StreamEntry(stream, media, media.stream_id, datetime.now(UTC))
        self.entries.append(entry)
        return entry

    def stop(self, stream_id: str | None, how: str) -> bool:
        """End one stream, or all; return False if none is open."""
        on = [entry for entry in self.entries if entry.status == "in-progress" and stream_id in (None, entry.stream_id)]
        for entry in on:
            entry.media.end(Ending("carrier", how))
        return bool(on)

    async def carry(self, entry: StreamEntry) -> Ending:
        """Run the stream to its end and add its result to the call's record, even if cancelled."""
        result = CallResult(self.call.call_id)
        if not await self._open(entry, result):
            self.call.streams.append(result)
            return Ending("carrier", result.how)
        acts, self._acting = not self._acting, True
        script = tuple(self.script or STAYS) if acts else STAYS
        actor = Actor(entry.media, read_sentences(self.options.speech, script), lambda at_ms, line: None)
        try:
            return await self._perform(entry, actor, script)
        finally:
            if acts:
                self._acting = False
                self.script = script[len(actor.steps) :]
            self._closed(entry, actor, result)

    async def _open(self, entry: StreamEntry, result: CallResult) -> bool:
        for tried in range(entry.stream.max_retries + 1):
            try:
                await entry.media.open()
            except StreamRefused as refused:
                result.error, result.how = f"the media stream was refused: {refused}", "refused"
                if tried < entry.stream.max_retries:
                    await asyncio.sleep(RETRY_PAUSE_S * self.options.time_scale)
            else:
                result.error, result.how = None, ""
                return True
        entry.status, entry.reason, entry.ended = "failed", "Connection error", datetime.now(UTC)
        self._report_status(entry, "DroppedStream", {"error": DROPPED})
        return False

    async def _perform(self, entry: StreamEntry, actor: Actor, script: Sequence[Step]) -> Ending:
        media = entry.media
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(media.run(), name="media stream")
            degrading = tasks.create_task(self._degrade(entry), name="degraded stream")
            try:
                async with asyncio.timeout(entry.stream.stream_timeout_s):
                    await actor.perform(script)
            except TimeoutError:
                media.end(Ending("carrier", "stream timeout"))
                self._report_status(entry, "StopStream", {})
            except asyncio.CancelledError:
                media.end(Ending("carrier", "the call moved on"))
                raise
            finally:
                degrading.cancel()
        return running.result()

    async def _degrade(self, entry: StreamEntry) -> None:
        if self.options.degraded_after_ms is not None:
            await asyncio.sleep(self.options.degraded_after_ms / 1000)
            self._report_status(entry, "DegradedStream", {"error": "connection degraded"})

    async def haunt(self) -> None:
        """Open phantom connections after the end of the call, if the carrier has that fault."""
        for entry, result in self._results:
            result.phantom = await entry.media.haunt()

    def _closed(self, entry: StreamEntry, actor: Actor, result: CallResult) -> None:
        media = entry.media
        ending = media.ending or Ending("carrier", "the call moved on")
        entry.status, entry.ended, entry.reason = "completed", datetime.now(UTC), f"{ending.by}: {ending.how}"
        result.duration_ms = media.now_ms
        result.ended_by, result.how, result.steps = ending.by, ending.how, actor.steps
        if ending.by == "carrier" and ending.how.startswith("connection broken"):
            result.error = ending.how
        fill(result, media)
        self.call.streams.append(result)
        self._results.append((entry, result))
        if self.options.wavs is not None:
            path = self.options.wavs / f"{self.call.call_id}-{len(self.call.streams)}.wav"
            with contextlib.suppress(OSError):  # a full disk must not end calls
                write_stereo_wav(path, media.line.track, media.playback.track(result.duration_ms))
                result.wav = str(path)

    def _report_status(self, entry: StreamEntry, event: str, fields: dict[str, str]) -> None:
        url = entry.stream.status_callback_url
        if not url:
            return
        stream_facts = {
            "stream_id": entry.media.stream_id,
            "service_url": entry.stream.url,
            "url": url,
            "method": entry.stream.status_callback_method,
            "extra_headers": entry.stream.extra_headers,
            **fields,
        }
        at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
        body = stream_fields(self.call, self.options.account, event, stream_facts, at)
        self.report(Webhook("stream-status", url, entry.stream.status_callback_method, body))
