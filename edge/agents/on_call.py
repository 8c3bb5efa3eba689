"""Asks an agent's webhook, when a call comes in, for variables or for another agent (docs/agents.md).

    POST url  {"call_id", "from", "to", "direction", "agent"}
              X-Voice-Timestamp: Unix time in s      X-Voice-Signature: v1=HMAC-SHA256(secret, "<timestamp>.<body>")
    200       {"variables": {...}, "agent": "..."}   both may be missing

The caller waits for it, so it has `timeout_ms` for everything; late, wrong or down, the call begins without its answer.
The URL is the operator's own, so private addresses are allowed; redirects are not followed.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import httpx
import msgspec

from common.agents.model import OnCall
from common.agents.variables import CallBeginning
from common.numbers import international
from common.telemetry import metrics

log = logging.getLogger(__name__)

ANSWER_BYTES_MAX = 64 * 1024
VARIABLES_MAX, VARIABLE_CHARS_MAX = 50, 1_000
CONNECTIONS_MAX = 100
TIMEOUT_S_MAX = 2.0
"""Longest step of a request; `timeout_ms` of the agent bounds them all together."""
_NAME = re.compile(r"[A-Za-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class OnCallAnswer:
    """What a webhook answered; empty if it did not, or nothing that can be used."""

    variables: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""


class _Body(msgspec.Struct):
    variables: dict[str, str | int | float | bool | None] = {}
    agent: str = ""


class _BadAnswer(Exception):
    """The answer cannot be used; the text says why, without what it holds."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The value of `X-Voice-Signature`; the receiver computes it likewise."""
    return "v1=" + hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class OnCallClient:
    """Asks the webhooks of all agents; `aclose` it.  Without a `secret` (ON_CALL_SECRET) none is asked."""

    def __init__(self, secret: bytes, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._secret = secret
        limits = httpx.Limits(max_connections=CONNECTIONS_MAX, max_keepalive_connections=CONNECTIONS_MAX)
        self._http = httpx.AsyncClient(
            transport=transport, limits=limits, follow_redirects=False, timeout=TIMEOUT_S_MAX
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def ask(self, on_call: OnCall, call: CallBeginning, agent: str) -> OnCallAnswer:
        """The webhook's answer about the call, after `timeout_ms` at the latest.  Never raises."""
        if not self._secret:
            return _without("failed", "ON_CALL_SECRET is not set", call, agent)
        try:
            async with asyncio.timeout(on_call.timeout_ms / 1000):
                answer = _checked(await self._post(on_call, call, agent))
        except TimeoutError:
            return _without("late", f"no answer within {on_call.timeout_ms} ms", call, agent)
        except _BadAnswer as error:
            return _without("bad answer", str(error), call, agent)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return _without("failed", type(error).__name__, call, agent)
        metrics.ON_CALLS.labels("answered").inc()
        return answer

    async def _post(self, on_call: OnCall, call: CallBeginning, agent: str) -> bytes:
        """The body of the answer.  Raises _BadAnswer and what httpx raises."""
        about = {
            "call_id": call.call_id,
            "from": international(call.caller) or call.caller,
            "to": international(call.called) or call.called,
            "direction": call.direction,
            "agent": agent,
        }
        body, timestamp = json.dumps(about).encode(), str(int(time.time()))
        headers = {
            **on_call.headers,
            "content-type": "application/json",
            "x-voice-timestamp": timestamp,
            "x-voice-signature": signature(self._secret, timestamp, body),
        }
        async with self._http.stream("POST", on_call.url, content=body, headers=headers) as response:
            if response.status_code == httpx.codes.NO_CONTENT:
                return b"{}"
            if response.status_code != httpx.codes.OK:
                raise _BadAnswer(f"status {response.status_code}")
            chunks, size = [], 0
            async for chunk in response.aiter_bytes():
                chunks.append(chunk)
                size += len(chunk)
                if size > ANSWER_BYTES_MAX:
                    raise _BadAnswer(f"more than {ANSWER_BYTES_MAX} bytes")
            return b"".join(chunks)


def _checked(body: bytes) -> OnCallAnswer:
    """The answer in the body.  Raises _BadAnswer if any part is out of bounds, as half of it may be wrong."""
    try:
        found = msgspec.json.decode(body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _BadAnswer("not the JSON that docs/agents.md shows") from None
    if len(found.variables) > VARIABLES_MAX:
        raise _BadAnswer(f"more than {VARIABLES_MAX} variables")
    values = {name: _text(value) for name, value in found.variables.items() if value is not None}
    if not all(_NAME.fullmatch(name) for name in values):
        raise _BadAnswer("the name of a variable has other signs than letters, digits and _")
    if any(len(value) > VARIABLE_CHARS_MAX for value in values.values()):
        raise _BadAnswer(f"a variable has more than {VARIABLE_CHARS_MAX} characters")
    return OnCallAnswer(values, found.agent)


def _text(value: str | float) -> str:
    """A JSON value as a person would write it: `true`, `5`, `2.5`."""
    return value if isinstance(value, str) else json.dumps(value)


def _without(outcome: str, why: str, call: CallBeginning, agent: str) -> OnCallAnswer:
    metrics.ON_CALLS.labels(outcome).inc()
    log.warning("agent %s: on_call is left out: %s", agent, why, extra={"call_id": call.call_id})
    return OnCallAnswer()
