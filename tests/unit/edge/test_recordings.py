"""`python -m edge.recordings` against a stand-in account: what is asked, and what is said of each answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from edge.recordings import run
from edge.setup import DONE, FAILED, MISUSED
from tests.unit.edge.vobiz.rest_standin import ID, TOKEN, Reply, Standin, standing_in

pytestmark = [pytest.mark.processes, pytest.mark.anyio]
CLINIC = "clinic@example.com"


@dataclass
class Terminal:
    vobiz: Standin
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def run(self, *arguments: str, **environ: str) -> int:
        account = {"VOBIZ_AUTH_ID": ID, "VOBIZ_AUTH_TOKEN": TOKEN, "VOBIZ_API_URL": self.vobiz.url}
        status = await run(arguments, {**account, **environ}, self.out.append, self.err.append)
        assert TOKEN not in "\n".join(self.out + self.err)
        return status


@pytest.fixture
async def terminal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with standing_in() as vobiz:
        yield Terminal(vobiz)


async def test_the_last_seven_days_are_vobizs_default(terminal: Terminal) -> None:
    terminal.vobiz.will(Reply(202, {"message": "export started"}))
    assert await terminal.run("--email", CLINIC) == DONE
    (request,) = terminal.vobiz.requests
    assert str(request) == f"POST /api/v1/Account/{ID}/export/recording/"
    assert request.body == {"recipients": [CLINIC]}
    assert terminal.out == ["Vobiz makes the export; the link comes by e-mail, after 15 to 60 minutes."]


async def test_days_and_several_recipients(terminal: Terminal) -> None:
    terminal.vobiz.will(Reply(200, {}))
    days = ("--from", "2026-01-01", "--to", "2026-01-31")
    assert await terminal.run("--email", CLINIC, "--email", "owner@example.com", *days) == DONE
    assert terminal.vobiz.requests[0].body == {
        "recipients": [CLINIC, "owner@example.com"],
        "from": "2026-01-01",
        "to": "2026-01-31",
    }


async def test_one_at_a_time(terminal: Terminal) -> None:
    terminal.vobiz.will(Reply(409, {"error": "an export is running"}))
    assert await terminal.run("--email", CLINIC) == FAILED
    assert "one export at a time" in terminal.err[0] and len(terminal.vobiz.requests) == 1


async def test_a_wrong_token_is_told_as_in_the_set_up(terminal: Terminal) -> None:
    terminal.vobiz.will(Reply(401, {"error": "unauthorized"}))
    assert await terminal.run("--email", CLINIC) == FAILED
    assert "Copy both anew" in terminal.err[0]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--email", "the clinic"), "e-mail addresses such as clinic@example.com"),
        (("--email", "a@example.com,b@example.com"), "e-mail addresses such as"),
        (("--email", CLINIC, "--from", "2026-01-01"), "from, to: set both or neither"),
        (("--email", CLINIC, "--from", "2026-02-01", "--to", "2026-01-01"), "the first day is after the last"),
        (("--email", CLINIC, "--from", "yesterday", "--to", "2026-01-01"), "--from: expected a day such as"),
    ],
)
async def test_what_is_wrong_is_said_before_anything_is_sent(
    arguments: tuple[str, ...], told: str, terminal: Terminal
) -> None:
    assert await terminal.run(*arguments) == MISUSED
    assert told in terminal.err[0] and not terminal.vobiz.requests
    assert "the clinic" not in terminal.err[0]


async def test_a_dry_run_sends_nothing_and_needs_no_account(terminal: Terminal) -> None:
    assert await terminal.run("--email", CLINIC, "--dry-run", VOBIZ_AUTH_ID="", VOBIZ_AUTH_TOKEN="") == DONE
    assert "export/recording/" in terminal.out[1] and not terminal.vobiz.requests
    assert await terminal.run("--email", CLINIC, VOBIZ_AUTH_ID="", VOBIZ_AUTH_TOKEN="") == MISUSED
