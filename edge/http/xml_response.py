"""Makes the HTTP answer that carries XML to the carrier."""

from __future__ import annotations

from starlette.responses import Response

from edge.vobiz.xml import Verb, render


def xml_response(*verbs: Verb, connect: bool = False, answered: bool = False) -> Response:
    """The document of these verbs; `connect` and `answered` as in `edge.vobiz.xml.render`."""
    headers = {"cache-control": "no-store"}
    document = render(*verbs, connect=connect, answered=answered)
    return Response(document, media_type="application/xml", headers=headers)
