"""Publishes silence while a call has no connection, so that the end of a turn need not wait for the carrier.

The STT worker needs silence after the caller's last word to end the turn and start the reply.  Without a connection no
frames arrive, and that decision would wait for the carrier's next connection, whose delay the edge does not control.
Nothing is lost: audio spoken while there is no connection never arrives anyway.  If the caller was speaking when the
connection was lost, nothing is published, because the sentence may be unfinished.
"""

from __future__ import annotations

import asyncio

from common.audio.g711 import FRAME_MS
from edge.session.call import Call

FILL_SILENCE_MS = 1000
"""Maximum length of the silence; longer than any usual endpointing."""
GAP_MS = 100
"""Gap in the call's time between the audio of two connections; late writes of the older connection fit in it."""


async def fill_silence(call: Call) -> None:
    """Publish silence in real time while the call stays in its state, for `FILL_SILENCE_MS` at most."""
    if not call.turn.between:
        return
    state = call.lifecycle.state
    loop = asyncio.get_running_loop()
    began = loop.time()
    for frame in range(FILL_SILENCE_MS // FRAME_MS):
        await asyncio.sleep(began + frame * FRAME_MS / 1000 - loop.time())
        if call.lifecycle.state is not state:
            return
        call.feed_silence()
