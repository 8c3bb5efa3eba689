"""Registers the webhooks with Vobiz: `python -m edge.setup`.

It finds the application by its name, creates it or corrects its URLs, and attaches a number to it.  It changes only
what differs, so it can be run again at any time.  Exit status: 0 done, 1 Vobiz refused, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import httpx

from common.settings import BadSettings, Settings
from edge.vobiz.numbers import e164
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.errors import CarrierError, CarrierLimited, Refused, Unauthorized, Unavailable, Uncertain
from edge.vobiz.rest.requests import ApplicationRequest
from edge.vobiz.rest.transport import CarrierOptions

Say: TypeAlias = Callable[[str], None]

APP_NAME = "voice_agent"
DONE, FAILED, MISUSED = 0, 1, 2

_WHERE = "They may stand in .env, too."
_VARIABLES = {
    "VOBIZ_AUTH_ID": "the Auth ID that the Vobiz console shows",
    "VOBIZ_AUTH_TOKEN": "the Auth Token next to it",
    "PUBLIC_URL": "the https:// URL under which Vobiz reaches the edge, or say --public-url",
}


class SetupError(Exception):
    """The set-up cannot continue; the text says why and what to do next."""


@dataclass(frozen=True, slots=True)
class WantedNumber:
    """The application and the number as they should be at Vobiz."""

    application: ApplicationRequest
    number: str = ""
    """In international form; empty: attach no number."""

    @classmethod
    def at(cls, public_url: str, app_name: str = APP_NAME, number: str = "") -> WantedNumber:
        """The routes of the edge at `public_url`.  Raises ValueError for a URL, name or number that cannot be used."""
        root = public_url.rstrip("/")
        application = ApplicationRequest(
            app_name=app_name,
            answer_url=f"{root}/answer",
            hangup_url=f"{root}/hangup",
            fallback_answer_url=f"{root}/fallback",
        )
        return cls(application, e164(number) if number else "")


async def set_up(client: VobizClient, wanted: WantedNumber, say: Say) -> None:
    """Create or correct application and number, and report each change.  Raises CarrierError and SetupError."""
    app_id = await _application(client, wanted.application, say)
    if wanted.number:
        await _attach(client, wanted.number, app_id, say)
    else:
        say("No number was given; to let its calls come here: --number +91…")


async def _application(client: VobizClient, wanted: ApplicationRequest, say: Say) -> str:
    named = [app for app in await client.applications() if app.get("app_name") == wanted.app_name]
    if len(named) > 1:
        ids = ", ".join(str(app.get("app_id")) for app in named)
        raise SetupError(
            f"There are {len(named)} applications named {wanted.app_name} ({ids}).\n"
            "Delete all but one in the Vobiz console, or choose another name with --app-name."
        )
    if not named:
        app_id = await client.create_application(wanted)
        say(f"Created application {wanted.app_name} ({app_id}).")
    else:
        app_id = str(named[0].get("app_id"))
        if _agrees(named[0], wanted):
            say(f"Application {wanted.app_name} ({app_id}) is as it should be.")
            return app_id
        await client.update_application(app_id, wanted)
        say(f"Updated application {wanted.app_name} ({app_id}).")
    for name in ("answer_url", "hangup_url", "fallback_answer_url"):
        say(f"  {name:<19} {getattr(wanted, name)}")
    return app_id


async def _attach(client: VobizClient, number: str, app_id: str, say: Say) -> None:
    owned = [item for item in await client.numbers(number.lstrip("+")) if item.get("e164") == number]
    if owned and str(owned[0].get("application_id") or "") == app_id:
        say(f"Number {number} is attached to it.")
        return
    try:
        await client.attach_number(number, app_id)
    except Refused as error:
        if error.status == 404:
            raise SetupError(
                f"The account has no number {number}.\n"
                "Look at the numbers in the Vobiz console; buy it there, or say --number with one of them."
            ) from None
        if error.status == 409:
            raise SetupError(
                f"Vobiz does not let {number} be reassigned yet{_colon(error.message)}.\n"
                "A number that was moved is locked for 15 days.  Run this again then, take another number, "
                "or ask Vobiz's support to lift the lock."
            ) from None
        raise
    say(f"Attached number {number} to it.")


def _agrees(found: Mapping[str, Any], wanted: ApplicationRequest) -> bool:
    return all(str(found.get(name) or "") == value for name, value in wanted.json().items())


def _colon(message: str) -> str:
    return f" ({message})" if message else ""


def advice(error: CarrierError) -> str:
    """The error and what to do next, for a person at a terminal."""
    match error:
        case Unauthorized():
            next_step = "Copy both anew from the Vobiz console; the token is not the console's password."
        case CarrierLimited(retry_after_s=seconds):
            next_step = f"Run this again in {seconds:g} s."
        case Unavailable():
            next_step = "Check the network, a proxy in HTTPS_PROXY, and VOBIZ_API_URL; then run this again."
        case Uncertain():
            next_step = "Run this again: it looks first, so nothing is made twice."
        case Refused(status=402):
            next_step = "Top up the account in the Vobiz console, then run this again."
        case _:
            next_step = "Correct what Vobiz names, then run this again; --dry-run shows what is sent."
    return f"{error}\n{next_step}"


# --- the dry run ----------------------------------------------------------------------------------------------------


class _Rehearsal(httpx.AsyncBaseTransport):
    """An HTTP transport that prints each request and answers as Vobiz would."""

    def __init__(self, say: Say, applications: Sequence[Mapping[str, str]]) -> None:
        self._say = say
        self._applications = applications

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self._say(f"  {request.method} {request.url}")
        if request.content:
            for line in json.dumps(json.loads(request.content), indent=2).splitlines():
                self._say(f"    {line}")
        if request.method == "POST":
            return httpx.Response(200, json={"app_id": "APP_ID"})
        return httpx.Response(200, json={"meta": {"total_count": 1}, "objects": self._applications})


async def rehearse(wanted: WantedNumber, api_url: str, say: Say) -> None:
    """Print every request that `set_up` may send; send none."""
    say("Nothing is sent.  VOBIZ_AUTH_ID stands for the account's id, APP_ID for the application's.")
    options = CarrierOptions("VOBIZ_AUTH_ID", "VOBIZ_AUTH_TOKEN", api_url, attempts_max=1)
    name = wanted.application.app_name
    other = {"app_id": "APP_ID", "app_name": name}
    for case, applications in (
        (f"If there is no application named {name}:", []),
        (f"If there is one named {name} with other URLs:", [other]),
    ):
        say("")
        say(case)
        async with VobizClient(options, _Rehearsal(say, applications)) as client:
            await set_up(client, wanted, lambda line: None)


# --- the command ----------------------------------------------------------------------------------------------------


async def run(argv: Sequence[str], environ: Mapping[str, str] | None, say: Say, complain: Say) -> int:
    """Run the command; returns the exit status.  `environ` None: the process's own, and `.env`."""
    arguments = _parser().parse_args(argv)
    try:
        settings = Settings.for_command() if environ is None else Settings.from_env(environ)
        settings = replace(settings, public_url=arguments.public_url or settings.public_url)
        _complete(settings, dry_run=arguments.dry_run)
        wanted = WantedNumber.at(settings.public_url, arguments.app_name, arguments.number)
        if arguments.dry_run:
            await rehearse(wanted, settings.vobiz_api_url, say)
            return DONE
        options = CarrierOptions(settings.vobiz_auth_id, settings.vobiz_auth_token, settings.vobiz_api_url)
    except (BadSettings, SetupError, ValueError) as error:
        complain(str(error))
        return MISUSED
    if not settings.public_url.startswith("https://"):
        say("Note: Vobiz calls only https:// URLs with a valid certificate.")
    try:
        async with VobizClient(options) as client:
            await set_up(client, wanted, say)
    except SetupError as error:
        complain(str(error))
        return FAILED
    except CarrierError as error:
        complain(advice(error))
        return FAILED
    return DONE


def _complete(settings: Settings, *, dry_run: bool) -> None:
    """Raises SetupError if a needed setting is unset; a dry run needs no account."""
    needed = ["PUBLIC_URL"] if dry_run else list(_VARIABLES)
    missing = [name for name in needed if not getattr(settings, name.lower())]
    if missing:
        lines = [f"  {name:<17} {_VARIABLES[name]}" for name in missing]
        raise SetupError("\n".join(["Set these in the environment or in .env first:", *lines, _WHERE]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge.setup",
        description="Tell Vobiz where the webhooks are: create or correct an application, attach a number to it. "
        "Takes VOBIZ_AUTH_ID, VOBIZ_AUTH_TOKEN and PUBLIC_URL from the environment or "
        "from .env. Can be run again at any time.",
    )
    parser.add_argument(
        "--number", default="", metavar="+91…", help="a number of the account whose calls shall come here"
    )
    parser.add_argument("--app-name", default=APP_NAME, metavar="NAME", help="the application (default: %(default)s)")
    parser.add_argument(
        "--public-url", default="", metavar="https://…", help="where Vobiz reaches the edge (default: PUBLIC_URL)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show every request, send none; needs no account")
    return parser


def main() -> int:
    """Run the command with the process's own arguments, environment and terminal."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def complain(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    return asyncio.run(run(sys.argv[1:], None, say, complain))


if __name__ == "__main__":
    sys.exit(main())
