"""redis-py as the ledger needs it: the primary of the moment, a deadline for everything, and two errors only.

`Client.reached(command)` awaits a command of `Client.redis`.  Whatever says "not now" (no connection, no answer in
time, or one of the answers in common/redis/refusals.py) comes out as ConnectionError or TimeoutError; any other error
answer as KeyRefused, which is a ConnectionError too: of the command's own key, and of no other.  `Client.each` does so
for every command of a pipeline by itself.  `Client.insist` tries again while the server is away.

A server that swallows what it is sent would cost every caller the whole deadline.  So after one that ran out, only one
command at a time is tried; the others fail at once, until one succeeds.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import hiredis
import redis
from redis.asyncio import Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff

from common.redis.primary import NoPrimary, find_primary
from common.redis.refusals import KeyRefused, away_kind, refused_kind
from common.redis.url import RedisTarget
from common.store.idle import IdleClosingPool
from common.telemetry import metrics

T = TypeVar("T")

CONNECT_SECONDS = 2.0
SOCKET_SECONDS = 2.0
REACH_SECONDS = 3.0
"""All that one command may take: finding the primary, connecting, and one repetition."""
AGAIN_SECONDS = 0.05
"""Pause before that repetition: a connection that a restart closed is found out by using it."""
OUTAGE_SECONDS = 20.0
"""How long a session that must write waits for a server that is away, before it gives its call up."""
OUTAGE_PAUSE_SECONDS = (0.05, 0.5)
"""First and longest pause between its attempts."""


class Client:
    """One server's client.  `redis` makes the commands, `reached` awaits them."""

    def __init__(self, target: RedisTarget, name: str) -> None:
        """Connects lazily; `name` shows in the server's CLIENT LIST."""
        kind: Any = _Unix if target.path else _Tls if target.tls else _Tcp
        where: dict[str, Any] = {"path": target.path} if target.path else {"socket_keepalive": True}
        if target.ca:
            where["ssl_ca_certs"] = target.ca
        pool = IdleClosingPool(
            connection_class=kind,
            target=target,
            client_name=name,
            db=target.db,
            username=target.login.user or None,
            password=target.login.password or None,
            socket_timeout=SOCKET_SECONDS,
            socket_connect_timeout=CONNECT_SECONDS,
            retry=Retry(ConstantBackoff(AGAIN_SECONDS), 1),
            **where,
        )
        self.redis = Redis.from_pool(pool)
        self._silent = False
        self._trying = False

    async def _forget_idle(self) -> None:
        """Close the connections that nobody uses: the server may be frozen, and be no primary when it thaws.

        It would still say OK to the next command, until somebody tells it; and forget what it was told.
        """
        with contextlib.suppress(redis.RedisError, OSError):
            await self.redis.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Close the connections; the client is not used afterwards."""
        await self.redis.aclose()

    async def reached(self, command: Awaitable[T]) -> T:
        """The command's reply.  Raises ConnectionError or TimeoutError while the server is away."""
        if self._silent and self._trying:
            if inspect.iscoroutine(command):
                command.close()
            raise ConnectionError("Redis has been silent, and is being tried")
        self._trying = tried = self._silent
        task = asyncio.current_task()
        cancels = task.cancelling() if task else 0
        try:
            async with asyncio.timeout(REACH_SECONDS):
                reply = await command
        except (TimeoutError, redis.TimeoutError) as error:
            self._silent = True
            await self._forget_idle()
            metrics.REDIS_AWAY.labels("silent").inc()
            raise TimeoutError("Redis does not answer") from error
        except (redis.ConnectionError, redis.ResponseError) as error:
            broken = isinstance(error, redis.ConnectionError)
            self._silent = self._silent and broken
            if isinstance(error, redis.ResponseError) and str(error).startswith(GROUP_ANSWERS):
                raise
            raise _told(error) from error
        finally:
            if tried:
                self._trying = False
            if task and task.cancelling() > cancels:  # redis-py's `wait_for` may swallow it, before Python 3.12
                raise asyncio.CancelledError
        self._silent = False
        return reply

    async def each(self, pipeline: Pipeline) -> list[Any]:
        """The replies of a pipeline; None for a command that Redis refuses for good: the others are done without it.

        Raises ConnectionError or TimeoutError while the server is away.
        """
        replies: list[Any] = await self.reached(pipeline.execute(raise_on_error=False))
        for at, reply in enumerate(replies):
            if isinstance(reply, redis.RedisError):
                told = _told(reply)
                if not isinstance(told, KeyRefused):
                    raise told from reply
                replies[at] = None
        return replies

    async def insist(self, command: Callable[[], Awaitable[T]]) -> T:
        """What a session must write before it goes on.  Said again, it may be written twice; that is harmless.

        Raises KeyRefused at once, ConnectionError or TimeoutError after `OUTAGE_SECONDS`.
        """
        until = asyncio.get_running_loop().time() + OUTAGE_SECONDS
        pause, longest = OUTAGE_PAUSE_SECONDS
        while True:
            try:
                return await self.reached(command())
            except KeyRefused:
                raise
            except (ConnectionError, TimeoutError):
                if asyncio.get_running_loop().time() + pause > until:
                    raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    async def loaded(self, script: Any) -> Pipeline:
        """A pipeline that first makes sure the server knows the script (it forgets at a restart)."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.script_load(script)
        return pipeline


GROUP_ANSWERS = ("NOGROUP", "BUSYGROUP")
"""Errors that are an answer: whoever asks makes the group, or has it."""


def _told(error: redis.RedisError) -> ConnectionError:
    """What an error means for whoever asked; counted."""
    kind = _kind(error) or ("unreachable" if isinstance(error, redis.ConnectionError) else "")
    if not kind:
        kind = refused_kind(str(error))
        metrics.REDIS_REFUSED.labels(kind).inc()
        return KeyRefused(kind, _first_sentence(error) if kind == "no permission" else "")
    metrics.REDIS_AWAY.labels(kind).inc()
    return ConnectionError(f"{kind}: {_first_sentence(error)}" if kind == "no access" else kind)


def _first_sentence(error: redis.RedisError) -> str:
    """Enough of the server's words to know what to change; those of a refusal hold no secret."""
    return str(error).partition(".")[0][:80]


def _kind(error: redis.RedisError) -> str:
    """redis-py takes the code off the errors that it has classes for, and puts a pipeline's command before others."""
    match error:
        case redis.exceptions.NoPermissionError():
            return ""  # of one command or key; who may do nothing at all is told so when it connects
        case redis.AuthenticationError():
            return "no access"
        case redis.BusyLoadingError():
            return "loading"
        case redis.exceptions.OutOfMemoryError():
            return "out of memory"
        case redis.ReadOnlyError():
            return "read-only"
        case redis.exceptions.ClusterDownError():  # MASTERDOWN, too
            return "no primary"
        case redis.exceptions.TryAgainError():
            return "busy"
    in_pipeline = str(error).rpartition("caused error: ")[2]
    return away_kind(in_pipeline.lstrip("('\""))


class _Primary:
    """A connection to whoever is the primary when it is made; one that turns out to be a replica is closed."""

    def __init__(self, target: RedisTarget, **options: Any) -> None:
        super().__init__(**options)
        self._target = target

    async def _connect(self) -> None:
        try:
            address = await find_primary(self._target)
        except hiredis.ReplyError as error:
            raise redis.ConnectionError(str(error)) from error
        except NoPrimary as error:
            raise redis.ConnectionError(f"READONLY {error}" if not self._target.set else str(error)) from error
        if not isinstance(address, str):
            self.host, self.port = address
        await super()._connect()  # type: ignore[misc]  # of the class that this is mixed into

    async def read_response(self, *args: Any, **options: Any) -> Any:
        try:
            return await super().read_response(*args, **options)  # type: ignore[misc]
        except redis.ResponseError as error:
            read_only = isinstance(error, redis.ReadOnlyError)
            if not read_only and _kind(error) != "no replicas":
                raise
            with contextlib.suppress(redis.RedisError):
                await self.disconnect(nowait=True)  # type: ignore[attr-defined]
            raise redis.ConnectionError("READONLY" if read_only else str(error)) from error


class _Tcp(_Primary, Connection):
    pass


class _Tls(_Primary, SSLConnection):
    pass


class _Unix(_Primary, UnixDomainSocketConnection):
    pass
