"""Shows which versions of the agents calls get, and goes back to an earlier one: `python -m edge.agents`.

    list                      every agent, its versions, and which one calls get
    rollback NAME [VERSION]   calls get VERSION, by default the one before, until the agent's file changes
    unpin NAME                calls get the file's version again

All edges follow within 5 s.  Exit status: 0 done, 1 no Redis or no such version, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from common.settings import BadSettings, Settings
from common.store import CallStore
from common.store.agent_versions import AgentVersions, Pin
from common.store.shards import connect_store

Print: TypeAlias = Callable[[str], None]

DONE, FAILED, MISUSED = 0, 1, 2
STORE_SECONDS = 10.0
"""How long the command waits for Redis."""


class NoSuchVersion(Exception):
    """The version cannot be pinned; the text says why and what to do."""


async def show(versions: AgentVersions, say: Print) -> None:
    """Print every agent with its versions."""
    files, pins = await versions.in_files(), await versions.pins()
    if not files:
        say("No edge has kept a version yet.")
    for name, current in sorted(files.items()):
        pin = pins.get(name)
        used = pin.version if pin is not None and pin.instead_of == current else current
        say(name)
        for kept in await versions.kept(name):
            marks = ["in the file"] * (kept.version == current) + ["calls get it"] * (kept.version == used)
            since = datetime.fromtimestamp(kept.since_ms / 1000, UTC)
            say(f"  {kept.version}  since {since:%Y-%m-%d %H:%M} UTC  {', '.join(marks)}".rstrip())


async def roll_back(versions: AgentVersions, name: str, version: str, say: Print) -> None:
    """Pin a version of the agent, by default the one that was used before.  Raises NoSuchVersion."""
    current = (await versions.in_files()).get(name)
    if current is None:
        raise NoSuchVersion(f"No agent {name} is known; `list` shows which are.")
    kept = [one.version for one in await versions.kept(name)]
    earlier = [one for one in kept if one != current]
    if not (version or earlier):
        raise NoSuchVersion(f"Of {name} no earlier version is kept.")
    found = [one for one in kept if one.startswith(version)] if version else earlier[:1]
    if len(found) != 1:
        raise NoSuchVersion(f"Of {name} {len(found) or 'no'} kept versions begin with {version}; `list` shows them.")
    await versions.pin(name, Pin(found[0], current))
    say(f"Calls to {name} get version {found[0]} until its file changes; `unpin {name}` takes that back.")


async def unpin(versions: AgentVersions, name: str, say: Print) -> None:
    """Remove the pin of the agent."""
    await versions.unpin(name)
    say(f"Calls to {name} get the version of its file.")


async def act(store: CallStore, arguments: argparse.Namespace, say: Print) -> None:
    """Do what the command line says.  Raises NoSuchVersion, ConnectionError or TimeoutError."""
    versions = store.agent_versions
    match arguments.command:
        case "rollback":
            await roll_back(versions, arguments.name, arguments.version, say)
        case "unpin":
            await unpin(versions, arguments.name, say)
        case _:
            await show(versions, say)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="python -m edge.agents",
        description="Show the versions of the agents, or go back to an earlier one. Takes REDIS_URL from the"
        " environment, or from .env.",
    )
    commands = top.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="every agent, its versions, and which one calls get")
    back = commands.add_parser("rollback", help="calls get an earlier version until the agent's file changes")
    back.add_argument("name")
    back.add_argument("version", nargs="?", default="", help="or its beginning; default: the one before the file's")
    commands.add_parser("unpin", help="calls get the version of the file again").add_argument("name")
    return top


async def run(argv: Sequence[str], settings: Settings, say: Print, complain: Print) -> int:
    """Run the command; returns the exit status."""
    arguments = parser().parse_args(argv)
    try:
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(STORE_SECONDS))
            store = await stack.enter_async_context(
                connect_store(settings.redis_url, "agents-command", settings.call_retention_s)
            )
            await act(store, arguments, say)
    except NoSuchVersion as error:
        complain(str(error))
        return FAILED
    except (ConnectionError, TimeoutError):
        complain(f"Redis at {settings.redis_target} cannot be reached; set REDIS_URL.")
        return FAILED
    return DONE


def main(argv: Sequence[str]) -> int:
    """Run the command with the process's own environment and terminal."""
    try:
        settings = Settings.for_command()
    except BadSettings as error:
        sys.stderr.write(f"{error}\n")
        return MISUSED

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    def complain(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    return asyncio.run(run(argv, settings, say, complain))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
