"""Reads the sounds of agents (`sounds` of their files) from `AGENTS_DIR`, and keeps them for all calls of the process.

A file that is missing or cannot be played costs no call anything but its music: the packaged tone is played instead,
and a warning is logged once.  It is read and converted in a thread, and waited for no longer than `SOUND_READ_SECONDS`.
"""

from __future__ import annotations

import asyncio
import logging
import stat
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from common.agents.model import Agent
from common.agents.sounds import HOLD
from workers.tts.audio.hold_tone import hold_tone
from workers.tts.audio.sound_file import SOUND_FILE_BYTES_MAX, BadSound, sound_mulaw

log = logging.getLogger(__name__)

SOUND_READ_SECONDS = 1.0
"""Longest wait for a file; then the packaged tone is played."""
SOUNDS_KEPT_MAX = 32
"""Sounds that a process keeps, of at most 60 s (480 KB) each; beyond it the oldest goes."""
SOUND_WARNINGS_MAX = 1_000
"""Most warnings of one process; later ones are not logged."""


class Sounds:
    """The sounds in one folder of agent files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[tuple[str, int, int], bytes] = OrderedDict()
        """(file, time of its last change in ns, size) -> mu-law"""
        self._warned: set[str] = set()

    async def audio(self, agent: Agent, name: str) -> bytes:
        """The mu-law audio of the agent's sound of this name, or the packaged tone.  Never raises, and never empty."""
        file = agent.sounds.get(name, "")
        if not file:
            if name != HOLD:
                self._warn(f"the agent {agent.name!r} has no sound {name!r}")
            return hold_tone()
        try:
            async with asyncio.timeout(SOUND_READ_SECONDS):
                return await asyncio.to_thread(self.read, file)
        except TimeoutError:
            self._warn(f"{self._folder / file} cannot be read within {SOUND_READ_SECONDS:g} s")
        except BadSound as problem:
            self._warn(f"{self._folder / file}: {problem}")
        return hold_tone()

    def read(self, file: str) -> bytes:
        """The mu-law audio in a file of the folder, read once for each version of it.  Blocks; raises BadSound."""
        path = self._folder / file
        try:
            found = path.stat()
            if not stat.S_ISREG(found.st_mode):
                raise BadSound("it is no file")
            key = (file, found.st_mtime_ns, found.st_size)
            if (mulaw := self._kept.get(key)) is not None:
                return mulaw
            with path.open("rb") as opened:
                mulaw = sound_mulaw(opened.read(SOUND_FILE_BYTES_MAX + 1), file)
        except OSError as error:
            raise BadSound(f"it cannot be read ({type(error).__name__}); put it beside the agent's file") from None
        except ImportError:
            raise BadSound("this worker cannot convert it: numpy and soxr are not installed") from None
        self._kept[key] = mulaw
        while len(self._kept) > SOUNDS_KEPT_MAX:
            self._kept.popitem(last=False)
        return mulaw

    def check(self, agents: Iterable[Agent]) -> list[str]:
        """A warning for each sound of these agents that cannot be played.  Blocks: for the start of a process."""
        warnings = []
        for agent in agents:
            for name, file in agent.sounds.items():
                try:
                    self.read(file)
                except BadSound as problem:
                    warnings.append(f"{self._folder / file}, the sound {name!r} of the agent {agent.name!r}: {problem}")
        return warnings

    def _warn(self, what: str) -> None:
        if what not in self._warned and len(self._warned) < SOUND_WARNINGS_MAX:
            self._warned.add(what)
            log.warning("%s; the packaged tone is played", what)
