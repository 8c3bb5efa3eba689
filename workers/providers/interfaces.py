"""What a speech or language provider must do, whoever sells it.

An adapter is one file that turns a vendor's wire into these three shapes, and a vendor's errors into these
three.  Failover, metrics and tracing wrap the shapes; adapters inherit nothing.  Closing the iterator (or leaving
the context) is the only cancel: an adapter frees its socket there and never swallows `CancelledError`.

Audio is always G.711 mu-law, 8 kHz, mono: 8 bytes are one millisecond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class ProviderError(Exception):
    """The root of the three errors; adapters raise one of those below."""

    kind = "down"
    """Label of `voice_provider_errors_total`."""


class Busy(ProviderError):
    """At capacity (429, no free connection).  Try another provider now."""

    kind = "busy"


class Down(ProviderError):
    """Unreachable or broken (connect failure, 5xx, deadline passed).  Try another and trip the breaker."""

    kind = "down"


class IncompleteAudio(Down):
    """A voice ended a clause in order, but without audio or with far too little.  The same request may well succeed."""


class Rejected(ProviderError):
    """Our request or our key is wrong (400, 401, 403).  The same request cannot succeed here."""

    kind = "rejected"


# --- ears -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How one call wants to be listened to."""

    language: str = "en"
    """BCP 47 tag of what the caller is expected to speak."""
    min_interruption_ms: int = 160
    """Speech this long is a speech onset: it may interrupt the agent."""
    endpointing_ms: int = 500
    """Silence this long after words ends the caller's turn."""
    utterance_ms_max: int = 30_000
    """A caller who speaks longer is transcribed in pieces of this length."""
    eager_endpointing_ms: int = 200
    """Silence this long after words makes it likely that the turn is over; 0: never say so."""
    keyterms: tuple[str, ...] = ()
    """Names and words of the trade that the caller may use; providers that take none ignore them."""


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The caller began to speak at `position_ms` of the call's audio.  Followed by exactly one `SpeechEnd`."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The caller fell silent: the last speech was at `position_ms`.  Precedes the `EndOfTurn`, if there are words."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The caller's turn is over and these were the words; never empty."""

    text: str
    start_ms: int
    end_ms: int
    """Where in the call's audio the words began and ended, as far as the provider knows."""
    decided_ms: int = 0
    """Where in the call's audio it was clear that the turn was over; 0: not known."""
    unsure: bool = False
    """The words stood in interim results only (workers/stt/stream/interim_words.py)."""


@dataclass(frozen=True, slots=True)
class EagerEndOfTurn:
    """The caller's turn is probably over, and these are its words; an answer may be prepared, but not spoken.

    An `EndOfTurn` confirms it (or corrects the words), an `SpeechStart` withdraws it: the caller goes on.
    """

    text: str
    start_ms: int
    end_ms: int


SttEvent: TypeAlias = SpeechStart | SpeechEnd | EagerEndOfTurn | EndOfTurn


class SttStream(Protocol):
    """Listens to one call.  Iterate it to hear; the iteration ends only by error or by leaving the context."""

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio, which begins at `position_ms`.  Never blocks; at its bound it drops the oldest."""

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """What is heard, in order.  Raises a `ProviderError` when listening cannot go on."""


class SpeechToText(Protocol):
    """Ears: opens one `SttStream` for each call."""

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttStream]:
        """Open an ear; raises a `ProviderError` if there is none to be had."""

    async def warm(self) -> None:
        """Get ready for the first ear (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything; no ear is open any more.  The object is not used afterwards."""


# --- mind -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model asks for a tool.  `arguments` is the JSON text the model wrote, not yet trusted."""

    call_id: str
    name: str
    arguments: str


ChatMessage: TypeAlias = dict[str, Any]
"""One message of an OpenAI chat: `{"role": "system" | "user" | "assistant" | "tool", "content": str, ...}`."""


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """What a reply used, as the vendor counts it.  `tokens_cached` are the part of `tokens_in` that was cheaper."""

    tokens_in: int
    tokens_cached: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class TextComplete:
    """All words of the reply have come; its tool calls and its bill may follow."""

    reason: str = ""
    """Why the model stopped, in the vendor's word (`stop`, `length`, `content_filter`); empty if it did not say."""


@dataclass(frozen=True, slots=True)
class Retracted:
    """The text before this was not meant to be spoken: reasoning that was known as such at its end only."""


Piece: TypeAlias = str | ToolCall | TokensUsed | TextComplete | Retracted


def after(prefix: str, text: str) -> str:
    """What of `text` follows its beginning `prefix`; all of it if it begins otherwise.  Spaces may differ in width."""
    spoken = prefix.split()
    words = text.split()
    return " ".join(words[len(spoken) :]) if words[: len(spoken)] == spoken else text


class LanguageModel(Protocol):
    """A mind: answers a dialogue; keeps nothing of it."""

    def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> AsyncIterator[Piece]:
        """Stream the next assistant message: text as it is made (any split), tool calls when complete.

        `tools` are OpenAI function tools.  `said` is how this very message begins, because another model (or another
        process) said that much before it failed: only what follows is streamed.  `TextComplete` comes where the
        words end, if that is known before the stream ends; `TokensUsed` comes last, if known.
        Raises a `ProviderError`, at any point of the stream.
        """

    async def warm(self) -> None:
        """Get ready for the first reply (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything; no reply is open any more.  The object is not used afterwards."""


# --- mouth ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """How the agent sounds."""

    language: str = "en"
    voice: str = ""
    """The vendor's own name or id of the voice; empty means the provider's default."""
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class CharTimings:
    """When the text is heard: pairs of (offset of a character in the text, ms in the clause's audio), in order.

    Any number of these may come, among the audio; each adds to those before it.
    """

    marks: tuple[tuple[int, int], ...]


Sound: TypeAlias = bytes | CharTimings


class TextToSpeech(Protocol):
    """A mouth: speaks one clause at a time, for all calls of the process."""

    def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        """Speak one clause: mu-law in chunks of any size, as soon as they exist.  Raises a `ProviderError`.

        Several clauses of several calls may be spoken at once.  Closing the iterator stops the vendor's work on it.
        """

    async def warm(self) -> None:
        """Get ready for the first clause (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything; no clause is open any more.  The object is not used afterwards."""
