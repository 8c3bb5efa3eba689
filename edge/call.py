"""Places an outbound call through a running edge and follows it to its end: `python -m edge.call --to +91…`.

It uses the edge's REST API, so that the account's limits are kept whoever else places calls.  Exit status: 0 if the
call was answered, 1 if not, 2 if it could not be placed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Sequence
from typing import Any

import httpx

from common.process.addresses import near_url
from common.settings import BadSettings, Settings
from edge.http.api_token import find_token
from edge.vobiz.hangup_causes import named_cause

POLL_SECONDS = 0.5
REQUEST_SECONDS = 10.0
FOLLOW_SECONDS_MAX = 4 * 3600.0
OVER = ("ended", "failed")


class CannotAsk(Exception):
    """The call could not be requested; the text says why and what to do."""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line; exits with status 2 if it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m edge.call", description="Place an outbound call and follow it.")
    parser.add_argument("--to", required=True, help="number to call, such as +911234567890")
    parser.add_argument("--from", dest="sender", default="", help="number to show; default VOBIZ_FROM_NUMBER")
    parser.add_argument("--agent", default="", help="agent that speaks; default: the one of the number shown")
    parser.add_argument(
        "--variable", action="append", default=[], metavar="NAME=VALUE", help="fills {{NAME}}; repeatable"
    )
    parser.add_argument("--machine", choices=("hangup", "message"), default="", help="what to do with a machine")
    parser.add_argument("--message", default="", help="what to leave on a machine")
    parser.add_argument("--attempts", type=int, default=1, help="how often to try, if the cause is worth it")
    parser.add_argument("--edge", default="", help="URL of the edge; default: this machine's, at HTTP_PORT")
    parser.add_argument("--no-wait", action="store_true", help="do not follow the call")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    asked = arguments(argv)
    try:
        settings = Settings.for_command()
    except BadSettings as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2
    edge = asked.edge or near_url(settings.http_host, settings.http_port or 8000)
    token = asyncio.run(find_token(settings))
    headers = {"authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.Client(base_url=edge, headers=headers, timeout=REQUEST_SECONDS) as client:
            call = _send(client, "POST", "/v1/calls", _body(asked))
            print(f"{call['state']:<10} {call['id']}", flush=True)  # noqa: T201
            return 0 if asked.no_wait else _follow(client, call)
    except CannotAsk as error:
        print(error, file=sys.stderr)  # noqa: T201
        return 2


def _body(asked: argparse.Namespace) -> dict[str, Any]:
    variables = dict(item.partition("=")[::2] for item in asked.variable)
    return {
        "to": asked.to,
        "from": asked.sender,
        "agent": asked.agent,
        "variables": variables,
        "machine": asked.machine,
        "message": asked.message,
        "attempts_max": asked.attempts,
    }


def _follow(client: httpx.Client, call: dict[str, Any]) -> int:
    """Print each new state of the call until it is over; returns the exit status."""
    shown, answered = call["state"], False
    until = time.monotonic() + FOLLOW_SECONDS_MAX
    while call["state"] not in OVER and time.monotonic() < until:
        time.sleep(POLL_SECONDS)
        call = _send(client, "GET", f"/v1/calls/{call['id']}")
        answered = answered or call["state"] == "answered"
        if call["state"] != shown:
            shown = call["state"]
            print(f"{shown:<10} {named_cause(str(call.get('cause', '')))}".rstrip(), flush=True)  # noqa: T201
    return 0 if answered or call.get("turns") else 1


def _send(client: httpx.Client, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    try:
        response = client.request(method, path, json=body)
        answer = response.json()
    except httpx.HTTPError as error:
        raise CannotAsk(f"No edge answers at {client.base_url} ({type(error).__name__}). Start one: make run") from None
    except ValueError:
        raise CannotAsk(f"The server at {client.base_url} is not an edge.") from None
    if response.is_error:
        raise CannotAsk(f"The edge refused: {answer.get('error', {}).get('message', response.status_code)}")
    return dict(answer)


if __name__ == "__main__":
    sys.exit(main())
