"""Requests an export of the account's recordings, sent as a link by e-mail: `python -m edge.recordings --email …`.

Vobiz makes one export at a time, in 15 to 60 minutes.  Exit status: 0 requested, 1 refused by Vobiz, 2 called wrongly.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import TypeAlias

from common.settings import BadSettings, Settings
from edge.setup import DONE, FAILED, MISUSED, advice
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.errors import CarrierError, Refused
from edge.vobiz.rest.exports import ExportRequest
from edge.vobiz.rest.transport import CarrierOptions

Say: TypeAlias = Callable[[str], None]
CONFLICT = 409


async def run(argv: Sequence[str], environ: Mapping[str, str] | None, say: Say, complain: Say) -> int:
    """Run the command; returns the exit status.  `environ` None: the process's own, and `.env`."""
    asked = _parser().parse_args(argv)
    try:
        settings = Settings.for_command() if environ is None else Settings.from_env(environ)
        wanted = ExportRequest(
            recipients=tuple(asked.email), first_day=_day(asked.first, "--from"), last_day=_day(asked.last, "--to")
        )
        if asked.dry_run:
            say("Nothing is sent.  VOBIZ_AUTH_ID stands for the account's id.")
            say(f"  POST {settings.vobiz_api_url}/Account/VOBIZ_AUTH_ID/export/recording/")
            say(f"  {json.dumps(wanted.json())}")
            return DONE
        if not settings.vobiz_auth_id:
            raise ValueError("Set VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN, in the environment or in .env.")
    except (BadSettings, ValueError) as error:
        complain(str(error))
        return MISUSED
    options = CarrierOptions(
        settings.vobiz_auth_id, settings.vobiz_auth_token, settings.vobiz_api_url, attempts_max=1
    )  # once: a second request while the first is served would be refused
    try:
        async with VobizClient(options) as client:
            await client.export_recordings(wanted)
    except Refused as error:
        if error.status != CONFLICT:
            complain(advice(error))
        else:
            complain(f"{error}\nVobiz makes one export at a time: wait for the e-mail of the last one, then try again.")
        return FAILED
    except CarrierError as error:
        complain(advice(error))
        return FAILED
    say("Vobiz makes the export; the link comes by e-mail, after 15 to 60 minutes.")
    return DONE


def _day(text: str, option: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(f"{option}: expected a day such as 2026-01-31") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge.recordings",
        description="Have Vobiz send the account's recordings as a link by e-mail; one export at a time, 15 to 60 "
        "minutes. Takes VOBIZ_AUTH_ID and VOBIZ_AUTH_TOKEN from the environment, or from .env.",
    )
    parser.add_argument("--email", action="append", required=True, metavar="ADDRESS", help="who gets it; repeatable")
    parser.add_argument("--from", dest="first", default="", metavar="DAY", help="first day, such as 2026-01-01")
    parser.add_argument("--to", dest="last", default="", metavar="DAY", help="last day; default: the last seven days")
    parser.add_argument("--dry-run", action="store_true", help="show the request, send nothing; needs no account")
    return parser


def main() -> int:
    """Run the command with the process's own arguments, environment and terminal."""

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")

    def complain(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    return asyncio.run(run(sys.argv[1:], None, say, complain))


if __name__ == "__main__":
    sys.exit(main())
