"""Looks up at the carrier what became of a call, and concludes only what follows from the answers.

Two rules of Vobiz complicate that.  A ringing call is listed under `status=queued`, an answered one under `live`, and a
query with the other status is answered 404; so both are queried, first queued and then live: a call moves only in that
direction and cannot be missed in between.  And a list of queued calls names at most 20: a call that is not in a full
list may still be queued.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from common.numbers import international, same_party
from edge.vobiz.hangup_causes import cause_text
from edge.vobiz.rest.client import QUEUED_MAX, Standing, VobizClient
from edge.vobiz.rest.errors import Refused
from edge.vobiz.times import moment_ms

CLOCK_SLACK_MS = 5000
"""Assumed maximum difference between our clock and the carrier's."""
DETAILS_MAX = 100
"""Calls that one look-up queries; with more it concludes nothing."""
RECORDS_A_PAGE = 100
RECORD_PAGES_MAX = 5
DIGITS_ASKED = 10
"""Last digits of a number for the carrier's filter, which then matches any way of writing the country."""


@dataclass(frozen=True, slots=True)
class LostRequest:
    """The call to find: its numbers, and when its request was sent (Unix ms)."""

    sender: str
    to: str
    sent_ms: int


@dataclass(frozen=True, slots=True)
class Found:
    """A call as the carrier knows it."""

    call_id: str
    answered: bool = False
    cause: str = ""
    """Why it ended, as `hangup_causes.cause_of` understands it; empty while it goes on."""


class Nothing:
    """The carrier has no such call."""


class Inconclusive:
    """The answers leave it open: look up again later."""


class Lookup:
    """Looks up calls with a client.  Its methods raise CarrierError."""

    def __init__(self, client: VobizClient) -> None:
        self._client = client

    async def by_id(self, call_id: str) -> Found | Nothing:
        """The call with this id, live or ended.  Raises CarrierError."""
        details = await self._details(call_id, ("queued", "live"))
        if details:
            return Found(call_id, answered=_is_up(details))
        record = await _found(self._client.cdr_of(call_id))
        return _ended(record, call_id) if record else Nothing()

    async def by_numbers(
        self, lost: LostRequest, is_others: Callable[[str], Awaitable[bool]]
    ) -> Found | Nothing | Inconclusive:
        """The call made by a request whose answer was lost.

        `is_others(call_id)` tells whether that call is known to belong to another request.  Raises CarrierError.
        """
        queued, live = await self._client.queued_calls(), await self._client.live_calls()
        complete = len(queued) < QUEUED_MAX and len(live) != QUEUED_MAX
        standings: dict[str, tuple[Standing, ...]] = {
            **dict.fromkeys(live, ("live",)),
            **dict.fromkeys(queued, ("queued", "live")),
        }
        complete &= len(standings) <= DETAILS_MAX
        for call_id, standing in list(standings.items())[:DETAILS_MAX]:
            if await is_others(call_id):
                continue
            details = await self._details(call_id, standing)
            began_ms = moment_ms(details.get("session_start"), UTC)
            if _is_wanted(lost, details.get("from"), details.get("to"), began_ms):
                return Found(call_id, answered=_is_up(details))
            complete &= bool(details)  # it ended just now, and its record may not exist yet
        record, all_read = await self._record_of(lost, is_others)
        if record:
            return _ended(record, str(record.get("uuid") or ""))
        return Nothing() if complete and all_read else Inconclusive()

    async def _details(self, call_id: str, standings: Iterable[Standing]) -> dict[str, Any]:
        for standing in standings:
            if details := await _found(self._client.call_details(call_id, standing)):
                return {**details, "standing": standing}
        return {}

    async def _record_of(
        self, lost: LostRequest, is_others: Callable[[str], Awaitable[bool]]
    ) -> tuple[dict[str, Any], bool]:
        """The record of the call if it is over; and whether all records that could be it were read."""
        filters = {"call_direction": "outbound"}
        if number := international(lost.to):
            filters["to_number"] = number[-DIGITS_ASKED:]
        for page in range(1, RECORD_PAGES_MAX + 1):
            answer = await self._client.cdr(page, RECORDS_A_PAGE, filters)
            data = answer.get("data")
            records = [record for record in data if isinstance(record, dict)] if isinstance(data, list) else []
            for record in records:
                began_ms, sender = moment_ms(record.get("start_time")), record.get("caller_id_number")
                if began_ms is None or not _is_wanted(lost, sender, record.get("destination_number"), began_ms):
                    continue
                if not await is_others(str(record.get("uuid") or "")):
                    return record, True
            oldest_ms = moment_ms(records[-1].get("start_time")) if records else None
            if not _has_next(answer, records):
                return {}, True
            if oldest_ms is not None and oldest_ms < lost.sent_ms - CLOCK_SLACK_MS:
                return {}, True  # the newest come first
        return {}, False


def _is_wanted(lost: LostRequest, sender: object, to: object, began_ms: float | None) -> bool:
    """Whether it is a call between these numbers that began after the request; missing values count as matching."""
    if not isinstance(to, str) or not same_party(to, lost.to):
        return False
    if isinstance(sender, str) and sender and not same_party(sender, lost.sender):
        return False
    return began_ms is None or began_ms >= lost.sent_ms - CLOCK_SLACK_MS


def _is_up(details: dict[str, Any]) -> bool:
    """Whether the call was answered: by its status, if given, and because only answered calls are listed as `live`."""
    return str(details.get("call_status") or "in-progress") == "in-progress" and details["standing"] == "live"


def _ended(record: dict[str, Any], call_id: str) -> Found:
    names = ("hangup_cause_code", "hangup_cause", "hangup_cause_name", "hangup_disposition")
    code, text, name, disposition = (str(record.get(key) or "") for key in names)
    answered = bool(record.get("answer_time")) or bool(record.get("billsec"))
    return Found(call_id, answered, cause_text(code, text, name, disposition))


def _has_next(answer: dict[str, Any], records: list[dict[str, Any]]) -> bool:
    pagination = answer.get("pagination")
    has_next = pagination.get("has_next") if isinstance(pagination, dict) else None
    return has_next if isinstance(has_next, bool) else len(records) >= RECORDS_A_PAGE


async def _found(asked: Awaitable[dict[str, Any]]) -> dict[str, Any]:
    """The answer, or {} if the carrier does not know the call (404).  Raises CarrierError."""
    try:
        return await asked
    except Refused as error:
        if error.status != 404:
            raise
        return {}
