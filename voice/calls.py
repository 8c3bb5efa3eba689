"""Defines what a tool may know of the call in which it runs."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field

SENTENCE_CHARS_MAX = 300
"""Most characters of one sentence of `Call.say`; the rest is cut."""


class Failed(Exception):
    """Raised by a tool that could not do what it was asked for; the model is told the text, and the log is not.

    The text of any other exception is told to nobody.
    """


def _unheard(sentence: str) -> None:
    """Takes a sentence of a call that nobody listens to, as in a test of a tool."""


class _Sent:
    """Is returned by `Call.say`: a coroutine may await it, a plain function need not."""

    def __await__(self) -> Generator[None, None, None]:
        return iter(())  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Call:
    """The call in which a tool runs.  A tool gets it by a parameter with this annotation."""

    call_id: str = ""
    caller: str = ""
    """The number of the person at the other end; empty if it is withheld."""
    called: str = ""
    """The number that was called; of an outbound call the number that is shown."""
    direction: str = "inbound"
    """inbound or outbound."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """The values of `{{name}}` in this call."""
    key: str = ""
    """The same whenever this call of the tool is run: an idempotency key for other systems."""
    agent: str = ""
    """The name of the agent."""
    speak: Callable[[str], None] = field(default=_unheard, repr=False, compare=False)
    """Takes each sentence of `say`."""

    def say(self, sentence: str) -> _Sent:
        """Have the agent say the sentence while the tool runs; returns at once, and may be awaited."""
        self.speak(" ".join(sentence.split())[:SENTENCE_CHARS_MAX])
        return _Sent()
