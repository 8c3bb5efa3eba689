"""Keeps the side effects of calls in Redis (effects.py): which were begun, and the results of those that were done."""

from __future__ import annotations

from typing import Any

from common.protocol import redis_keys
from common.redis.client import Client
from common.store import Claim, scripts
from common.store.effects import EFFECTS_MAX, Effect, EffectState, Known


class RedisEffects:
    """The effects on one server.  `retention_s` is how long those of an ended call are kept."""

    def __init__(self, client: Client, retention_s: int) -> None:
        self._client = client
        self._retention_s = retention_s

    async def begin(self, effect: Effect, claim: Claim | None) -> Known:
        """See `CallStore.begin_effect`."""
        return await self._run(scripts.BEGIN_EFFECT, effect, claim, effect.attempt, EFFECTS_MAX)

    async def finish(self, effect: Effect, result: str, claim: Claim | None) -> Known:
        """See `CallStore.finish_effect`."""
        return await self._run(scripts.FINISH_EFFECT, effect, claim, result)

    async def _run(self, script: str, effect: Effect, claim: Claim | None, *about: Any) -> Known:
        keys = [redis_keys.call_state(effect.call_id), redis_keys.call_effects(effect.call_id)]
        fence = [claim.pool, claim.token, claim.owner] if claim else ["", "", ""]
        args = [*fence, effect.effect_id, *about, self._retention_s, redis_keys.LIVE_SECONDS]
        # A session has time to wait for the server; the handler of a webhook has not.
        run = self._client.insist if claim else self._client.run
        state, result = await run(script, keys, args)
        return Known(EffectState(state.decode()), result.decode("utf-8", "replace"))
