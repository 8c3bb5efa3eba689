"""What travels on the bus: one frozen dataclass per message; packing.py makes them bytes.

A tag is forever.  A message grows only at its end, by a field with a default: old readers ignore the surplus, new
readers fill the gap, and a reader skips (and counts) a tag it does not know.  So pods roll in any order.

Every message is harmless when it arrives twice: `(epoch, turn, clause, seq)` says exactly what it is.

  epoch       how often the call has been (re)connected to an edge; audio of an older epoch is dropped
  turn        number of a reply of the agent, counted by the mind; 1 is the greeting
  clause      number of a clause in its turn, from 0
  seq         number of the first 20 ms frame of this message in its clause, from 0
  utterance   number of a speech of the caller, counted by the ears, from 1
  holds       of an edge or a mouth: it knows of tentative replies and lets nobody hear them; 0.1.0 would play them
  token       fencing number of the pool member that wrote this; an older one than was seen is ignored
  *_ms        milliseconds; `position_ms` counts the call's own audio, `at_ms` is wall clock (Unix time)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

Stamps: TypeAlias = tuple[int, ...]
"""Wall clock ms of the stages of one answer, in the order of `STAGES`; grows from process to process."""

STAGES = ("speech_end", "endpoint", "transcript", "first_token", "first_clause", "first_audio", "first_frame")
"""What a stamp stands for.  `first_frame - speech_end` is what the caller waited, up to the carrier."""

Heard: TypeAlias = tuple[int, ...]
"""How far the caller has heard a reply: (turn, clause, ms), all before `clause` and the first `ms` of it.  Empty: no
reply is unfinished, or nobody knows."""

USAGE_UNITS = ("audio_ms", "characters", "tokens_in", "tokens_cached", "tokens_out")
"""What providers charge for: audio heard, text spoken, and tokens (`tokens_cached` are part of `tokens_in`)."""


# --- call:<id>:audio, written by the call's edge, read by the ears ------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioStarted:
    """Audio of this epoch follows.  `edge` is the node whose priority stream takes the ears' news."""

    epoch: int
    edge: str


@dataclass(frozen=True, slots=True)
class AudioIn:
    """20 ms from the caller: 160 bytes of mu-law that begin at `position_ms` and reached the edge at `at_ms`."""

    epoch: int
    position_ms: int
    at_ms: int
    mulaw: bytes
    heard: Heard = ()
    """How far the caller had certainly heard the agent by then: should the edge die now, the next one goes on there."""


@dataclass(frozen=True, slots=True)
class AudioEnded:
    """The call is over; nothing follows.  Epoch 0 means whatever the epoch; one that is past ends nothing."""

    epoch: int


# --- call:<id>:events, the story of the call -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallStarted:
    """An edge has the caller on the line.  Epoch 1 is the start, a higher one a reconnect (perhaps elsewhere)."""

    epoch: int
    edge: str
    at_ms: int
    holds: bool = False
    heard: Heard = ()
    """How far the connection before this one was heard: the reply goes on there."""


@dataclass(frozen=True, slots=True)
class CallEnded:
    """The call is over; `reason` is one of `END_REASONS` in common/ledger.

    Epoch 0 means whatever the epoch; the end of a connection that is past (an old socket's) ends nothing.
    """

    epoch: int
    reason: str
    at_ms: int
    heard: Heard = ()
    """How far the caller had heard the reply in which the call ended."""


@dataclass(frozen=True, slots=True)
class OwnerChanged:
    """A member of `pool` took the call over and has read everything before this line."""

    pool: str
    token: int
    owner: str
    at_ms: int
    holds: bool = False


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak; the ears noticed `at_ms`.

    Also on the edge's priority stream: it may stop the agent.
    """

    call_id: str
    token: int
    utterance: int
    position_ms: int
    at_ms: int = 0
    words: bool = False
    """If it has words, `Understood` will follow; ears of release 0.1.0 do not say so."""


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """The caller fell silent, perhaps without having said a word.  Also on the edge's priority stream."""

    call_id: str
    token: int
    utterance: int
    position_ms: int


@dataclass(frozen=True, slots=True)
class Understood:
    """This speech has words, and more than a "mm-hm": on the edge's priority stream only, as soon as it is known."""

    call_id: str
    token: int
    utterance: int


@dataclass(frozen=True, slots=True)
class UserTurn:
    """What the caller said; the agent answers this.  `stamps` hold speech_end, endpoint, transcript."""

    utterance: int
    text: str
    stamps: Stamps
    unsure: bool = False
    """The words stood in interim results only: they count if the agent was waiting for an answer."""


@dataclass(frozen=True, slots=True)
class MaybeTurn:
    """What the caller said, if they are done: an answer may be prepared, and must not be heard before `Release`.

    A `UserTurn` of the same utterance settles it; a later `SpeechStarted` withdraws it.  Stamps as in `UserTurn`.
    """

    utterance: int
    text: str
    stamps: Stamps


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """The mind begins reply `turn`, answering `utterance` (0: nobody asked, as in the greeting).

    `prepared_for` is the text of the `MaybeTurn` that it answers: it is tentative, and nobody may hear it before its
    `Release`.  Empty: it answers what was said.
    """

    turn: int
    utterance: int
    prepared_for: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """The tentative reply `turn` is the answer: play it.  Also on the edge's priority stream.

    `stamps` hold speech_end, endpoint, transcript of the `UserTurn` that it answers.
    """

    call_id: str
    token: int
    turn: int
    stamps: Stamps = ()


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The tentative reply `turn` is not the answer: nobody has heard it, nobody will."""

    turn: int


@dataclass(frozen=True, slots=True)
class Clause:
    """A speakable piece of reply `turn`.  The first one carries the stamps up to first_clause."""

    turn: int
    clause: int
    text: str
    stamps: Stamps = ()


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """Reply `turn` has `clauses` clauses.  `then` is "" or "hangup": what to do once it was heard."""

    turn: int
    clauses: int
    then: str = ""


@dataclass(frozen=True, slots=True)
class Spoken:
    """All audio of a clause is at the edge: it lasts `duration_ms` (0: it could not be spoken).

    `marks` are pairs of (offset of a character in the clause's text, ms in its audio), if the voice told them.
    """

    turn: int
    clause: int
    duration_ms: int
    marks: tuple[tuple[int, int], ...] = ()
    epoch: int = 0
    """The connection for which it was spoken: if that is past, nobody heard it.  0: whichever."""
    spoken_chars: int = -1
    """So many characters of the clause's text are in the audio, because no voice spoke the rest.  -1: all."""


@dataclass(frozen=True, slots=True)
class PlayStarted:
    """The first frame of reply `turn` left for the carrier.  `stamps` are complete, or empty if nobody asked."""

    turn: int
    at_ms: int
    stamps: Stamps = ()


@dataclass(frozen=True, slots=True)
class Played:
    """The carrier says that the caller has heard the clause to its end."""

    turn: int
    clause: int


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The caller took the turn: of `turn`, all before `clause` was heard, and of `clause` the first `heard_ms`."""

    turn: int
    clause: int
    heard_ms: int
    utterance: int = 0
    """The speech that did it, if the reply may yet go on (`Resumed`); 0: it does not."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """That speech was a cough or a "mm-hm": the caller hears `turn` again, from where `Interrupted` says."""

    turn: int
    utterance: int


@dataclass(frozen=True, slots=True)
class ReplyPlayed:
    """The whole reply was heard; the agent is listening."""

    turn: int


@dataclass(frozen=True, slots=True)
class Used:
    """`pool` used `provider` for the call: pairs of (unit of `USAGE_UNITS`, amount), to be added up."""

    pool: str
    provider: str
    amounts: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Digit:
    """The caller pressed a key: one of 0-9 * #."""

    digit: str
    at_ms: int


# --- edge:<eid>:audio, written by the mouths -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioOut:
    """Whole 20 ms frames for the caller, in order.  `last` marks the end of the clause (`mulaw` may be empty then)."""

    call_id: str
    epoch: int
    token: int
    turn: int
    clause: int
    seq: int
    mulaw: bytes
    last: bool = False
    stamps: Stamps = ()
    held: bool = False
    """The reply is tentative: keep it until its `Release`."""
    answers: int = 0
    """The utterance that the reply answers: news of that speech, however late, does not interrupt it."""


@dataclass(frozen=True, slots=True)
class ReplySpoken:
    """No more audio for `turn`: once it was heard, do what `then` says ("" or "hangup").  `held` as in `AudioOut`."""

    call_id: str
    epoch: int
    token: int
    turn: int
    then: str = ""
    held: bool = False


# --- edge:<eid>:priority -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call now.  `reason` is one of `END_REASONS`."""

    call_id: str
    reason: str


# --- pool:<name>:calls ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Offer:
    """A call that wants a member of the pool."""

    call_id: str


# fmt: off
Message: TypeAlias = (
    AudioStarted | AudioIn | AudioEnded | CallStarted | CallEnded | OwnerChanged | SpeechStarted | SpeechEnded
    | Understood | UserTurn | MaybeTurn | ReplyStarted | Release | Withdrawn | Clause | ReplyEnded | Spoken
    | PlayStarted | Played | Interrupted | Resumed | ReplyPlayed | Used | Digit | AudioOut | ReplySpoken | HangUp
    | Offer
)
# fmt: on
