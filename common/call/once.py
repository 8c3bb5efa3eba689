"""Runs a side effect of a call at most once: its begin is recorded before it, its result before the result is used.

    begin ── new ──▶ do it ──▶ finish(result)
          ├─ done: it was done before; its result is returned, and nothing is done
          ├─ begun: it was begun before without a result (that process died, or is still at it)
          └─ fenced: another member owns the call by now; nothing is done

A process can die between the act and the record of it, so no stronger guarantee exists: an effect in state `begun` is
not repeated blindly.  The caller of `once` decides for each effect whether it may be (`again`): because the other side
takes `Effect.key` as an idempotency key, or because doing it twice is harmless (docs/adr/0006-once.md).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from common.store import Claim, Effects
from common.store.effects import RESULT_CHARS_MAX, Effect, EffectState


class NotDone(Exception):
    """The effect was not done here and there is no result; `state` says why."""

    def __init__(self, state: EffectState) -> None:
        super().__init__(f"the effect is {state}")
        self.state = state


async def once(
    store: Effects,
    effect: Effect,
    act: Callable[[str], Awaitable[str]],
    claim: Claim | None = None,
    *,
    again: bool = False,
) -> str:
    """The result of `act(effect.key)`, which is called unless it was called before.

    With a claim, it is called only while that claim is the newest of its pool.  With `again`, it is also called if an
    earlier attempt has no result.  Raises NotDone, ValueError for a result of more than `RESULT_CHARS_MAX` characters,
    what the store raises, and what `act` raises; after the latter the effect stays `begun`, because it is not known
    how far it came.
    """
    known = await store.begin_effect(effect, claim)
    if known.state is EffectState.DONE:
        return known.result
    if known.state is not EffectState.NEW and not (again and known.state is EffectState.BEGUN):
        raise NotDone(known.state)
    result = await act(effect.key)
    if len(result) > RESULT_CHARS_MAX:
        raise ValueError(f"a result of {len(result)} characters; at most {RESULT_CHARS_MAX} are kept")
    written = await store.finish_effect(effect, result, claim)
    if written.state is not EffectState.DONE:
        raise NotDone(written.state)
    return written.result
