"""Keeps the carrier's recordings: starts them by `<Record>` or REST, stops, reports, lists and deletes them."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulators.carrier.fields import recording_fields, rest_recording_fields
from simulators.carrier.plan import Target
from simulators.carrier.record import CallRecord, Webhook

RECORDINGS_MAX = 10_000
CHANNEL_TYPES = ("mono", "stereo")


@dataclass(slots=True)
class Recording:
    """One recording; `stop_ms` is None while it runs.  Times are the carrier's, in ms."""

    recording_id: str
    call_id: str
    file_format: str
    began_ms: float
    start_ms: float
    url: str
    callback: Target
    limit_ms: float
    by_rest: bool
    channel_type: str = "mono"
    api_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stop_ms: float | None = None
    end_reason: str = ""

    def facts(self) -> dict[str, Any]:
        stop_ms = self.stop_ms if self.stop_ms is not None else self.began_ms
        return {
            "api_id": self.api_id,
            "recording_id": self.recording_id,
            "recording_url": self.url,
            "duration_ms": stop_ms - self.began_ms,
            "start_ms": self.start_ms,
            "end_reason": self.end_reason,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "recording_id": self.recording_id,
            "call_uuid": self.call_id,
            "recording_format": self.file_format,
            "recording_type": "call",
            "recording_url": self.url,
            "recording_duration_ms": str(round(self.facts()["duration_ms"])),
            "recording_start_ms": str(round(self.start_ms)),
        }


@dataclass(slots=True)
class Recordings:
    """All recordings of the account; `media_url` is the base URL of their files."""

    auth_id: str
    now_ms: Callable[[], float]
    media_url: str = ""
    shelf: dict[str, Recording] = field(default_factory=dict)

    def start(
        self,
        call: CallRecord,
        file_format: str,
        callback: Target,
        limit_s: float,
        channel_type: str = "mono",
        *,
        by_rest: bool,
    ) -> Recording:
        recording_id = str(uuid.uuid4())
        if len(self.shelf) >= RECORDINGS_MAX:
            self.shelf.pop(next(iter(self.shelf)))
        now_ms = self.now_ms()
        start_ms = now_ms - (call.answered_ms if call.answered_ms is not None else now_ms)
        url = f"{self.media_url}/v1/Account/{self.auth_id}/Recording/{recording_id}.{file_format}"
        recording = Recording(
            recording_id,
            call.call_id,
            file_format,
            now_ms,
            start_ms,
            url,
            callback,
            limit_s * 1000,
            by_rest,
            channel_type,
        )
        self.shelf[recording_id] = recording
        call.recordings.append(recording_id)
        return recording

    def stop(self, recording: Recording, reason: str) -> bool:
        """Stop a recording; return False if it is stopped already."""
        if recording.stop_ms is not None:
            return False
        recording.stop_ms = min(self.now_ms(), recording.began_ms + recording.limit_ms)
        recording.end_reason = reason
        return True

    def report_stop(self, call: CallRecord, recording: Recording, report: Callable[[Webhook], None]) -> None:
        """Send the callback of a recording that has been stopped."""
        fields = (rest_recording_fields if recording.by_rest else recording_fields)(call, recording.facts())
        report(Webhook("record", recording.callback.url, recording.callback.method, fields))

    def running(self, call: CallRecord) -> list[Recording]:
        mine = (self.shelf[recording_id] for recording_id in call.recordings if recording_id in self.shelf)
        return [recording for recording in mine if recording.stop_ms is None]

    def finish(self, call: CallRecord, report: Callable[[Webhook], None]) -> None:
        """Stop the recordings of a call that is over."""
        for recording in self.running(call):
            self.stop(recording, "HungUp")
            self.report_stop(call, recording, report)
