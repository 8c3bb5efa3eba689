"""What travels on the bus: one frozen msgspec.Struct per message; packing.py makes them bytes.

A tag is forever: never renumber, never reuse.  A message grows only at its end, by a field with a default: old readers
ignore the surplus, new readers fill the gap, and a reader skips (and counts) a tag it does not know.  So pods roll in
any order.

The type of a field is checked when a message is read, and so are its bounds: what does not fit makes that one entry
unreadable, and nobody else's (packing.py).  They are wide; they keep out what no process could work with.

Every message is harmless when it arrives twice: `(epoch, turn, clause, seq)` says exactly what it is.

  epoch       how often the call has been (re)connected to an edge; audio of an older epoch is dropped, and what an edge
              says of an older one is ignored (no part of what is said, so two messages do not differ by it)
  turn        number of a reply of the agent, counted by the mind; 1 is the greeting
  clause      number of a clause in its turn, from 0
  seq         number of the first 20 ms frame of this message in its clause, from 0
  utterance   number of a speech of the caller, counted by the ears, from 1
  holds       of an edge or a mouth: it knows of tentative replies and lets nobody hear them; 0.1.0 would play them
  token       fencing number of the pool member that wrote this; an older one than was seen is ignored
  *_ms        milliseconds; `position_ms` counts the call's own audio, `at_ms` is wall clock (Unix time)
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
"""A number of something, from 0 or 1: nobody counts further in one call."""
CountOrNone: TypeAlias = Annotated[int, Meta(ge=-1, le=2**31 - 1)]
"""As `Count`; -1 has a meaning of its own."""
ClauseNumber: TypeAlias = Annotated[int, Meta(ge=0, le=20_000)]
"""No reply has more clauses than a call has events (EVENTS_MAXLEN)."""
PositionMs: TypeAlias = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
UnixMs: TypeAlias = Annotated[int, Meta(ge=0, le=2**47)]
"""Up to the year 6429: what is later is no time."""
CallId: TypeAlias = Annotated[str, Meta(max_length=64)]
NodeId: TypeAlias = Annotated[str, Meta(max_length=300)]
Word: TypeAlias = Annotated[str, Meta(max_length=300)]
"""A pool, a reason, the name of a model: never what somebody said."""
Text: TypeAlias = Annotated[str, Meta(max_length=100_000)]
Mulaw: TypeAlias = Annotated[bytes, Meta(max_length=64_000)]
"""8 s of audio at most: one entry holds a frame, or about ten."""
Amounts: TypeAlias = Annotated[tuple[tuple[Word, Annotated[int, Meta(ge=0, le=2**53)]], ...], Meta(max_length=100)]
CharTimings: TypeAlias = Annotated[tuple[tuple[Count, Count], ...], Meta(max_length=100_000)]

StageMs: TypeAlias = Annotated[tuple[UnixMs, ...], Meta(max_length=32)]
"""Wall clock ms of the stages of one answer, in the order of `STAGES`; grows from process to process."""

STAGES = ("speech_end", "endpoint", "transcript", "first_token", "first_clause", "first_audio", "first_frame")
"""What a stamp stands for.  `first_frame - speech_end` is what the caller waited, up to the carrier."""

HeardPosition: TypeAlias = Annotated[tuple[Count, ...], Meta(max_length=3)]
"""How far the caller has heard a reply: (turn, clause, ms), all before `clause` and the first `ms` of it.  Empty: no
reply is unfinished, or nobody knows."""

USAGE_UNITS = ("audio_ms", "characters", "tokens_in", "tokens_cached", "tokens_out")
"""What providers charge for: audio heard, text spoken, and tokens (`tokens_cached` are part of `tokens_in`)."""


class Tagged(Struct, frozen=True, array_like=True, gc=False):
    """A message: on the bus the array `[tag, *fields]`, whose types and bounds are checked as it is decoded."""


class EdgeEvent(Tagged, frozen=True, eq=False):
    """What an edge says in the call's events, of the connection that it has: `epoch`, 0 from an older release.

    Two of them are equal whichever connection said so: what the caller heard does not depend on it.
    """

    def _said(self) -> tuple[object, ...]:
        return (type(self), *(getattr(self, name) for name in self.__struct_fields__ if name != "epoch"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EdgeEvent) and self._said() == other._said()

    def __hash__(self) -> int:
        return hash(self._said())


# --- call:<id>:audio, written by the call's edge, read by the ears ------------------------------------------------


class AudioStarted(Tagged, frozen=True, tag=1):
    """Audio of this epoch follows.  `edge` is the node whose priority stream takes the ears' news."""

    epoch: Count
    edge: NodeId


class AudioIn(Tagged, frozen=True, tag=2):
    """20 ms from the caller: 160 bytes of mu-law that begin at `position_ms` and reached the edge at `at_ms`."""

    epoch: Count
    position_ms: PositionMs
    at_ms: UnixMs
    mulaw: Mulaw
    heard: HeardPosition = ()
    """How far the caller had certainly heard the agent by then: should the edge die now, the next one goes on there."""


class AudioEnded(Tagged, frozen=True, tag=3):
    """The call is over; nothing follows.  Epoch 0 means whatever the epoch; one that is past ends nothing."""

    epoch: Count


# --- call:<id>:events, the story of the call -----------------------------------------------------------------------


class CallStarted(Tagged, frozen=True, tag=10):
    """An edge has the caller on the line.  Epoch 1 is the start, a higher one a reconnect (perhaps elsewhere)."""

    epoch: Count
    edge: NodeId
    at_ms: UnixMs
    holds: bool = False
    heard: HeardPosition = ()
    """How far the connection before this one was heard: the reply goes on there."""


class CallEnded(Tagged, frozen=True, tag=11):
    """The call is over; `reason` is one of `END_REASONS` in common/store.

    Epoch 0 means whatever the epoch; the end of a connection that is past (an old socket's) ends nothing.
    """

    epoch: Count
    reason: Word
    at_ms: UnixMs
    heard: HeardPosition = ()
    """How far the caller had heard the reply in which the call ended."""


class OwnerChanged(Tagged, frozen=True, tag=12):
    """A member of `pool` took the call over and has read everything before this line."""

    pool: Word
    token: Count
    owner: NodeId
    at_ms: UnixMs
    holds: bool = False


class SpeechStarted(Tagged, frozen=True, tag=20):
    """The caller began to speak; the ears noticed `at_ms`.

    Also on the edge's priority stream: it may stop the agent.
    """

    call_id: CallId
    token: Count
    utterance: Count
    position_ms: PositionMs
    at_ms: UnixMs = 0
    words: bool = False
    """If it has words, `WordsDetected` will follow; ears of release 0.1.0 do not say so."""


class SpeechEnded(Tagged, frozen=True, tag=21):
    """The caller fell silent, perhaps without having said a word.  Also on the edge's priority stream."""

    call_id: CallId
    token: Count
    utterance: Count
    position_ms: PositionMs


class WordsDetected(Tagged, frozen=True, tag=24):
    """This speech has words, and more than a "mm-hm": on the edge's priority stream only, as soon as it is known."""

    call_id: CallId
    token: Count
    utterance: Count


class UserTurn(Tagged, frozen=True, tag=22):
    """What the caller said; the agent answers this.  `stage_ms` hold speech_end, endpoint, transcript."""

    utterance: Count
    text: Text
    stage_ms: StageMs
    unsure: bool = False
    """The words stood in interim results only: they count if the agent was waiting for an answer."""


class EagerUserTurn(Tagged, frozen=True, tag=23):
    """What the caller said, if they are done: an answer may be prepared, and must not be heard before `ReplyReleased`.

    A `UserTurn` of the same utterance settles it; a later `SpeechStarted` withdraws it.  Stamps as in `UserTurn`.
    """

    utterance: Count
    text: Text
    stage_ms: StageMs


class ReplyStarted(Tagged, frozen=True, tag=30):
    """The mind begins reply `turn`, answering `utterance` (0: nobody asked, as in the greeting).

    `based_on` is the text of the `EagerUserTurn` that it answers: it is tentative, and nobody may hear it before its
    `ReplyReleased`.  Empty: it answers what was said.
    """

    turn: Count
    utterance: Count
    based_on: Text = ""


class ReplyReleased(Tagged, frozen=True, tag=33):
    """The tentative reply `turn` is the answer: play it.  Also on the edge's priority stream.

    `stage_ms` hold speech_end, endpoint, transcript of the `UserTurn` that it answers.
    """

    call_id: CallId
    token: Count
    turn: Count
    stage_ms: StageMs = ()


class ReplyDiscarded(Tagged, frozen=True, tag=34):
    """The tentative reply `turn` is not the answer: nobody has heard it, nobody will."""

    turn: Count


class Clause(Tagged, frozen=True, tag=31):
    """A speakable piece of reply `turn`.  The first one carries the stamps up to first_clause."""

    turn: Count
    clause: ClauseNumber
    text: Text
    stage_ms: StageMs = ()


class ReplyEnded(Tagged, frozen=True, tag=32):
    """Reply `turn` has `clauses` clauses.  `then` is "" or "hangup": what to do once it was heard."""

    turn: Count
    clauses: ClauseNumber
    then: Word = ""


class ClauseSynthesized(Tagged, frozen=True, tag=40):
    """All audio of a clause is at the edge: it lasts `duration_ms` (0: it could not be spoken).

    `char_timings` are pairs of (offset of a character in the clause's text, ms in its audio), if the voice told them.
    """

    turn: Count
    clause: ClauseNumber
    duration_ms: Count
    char_timings: CharTimings = ()
    epoch: Count = 0
    """The connection for which it was spoken: if that is past, nobody heard it.  0: whichever."""
    synthesized_chars: CountOrNone = -1
    """So many characters of the clause's text are in the audio, because no voice spoke the rest.  -1: all."""


class PlaybackStarted(EdgeEvent, frozen=True, eq=False, tag=50):
    """The first frame of reply `turn` left for the carrier.  `stage_ms` are complete, or empty if nobody asked."""

    turn: Count
    at_ms: UnixMs
    stage_ms: StageMs = ()
    epoch: Count = 0


class ClausePlayed(EdgeEvent, frozen=True, eq=False, tag=51):
    """The carrier says that the caller has heard the clause to its end."""

    turn: Count
    clause: ClauseNumber
    epoch: Count = 0


class Interrupted(EdgeEvent, frozen=True, eq=False, tag=52):
    """The caller took the turn: of `turn`, all before `clause` was heard, and of `clause` the first `heard_ms`."""

    turn: Count
    clause: ClauseNumber
    heard_ms: Count
    utterance: Count = 0
    """The speech that did it, if the reply may yet go on (`ReplyResumed`); 0: it does not."""
    epoch: Count = 0


class ReplyResumed(EdgeEvent, frozen=True, eq=False, tag=56):
    """That speech was a cough or a "mm-hm": the caller hears `turn` again, from where `Interrupted` says."""

    turn: Count
    utterance: Count
    epoch: Count = 0


class ReplyPlayed(EdgeEvent, frozen=True, eq=False, tag=53):
    """The whole reply was heard; the agent is listening."""

    turn: Count
    epoch: Count = 0


class UsageReported(Tagged, frozen=True, tag=55):
    """`pool` used `provider` for the call: pairs of (unit of `USAGE_UNITS`, amount), to be added up."""

    pool: Word
    provider: Word
    amounts: Amounts


class DtmfReceived(EdgeEvent, frozen=True, eq=False, tag=54):
    """The caller pressed a key: one of 0-9 * #."""

    digit: Word
    at_ms: UnixMs
    epoch: Count = 0


OfConnection: TypeAlias = PlaybackStarted | ClausePlayed | Interrupted | ReplyResumed | ReplyPlayed | DtmfReceived
"""`EdgeEvent`, one by one."""


def of_past_connection(message: object, epoch: int) -> bool:
    """Does an edge say this that has the call no more?  It may have frozen, and been replaced by connection `epoch`.

    0 stands for an older release, which does not say.
    """
    said = getattr(message, "epoch", 0) if isinstance(message, EdgeEvent) else 0
    return 0 < said < epoch


# --- edge:<eid>:audio, written by the mouths -----------------------------------------------------------------------


class AudioOut(Tagged, frozen=True, tag=60):
    """Whole 20 ms frames for the caller, in order.  `last` is true at the end of the clause (`mulaw` may be empty)."""

    call_id: CallId
    epoch: Count
    token: Count
    turn: Count
    clause: ClauseNumber
    seq: Count
    mulaw: Mulaw
    last: bool = False
    stage_ms: StageMs = ()
    held: bool = False
    """The reply is tentative: keep it until its `ReplyReleased`."""
    answers: Count = 0
    """The utterance that the reply answers: news of that speech, however late, does not interrupt it."""


class ReplySynthesized(Tagged, frozen=True, tag=61):
    """No more audio for `turn`: once it was heard, do what `then` says ("" or "hangup").  `held` as in `AudioOut`."""

    call_id: CallId
    epoch: Count
    token: Count
    turn: Count
    then: Word = ""
    held: bool = False


# --- edge:<eid>:priority -------------------------------------------------------------------------------------------


class HangUp(Tagged, frozen=True, tag=70):
    """End the call now.  `reason` is a value of `EndReason` (common/call/end_reasons.py); any other counts as "other".

    `token` and `pool` are of the member that says so (0, "": an edge, or an older release), `epoch` is the connection
    of which it speaks (0: whichever).  An edge ignores one of an older token, or of another connection.
    """

    call_id: CallId
    reason: Word
    token: Count = 0
    epoch: Count = 0
    pool: Word = ""


# --- pool:<name>:calls ---------------------------------------------------------------------------------------------


class CallOffered(Tagged, frozen=True, tag=80):
    """A call that wants a member of the pool."""

    call_id: CallId


# fmt: off
Message: TypeAlias = (
    AudioStarted | AudioIn | AudioEnded | CallStarted | CallEnded | OwnerChanged | SpeechStarted | SpeechEnded
    | WordsDetected | UserTurn | EagerUserTurn | ReplyStarted | ReplyReleased | ReplyDiscarded | Clause | ReplyEnded
    | ClauseSynthesized | PlaybackStarted | ClausePlayed | Interrupted | ReplyResumed | ReplyPlayed | UsageReported
    | DtmfReceived | AudioOut | ReplySynthesized | HangUp | CallOffered
)
# fmt: on
