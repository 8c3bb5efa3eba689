"""A Python client of Vobiz's REST API, one method per operation; docs/vobiz-client.md is its page for users.

A call id is what `make_call` returned: the CallUUID of the webhooks and the callId of the stream.  All methods raise
`errors.CarrierError`, and ValueError for arguments that cannot be sent.  Requests are repeated where that is safe
(edge/vobiz/rest/transport.py says when); no request is repeated that could ring a phone twice.

Paths are spelled as documented, PascalCase with a trailing slash or lower case without: Vobiz answers 401 to others.
"Vendor page" is the title of the page of Vobiz's documentation that a method follows.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

import httpx

from edge.vobiz.numbers import e164
from edge.vobiz.rest.errors import Refused, Unavailable, Uncertain
from edge.vobiz.rest.exports import ExportRequest
from edge.vobiz.rest.requests import ApplicationRequest, CallRequest, Method, RecordRequest, StreamRequest
from edge.vobiz.rest.transport import CarrierOptions, Rest, segment

PAGE_SIZE = 20
PAGES_MAX = 50
"""Pages of a list that is read completely: 1000 entries."""

QUEUED_MAX = 20
"""Maximum number of queued calls that Vobiz lists: a list of this length may be incomplete."""

Standing: TypeAlias = Literal["live", "queued"]
Legs: TypeAlias = Literal["aleg", "bleg", "both"]
Json: TypeAlias = dict[str, Any]


class VobizClient:
    """Client of one account.  Use it with `async with`, or close it with `aclose`.

    `transport` replaces the network and `sleep` the pauses between attempts, for tests.
    """

    def __init__(
        self,
        options: CarrierOptions,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._rest = Rest(options, transport, sleep)
        self._auth_id = options.auth_id

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections; the client cannot be used afterwards."""
        await self._rest.aclose()

    # --- calls -----------------------------------------------------------------------------------------------------

    async def make_call(self, call: CallRequest) -> tuple[str, ...]:
        """Place one or more calls; returns their ids, in Vobiz's order.  Vendor page: "Make an Outbound Call".

        Raises Uncertain if the answer was lost: the phone may be ringing.  Then look at `live_calls`, or wait for the
        answer webhook; Vobiz has no idempotency key that would make a second attempt safe.
        """
        answer = await self._rest.request("POST", self._of("Call"), body=call.json())
        ids = _call_ids(answer)
        if not ids:
            raise Uncertain("a success without the id of the call")
        return ids

    async def hang_up(self, call_id: str) -> bool:
        """End a call; False if it was over already.  Vendor page: "Hang Up a Call"."""
        try:
            await self._rest.request("DELETE", self._of("Call", call_id))
        except Refused as error:
            if error.status != 404:
                raise
            return False
        return True

    async def transfer(self, call_id: str, *, aleg_url: str = "", bleg_url: str = "", method: Method = "POST") -> None:
        """Continue one leg of a call, or both, with the XML of another URL.  Vendor page: "Transfer a Call".

        This closes the call's stream.  Raises ValueError without a URL, Refused with status 404 if the call is over.
        """
        if not aleg_url and not bleg_url:
            raise ValueError("transfer: expected aleg_url or bleg_url")
        body: Json = {"legs": "both" if aleg_url and bleg_url else "aleg" if aleg_url else "bleg"}
        if aleg_url:
            body |= {"aleg_url": aleg_url, "aleg_method": method}
        if bleg_url:
            body |= {"bleg_url": bleg_url, "bleg_method": method}
        await self._rest.request("POST", self._of("Call", call_id), body=body)

    async def live_calls(self) -> list[str]:
        """Ids of the calls that were answered and are not over.  Vendor page: "Retrieve all live calls"."""
        return await self._calls("live")

    async def queued_calls(self) -> list[str]:
        """Ids of the calls that are not answered yet, ringing ones included; at most `QUEUED_MAX`.

        Vendor page: "Retrieve all queued calls".
        """
        return await self._calls("queued")

    async def call_details(self, call_id: str, status: Standing = "live") -> Json:
        """A call listed under `status`: "live" once it was answered, "queued" before.

        Vendor pages: "Retrieve a live call", "Retrieve a queued call".  Raises Refused with status 404 if the call is
        listed elsewhere or is over; use `cdr_of` then.
        """
        return _object(await self._rest.request("GET", self._of("Call", call_id), query={"status": status}))

    async def _calls(self, status: str) -> list[str]:
        answer = _object(await self._rest.request("GET", self._of("Call"), query={"status": status}))
        return [call for call in _list(answer.get("calls")) if isinstance(call, str)]

    # --- what a live call hears ------------------------------------------------------------------------------------

    async def play(
        self, call_id: str, urls: Sequence[str], *, legs: Legs = "aleg", loop: bool = False, mix: bool = True
    ) -> None:
        """Play sound files (MP3, WAV) one after the other; `mix` keeps the call audible.

        Vendor page: "Play audio on a call".  Raises ValueError for an empty list, or a URL that is not http(s) or has a
        comma.
        """
        if isinstance(urls, str) or not urls or not all(re.fullmatch(r"https?://[^\s,]+", url) for url in urls):
            raise ValueError("play: expected a list of https:// URLs without commas")
        body = {"urls": ",".join(urls), "legs": legs, "loop": loop, "mix": mix}
        await self._rest.request("POST", self._of("Call", call_id, "Play"), body=body)

    async def stop_play(self, call_id: str) -> None:
        """Stop what `play` started.  Vendor page: "Stop playing audio on a call"."""
        await self._rest.request("DELETE", self._of("Call", call_id, "Play"))

    async def speak(
        self,
        call_id: str,
        text: str,
        *,
        voice: str = "WOMAN",
        language: str = "en-US",
        legs: Legs = "aleg",
        loop: bool = False,
        mix: bool = True,
    ) -> None:
        """Read a text aloud: `voice` is WOMAN, MAN or a Polly voice.  Vendor page: "Speak text on a call".

        Raises ValueError for a blank text.
        """
        if not text.strip():
            raise ValueError("speak: expected a text")
        body = {"text": text, "voice": voice, "language": language, "legs": legs, "loop": loop, "mix": mix}
        await self._rest.request("POST", self._of("Call", call_id, "Speak"), body=body)

    async def stop_speak(self, call_id: str) -> None:
        """Stop what `speak` started.  Vendor page: "Stop speaking text during a call"."""
        await self._rest.request("DELETE", self._of("Call", call_id, "Speak"))

    async def send_digits(self, call_id: str, digits: str, *, leg: Legs = "aleg") -> None:
        """Send keys: 0-9 * #; "w" waits 0.5 s, "W" 1 s.  Vendor page: "Send digits on an active call".

        Raises ValueError for other characters, or more than 64.
        """
        if not re.fullmatch(r"[0-9*#wW]{1,64}", digits):
            raise ValueError("send_digits: expected 1 to 64 of 0-9 * # w W")
        await self._rest.request("POST", self._of("Call", call_id, "DTMF"), body={"digits": digits, "leg": leg})

    # --- recordings and streams of a live call ---------------------------------------------------------------------

    async def start_record(self, call_id: str, record: RecordRequest | None = None) -> Json:
        """Record a call from now on; returns `recording_id` and `url`.  Vendor page: "Start recording a call"."""
        body = (record or RecordRequest()).json()
        return _fields_of(await self._rest.request("POST", self._of("Call", call_id, "Record"), body=body))

    async def stop_record(self, call_id: str) -> None:
        """Stop all recordings of a call.  Vendor page: "Stop recording a call"."""
        await self._rest.request("DELETE", self._of("Call", call_id, "Record"))

    async def start_stream(self, call_id: str, stream: StreamRequest) -> str:
        """Open an audio stream; returns its id, "" if Vobiz did not send one.  Vendor page: "Start an Audio Stream"."""
        answer = await self._rest.request("POST", self._of("Call", call_id, "Stream"), body=stream.json())
        return str(_fields_of(answer).get("stream_id") or "")

    async def list_streams(self, call_id: str) -> list[Json]:
        """All streams of a call, ended ones included.  Vendor page: "List all Audio Streams"."""
        return _objects(await self._rest.request("GET", self._of("Call", call_id, "Stream")))

    async def get_stream(self, call_id: str, stream_id: str) -> Json:
        """One stream; its `status` is in-progress, completed or failed.  Vendor page: "Retrieve an Audio Stream"."""
        return _object(await self._rest.request("GET", self._of("Call", call_id, "Stream", stream_id)))

    async def stop_stream(self, call_id: str, stream_id: str) -> None:
        """End one stream; the call continues with the XML after it.  Vendor page: "Stop a Specific Audio Stream"."""
        await self._rest.request("DELETE", self._of("Call", call_id, "Stream", stream_id))

    async def stop_streams(self, call_id: str) -> None:
        """End all streams of a call.  Vendor page: "Stop all Audio Streams"."""
        await self._rest.request("DELETE", self._of("Call", call_id, "Stream"))

    # --- records ---------------------------------------------------------------------------------------------------

    async def cdr(self, page: int = 1, per_page: int = PAGE_SIZE, filters: Mapping[str, str] | None = None) -> Json:
        """One page of call records, newest first: `data`, `pagination`, `summary`.  Vendor page: "List CDRs".

        `filters` as documented: from_number, to_number (a part of the digits is enough), call_direction, min_duration,
        start_date and end_date (both, YYYY-MM-DD).
        """
        query = {"page": page, "per_page": per_page, **(filters or {})}
        return _object(await self._rest.request("GET", self._lower("cdr"), query=query))

    async def cdr_of(self, call_id: str) -> Json:
        """The record of one ended call, with its cost.  Vendor page: "Get Single CDR".

        Raises Refused with status 404 until the record is written.
        """
        answer = _object(await self._rest.request("GET", self._lower("cdr", call_id)))
        data = answer.get("data", answer)
        if isinstance(data, list):
            data = data[0] if data else None
        if not isinstance(data, dict):
            raise Refused(404, "no record of this call yet")
        return data

    async def recordings(self, limit: int = PAGE_SIZE, offset: int = 0) -> list[Json]:
        """Recordings of the account; Vobiz keeps them for 30 days.  Vendor page: "List All Recordings"."""
        query = {"limit": limit, "offset": offset}
        return _objects(await self._rest.request("GET", self._of("Recording"), query=query))

    async def export_recordings(self, export: ExportRequest) -> None:
        """Have a link to recordings sent by e-mail.  Vendor page: "Export Historical Recordings".

        Raises Refused with status 409 while another export is being made.
        """
        await self._rest.request("POST", self._of("export", "recording"), body=export.json())

    # --- applications, numbers, account ----------------------------------------------------------------------------

    async def applications(self) -> list[Json]:
        """All applications, up to 1000: `app_id`, `app_name` and their URLs.  Vendor page: "List All Applications"."""
        found: dict[str, Json] = {}
        for page in range(PAGES_MAX):
            query = {"limit": PAGE_SIZE, "offset": page * PAGE_SIZE}
            answer = await self._rest.request("GET", self._of("Application"), query=query)
            new = {str(item.get("app_id")): item for item in _objects(answer)}
            if not new.keys() - found.keys():  # the last page, or a server that ignores `offset`
                break
            found |= new
            if len(found) >= _total(answer):
                break
        return list(found.values())

    async def create_application(self, application: ApplicationRequest) -> str:
        """Create an application; returns its id.  Vendor page: "Create an Application".

        Raises Uncertain if the answer was lost or has no id.
        """
        answer = await self._rest.request("POST", self._of("Application"), body=application.json())
        app_id = str(_fields_of(answer).get("app_id") or "")
        if not app_id:
            raise Uncertain("a success without the id of the application")
        return app_id

    async def update_application(self, app_id: str, application: ApplicationRequest) -> None:
        """Change an application's name and URLs.  Vendor page: "Update an Application"."""
        await self._rest.request("POST", self._of("Application", app_id), body=application.json())

    async def delete_application(self, app_id: str) -> None:
        """Delete an application.  Vendor page: "Delete an Application".

        Raises Refused with status 409 while numbers are attached to it.
        """
        await self._rest.request("DELETE", self._of("Application", app_id))

    async def numbers(self, search: str = "") -> list[Json]:
        """The first page of the account's numbers that contain `search` (digits): `e164`, `application_id`.

        Vendor page: "List Account Phone Numbers".
        """
        query = {"page": 1, "per_page": PAGE_SIZE, "search": search}
        return _objects(await self._rest.request("GET", self._lower("numbers"), query=query))

    async def attach_number(self, number: str, app_id: str) -> None:
        """Route calls of a number to this application instead of any other.

        Vendor page: "Attach Number to Application".  Raises ValueError for a number without its country, Refused with
        status 404 if the account does not have it and 409 while Vobiz locks it.
        """
        path = self._lower("numbers", e164(number), "application")
        await self._rest.request("POST", path, body={"application_id": app_id})

    async def detach_number(self, number: str) -> None:
        """Route calls of a number to no application.  Vendor page: "Detach Number from Application".

        Raises ValueError for a number without its country.
        """
        await self._rest.request("DELETE", self._lower("numbers", e164(number), "application"))

    async def concurrency(self) -> Json:
        """Current and maximum number of calls: `concurrent_calls`, `max_concurrent`.  Vendor section: "Account"."""
        return _object(await self._rest.request("GET", f"/account/{self._auth_id}/concurrency"))

    async def account(self) -> Json:
        """The account of these credentials; also a cheap check that they are valid.  Vendor section: "Account"."""
        return _object(await self._rest.request("GET", "/auth/me"))

    # --- paths -----------------------------------------------------------------------------------------------------

    def _of(self, *parts: str) -> str:
        return f"{self._lower(*parts)}/"

    def _lower(self, *parts: str) -> str:
        return "/".join(("", "Account", self._auth_id, *map(segment, parts)))


def _call_ids(answer: Any) -> tuple[str, ...]:
    """The ids in the answer to a new call, under any of the names that were seen."""
    for name in ("request_uuid", "call_uuid", "CallUUID", "callUuid"):
        found = _fields_of(answer).get(name)
        ids = tuple(item for item in (found if isinstance(found, list) else [found]) if isinstance(item, str) and item)
        if ids:
            return ids
    return ()


def _fields_of(answer: Any) -> Json:
    """The JSON object that answers a POST; empty if there is none."""
    return answer if isinstance(answer, dict) else {}


def _object(answer: Any) -> Json:
    """The JSON object that answers a GET.  Raises Unavailable for another shape."""
    if not isinstance(answer, dict):
        raise Unavailable("an answer of an unexpected shape", sent=True)
    return answer


def _objects(answer: Any) -> list[Json]:
    """The entries of a list, whatever object encloses it."""
    found = answer
    if isinstance(answer, dict):
        found = next((answer[name] for name in ("objects", "items", "data") if isinstance(answer.get(name), list)), [])
    return [item for item in _list(found) if isinstance(item, dict)]


def _list(found: Any) -> list[Any]:
    """The value if it is a list, else an empty list."""
    return found if isinstance(found, list) else []


def _total(answer: Any) -> int:
    meta = _fields_of(answer).get("meta")
    total = meta.get("total_count") if isinstance(meta, dict) else None
    return total if isinstance(total, int) else PAGE_SIZE * PAGES_MAX
