"""Defines what a provider of speech to text, of a language model and of text to speech must do.

An engine is one file that turns a vendor's protocol into one of these three protocols, and a vendor's errors into these
three.  Failover, metrics and tracing wrap the protocols; engines inherit nothing.  Closing the iterator (or leaving the
context) is the only way to cancel: an engine frees its socket there and never swallows `CancelledError`.

Audio is always G.711 mu-law, 8 kHz, mono: 8 bytes are one millisecond.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class ProviderError(Exception):
    """Base of the three errors; engines raise one of those below."""

    kind = "down"
    """Label `kind` of `voice_provider_errors_total`."""


class Busy(ProviderError):
    """The provider is at its limit (429, no free connection).  Try another one now."""

    kind = "busy"


class Down(ProviderError):
    """The provider is unreachable or broken (no connection, 5xx, a deadline).  Try another one and trip the breaker."""

    kind = "down"


class IncompleteAudio(Down):
    """The provider ended a clause in order, but with no or far too little audio.  The same request may well succeed."""


class Rejected(ProviderError):
    """The request or the key is wrong (400, 401, 403).  The same request cannot succeed at this provider."""

    kind = "rejected"


# --- speech to text ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How the speech of one call is recognised."""

    language: str = "en"
    """BCP 47 tag of the language that the caller is expected to speak."""
    min_interruption_ms: int = 160
    """Speech of this length raises `SpeechStart`: it may interrupt the agent."""
    endpointing_ms: int = 500
    """Silence of this length after words ends the caller's turn."""
    utterance_ms_max: int = 30_000
    """Longer speech is transcribed in pieces of this length."""
    eager_endpointing_ms: int = 200
    """Silence of this length after words raises `EagerEndOfTurn`; 0: never."""
    interim_endpointing_ms: int = 0
    """So does silence of this length after interim words that stood unchanged for as long, if the provider has interim
    results and no earlier signal; 0: never."""
    keyterms: tuple[str, ...] = ()
    """Names and technical terms that the caller may use; providers without such a list ignore them."""


@dataclass(frozen=True, slots=True)
class SpeechStart:
    """The caller began to speak at `position_ms` of the call's audio.  Exactly one `SpeechEnd` follows."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class SpeechEnd:
    """The caller fell silent; the last speech was at `position_ms`.  Comes before any `EndOfTurn`."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class EndOfTurn:
    """The caller's turn is over; `text` is its transcript and never empty."""

    text: str
    start_ms: int
    end_ms: int
    """`start_ms` and `end_ms` bound the words in the call's audio, as far as the provider knows."""
    decided_ms: int = 0
    """The position in the call's audio at which the end of the turn was decided; 0: not known."""
    unsure: bool = False
    """The words come from interim results only (workers/stt/stream/interim_words.py)."""


@dataclass(frozen=True, slots=True)
class EagerEndOfTurn:
    """The caller's turn is probably over, with this transcript; a reply may be prepared, and not played.

    An `EndOfTurn` confirms it or corrects the words; a `SpeechStart` cancels it, because the caller continues.
    """

    text: str
    start_ms: int
    end_ms: int
    unsure: bool = False
    """The words come from interim results (workers/stt/stream/stable_interims.py)."""


SttEvent: TypeAlias = SpeechStart | SpeechEnd | EagerEndOfTurn | EndOfTurn


class SttStream(Protocol):
    """Speech recognition of one call.  Iterate it for events; only an error or leaving the context ends it."""

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Pass the next audio, which begins at `position_ms`.  Never blocks; beyond its bound the oldest is dropped."""

    def __aiter__(self) -> AsyncIterator[SttEvent]:
        """Iterate the events in order.  Raises a `ProviderError` if recognition cannot continue."""


class SpeechToText(Protocol):
    """A speech-to-text provider: opens one `SttStream` for each call."""

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[SttStream]:
        """Open a stream.  Raises a `ProviderError` if none can be opened."""

    async def warm(self) -> None:
        """Prepare for the first stream (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything, when no stream is open any more.  The object is not used afterwards."""


# --- language model ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model calls a tool.  `arguments` is the JSON text of the model, not yet checked."""

    call_id: str
    name: str
    arguments: str


ChatMessage: TypeAlias = dict[str, Any]
"""One message of an OpenAI chat: `{"role": "system" | "user" | "assistant" | "tool", "content": str, ...}`."""


@dataclass(frozen=True, slots=True)
class TokensUsed:
    """The tokens of a reply, as the vendor counts them.  `tokens_cached` is the cheaper part of `tokens_in`."""

    tokens_in: int
    tokens_cached: int
    tokens_out: int


@dataclass(frozen=True, slots=True)
class TextComplete:
    """The text of the reply is complete; its tool calls and its token counts may follow."""

    reason: str = ""
    """Why the model stopped, in the vendor's word (`stop`, `length`, `content_filter`); empty if it gave none."""


@dataclass(frozen=True, slots=True)
class Retracted:
    """The text before this must not be spoken: it was reasoning, which was recognised only at its end."""


Piece: TypeAlias = str | ToolCall | TokensUsed | TextComplete | Retracted


def after(prefix: str, text: str) -> str:
    """The part of `text` after its beginning `prefix`; all of it if it begins otherwise.  Spaces may differ."""
    spoken = prefix.split()
    words = text.split()
    return " ".join(words[len(spoken) :]) if words[: len(spoken)] == spoken else text


class LanguageModel(Protocol):
    """A language model: replies to a dialogue, and keeps nothing of it."""

    def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> AsyncIterator[Piece]:
        """Stream the next assistant message: text as it is made (any split), tool calls when complete.

        `tools` are OpenAI function tools.  `prefix` is the beginning of this very message, from another model or
        process that failed after it: only what follows is streamed.  `TextComplete` comes at the end of the text, if
        that is known before the stream ends; `TokensUsed` comes last, if known.  Raises a `ProviderError`, at any point
        of the stream.
        """

    async def warm(self) -> None:
        """Prepare for the first reply (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything, when no reply is open any more.  The object is not used afterwards."""


# --- text to speech ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VoiceOptions:
    """How the agent's voice sounds."""

    language: str = "en"
    voice: str = ""
    """The vendor's name or id of the voice; empty: the provider's default."""
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class CharTimings:
    """Where the text is in the audio: pairs of (offset of a character, ms in the clause's audio), in order.

    Any number of these may come between the audio; each adds to those before it.
    """

    marks: tuple[tuple[int, int], ...]


Sound: TypeAlias = bytes | CharTimings


class TextToSpeech(Protocol):
    """A text-to-speech provider: synthesizes single clauses for all calls of the process."""

    def say(self, text: str, options: VoiceOptions) -> AsyncIterator[Sound]:
        """Synthesize one clause: mu-law in chunks of any size, as soon as they exist.  Raises a `ProviderError`.

        Several clauses of several calls may be synthesized at once.  Closing the iterator stops the vendor's work.
        """

    async def warm(self) -> None:
        """Prepare for the first clause (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything, when no clause is open any more.  The object is not used afterwards."""
