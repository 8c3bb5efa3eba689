"""Paces the agent's audio to one caller in 20 ms frames, and knows how much of it the caller has heard.  Pure.

The carrier plays what it receives in real time, and at once when its queue is empty.  Playout keeps the carrier's queue
`lead_ms` long: enough to survive a stall of the event loop, little enough that a clear discards little.  It is filled
up in steps of up to `REFILL_MS`, whose frames leave in one write.  The time at which each frame was sent determines
which frames the caller has heard; `playedStream` from the carrier confirms it.

    push ──▶ waiting here ──due()──▶ queued at the carrier ──time──▶ heard
                 │   ▲                        │
          drop() │   └──────── cut() ─────────┘
                 ▼
            never heard

Times are passed in, in milliseconds of any one monotonic clock.  Numbers of turns and clauses only increase: audio
older than the newest received is a duplicate and is dropped.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

FRAME_MS = 20
FRAME_BYTES = 160
REFILL_MS = 80
"""How far the carrier's queue may sink below `lead_ms` before it is filled up: four frames, which fit in one packet."""
REFILL_SHARE = 0.4
"""The same as a share of `lead_ms`, for a small lead: the rest is what a stall of the event loop may last."""
HELD_MS_MAX = 90_000
"""Audio held for one call.  A TTS worker keeps at most 60 s ahead; what exceeds this bound is dropped and counted."""
CLEAR_ACK_MS = 1000
"""Maximum wait for `clearedAudio` before new audio is sent: until it arrives the carrier may drop what it receives."""
CHECKPOINT_OVERDUE_MS = 1000
"""A checkpoint that is unanswered this long after its audio must have ended counts as played."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The next output is the first frame of reply `turn`."""

    turn: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Send a checkpoint for the end of this clause now."""

    turn: int
    clause: int


Out: TypeAlias = bytes | Begin | Checkpoint
"""What to send; bytes are one frame (20 ms, 160 bytes of mu-law)."""


@dataclass(frozen=True, slots=True)
class PlayoutCut:
    """What the caller had heard: everything before `clause`, and the first `heard_ms` of it.

    `at_carrier` is True if the carrier still holds audio, so that `clearAudio` must be sent.
    """

    turn: int
    clause: int
    heard_ms: int
    at_carrier: bool


@dataclass(slots=True)
class _Chunk:
    """Waiting frames of one clause.  `seq` is the number of the first frame that was not sent yet."""

    turn: int
    clause: int
    seq: int
    mulaw: bytes
    last: bool
    sent_bytes: int = 0


@dataclass(slots=True)
class _Sent:
    """Frames of one clause that were sent to the carrier together, and that it plays without a gap from `start_ms` on.

    `number` is that of the first one, counted from 0 within the clause.
    """

    start_ms: float
    turn: int
    clause: int
    number: int
    mulaw: bytes

    @property
    def frames(self) -> int:
        return len(self.mulaw) // FRAME_BYTES

    @property
    def end_ms(self) -> float:
        return self.start_ms + self.frames * FRAME_MS

    def heard(self, now: float) -> int:
        """How many of them the caller has heard at `now`; the one that is being played counts."""
        return min(max(math.ceil((now - self.start_ms) / FRAME_MS), 0), self.frames)


class Playout:
    """Playout of one connection: `push` audio as it arrives, send what `due` returns, `cut` at an interruption."""

    def __init__(self, lead_ms: int = 200) -> None:
        self._room_ms = max(lead_ms - FRAME_MS, 0)
        refill_frames = max(int(min(REFILL_MS, REFILL_SHARE * lead_ms)) // FRAME_MS, 1)
        self._least_ms = max(lead_ms - refill_frames * FRAME_MS, 0)
        self._waiting: deque[_Chunk] = deque()
        self._held_bytes = 0
        self._underway: deque[_Sent] = deque()
        self._checkpoints: deque[tuple[float, Checkpoint]] = deque()
        self._dry_at = 0.0  # when the carrier will have played everything that was sent
        self._open_at = 0.0  # no audio is sent before this: a clear is unanswered
        self._turn, self._clause, self._next_seq, self._clause_ended = 0, -1, 0, False  # newest received
        self._sound: tuple[int, int] | None = None  # (turn, clause) since which only sounds were received
        self.started_turn = 0
        """The newest reply of which a frame was sent; 0 before the first."""
        self.paused = False
        """While True, nothing is sent: the caller is speaking."""
        self.not_before_ms = 0.0
        """Nothing is sent before this time, because the caller would not hear it yet."""

    def push(self, turn: int, clause: int, seq: int, mulaw: bytes, last: bool, is_sound: bool = False) -> int:
        """Take complete frames of a clause, the first of them number `seq`; `last` marks the end of the clause.

        A sound, such as music on hold, ends here when the reply goes on with words.  Returns the number of frames that
        were refused, as duplicates or for lack of room.
        """
        frames = len(mulaw) // FRAME_BYTES
        if (turn, clause) < (self._turn, self._clause):
            return frames
        if not is_sound and self._sound is not None:
            self._end_sound(self._sound)
        self._sound = (self._sound or (turn, clause)) if is_sound else None
        skipped = 0
        if (turn, clause) == (self._turn, self._clause):
            if self._clause_ended:
                return frames
            skipped = min(max(0, self._next_seq - seq), frames)
            if skipped == frames and not last:
                return frames
        kept = min(frames - skipped, (HELD_MS_MAX * FRAME_BYTES // FRAME_MS - self._held_bytes) // FRAME_BYTES)
        body = mulaw[skipped * FRAME_BYTES : (skipped + kept) * FRAME_BYTES]
        self._waiting.append(_Chunk(turn, clause, seq + skipped, body, last))
        self._held_bytes += len(body)
        next_seq = seq + frames if (turn, clause) != (self._turn, self._clause) else max(self._next_seq, seq + frames)
        self._turn, self._clause, self._next_seq, self._clause_ended = turn, clause, next_seq, last
        return frames - kept

    def _end_sound(self, since: tuple[int, int]) -> None:
        """Drop what waits of the clauses since that one, all of them sounds; a checkpoint tells that they are over."""
        seq = -1
        while self._waiting and (self._waiting[-1].turn, self._waiting[-1].clause) >= since:
            unsent = self._waiting.pop()
            self._held_bytes -= len(unsent.mulaw) - unsent.sent_bytes
            seq = unsent.seq if unsent.clause == self._clause else max(seq, 0)
        if seq >= 0:
            self._waiting.append(_Chunk(self._turn, self._clause, seq, b"", last=True))

    def next_due(self) -> float | None:
        """The time at which to call `due` again; None while nothing can be sent."""
        if not self._waiting or self.paused:
            return None
        return max(self._dry_at - self._least_ms, self._open_at, self.not_before_ms)

    def due(self, now: float) -> list[Out]:
        """What to send at `now` so that the carrier's queue is `lead_ms` long, in the order of sending."""
        out: list[Out] = []
        if self.paused or now < max(self._open_at, self.not_before_ms):
            return out
        while self._waiting and self._dry_at - now <= self._room_ms:
            chunk = self._waiting[0]
            if chunk.sent_bytes < len(chunk.mulaw):
                self._send(chunk, now, out)
            if chunk.sent_bytes >= len(chunk.mulaw):
                self._waiting.popleft()
                if chunk.last:
                    checkpoint = Checkpoint(chunk.turn, chunk.clause)
                    self._checkpoints.append((max(self._dry_at, now), checkpoint))
                    out.append(checkpoint)
        while self._underway and self._underway[0].end_ms <= now:
            self._underway.popleft()
        return out

    def _send(self, chunk: _Chunk, now: float, out: list[Out]) -> None:
        if chunk.turn > self.started_turn:
            self.started_turn = chunk.turn
            out.append(Begin(chunk.turn))
        start_ms = max(self._dry_at, now)
        room = int((self._room_ms - (start_ms - now)) // FRAME_MS) + 1
        mulaw = chunk.mulaw[chunk.sent_bytes : chunk.sent_bytes + room * FRAME_BYTES]
        sent = _Sent(start_ms, chunk.turn, chunk.clause, chunk.seq, mulaw)
        out.extend([mulaw[at : at + FRAME_BYTES] for at in range(0, len(mulaw), FRAME_BYTES)])
        self._underway.append(sent)
        self._dry_at = sent.end_ms
        chunk.sent_bytes += len(mulaw)
        chunk.seq += sent.frames
        self._held_bytes -= len(mulaw)

    def cut(self, now: float) -> PlayoutCut:
        """Take back the unheard audio.  If the result says `at_carrier`, send `clearAudio` now; nothing is due until
        its answer.

        A frame that is being played counts as heard.  The rest waits here as if it had never been sent: `drop` it, or
        let it be sent again.
        """
        position = self.position(now)
        self._take_back(now)
        if position.at_carrier:
            self._dry_at = now
            self._open_at = now + CLEAR_ACK_MS
        return position

    def _take_back(self, now: float) -> None:
        """Return the unheard frames and their checkpoints to the waiting queue, clause by clause."""
        clauses = {_order(checkpoint): b"" for end_ms, checkpoint in self._checkpoints if end_ms > now}
        first: dict[tuple[int, int], int] = {}  # number of each clause's first frame that was not heard
        for sent in self._underway:
            key, heard = (sent.turn, sent.clause), sent.heard(now)
            if not clauses.get(key):
                first[key] = sent.number + heard
            if heard < sent.frames:
                clauses[key] = clauses.get(key, b"") + sent.mulaw[heard * FRAME_BYTES :]
        marked = {_order(checkpoint) for _, checkpoint in self._checkpoints}
        for key, mulaw in sorted(clauses.items(), reverse=True):
            self._waiting.appendleft(_Chunk(*key, first.get(key, 0), mulaw, key in marked))
            self._held_bytes += len(mulaw)
        self._underway.clear()
        self._checkpoints = deque((end_ms, checkpoint) for end_ms, checkpoint in self._checkpoints if end_ms <= now)

    def position(self, now: float) -> PlayoutCut:
        """What the caller has heard at `now`; changes nothing."""
        at_carrier = self._dry_at > now
        for sent in self._underway:
            if (heard := sent.heard(now)) < sent.frames:
                return PlayoutCut(sent.turn, sent.clause, (sent.number + heard) * FRAME_MS, at_carrier)
        if self._waiting:
            chunk = self._waiting[0]
            return PlayoutCut(chunk.turn, chunk.clause, chunk.seq * FRAME_MS, at_carrier)
        return PlayoutCut(self._turn, max(self._clause, 0), self._next_seq * FRAME_MS, at_carrier)

    def drop(self) -> None:
        """Discard the waiting audio; what was sent is still played."""
        self._waiting.clear()
        self._held_bytes = 0

    def cleared(self) -> None:
        """The carrier answered `clearAudio`: audio may be sent again."""
        self._open_at = 0.0

    def played(self, checkpoint: Checkpoint) -> None:
        """The carrier confirmed that it has played everything up to this checkpoint."""
        while self._checkpoints and _order(self._checkpoints[0][1]) <= _order(checkpoint):
            self._checkpoints.popleft()

    def overdue(self, now: float, alive_ms: float = math.inf) -> list[Checkpoint]:
        """Checkpoints whose answer is overdue and counts as lost.  Each is returned once.

        A checkpoint whose audio ended after `alive_ms`, the time of the connection's last sign of life, is left out:
        the caller may not have heard that audio.
        """
        late: list[Checkpoint] = []
        while (
            self._checkpoints
            and self._checkpoints[0][0] + CHECKPOINT_OVERDUE_MS < now
            and self._checkpoints[0][0] <= alive_ms
        ):
            late.append(self._checkpoints.popleft()[1])
        return late

    @property
    def newest_clause(self) -> tuple[int, int]:
        """(turn, clause) of the newest audio received; clause is -1 before the first."""
        return self._turn, self._clause

    @property
    def held_frames(self) -> int:
        return self._held_bytes // FRAME_BYTES


def _order(checkpoint: Checkpoint) -> tuple[int, int]:
    return checkpoint.turn, checkpoint.clause
