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


class Busy(ProviderError):
    """At capacity (429, no free connection).  Try another provider now."""


class Down(ProviderError):
    """Unreachable or broken (connect failure, 5xx, deadline passed).  Try another and trip the breaker."""


class Rejected(ProviderError):
    """Our request or our key is wrong (400, 401, 403).  The same request cannot succeed here."""


# --- ears -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """How one call wants to be listened to."""

    language: str = "en"
    """BCP 47 tag of what the caller is expected to speak."""
    onset_ms: int = 160
    """Speech this long is a speech onset: it may interrupt the agent."""
    endpoint_ms: int = 500
    """Silence this long after words ends the caller's turn."""
    utterance_ms_max: int = 30_000
    """A caller who speaks longer is transcribed in pieces of this length."""


@dataclass(frozen=True, slots=True)
class Onset:
    """The caller began to speak at `position_ms` of the call's audio.  Followed by exactly one `Offset`."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class Offset:
    """The caller fell silent: the last speech was at `position_ms`.  Precedes the `Utterance`, if there are words."""

    position_ms: int


@dataclass(frozen=True, slots=True)
class Utterance:
    """The caller's turn is over and these were the words; never empty."""

    text: str
    start_ms: int
    end_ms: int
    """Where in the call's audio the words began and ended, as far as the provider knows."""
    decided_ms: int = 0
    """Where in the call's audio it was clear that the turn was over; 0: not known."""


Heard: TypeAlias = Onset | Offset | Utterance


class Ear(Protocol):
    """Listens to one call.  Iterate it to hear; the iteration ends only by error or by leaving the context."""

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the next audio, which begins at `position_ms`.  Never blocks; at its bound it drops the oldest."""

    def __aiter__(self) -> AsyncIterator[Heard]:
        """What is heard, in order.  Raises a `ProviderError` when listening cannot go on."""


class SpeechToText(Protocol):
    """Ears: opens one `Ear` for each call."""

    def listen(self, options: ListenOptions) -> AbstractAsyncContextManager[Ear]:
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


class LanguageModel(Protocol):
    """A mind: answers a dialogue; keeps nothing of it."""

    def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = ()
    ) -> AsyncIterator[str | ToolCall]:
        """Stream the next assistant message: text as it is made (any split), tool calls when complete.

        `tools` are OpenAI function tools.  Raises a `ProviderError`, at any point of the stream.
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


class TextToSpeech(Protocol):
    """A mouth: speaks one clause at a time, for all calls of the process."""

    def say(self, text: str, options: VoiceOptions) -> AsyncIterator[bytes]:
        """Speak one clause: mu-law in chunks of any size, as soon as they exist.  Raises a `ProviderError`."""

    async def warm(self) -> None:
        """Get ready for the first clause (load models, start children).  Called at process start, perhaps again."""

    async def aclose(self) -> None:
        """Free everything; no clause is open any more.  The object is not used afterwards."""
