"""The messages that travel on the bus: one frozen `msgspec.Struct` each; codec.py turns them into bytes.

Those about tools, transfers and keys are in acts.py, types and bounds of the fields in fields.py.

A tag is never renumbered and never reused.  A message grows only at its end, by a field with a default: an older reader
ignores the surplus, a newer reader fills the gap, and a reader skips and counts a tag that it does not know.  So
processes of two releases work together during a rollout.  The type and the bounds of each field are checked when a
message is decoded; a value outside makes that one entry unreadable and no other (codec.py).  Every message may arrive
twice: `(epoch, turn, clause, seq)` identifies it, and the second copy has no effect.

  epoch       number of the call's connection to an edge, from 1, one more for each reconnect.  Audio of an older epoch
              is dropped, and edge events of an older one are ignored.
  turn        number of a reply of the agent, counted by the LLM worker; 1 is the greeting
  clause      number of a clause in its reply, from 0
  seq         number of the message's first 20 ms frame in its clause, from 0
  utterance   number of a stretch of the caller's speech, counted by the STT worker, from 1
  token       fencing token of the pool member that wrote the message; a smaller one than was seen is ignored
  *_ms        milliseconds; `position_ms` counts the call's own audio, `at_ms` is Unix time
"""

from __future__ import annotations

from typing import TypeAlias

from common.protocol import acts
from common.protocol.fields import (
    Amounts,
    CallId,
    CharTimings,
    ClauseNumber,
    Count,
    CountOrNone,
    EdgeEvent,
    HeardPosition,
    Mulaw,
    NodeId,
    PositionMs,
    StageMs,
    Tagged,
    Text,
    UnixMs,
    Word,
)

# --- call:<id>:audio, written by the call's edge, read by the STT worker ------------------------------------------


class AudioStarted(Tagged, frozen=True, tag=1):
    """Audio of this epoch follows.  `edge` is the node whose priority stream takes the STT worker's messages."""

    epoch: Count
    edge: NodeId


class AudioIn(Tagged, frozen=True, tag=2):
    """20 ms of the caller's audio: 160 bytes of mu-law that begin at `position_ms` and reached the edge at `at_ms`."""

    epoch: Count
    position_ms: PositionMs
    at_ms: UnixMs
    mulaw: Mulaw
    heard: HeardPosition = ()
    """What the caller had certainly heard by then: if the edge dies now, the reply continues there on the next one."""


class AudioEnded(Tagged, frozen=True, tag=3):
    """The call is over and no audio follows.  Epoch 0 ends every connection; a past epoch has no effect."""

    epoch: Count


# --- call:<id>:events, the event log of the call -------------------------------------------------------------------


class CallStarted(Tagged, frozen=True, tag=10):
    """The call is connected to an edge.  Epoch 1 is the start; a higher one is a reconnect, perhaps to another edge."""

    epoch: Count
    edge: NodeId
    at_ms: UnixMs
    heard: HeardPosition = ()
    """How far the previous connection was heard; the unfinished reply continues there."""


class CallEnded(Tagged, frozen=True, tag=11):
    """The call is over; `reason` is a value of `EndReason` (common/call/end_reasons.py).

    Epoch 0 ends every connection; an end that names a past connection has no effect.
    """

    epoch: Count
    reason: Word
    at_ms: UnixMs
    heard: HeardPosition = ()
    """What the caller had heard of the reply that was being played when the call ended."""


class OwnerChanged(Tagged, frozen=True, tag=12):
    """A member of `pool` took the call over and has read every event before this one."""

    pool: Word
    token: Count
    owner: NodeId
    at_ms: UnixMs


class SpeechStarted(Tagged, frozen=True, tag=20):
    """The caller began to speak; the STT worker noticed it at `at_ms`.

    The edge's priority stream gets a copy, because speech may interrupt the agent.  `WordsDetected` follows if the
    speech has words.
    """

    call_id: CallId
    token: Count
    utterance: Count
    position_ms: PositionMs
    at_ms: UnixMs = 0


class SpeechEnded(Tagged, frozen=True, tag=21):
    """The caller fell silent, with or without words.  The edge's priority stream gets a copy."""

    call_id: CallId
    token: Count
    utterance: Count
    position_ms: PositionMs


class WordsDetected(Tagged, frozen=True, tag=24):
    """The speech has words and is no backchannel; sent at once, and only to the edge's priority stream."""

    call_id: CallId
    token: Count
    utterance: Count


class UserTurn(Tagged, frozen=True, tag=22):
    """The final transcript of an utterance, which the agent answers.  `stage_ms`: speech_end, endpoint, transcript."""

    utterance: Count
    text: Text
    stage_ms: StageMs
    unsure: bool = False
    """The words come from interim results only; they count if the agent was waiting for an answer."""
    backchannel: bool = False
    """The words only show attention ("mm-hm"): during a reply they are no turn."""


class EagerUserTurn(Tagged, frozen=True, tag=23):
    """A likely end of turn with its transcript: a reply may be prepared, and is held until `ReplyReleased`.

    A `UserTurn` of the same utterance decides; a later `SpeechStarted` cancels it.  `stage_ms` as in `UserTurn`.
    """

    utterance: Count
    text: Text
    stage_ms: StageMs
    backchannel: bool = False
    """As in `UserTurn`."""
    unsure: bool = False
    """The words come from interim results only; they count if the agent was waiting for an answer."""


class ReplyStarted(Tagged, frozen=True, tag=30):
    """The LLM worker begins reply `turn` to `utterance` (0: to none, as the greeting).

    `based_on` is the text of the `EagerUserTurn` that a preemptive reply answers: the reply is held until its
    `ReplyReleased`.  Empty: the reply answers a final transcript.
    """

    turn: Count
    utterance: Count
    based_on: Text = ""
    inputs: Count = 0
    """How many inputs beside speech (results of tools that no reply waited for, keys) the reply knows of."""


class ReplyReleased(Tagged, frozen=True, tag=33):
    """The preemptive reply `turn` is the answer: play it.  The edge's priority stream gets a copy.

    `stage_ms`: speech_end, endpoint and transcript of the `UserTurn` that it answers.
    """

    call_id: CallId
    token: Count
    turn: Count
    stage_ms: StageMs = ()


class ReplyDiscarded(Tagged, frozen=True, tag=34):
    """The preemptive reply `turn` is not the answer and is never played."""

    turn: Count


class Clause(Tagged, frozen=True, tag=31):
    """A piece of reply `turn` to be spoken at once.  The first one of a reply carries `stage_ms` up to first_clause."""

    turn: Count
    clause: ClauseNumber
    text: Text
    stage_ms: StageMs = ()
    fixed: bool = False
    """The text is the agent's own, as in every call (greeting, farewell, apology): its audio may be kept."""
    sound: Word = ""
    """Instead of speech, play this sound of the agent's file; `text` is empty then."""


class ReplyEnded(Tagged, frozen=True, tag=32):
    """Reply `turn` is complete with `clauses` clauses.  `then` ("" or "hangup") is done once it was heard."""

    turn: Count
    clauses: ClauseNumber
    then: Word = ""


class ClauseSynthesized(Tagged, frozen=True, tag=40):
    """All audio of a clause was sent to the edge; it lasts `duration_ms` (0: the clause could not be spoken).

    `char_timings`: (offset of a character in the clause's text, ms in its audio), if the provider reports them.
    """

    turn: Count
    clause: ClauseNumber
    duration_ms: Count
    char_timings: CharTimings = ()
    epoch: Count = 0
    """The connection for which it was synthesized; if that is past, the caller did not hear it.  0: any."""
    synthesized_chars: CountOrNone = -1
    """How many characters of the clause's text the audio covers, if no provider spoke the rest; -1: all."""


class PlaybackStarted(EdgeEvent, frozen=True, eq=False, tag=50):
    """The first frame of reply `turn` was sent to the carrier.  `stage_ms`: complete, or empty without an utterance."""

    turn: Count
    at_ms: UnixMs
    stage_ms: StageMs = ()
    epoch: Count = 0


class ClausePlayed(EdgeEvent, frozen=True, eq=False, tag=51):
    """The carrier confirms that the clause was played to its end."""

    turn: Count
    clause: ClauseNumber
    epoch: Count = 0


class Interrupted(EdgeEvent, frozen=True, eq=False, tag=52):
    """The caller interrupted reply `turn`: every clause before `clause` was heard, and `heard_ms` of that one."""

    turn: Count
    clause: ClauseNumber
    heard_ms: Count
    utterance: Count = 0
    """The speech that interrupted, if the reply may still continue (`ReplyResumed`); 0: it does not continue."""
    epoch: Count = 0


class ReplyResumed(EdgeEvent, frozen=True, eq=False, tag=56):
    """The interruption was a cough or a backchannel: reply `turn` continues from where `Interrupted` says."""

    turn: Count
    utterance: Count
    epoch: Count = 0


class ReplyPlayed(EdgeEvent, frozen=True, eq=False, tag=53):
    """The whole reply was heard; the agent waits for the caller."""

    turn: Count
    epoch: Count = 0


class UsageReported(Tagged, frozen=True, tag=55):
    """`pool` used `provider` for the call; `amounts` are pairs of (unit of `USAGE_UNITS`, amount) that add up."""

    pool: Word
    provider: Word
    amounts: Amounts


class DtmfReceived(EdgeEvent, frozen=True, eq=False, tag=54):
    """The caller pressed a key: one of 0-9 * #; empty while keys are secret (`KeepKeysSecret`)."""

    digit: Word
    at_ms: UnixMs
    epoch: Count = 0


# fmt: off
OfConnection: TypeAlias = (
    PlaybackStarted | ClausePlayed | Interrupted | ReplyResumed | ReplyPlayed | DtmfReceived | acts.TransferUpdated
)
# fmt: on
"""The subclasses of `EdgeEvent`, as a union."""


def of_past_connection(message: object, epoch: int) -> bool:
    """Whether an edge event comes from a connection older than `epoch`, as of an edge that froze and was replaced.

    Epoch 0 counts as current.
    """
    reported = getattr(message, "epoch", 0) if isinstance(message, EdgeEvent) else 0
    return 0 < reported < epoch


# --- edge:<eid>:audio, written by the TTS workers ------------------------------------------------------------------


class AudioOut(Tagged, frozen=True, tag=60):
    """Whole 20 ms frames for the caller, in order.  `last` marks the end of the clause; `mulaw` may then be empty."""

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
    """The reply is preemptive: the edge keeps the audio until its `ReplyReleased`."""
    answers_utterance: Count = 0
    """The utterance that the reply answers; late messages about that speech do not interrupt it."""
    interruptible: CountOrNone = -1
    """1: the caller can interrupt the reply; 0: cannot; -1: as the agent with which the call began says."""
    sound: bool = False
    """The clause is a sound (`Clause.sound`): it ends where the next clause of the reply begins."""


class ReplySynthesized(Tagged, frozen=True, tag=61):
    """`turn` has no more audio; once it was heard, do `then` ("" or "hangup").  `held` as in `AudioOut`."""

    call_id: CallId
    epoch: Count
    token: Count
    turn: Count
    then: Word = ""
    held: bool = False


# --- edge:<eid>:priority -------------------------------------------------------------------------------------------


class HangUp(Tagged, frozen=True, tag=70):
    """End the call now.  `reason` is a value of `EndReason` (common/call/end_reasons.py); any other counts as "other".

    `token` and `pool` are those of the member that asks (0 and "" from an edge), `epoch` is the
    connection that is meant (0: any).  The edge ignores an older token and another connection.
    """

    call_id: CallId
    reason: Word
    token: Count = 0
    epoch: Count = 0
    pool: Word = ""


# --- pool:<name>:calls ---------------------------------------------------------------------------------------------


class CallOffered(Tagged, frozen=True, tag=80):
    """A call that needs a member of the pool."""

    call_id: CallId


# fmt: off
Message: TypeAlias = (
    AudioStarted | AudioIn | AudioEnded | CallStarted | CallEnded | OwnerChanged | SpeechStarted | SpeechEnded
    | WordsDetected | UserTurn | EagerUserTurn | ReplyStarted | ReplyReleased | ReplyDiscarded | Clause | ReplyEnded
    | ClauseSynthesized | PlaybackStarted | ClausePlayed | Interrupted | ReplyResumed | ReplyPlayed | UsageReported
    | DtmfReceived | AudioOut | ReplySynthesized | HangUp | CallOffered
    | acts.ToolsCalled | acts.ToolReturned | acts.ToolsOffered | acts.KeysEntered | acts.AgentChanged
    | acts.TransferUpdated | acts.TransferCall | acts.SendKeys | acts.KeepKeysSecret | acts.ToolSays
)
# fmt: on
