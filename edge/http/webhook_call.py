"""Reads from a webhook which call it is about."""

from __future__ import annotations

from starlette.requests import Request

from common.protocol.redis_keys import CALL_ID
from edge.http.parameters import BadRequest, parameters, query_of
from edge.outbound.state import OutboundCall
from edge.vobiz.webhook_events import call_id_of, dial_id_of

Fields = dict[str, str]


async def webhook_parameters(request: Request, body: bytes) -> Fields:
    """All parameters; only those of the URL if the body is unreadable and the URL names an outbound call of ours."""
    try:
        return await parameters(request, body)
    except BadRequest:
        in_url = query_of(request)
        if not dial_id_of(in_url):
            raise
        return in_url


def named_call(fields: Fields, dial: OutboundCall | None = None) -> str:
    """The call's id, from the webhook or else from its outbound call.  Raises BadRequest."""
    call_id = call_id_of(fields) or (dial.call_id if dial is not None else "")
    if not CALL_ID.fullmatch(call_id):
        raise BadRequest(400, "bad_call_uuid", "CallUUID is missing or malformed.")
    return call_id
