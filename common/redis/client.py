"""Wraps redis-py for the call store: connects to the current primary, sets deadlines, and raises two kinds of error.

`Client.reached(command)` awaits a command of `Client.redis`.  "Not now" (no connection, no answer in time, or one of
the answers in common/redis/refusals.py) is raised as ConnectionError or TimeoutError.  Any other error answer concerns
the command's own key only and is raised as KeyRefused, which is a ConnectionError too.  `Client.each` does so for each
command of a pipeline.  `Client.insist` tries again while the server is away.

A server that does not answer would cost every caller the whole deadline.  So after one deadline has passed, one command
at a time is tried and the others fail at once, until one succeeds.
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

from common.process.backoff import Backoff
from common.redis.primary import NoPrimary, find_primary
from common.redis.refusals import KeyRefused, away_kind, refused_kind
from common.redis.url import RedisTarget
from common.store.idle import IdleClosingPool
from common.telemetry import metrics

T = TypeVar("T")

CONNECT_SECONDS = 2.0
SOCKET_SECONDS = 2.0
REACH_SECONDS = 3.0
"""Deadline of one command, including the search for the primary, the connect and one repetition."""
AGAIN_SECONDS = 0.05
"""Pause before that repetition; a connection that a restart closed is noticed only by using it."""
OUTAGE_SECONDS = 20.0
"""How long a session that must write waits for a server that is away, before it gives the call up."""
OUTAGE_PAUSES = Backoff(first_s=0.05, longest_s=0.5)
"""Pauses between its attempts."""


class Client:
    """The client of one server: `redis` makes commands, `reached` awaits them."""

    def __init__(self, target: RedisTarget, name: str) -> None:
        """Create a client that connects when it is used; `name` appears in the server's CLIENT LIST."""
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
        """Close idle connections: a frozen server may no longer be the primary when it thaws.

        Until it learns so it would answer OK to the next command, and then lose the write.
        """
        with contextlib.suppress(redis.RedisError, OSError):
            await self.redis.connection_pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        """Close the connections; the client is not used afterwards."""
        await self.redis.aclose()

    async def reached(self, command: Awaitable[T]) -> T:
        """The command's reply.

        Raises ConnectionError or TimeoutError while the server is away, KeyRefused for an error of this key.
        """
        if self._silent and self._trying:
            if inspect.iscoroutine(command):
                command.close()
            raise ConnectionError("Redis has been silent, and another command tests it now")
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
            raise _connection_error(error) from error
        finally:
            if tried:
                self._trying = False
            if task and task.cancelling() > cancels:  # before Python 3.12 redis-py's `wait_for` may swallow it
                raise asyncio.CancelledError
        self._silent = False
        return reply

    async def each(self, pipeline: Pipeline) -> list[Any]:
        """The replies of a pipeline, with None for a command that is refused for good; the others are done.

        Raises ConnectionError or TimeoutError while the server is away.
        """
        replies: list[Any] = await self.reached(pipeline.execute(raise_on_error=False))
        for at, reply in enumerate(replies):
            if isinstance(reply, redis.RedisError):
                failure = _connection_error(reply)
                if not isinstance(failure, KeyRefused):
                    raise failure from reply
                replies[at] = None
        return replies

    async def insist(self, command: Callable[[], Awaitable[T]]) -> T:
        """The reply of a command that a session needs before it continues; tried again while the server is away.

        The command may be executed twice, so it must be harmless then.  Raises KeyRefused at once, ConnectionError or
        TimeoutError after `OUTAGE_SECONDS`.
        """
        until = asyncio.get_running_loop().time() + OUTAGE_SECONDS
        repetition = 0
        while True:
            pause_s = OUTAGE_PAUSES.pause_s(repetition)
            try:
                return await self.reached(command())
            except KeyRefused:
                raise
            except (ConnectionError, TimeoutError):
                if asyncio.get_running_loop().time() + pause_s > until:
                    raise
            await asyncio.sleep(pause_s)
            repetition += 1

    async def loaded(self, script: Any) -> Pipeline:
        """A pipeline that first loads the script, because the server loses its scripts at a restart."""
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.script_load(script)
        return pipeline


GROUP_ANSWERS = ("NOGROUP", "BUSYGROUP")
"""Beginnings of errors about consumer groups, which the caller handles: it creates the group, or has it."""


def _connection_error(error: redis.RedisError) -> ConnectionError:
    """The exception for an error answer or a lost connection, which is counted in metrics."""
    kind = _kind(error) or ("unreachable" if isinstance(error, redis.ConnectionError) else "")
    if not kind:
        kind = refused_kind(str(error))
        metrics.REDIS_REFUSED.labels(kind).inc()
        return KeyRefused(kind, _first_sentence(error) if kind == "no permission" else "")
    metrics.REDIS_AWAY.labels(kind).inc()
    return ConnectionError(f"{kind}: {_first_sentence(error)}" if kind == "no access" else kind)


def _first_sentence(error: redis.RedisError) -> str:
    """The beginning of the server's text, enough to know what to change; a refusal's text has no secret."""
    return str(error).partition(".")[0][:80]


def _kind(error: redis.RedisError) -> str:
    """The "not now" kind of an error, or "".

    redis-py removes the code from errors that it has classes for, and puts a pipeline's command in front of others.
    """
    match error:
        case redis.exceptions.NoPermissionError():
            return ""  # it concerns one command or key; a login without any permission fails at the connect
        case redis.AuthenticationError():
            return "no access"
        case redis.BusyLoadingError():
            return "loading"
        case redis.exceptions.OutOfMemoryError():
            return "out of memory"
        case redis.ReadOnlyError():
            return "read-only"
        case redis.exceptions.ClusterDownError():  # MASTERDOWN as well
            return "no primary"
        case redis.exceptions.TryAgainError():
            return "busy"
    in_pipeline = str(error).rpartition("caused error: ")[2]
    return away_kind(in_pipeline.lstrip("('\""))


class _Primary:
    """A connection to the server that is the primary when it connects; it closes if that becomes a replica."""

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
