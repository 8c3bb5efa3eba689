"""Makes the URLs that the carrier is given for a call, and the XML that offers it a stream."""

from __future__ import annotations

import time
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.requests import Request

from common.process.addresses import socket_url
from edge.http.webhook_auth import WebhookAuth
from edge.media.stream_token import mint
from edge.session.url_proof import SPARE_SECONDS, of_call, of_dial
from edge.vobiz.xml import Redirect, Stream, Verb

STREAM_RETRIES = 3
STREAM_GRACE_S = 60
"""The stream's limit exceeds the agent's longest call by this, so that we end the call, not the carrier."""


@dataclass(frozen=True, slots=True)
class CallUrls:
    """URLs of this deployment; `secret` signs them, None leaves them unsigned."""

    auth: WebhookAuth
    public_url: str
    secret: bytes | None
    call_s_max: int

    def base(self, request: Request) -> str:
        """PUBLIC_URL, or else the base URL to which this request came."""
        return (self.public_url or self.auth.base_url(request)).rstrip("/")

    def of_call(self, request: Request, path: str, call_id: str, attempt: str = "", **more: str) -> str:
        """A webhook's URL for this call, and for the transfer `attempt` of it; `more` is not signed."""
        url = self.base(request) + of_call(self.secret, path, call_id, self._until_s(), attempt)
        return f"{url}{'&' if '?' in url else '?'}{urlencode(more)}" if more else url

    def of_dial(self, request: Request, path: str, dial_id: str, attempt: str = "", **more: str) -> str:
        """A webhook's URL for an outbound call."""
        url = self.base(request) + of_dial(self.secret, path, dial_id, attempt, self._until_s())
        return f"{url}&{urlencode(more)}" if more else url

    def offer(self, request: Request, call_id: str, now_s: float, call_s: int) -> list[Verb]:
        """The verbs that connect the call to its agent, for `call_s` at most; `now_s` is Redis's clock."""
        token = f"/{mint(self.secret, call_id, now_s)}" if self.secret is not None else ""
        stream = Stream(
            f"{socket_url(self.base(request))}/ws{token}",
            stream_timeout_s=min(call_s, self.call_s_max) + STREAM_GRACE_S,
            max_retries=STREAM_RETRIES,
            status_callback_url=self.of_call(request, "/stream-status", call_id),
        )
        # Only afterwards is it known whether the stream ended or broke: the carrier asks then.
        return [stream, Redirect(self.of_call(request, "/after-stream", call_id))]

    def _until_s(self) -> float:
        return time.time() + self.call_s_max + SPARE_SECONDS
