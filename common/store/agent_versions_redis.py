"""Keeps versions of agents in Redis (agent_versions.py): a hash for each agent, one of files, and one of pins."""

from __future__ import annotations

from collections.abc import Mapping

from common.protocol import redis_keys
from common.redis.client import Client
from common.store.agent_versions import AGENTS_KEPT_MAX, DOCUMENT_BYTES_MAX, VERSIONS_MAX, KeptVersion, Pin

# A value is "<ms> <document>"; no two versions of an agent have the same ms.
# Keys: the agent's versions, the versions in files.  Arguments: agent, version, document, most versions, most agents.
KEEP = """
local current = redis.call('HGET', KEYS[2], ARGV[1])
if current == ARGV[2] and redis.call('HGET', KEYS[1], ARGV[2]) then return 0 end
if not current and redis.call('HLEN', KEYS[2]) >= tonumber(ARGV[5]) then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
local all = redis.call('HGETALL', KEYS[1])
local oldest, oldest_ms, count = nil, nil, 0
for i = 1, #all, 2 do
  local ms = tonumber(string.match(all[i + 1], '^%d+')) or 0
  if all[i] ~= ARGV[2] then
    count = count + 1
    if ms >= now then now = ms + 1 end
    if not oldest_ms or ms < oldest_ms then oldest, oldest_ms = all[i], ms end
  end
end
if count >= tonumber(ARGV[4]) then redis.call('HDEL', KEYS[1], oldest) end
redis.call('HSET', KEYS[1], ARGV[2], string.format('%.0f', now) .. ' ' .. ARGV[3])
return 1
"""


class RedisAgentVersions:
    """See `common.store.agent_versions.AgentVersions`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def keep(self, agent: str, version: str, document: str) -> None:
        if len(document.encode()) > DOCUMENT_BYTES_MAX:
            return
        keys = [redis_keys.agent_versions(agent), redis_keys.AGENTS_IN_FILES]
        await self._client.run(KEEP, keys, [agent, version, document, VERSIONS_MAX, AGENTS_KEPT_MAX])

    async def kept(self, agent: str) -> list[KeptVersion]:
        found = await self._hash(redis_keys.agent_versions(agent))
        versions = [
            KeptVersion(version, int(since), document)
            for version, value in found.items()
            for since, _, document in [value.partition(" ")]
            if since.isdecimal()
        ]
        return sorted(versions, key=lambda one: -one.since_ms)

    async def in_files(self) -> Mapping[str, str]:
        return await self._hash(redis_keys.AGENTS_IN_FILES)

    async def pins(self) -> Mapping[str, Pin]:
        found = await self._hash(redis_keys.AGENT_PINS)
        return {agent: Pin(*value.split(" ")) for agent, value in found.items() if value.count(" ") == 1}

    async def pin(self, agent: str, pin: Pin) -> None:
        await self._client.call("HSET", redis_keys.AGENT_PINS, agent, f"{pin.version} {pin.instead_of}")

    async def unpin(self, agent: str) -> None:
        await self._client.call("HDEL", redis_keys.AGENT_PINS, agent)

    async def _hash(self, key: str) -> dict[str, str]:
        flat = [bytes(part).decode(errors="replace") for part in await self._client.call("HGETALL", key)]
        return dict(zip(flat[::2], flat[1::2], strict=True))
