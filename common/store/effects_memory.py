"""Keeps the side effects of calls without a server, for tests (effects.py)."""

from __future__ import annotations

from common.store import Claim
from common.store.effects import EFFECTS_MAX, Effect, EffectState, Known
from common.store.memory_call import MemoryCall


class MemoryEffects:
    """The effects of all calls."""

    def __init__(self, calls: dict[str, MemoryCall]) -> None:
        self._calls = calls
        self._effects: dict[str, dict[str, tuple[EffectState, str]]] = {}
        """call -> effect id -> (begun, attempt) or (done, result)"""

    def begin(self, effect: Effect, claim: Claim | None) -> Known:
        """See `CallStore.begin_effect`."""
        if self._is_fenced(claim):
            return Known(EffectState.FENCED)
        known = self._effects.setdefault(effect.call_id, {})
        state, what = known.get(effect.effect_id, (EffectState.NEW, effect.attempt))
        if state is EffectState.DONE:
            return Known(state, what)
        if what != effect.attempt:
            return Known(EffectState.BEGUN)
        if state is EffectState.NEW and len(known) >= EFFECTS_MAX:
            return Known(EffectState.FULL)
        known[effect.effect_id] = (EffectState.BEGUN, effect.attempt)
        return Known(EffectState.NEW)

    def finish(self, effect: Effect, result: str, claim: Claim | None) -> Known:
        """See `CallStore.finish_effect`."""
        if self._is_fenced(claim):
            return Known(EffectState.FENCED)
        known = self._effects.setdefault(effect.call_id, {})
        if known.get(effect.effect_id, (EffectState.NEW, ""))[0] is not EffectState.DONE:
            known[effect.effect_id] = (EffectState.DONE, result)
        return Known(*known[effect.effect_id])

    def _is_fenced(self, claim: Claim | None) -> bool:
        call = self._calls.get(claim.call_id) if claim else None
        return claim is not None and (call is None or not call.is_held_by(claim))
