"""Asks one Redis server, or the primary of one set, and raises two kinds of error; the call store is built on it.

"Not now" (no connection, no answer in time, or one of the answers in common/redis/refusals.py) is raised as
ConnectionError or TimeoutError.  Any other error answer concerns the command's own key only and is raised as
KeyRefused, which is a ConnectionError too.

A command whose connection breaks is sent once more (common/redis/commands.py), so each must be harmless if it is
executed twice.  All commands of one turn of the event loop leave in one write.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Any

import hiredis

from common.process.backoff import Backoff
from common.redis.commands import AGAIN_SECONDS, REACH_SECONDS, Command, RedisCommands, Word, script
from common.redis.connection import RedisConnection
from common.redis.primary import NoPrimary, open_primary
from common.redis.refusals import KeyRefused, away_kind, refused_kind
from common.redis.url import RedisTarget
from common.telemetry import metrics

OUTAGE_SECONDS = 20.0
"""How long a session that must write waits for a server that is away, before it gives the call up."""
OUTAGE_PAUSES = Backoff(first_s=0.05, longest_s=0.5)
"""Pauses between its attempts."""


class NoGroup(Exception):
    """The stream has no such consumer group: nobody has made it yet, or the server has lost its data."""


class Client:
    """The client of one server.  It connects when it is used; `aclose` it."""

    def __init__(self, target: RedisTarget, name: str) -> None:
        """`name` appears in the server's CLIENT LIST."""
        self._target = target
        self._connect = functools.partial(open_primary, target, name)
        self._commands = RedisCommands(self._connect, self._drop_blocking)
        self._idle: list[RedisConnection] = []  # connections for commands that block
        self._blocking: set[RedisConnection] = set()

    async def aclose(self) -> None:
        """Close the connections; commands that wait, and later ones, raise ConnectionError."""
        self._commands.close()
        self._drop_blocking()

    async def call(self, *command: Word) -> Any:
        """The reply to one command.

        Raises ConnectionError or TimeoutError while the server is away, KeyRefused for an error of this key.
        """
        return (await self.all((command,)))[0]

    async def run(self, text: str, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        """The reply of a Lua script.  Raises as `call` does."""
        return (await self.all((script(text, keys, args),)))[0]

    async def all(self, commands: Sequence[Command]) -> list[Any]:
        """The replies of commands that leave in one write.  Raises as `call` does, for the first error among them."""
        replies = await self.answers(commands)
        for reply in replies:
            if isinstance(reply, hiredis.ReplyError):
                raise _answered(reply) from reply
        return replies

    async def each(self, commands: Sequence[Command], needed: int = 0) -> list[Any]:
        """The replies, with None for a command that is refused for good; the others are done.

        Raises ConnectionError or TimeoutError while the server is away, KeyRefused for one of the first `needed`.
        """
        replies = await self.answers(commands)
        for at, reply in enumerate(replies):
            if isinstance(reply, hiredis.ReplyError):
                failure = _answered(reply)
                if not isinstance(failure, KeyRefused) or at < needed:
                    raise failure from reply
                replies[at] = None
        return replies

    async def answers(self, commands: Sequence[Command]) -> list[Any]:
        """The replies as they came, `hiredis.ReplyError` for an error answer.

        Raises ConnectionError or TimeoutError if there are none.
        """
        outcome = await self._commands.ask(commands)
        if isinstance(outcome, list):
            return outcome
        raise self._unreached(outcome) from outcome

    async def insist(self, text: str, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        """The reply of a script that a session needs before it continues; tried again while the server is away.

        Raises KeyRefused at once, ConnectionError or TimeoutError after `OUTAGE_SECONDS`.
        """
        until_s = None
        repetition = 0
        while True:
            try:
                return await self.run(text, keys, args)
            except KeyRefused:
                raise
            except (ConnectionError, TimeoutError):
                now_s, pause_s = asyncio.get_running_loop().time(), OUTAGE_PAUSES.pause_s(repetition)
                until_s = until_s or now_s + OUTAGE_SECONDS
                if now_s + pause_s > until_s:
                    raise
            await asyncio.sleep(pause_s)
            repetition += 1

    async def block(self, *command: Word) -> Any:
        """The reply to a command that may block at the server, for less than `REACH_SECONDS`.

        It has a connection of its own, on which a cancelled read takes nothing.  Raises as `call` does, or NoGroup.
        """
        if self._commands.silent:
            await self.call("PING")  # raises at once if another command tests the server
        try:
            async with asyncio.timeout(REACH_SECONDS):
                try:
                    return await self._block(command)
                except TimeoutError:
                    raise
                except OSError:  # the connection broke, perhaps while it was idle
                    await asyncio.sleep(AGAIN_SECONDS)
                    return await self._block(command)
        except TimeoutError as error:
            self._commands.silent = True
            self._commands.leave()
            raise self._unreached(error) from error
        except hiredis.ReplyError as error:
            if str(error).startswith("NOGROUP"):
                raise NoGroup from error
            raise _answered(error) from error
        except OSError as error:
            raise self._unreached(error) from error

    async def _block(self, command: Command) -> Any:
        """Raises OSError, TimeoutError or hiredis.ReplyError."""
        connection = self._idle.pop() if self._idle else await self._connect()
        self._blocking.add(connection)
        try:
            return await connection.call(*command, seconds=REACH_SECONDS)
        except hiredis.ReplyError as error:
            if away_kind(str(error)):
                connection.close()
            raise
        finally:
            self._blocking.discard(connection)
            if not connection.lost.is_set():
                self._idle.append(connection)

    def _drop_blocking(self) -> None:
        """A server that was left may no longer be the primary, and would let a blocked read wait in silence."""
        for connection in (*self._idle, *self._blocking):
            connection.abort()
        self._idle.clear()

    def _unreached(self, error: Exception) -> Exception:
        """The exception for a command without an answer, which is counted in metrics."""
        if isinstance(error, TimeoutError):
            metrics.REDIS_AWAY.labels("silent").inc()
            return TimeoutError("Redis does not answer")
        if isinstance(error, hiredis.ReplyError) and (away_kind(str(error)) or refused_kind(str(error)) != "other"):
            return _answered(error)
        replica = isinstance(error, NoPrimary) and not self._target.set
        kind = "read-only" if replica else "unreachable"
        metrics.REDIS_AWAY.labels(kind).inc()
        return ConnectionError(kind)


def _answered(error: hiredis.ReplyError) -> ConnectionError:
    """The exception for an error answer, which is counted in metrics."""
    text = str(error)
    if kind := away_kind(text):
        metrics.REDIS_AWAY.labels(kind).inc()
        return ConnectionError(f"{kind}: {_first_sentence(text)}" if kind == "no access" else kind)
    kind = refused_kind(text)
    metrics.REDIS_REFUSED.labels(kind).inc()
    return KeyRefused(kind, _first_sentence(text) if kind == "no permission" else "")


def _first_sentence(text: str) -> str:
    """The beginning of the server's text, enough to know what to change; a refusal's text has no secret."""
    return text.partition(".")[0][:80]
