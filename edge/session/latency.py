"""What an answer cost the caller in time, for the histograms and for the turn's trace.  One call's."""

from __future__ import annotations

from common.protocol.messages import STAGES, StageMs
from common.store import CallRecord
from common.telemetry import metrics, traces


class TurnLatency:
    """Told of each reply when its first frame leaves, and of how it ended.  All times are wall clock ms."""

    def __init__(self, record: CallRecord) -> None:
        agent = record.agent
        self._call_id = record.call_id
        self._about: dict[str, traces.Value] = {
            "agent": str(agent.get("name", "")),
            "agent_version": str(agent.get("version", "")),
            "direction": record.direction,
        }
        self._turn: traces.TurnTrace | None = None  # the reply that is being played
        self._asked_ms = self._started_ms = 0
        self._arrived: tuple[int, StageMs] = (0, ())
        self._released: tuple[int, StageMs] = (0, ())

    def arrived(self, turn: int, stage_ms: StageMs) -> None:
        """The stamps that came with a reply's audio, if any did."""
        if stage_ms:
            self._arrived = (turn, stage_ms)

    def released(self, turn: int, stage_ms: StageMs) -> None:
        """A reply that was made before the caller's turn was over is the answer; the stamps are of the turn's end."""
        if turn > self._released[0]:
            self._released = (turn, stage_ms)

    def started(self, turn: int, utterance: int, at_ms: int) -> StageMs:
        """The first frame of reply `turn` left.  Returns all its stamps, none if nobody asked or not all are known."""
        known = self._stamped(turn)
        stage_ms = (*known, at_ms) if len(known) == len(STAGES) - 1 else ()
        self._turn = traces.TurnTrace(self._call_id, utterance, turn)
        self._asked_ms, self._started_ms = stage_ms[0] if stage_ms else at_ms, at_ms
        if not stage_ms:
            return stage_ms
        metrics.ANSWER_SECONDS.observe((stage_ms[-1] - stage_ms[0]) / 1000)
        for stage, started, done in zip(STAGES[1:], stage_ms, stage_ms[1:], strict=False):
            metrics.STAGE_SECONDS.labels(stage).observe(max(0, done - started) / 1000)
        traces.stage(STAGES[-1], stage_ms[-2], stage_ms[-1], turn=self._turn)
        return stage_ms

    def ended(self, outcome: str, at_ms: int) -> None:
        """The reply was "heard" to its end, or "interrupted", perhaps before its first frame."""
        metrics.TURNS.labels(outcome).inc()
        self.closed(outcome, at_ms)

    def closed(self, outcome: str, at_ms: int) -> None:
        """The reply that is being played, if any, goes no further."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        traces.stage("playing", self._started_ms, at_ms, turn=turn)
        traces.stage(traces.TURN, self._asked_ms, at_ms, turn=turn, outcome=outcome, **self._about)

    def _stamped(self, turn: int) -> StageMs:
        """The stamps of a reply, with its caller's own (speech_end, endpoint, transcript) once it was released.

        Work that was done before the turn was over took none of the caller's time: no stage ends before the last.
        """
        arrived, stage_ms = self._arrived
        if arrived != turn:
            return ()
        released, own = self._released
        if turn == released and own:
            stage_ms = (*own, *stage_ms[len(own) :])
        in_order: list[int] = []
        for stamp in stage_ms:
            in_order.append(max(stamp, in_order[-1]) if in_order else stamp)
        return tuple(in_order)
