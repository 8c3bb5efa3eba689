"""Keeps secret keys in Redis (secret_keys.py): a hash for each call, with a field for each name."""

from __future__ import annotations

from common.protocol import redis_keys
from common.redis.client import Client
from common.redis.commands import Word
from common.store.secret_keys import SECRET_DIGITS_MAX, SECRET_NAMES_MAX, SECRET_SECONDS, SecretKey, digits_of

# Keys: the state, the secrets.  Arguments: epoch, mark of the key, name, digit, most digits, most names, seconds.
ADD = """
local known = redis.call('HMGET', KEYS[1], 'status', 'epoch')
if known[1] ~= 'live' or known[2] ~= ARGV[1] then return 0 end
local value = redis.call('HGET', KEYS[2], ARGV[3])
if value and string.sub(value, 1, #ARGV[2]) == ARGV[2] then return 1 end
local digits = value and string.match(value, '([^:]*)$') or ''
if #digits >= tonumber(ARGV[5]) then return 1 end
if not value and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[6]) then return 0 end
redis.call('HSET', KEYS[2], ARGV[3], ARGV[2] .. digits .. ARGV[4])
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 1
"""


class RedisSecrets:
    """See `common.store.secret_keys.Secrets`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def add(self, key: SecretKey) -> bool:
        """See `Secrets.add_secret_key`."""
        keys = [redis_keys.call_state(key.call_id), redis_keys.call_secrets(key.call_id)]
        bounds: list[Word] = [min(key.digits_max, SECRET_DIGITS_MAX), SECRET_NAMES_MAX, SECRET_SECONDS]
        return bool(await self._client.run(ADD, keys, [key.epoch, key.mark, key.name, key.digit, *bounds]))

    async def read(self, call_id: str, name: str) -> str:
        """See `Secrets.read_secret`."""
        value = await self._client.call("HGET", redis_keys.call_secrets(call_id), name)
        return digits_of(value.decode("ascii", "replace")) if value is not None else ""
