"""`local/espeak`: the `espeak-ng` program, one process per clause.  Robotic, but the first audio comes after 10 ms.

    text on stdin (not in the arguments, which every user of the machine can read) -> WAV on stdout -> mu-law

`local/espeak-<voice>` fixes the voice (`espeak-ng --voices` lists them); otherwise the call's language chooses it.
"""

from __future__ import annotations

import asyncio
import re
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress

from workers.providers.child_environment import child_environment
from workers.providers.interfaces import Busy, Down, Rejected, VoiceOptions
from workers.tts.audio.audibility import is_speakable
from workers.tts.audio.resample import PcmToMulaw

DEBIAN_PACKAGE = "espeak-ng"
PROCESSES_MAX = 8
"""Clauses at once; each takes some 20 ms of one core."""
CHUNK_BYTES = 8192
CHUNK_S_MAX = 3.0
STOP_S = 2.0
WORDS_PER_MINUTE = 160  # espeak's own 175 is hard to follow on the phone
SPEED_MIN, SPEED_MAX = 0.5, 2.0
_WAV_HEADER_BYTES = 44
_VOICE = re.compile(r"[a-z]{2,3}(-[a-z0-9-]+)?(\+[A-Za-z0-9]+)?")


class LocalEspeak:
    """Implements `TextToSpeech` with a short-lived process per clause."""

    def __init__(self, voice: str = "", program: str = "espeak-ng") -> None:
        """`voice`: as espeak-ng names it, e.g. en-us+f3; empty: by the call's language."""
        self._voice = voice
        self._program = program
        self._running = 0

    async def say(self, text: str, options: VoiceOptions) -> AsyncGenerator[bytes, None]:
        """Synthesise one clause (see `TextToSpeech.say`).  Ignores `options.voice`: it may be another vendor's."""
        if not is_speakable(text):
            return
        voice = self._voice or options.language.lower()
        if not _VOICE.fullmatch(voice):
            raise Rejected(f"{voice!r} is no voice of espeak-ng")
        if self._running >= PROCESSES_MAX:
            raise Busy("too many clauses at espeak-ng")
        self._running += 1
        try:
            async with aclosing(self._spoken(text, voice, options.speed)) as audio:
                async for mulaw in audio:
                    yield mulaw
        finally:
            self._running -= 1

    async def warm(self) -> None:
        """Check that the program is installed and works.  Raises a `ProviderError`."""
        async with aclosing(self.say("1", VoiceOptions())) as audio:
            async for _ in audio:
                pass

    async def aclose(self) -> None:
        """Does nothing: every clause ends its own process."""

    async def _spoken(self, text: str, voice: str, speed: float) -> AsyncGenerator[bytes, None]:
        words_per_minute = round(WORDS_PER_MINUTE * min(max(speed, SPEED_MIN), SPEED_MAX))
        try:
            process = await asyncio.create_subprocess_exec(
                self._program, "-v", voice, "-s", str(words_per_minute), "-b", "1", "--stdin", "--stdout",
                stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=child_environment(),
            )  # fmt: skip
        except FileNotFoundError:
            raise Down(f"{self._program} is not installed; on Debian: apt-get install {DEBIAN_PACKAGE}") from None
        except OSError as error:
            raise Down(f"{self._program} does not start: {type(error).__name__}") from None
        try:
            async with aclosing(self._converted(process, text)) as audio:
                async for mulaw in audio:
                    yield mulaw
        finally:
            await _end(process)

    async def _converted(self, process: Process, text: str) -> AsyncGenerator[bytes, None]:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None and stdout is not None
        if not stdin.is_closing():  # else it has exited already, and its output shows why
            stdin.write(text.encode())  # at most some kB: fits the pipe
            stdin.close()
        try:
            async with asyncio.timeout(CHUNK_S_MAX):
                header = await stdout.readexactly(_WAV_HEADER_BYTES)
            to_mulaw = PcmToMulaw(_sample_rate(header))
            while True:
                async with asyncio.timeout(CHUNK_S_MAX):
                    pcm = await stdout.read(CHUNK_BYTES)
                if not pcm:
                    break
                if mulaw := to_mulaw.feed(pcm):
                    yield mulaw
            if mulaw := to_mulaw.finish():
                yield mulaw
            async with asyncio.timeout(CHUNK_S_MAX):
                status = await process.wait()
        except TimeoutError:
            raise Down(f"espeak-ng said nothing for {CHUNK_S_MAX:.0f} s") from None
        except asyncio.IncompleteReadError:
            # Its stderr may quote the text, so it is not read.  The usual reason is an unknown voice.
            raise Rejected("espeak-ng made no sound; is the voice in `espeak-ng --voices`?") from None
        if status != 0:
            raise Down(f"espeak-ng ended with status {status}")


def _sample_rate(header: bytes) -> int:
    """Return the rate of a 44-byte WAV header of 16-bit mono PCM, as espeak-ng writes it.  Raises `Down`."""
    pcm_mono_16 = header[20:24] == b"\x01\x00\x01\x00" and header[34:36] == b"\x10\x00"
    rate = int.from_bytes(header[24:28], "little")
    if not (header.startswith(b"RIFF") and header[36:40] == b"data" and pcm_mono_16 and 8000 <= rate <= 48_000):
        raise Down("espeak-ng wrote something other than 16-bit mono WAV")
    return rate


async def _end(process: Process) -> None:
    """Kill the process if it runs, drain its pipe and reap it: a paused pipe without a reader would never be closed."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    try:
        async with asyncio.timeout(STOP_S):
            await process.communicate()
    except TimeoutError:
        raise Down("espeak-ng does not end") from None
