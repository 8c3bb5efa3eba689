"""Decides when a vendor is pinged, kept open or given up.  Pure: `now` is in seconds of any monotonic clock.

A vendor that answers all audio (`SocketProfile.answer_ms`) is watched by its answers: a silent socket is pinged, and
one that answers the ping lives.  That nothing processes the audio behind it is known only by a turn that it began and
does not finish, or by speech that it does not notice.  Any other vendor is pinged regularly while audio is sent.
"""

from __future__ import annotations

from workers.providers.interfaces import Down, EndOfTurn, SpeechEnd, SpeechStart, SttEvent
from workers.stt.stream.audio_feed import AudioFeed
from workers.stt.stream.stt_core import PING, SocketProfile, SttStreamOptions
from workers.stt.vad.energy import UnnoticedSpeech

STILL_SECONDS = 1.0
"""No audio was sent for this long (Redis failed over): the vendor had nothing to answer, and is not mute."""


class Liveness:
    """Watches one socket.  Report to it what is fed, sent, received; call `check` at `deadline`."""

    def __init__(self, profile: SocketProfile, feed: AudioFeed, options: SttStreamOptions, now: float) -> None:
        self._profile = profile
        self._feed = feed
        self._options = options
        self._sent_at = now  # audio, or a keepalive
        self._regular_ping_at = now
        self._pinged_at: float | None = None  # and no answer yet
        self._asked = False  # for a final, and no message since
        self._turn_open = False  # the vendor reported a speech start, and no end
        self._unnoticed = UnnoticedSpeech(options.unresponsive_s)
        self._answered_ms = 0  # how much audio was sent when the vendor's last message came
        self._unanswered_at: float | None = None  # when the first audio after it was sent

    @property
    def deadline(self) -> float | None:
        dues: list[float] = []
        if self._pinged_at is not None:
            dues.append(self._pinged_at + self._options.pong_s)
        elif not self._profile.answer_ms and self._sent_at > self._regular_ping_at:
            dues.append(self._regular_ping_at + self._options.ping_s)
        if (silent_at := self._silent_at()) is not None:
            if self._pinged_at is None or self._asked or self._turn_open:
                dues.append(silent_at)
            elif self._unnoticed.due is not None:
                dues.append(max(silent_at, self._unnoticed.due))
        if self._profile.keepalive:
            dues.append(self._sent_at + self._options.keepalive_s)
        return min(dues, default=None)

    def fed(self, position_ms: int, mulaw: bytes, now: float) -> None:
        """Take note of the call's next audio."""
        if self._profile.answer_ms:
            self._unnoticed.feed(position_ms, mulaw, now)

    def sending(self, now: float) -> None:
        """Take note that audio is handed to the socket."""
        if self._unanswered_at is None or now - self._sent_at >= STILL_SECONDS:
            self._unanswered_at = now
        self._sent_at = now

    def received(self, now: float) -> None:
        """Take note of a message, of whatever kind."""
        self._answered_ms, self._unanswered_at = self._feed.taken_ms, None
        self._pinged_at, self._asked = None, False
        self._unnoticed.noticed(now)

    def ponged(self, now: float) -> None:
        """Take note of the answer to a ping; if the vendor stays silent, it is pinged again."""
        self._pinged_at = None
        if self._unanswered_at is not None and not (self._asked or self._turn_open):
            self._unanswered_at = now

    def asked(self) -> None:
        """Take note that the vendor is asked for a final."""
        self._asked = True

    def event(self, event: SttEvent) -> None:
        """Take note of what the vendor's messages mean."""
        if isinstance(event, SpeechStart):
            self._turn_open = True
        elif isinstance(event, SpeechEnd | EndOfTurn):
            self._turn_open = False

    def check(self, now: float) -> list[str]:
        """The texts to send now.  Raises Down if the vendor is dead, or does not process the audio."""
        options, name = self._options, self._profile.name
        if self._pinged_at is not None and now >= self._pinged_at + options.pong_s:
            raise Down(f"{name} does not answer")
        texts: list[str] = []
        silent_at = self._silent_at()
        if silent_at is not None and now >= silent_at:
            if self._asked or self._turn_open:
                raise Down(f"{name} does not finish a transcript")
            if self._unnoticed.lasts(now):
                raise Down(f"{name} does not notice speech")
        if self._pinged_at is None and self._ping_is_due(silent_at, now):
            self._pinged_at = self._regular_ping_at = now
            texts.append(PING)
        if self._profile.keepalive and now >= self._sent_at + options.keepalive_s:
            self._sent_at = now
            texts.append(self._profile.keepalive)
        return texts

    def _ping_is_due(self, silent_at: float | None, now: float) -> bool:
        if self._profile.answer_ms:
            return silent_at is not None and now >= silent_at
        return self._sent_at > self._regular_ping_at and now >= self._regular_ping_at + self._options.ping_s

    def _silent_at(self) -> float | None:
        """When a vendor that processes the audio sent so far must have answered; None: it need not answer."""
        answer_ms = self._profile.answer_ms
        if not answer_ms or self._unanswered_at is None:
            return None
        if self._feed.taken_ms - self._answered_ms < answer_ms and not self._feed.waiting_bytes:
            return None
        return self._unanswered_at + self._options.mute_s
