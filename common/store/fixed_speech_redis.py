"""Keeps fixed sentences in Redis (fixed_speech.py): a key for each, and one index by the time of their last use."""

from __future__ import annotations

from common.protocol import redis_keys
from common.redis.client import Client
from common.store.fixed_speech import (
    SENTENCE_BYTES_MAX,
    SENTENCES_MAX,
    SPEECH_SECONDS,
    FixedSentence,
    decoded,
    encoded,
)

_NOW_MS = "local time = redis.call('TIME') local now = time[1] * 1000 + math.floor(time[2] / 1000)"

# Keys: the sentence, the index.
READ = f"""
local audio = redis.call('GET', KEYS[1])
if not audio then return false end
{_NOW_MS}
redis.call('ZADD', KEYS[2], now, KEYS[1])
return audio
"""
# Keys: as above.  Arguments: the audio, seconds to keep it, most sentences.
KEEP = f"""
{_NOW_MS}
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
redis.call('ZADD', KEYS[2], now, KEYS[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
local surplus = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if surplus > 0 then
  local popped = redis.call('ZPOPMIN', KEYS[2], surplus)
  for i = 1, #popped, 2 do redis.call('DEL', popped[i]) end
end
return 1
"""


class RedisFixedSpeech:
    """See `common.store.fixed_speech.FixedSpeech`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def read(self, key: str) -> FixedSentence | None:
        return decoded(await self._client.run(READ, _keys(key)))

    async def keep(self, key: str, sentence: FixedSentence) -> None:
        if len(sentence.mulaw) > SENTENCE_BYTES_MAX:
            return
        await self._client.run(KEEP, _keys(key), [encoded(sentence), SPEECH_SECONDS, SENTENCES_MAX])


def _keys(key: str) -> list[str]:
    return [redis_keys.fixed_sentence(key), redis_keys.FIXED_SENTENCES]
