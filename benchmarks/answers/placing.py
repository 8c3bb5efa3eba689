"""Begins and ends a call as the carrier does: webhooks, media socket, webhooks.  Blocks: run it in a thread."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode, urlsplit

from benchmarks.bare_socket import BareSocket, LineBroken
from simulators.answer import CallDropped, read_answer
from simulators.webhooks import USER_AGENT, Party

WEBHOOK_SECONDS = 10.0
FROM, TO = "+911234567890", "+911234567899"
BODY_BYTES_MAX = 100_000


class NotBegun(Exception):
    """The server refused the call, or did not answer; the text says which."""


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call whose stream is open.  `status_url` takes the events of the stream, if the server asked for them."""

    socket: BareSocket
    party: Party
    answer_url: str
    status_url: str | None
    took_ns: int
    """From the first webhook to the open stream."""

    def end(self) -> None:
        """Close the socket on which `hang_up` was called, and send the webhooks of the end."""
        self.socket.close()
        if self.status_url:
            _post(self.status_url, self.party.fields("StopStream", "in-progress") | self._stream())
        _post(self.answer_url.replace("/answer", "/hangup"), self.party.fields("Hangup", "completed"))

    def _stream(self) -> dict[str, str]:
        return {"StreamID": self.party.call_id, "ServiceURL": ""}


def begin(answer_url: str, call_id: str) -> OpenCall:
    """Send the answer request and open the stream that the server asks for.  Raises NotBegun."""
    party = Party(call_id, FROM, TO, datetime.now(UTC))
    began = time.monotonic_ns()
    try:
        stream = read_answer(*_post(answer_url, party.fields("StartApp", "ringing")))
        media = urlsplit(stream.url)
        socket = BareSocket(media.port or 80, call_id, media.path)
    except (CallDropped, LineBroken, OSError, http.client.HTTPException) as error:
        raise NotBegun(f"{type(error).__name__}: {error}") from None
    call = OpenCall(socket, party, answer_url, stream.status_callback_url, time.monotonic_ns() - began)
    if call.status_url:
        _post(call.status_url, party.fields("StartStream", "in-progress") | call._stream())
    return call


def _post(url: str, form: Mapping[str, str]) -> tuple[int, str, bytes]:
    """POST on a new connection, and return status, content type and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=WEBHOOK_SECONDS)
    headers = {"User-Agent": USER_AGENT, "Content-Type": "application/x-www-form-urlencoded"}
    try:
        connection.request("POST", f"{parts.path}?{parts.query}", urlencode(form), headers)
        reply = connection.getresponse()
        return reply.status, reply.getheader("content-type", ""), reply.read(BODY_BYTES_MAX)
    finally:
        connection.close()
