"""Measures the latency of each reply of a call, for the histograms and for the turn's trace."""

from __future__ import annotations

from common.protocol.fields import STAGES, StageMs
from common.store import CallRecord
from common.telemetry import metrics, traces


class TurnLatency:
    """One call's latencies: call `started` with the first frame of each reply, `ended` at its end.  Wall clock, ms."""

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
        """Audio of a reply arrived with its stage times, or with none."""
        if stage_ms:
            self._arrived = (turn, stage_ms)

    def released(self, turn: int, stage_ms: StageMs) -> None:
        """A reply that was made before the caller's turn was over is released; `stage_ms` are of the turn's end."""
        if turn > self._released[0]:
            self._released = (turn, stage_ms)

    def started(self, turn: int, utterance: int, at_ms: int) -> StageMs:
        """The first frame of reply `turn` was sent at `at_ms`.

        Returns all stage times of the reply; none if it answers no utterance, or if not all of them are known.
        """
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
        """The reply that is being played, if any, ends here."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        traces.stage("playing", self._started_ms, at_ms, turn=turn)
        traces.stage(traces.TURN, self._asked_ms, at_ms, turn=turn, outcome=outcome, **self._about)

    def _stamped(self, turn: int) -> StageMs:
        """The stage times of a reply; for a released one speech_end, endpoint and transcript are those of the caller's
        turn.

        Work that was done before the turn was over cost the caller no time: no stage ends before the one before it.
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
