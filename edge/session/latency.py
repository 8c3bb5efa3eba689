"""What an answer cost the caller in time, for the histograms and for the turn's trace.  One call's."""

from __future__ import annotations

from common.protocol.messages import STAGES, Stamps
from common.store import CallRecord
from common.telemetry import metrics, traces


class AnswerTimes:
    """Told of each reply when its first frame leaves, and of how it ended.  All times are wall clock ms."""

    def __init__(self, record: CallRecord) -> None:
        agent = record.agent
        self._call_id = record.call_id
        self._about: dict[str, traces.Value] = {
            "agent": str(agent.get("name", "")),
            "agent_version": str(agent.get("version", "")),
            "direction": record.direction,
        }
        self._turn: traces.Turn | None = None  # the reply that is being played
        self._asked_ms = self._begun_ms = 0
        self._arrived: tuple[int, Stamps] = (0, ())
        self._released: tuple[int, Stamps] = (0, ())

    def arrived(self, turn: int, stamps: Stamps) -> None:
        """The stamps that came with a reply's audio, if any did."""
        if stamps:
            self._arrived = (turn, stamps)

    def released(self, turn: int, stamps: Stamps) -> None:
        """A reply that was made before the caller's turn was over is the answer; the stamps are of the turn's end."""
        if turn > self._released[0]:
            self._released = (turn, stamps)

    def begun(self, turn: int, utterance: int, at_ms: int) -> Stamps:
        """The first frame of reply `turn` left.  Returns all its stamps, none if nobody asked or not all are known."""
        known = self._stamped(turn)
        stamps = (*known, at_ms) if len(known) == len(STAGES) - 1 else ()
        self._turn = traces.Turn(self._call_id, utterance, turn)
        self._asked_ms, self._begun_ms = stamps[0] if stamps else at_ms, at_ms
        if not stamps:
            return stamps
        metrics.ANSWER_SECONDS.observe((stamps[-1] - stamps[0]) / 1000)
        for stage, begun, done in zip(STAGES[1:], stamps, stamps[1:], strict=False):
            metrics.STAGE_SECONDS.labels(stage).observe(max(0, done - begun) / 1000)
        traces.stage(STAGES[-1], stamps[-2], stamps[-1], turn=self._turn)
        return stamps

    def ended(self, outcome: str, at_ms: int) -> None:
        """The reply was "heard" to its end, or "interrupted", perhaps before its first frame."""
        metrics.TURNS.labels(outcome).inc()
        self.closed(outcome, at_ms)

    def closed(self, outcome: str, at_ms: int) -> None:
        """The reply that is being played, if any, goes no further."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        traces.stage("playing", self._begun_ms, at_ms, turn=turn)
        traces.stage(traces.TURN, self._asked_ms, at_ms, turn=turn, outcome=outcome, **self._about)

    def _stamped(self, turn: int) -> Stamps:
        """The stamps of a reply, with its caller's own (speech_end, endpoint, transcript) once it was released.

        Work that was done before the turn was over took none of the caller's time: no stage ends before the last.
        """
        arrived, stamps = self._arrived
        if arrived != turn:
            return ()
        released, own = self._released
        if turn == released and own:
            stamps = (*own, *stamps[len(own) :])
        in_order: list[int] = []
        for stamp in stamps:
            in_order.append(max(stamp, in_order[-1]) if in_order else stamp)
        return tuple(in_order)
