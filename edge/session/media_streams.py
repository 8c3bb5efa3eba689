"""Serves one media stream: from the token in the URL to the end of the socket.

    token ── refused before the handshake completes, or ──▶ accepted ──▶ wait for `start` ──▶ Call ──▶ end, once

`MediaStreams.serve` calls the methods below it in their order.  stream_events.py delivers the messages of the socket to
the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket

from common.agents.model import BadAgents, CurrentAgents, from_document, to_document
from common.agents.needs import more_pools
from common.agents.variables import CallBeginning, for_inbound
from common.bus import Bus
from common.call.end_reasons import LOST_ENDS, EndReason
from common.call.transfer import read_transfer
from common.process.tasks import cancel
from common.protocol.redis_keys import CALL_ID
from common.store import CallRecord, CallStore
from common.telemetry import metrics
from edge.media.decoder import UplinkDecoder
from edge.media.stream_pace import StreamPace
from edge.media.stream_token import BadToken, verify
from edge.media.ticker import Ticker
from edge.media.websocket import EXTENSION, MediaSocketProtocol
from edge.outbound.dialer import Dialer
from edge.session.call import STOP_SECONDS, Call
from edge.session.call_options import CallOptions
from edge.session.calls import Calls
from edge.session.last_connection import LastConnection, last_connection
from edge.session.lifecycle import State
from edge.session.reconnect_silence import fill_silence
from edge.session.stream_events import StreamEvents
from edge.vobiz import stream_protocol

log = logging.getLogger(__name__)

SERVICE_RESTART = 1012
"""Close code of a socket whose call is handed over: the peer should connect again (RFC 6455, IANA registry)."""
START_SECONDS = 10.0
"""How long a socket may be open before `start` arrives."""
COME_BACK_SECONDS = 15.0
"""How long a call without a connection waits for the carrier's next one (`maxRetries`), or for a report of its end."""
STORE_SECONDS = 1.0
"""How long hanging up waits for the end to be written to the store; the write is repeated afterwards."""
SEE_OFF_SECONDS = 1.0
"""How long before `STOP_SECONDS` are over a transferred caller is taken off the stream by REST."""
END_TRIES_MAX, END_PAUSE_SECONDS = 60, 1.0
"""Attempts, and the pause between them, to write the end of a call while the store is away; then `Calls` takes over."""


@dataclass(frozen=True, slots=True)
class MediaStreams:
    """Serves all media streams of an edge.  `secret` None: a bare /ws is accepted, without a token."""

    calls: Calls
    store: CallStore
    bus: Bus
    ticker: Ticker
    agents: CurrentAgents
    secret: bytes | None
    lead_ms: int
    dialer: Dialer | None = None
    """Hangs up by REST and records outbound calls; None without Vobiz credentials."""
    call_s_max: int = 14_400
    """CALL_S_MAX: the longest call of any agent, in seconds."""

    async def serve(self, websocket: WebSocket, token: str) -> None:
        """Serve one socket from its upgrade request to its end; returns when the call's connection is over."""
        call_id, refusal = await self._permit(token)
        refusal = refusal or self.calls.refusal(call_id)
        if refusal:
            metrics.CALLS_REFUSED.labels(refusal).inc()
            await _deny(websocket, refusal)
            return
        release = self.calls.count_opening(call_id)
        try:
            offered = websocket.scope["subprotocols"]
            await websocket.accept(subprotocol=offered[0] if offered else None)
            socket: MediaSocketProtocol = websocket.scope["extensions"].pop(EXTENSION)  # it holds the scope
            stream = StreamEvents(socket, self._pace(call_id), self.ticker)
            opened = await self._open(stream, call_id)
            release()
            if opened is not None:
                await self._carry(*opened, stream)
        finally:
            release()

    async def _permit(self, token: str) -> tuple[str, str]:
        """(call id, "") if the token is valid, else ("", the reason)."""
        if self.secret is None:
            return "", ""
        try:
            stream_token = verify(self.secret, token)
        except BadToken:
            return "", "bad token"
        try:
            known = await self.store.look_up(stream_token.call_id)
        except (ConnectionError, TimeoutError):
            return "", "cut off from Redis"
        record = known.record
        if record is None or (record.status == "ended" and not record.reopens_ms):
            return "", "call is over"
        # By Redis's clock, because another edge may have signed the token.
        if record.epoch == 0 and known.now_ms > 1000 * stream_token.expires_s:
            return "", "token expired"
        return stream_token.call_id, ""

    def _pace(self, call_id: str) -> StreamPace:
        """The rate limits of the call's last connection if it was here, else new ones."""
        older = self.calls.get(call_id)
        return (older.limits.pace if older is not None else None) or StreamPace(self.ticker.now_ms())

    async def _open(self, stream: StreamEvents, call_id: str) -> tuple[Call, str] | None:
        """Wait for `start` and set up the call; returns it with its outbound call's id, or None if the stream was
        refused.
        """
        try:
            async with asyncio.timeout(START_SECONDS):
                start = await stream.started
            if start is None:
                return None
            if call_id and start.call_id and start.call_id != call_id:
                raise _Refused("another call's token")
            # Raises for a format that cannot be used, before the call is started in the store.
            UplinkDecoder(start.media_format or stream_protocol.MediaFormat())
            record = await self._start(call_id or start.call_id)
            call = Call(record, start, stream.socket, self.bus, self.ticker, await self._options(record, stream.pace))
        except (TimeoutError, ConnectionError, stream_protocol.BadFrame, _Refused) as error:
            stream.refuse(
                _why(error, stream.started.done()), str(error) if isinstance(error, stream_protocol.BadFrame) else ""
            )
            return None
        return call, record.dial_id

    async def _start(self, call_id: str) -> CallRecord:
        if not CALL_ID.fullmatch(call_id):
            raise _Refused("no call id")
        if self.secret is None and await self.store.read(call_id) is None:
            call = CallBeginning(call_id, at_s=time.time())  # a bare socket: the numbers are unknown
            agent = for_inbound(self.agents.current.for_number(""), call)
            document = to_document(agent) if agent else {}
            await self.store.create(CallRecord(call_id, document, more_pools=more_pools([agent] if agent else [])))
        record = await self.store.start(call_id, self.calls.edge)
        if record is None:
            raise _Refused("call is over")
        return record

    async def _options(self, record: CallRecord, pace: StreamPace) -> CallOptions:
        try:
            agent = from_document(record.agent)
        except BadAgents:
            await self.store.end(record.call_id, "refused", record.epoch)
            raise _Refused("no agent") from None
        last = await last_connection(self.bus, record.call_id) if record.epoch > 1 else LastConnection()
        return CallOptions(
            agent.turn.interruptible,
            min(agent.limits.call_s, self.call_s_max),
            agent.limits.silence_s,
            self.lead_ms,
            last.position_ms,
            record.age_ms,
            record.silent_ms,
            agent.greeting_after_ms.outbound if record.direction == "outbound" else agent.greeting_after_ms.inbound,
            last.heard,
            pace,
        )

    async def _carry(self, call: Call, dial_id: str, stream: StreamEvents) -> None:
        self.calls.add(call)
        if call.epoch == 1:  # later epochs are reconnects of the same call
            metrics.CALLS_STARTED.labels(call.record.direction).inc()
        log.info("call answered", extra={"call_id": call.call_id})
        began = time.monotonic()
        stream.connect(call)
        # Only now, since a worker that takes the call may send audio at once.
        offering = asyncio.create_task(self.calls.offer(call.record), name=f"offer {call.call_id}")
        if dial_id and self.dialer is not None:
            self.dialer.outbound.answered(dial_id, call.call_id)
        try:
            reason, written = await self._ended(call)
        finally:
            await cancel(offering)
            self.calls.remove(call)
            stream.socket.end(SERVICE_RESTART if call.lifecycle.handed_over else 1000)
        if call.lifecycle.handed_over:
            await fill_silence(call)
        if call.lifecycle.state in (State.REPLACED, State.HANDED_OVER):
            return
        if not written and not await self._write_end_at_last(call, reason):
            call.replaced()  # another connection continues the call, or a webhook wrote its end first
            return
        if dial_id and self.dialer is not None and reason != EndReason.TRANSFERRED:
            await self.dialer.outbound.closed(dial_id)
        totals = {"reason": reason, "seconds": round(time.monotonic() - began), "turns": call.turns}
        call.end(reason)
        metrics.CALLS_ENDED.labels(reason).inc()
        log.info("call ended", extra={"call_id": call.call_id, **totals})

    async def _ended(self, call: Call) -> tuple[str, bool]:
        """Wait until the call is over at this edge; returns the reason, and whether the store has it already."""
        if await call.reaches(State.STOPPING, State.BROKEN) is State.BROKEN:
            log.info("a connection is gone; waiting for the carrier", extra={"call_id": call.call_id})
            await fill_silence(call)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(COME_BACK_SECONDS):
                    await call.reaches(State.STOPPING)
        if call.lifecycle.over:
            return call.lifecycle.reason, False
        if call.lifecycle.state is State.BROKEN:
            return EndReason.CALLER_HUNG_UP if call.lifecycle.closed_cleanly else EndReason.CARRIER, False
        by_s = asyncio.get_running_loop().time() + STOP_SECONDS
        # The store first: the carrier may ask at once what comes next.  It may be slow, and the caller must not wait.
        ours: bool | None = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STORE_SECONDS):
                ours = await self._write_end(call, call.lifecycle.reason)
                if ours is False and await self._goes_on_elsewhere(call):
                    call.replaced()
                    return "", True  # hanging up would end the call of that connection
        await self._hang_up(call, by_s)
        await call.reaches()
        return call.lifecycle.reason, ours is not None

    async def _hang_up(self, call: Call, by_s: float) -> None:
        """End the stream and hang up by REST at once, and give up on either at the loop time `by_s`.

        After an error, or once the carrier has given the stream up, only the stream is ended: REST would end the call
        before the XML that follows the stream has run.
        """
        reason = call.lifecycle.reason
        call.stop_stream()
        if call.lifecycle.disconnected:
            call.end(reason)  # the connection is gone, so the carrier cannot close the stream
        if reason == EndReason.TRANSFERRED:
            await self._see_off(call, by_s - SEE_OFF_SECONDS)
            return
        if self.dialer is None or reason in LOST_ENDS:
            return
        try:
            async with asyncio.timeout_at(by_s):
                await self.dialer.hang_up(call.call_id)
        except TimeoutError:
            log.warning("the carrier did not confirm the hang-up in time", extra={"call_id": call.call_id})

    async def _see_off(self, call: Call, by_s: float) -> None:
        """A transferred caller leaves by the end of the stream (docs/adr/0017-transfer-by-end-of-stream.md).

        If the carrier has not closed it by the loop time `by_s`, nor asked what follows, REST takes the caller there.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(by_s):
                await call.reaches()
                return
        try:
            async with asyncio.timeout(SEE_OFF_SECONDS):
                record = await self.store.read(call.call_id)
                transfer = read_transfer(record.transfer) if record is not None else None
                if self.dialer is not None and transfer is not None and transfer.under_way and not transfer.left_ms:
                    log.warning("the carrier did not close a transferred stream", extra={"call_id": call.call_id})
                    await self.dialer.continue_at(call.call_id, "/after-stream")
        except (ConnectionError, TimeoutError):
            log.warning("a transferred caller may still be on the stream", extra={"call_id": call.call_id})

    async def _write_end(self, call: Call, reason: str, again: bool = False) -> bool | None:
        """Write the end to the store; False if it had an end already, or if another connection continues the call.

        None: the store is away.  `again`: an earlier attempt may have succeeded without its answer arriving.
        """
        try:
            if await self.store.end(call.call_id, reason, call.epoch):
                return True
            record = await self.store.read(call.call_id) if again else None
        except (ConnectionError, TimeoutError):
            return None
        ours = ("ended", call.epoch, reason)
        return record is not None and (record.status, record.epoch, record.ended_because) == ours

    async def _goes_on_elsewhere(self, call: Call) -> bool:
        """Whether a newer connection carries the call."""
        try:
            record = await self.store.read(call.call_id)
        except (ConnectionError, TimeoutError):
            return False
        return record is not None and record.status == "live" and record.epoch > call.epoch

    async def _write_end_at_last(self, call: Call, reason: str) -> bool:
        """As `_write_end`, repeated while the store is away: until then all processes take the call for live."""
        again = call.lifecycle.stopped
        for _ in range(END_TRIES_MAX):
            written = await self._write_end(call, reason, again)
            if written is not None:
                return written
            again = True
            await asyncio.sleep(END_PAUSE_SECONDS)
        log.warning("the end of a call could not be written to the store", extra={"call_id": call.call_id})
        return True


async def _deny(websocket: WebSocket, refusal: str) -> None:
    """Answer the upgrade request with an HTTP error, so that the handshake never completes."""
    status = 403 if refusal in ("bad token", "token expired", "call is over") else 503
    body = {"error": {"code": refusal.replace(" ", "_"), "message": f"The stream is refused: {refusal}."}}
    await websocket.send_denial_response(JSONResponse(body, status))


def _why(error: Exception, started: bool) -> str:
    """The reason of a refusal, from a closed set: a metric label."""
    match error:
        case _Refused():
            return str(error)
        case stream_protocol.BadFrame():
            return error.kind
        case TimeoutError() if not started:
            return "no start"
    return "cut off from Redis"


class _Refused(Exception):
    """The stream cannot become a call; the text is a metric label."""
