"""The side effects of calls without a server, for tests (effects.py)."""

from __future__ import annotations

from common.store import Claim
from common.store.effects import EFFECTS_MAX, Effect, Known, State
from common.store.memory_call import MemoryCall


class MemoryEffects:
    """Those of all calls."""

    def __init__(self, calls: dict[str, MemoryCall]) -> None:
        self._calls = calls
        self._effects: dict[str, dict[str, tuple[State, str]]] = {}
        """call -> place -> (begun, attempt) or (done, result)"""

    def begin(self, effect: Effect, claim: Claim | None) -> Known:
        """See `Ledger.begin_effect`."""
        if self._is_fenced(claim):
            return Known(State.FENCED)
        known = self._effects.setdefault(effect.call_id, {})
        state, what = known.get(effect.place, (State.NEW, effect.attempt))
        if state is State.DONE:
            return Known(state, what)
        if what != effect.attempt:
            return Known(State.BEGUN)
        if state is State.NEW and len(known) >= EFFECTS_MAX:
            return Known(State.FULL)
        known[effect.place] = (State.BEGUN, effect.attempt)
        return Known(State.NEW)

    def finish(self, effect: Effect, result: str, claim: Claim | None) -> Known:
        """See `Ledger.finish_effect`."""
        if self._is_fenced(claim):
            return Known(State.FENCED)
        known = self._effects.setdefault(effect.call_id, {})
        if known.get(effect.place, (State.NEW, ""))[0] is not State.DONE:
            known[effect.place] = (State.DONE, result)
        return Known(*known[effect.place])

    def _is_fenced(self, claim: Claim | None) -> bool:
        call = self._calls.get(claim.call_id) if claim else None
        return claim is not None and (call is None or not call.is_held_by(claim))
