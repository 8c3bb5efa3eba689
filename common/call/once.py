"""A side effect of a call that must not happen twice: written down before it begins, its result before it is used.

    begin ── new ──▶ do it ──▶ finish(result)
          ├─ done: somebody did it; here is the result, and nothing is done
          ├─ begun: somebody began and did not say how it ended (they died, or are at it)
          └─ fenced: the call is another member's by now; nothing is done

A process can die between doing and saying so, hence nobody can promise more than this: an effect that was `begun` is
never repeated blindly.  Who may repeat it decides for each effect (`again`): because the other side takes `Effect.key`
as an idempotency key, or because doing it twice is harmless.  docs/adr/0006-once.md says why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from common.store import CallStore, Claim
from common.store.effects import RESULT_CHARS_MAX, Effect, EffectState


class NotDone(Exception):
    """The effect was not done here, and there is no result; `state` says why."""

    def __init__(self, state: EffectState) -> None:
        super().__init__(f"the effect is {state}")
        self.state = state


async def once(
    store: CallStore,
    effect: Effect,
    act: Callable[[str], Awaitable[str]],
    claim: Claim | None = None,
    *,
    again: bool = False,
) -> str:
    """The result of `act(effect.key)`, which is called unless somebody called it before.

    With a claim, only while that is the newest of its pool.  With `again`, also if somebody began it and did not say
    how it ended.  Raises NotDone, what the ledger raises, and what `act` raises: then the effect stays `begun`, for it
    is not known how far it came.
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
