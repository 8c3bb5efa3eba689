"""Silence for the ears while a call has no connection, so that the end of a turn need not wait for the carrier.

A caller who has just fallen silent is asked for nothing but more silence: then their turn is over and the answer is
begun.  Without a connection no frames come, and that decision would wait for the carrier's next one, whose pause is
not ours.  Nothing can be lost by it: what a caller says into a connection that is not there is never heard anyway.
Who was speaking when the connection went is left alone; they may be in the middle of a sentence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from common.audio.g711 import FRAME_MS
from edge.session.call import Call

FILL_SILENCE_MS = 1000
"""So much silence at most; longer than any usual endpointing."""
GAP_MS = 100
"""Between the audio that one connection brought and the next: what the one before may still be writing ends in it."""


async def fill_silence(call: Call, until: Sequence[asyncio.Future[Any]] = ()) -> None:
    """Keep the pace of a line, until one of the futures is done, for `FILL_SILENCE_MS` at most."""
    if not call.turn.between:
        return
    loop = asyncio.get_running_loop()
    began = loop.time()
    for frame in range(FILL_SILENCE_MS // FRAME_MS):
        await asyncio.sleep(began + frame * FRAME_MS / 1000 - loop.time())
        if any(sign.done() for sign in until):
            return
        call.feed_silence()
