"""`python -m edge.setup` against a stand-in account: what it does, what it says, and what it leaves alone."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.setup import DONE, FAILED, MISUSED, run
from tests.unit.edge.vobiz.rest_standin import DROP, ID, TOKEN, Reply, Request, Standin, standing_in

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

ROOT = f"/api/v1/Account/{ID}"
NUMBER = "+911234567890"
URLS = {
    "answer_url": "https://voice.example.com/answer",
    "answer_method": "POST",
    "hangup_url": "https://voice.example.com/hangup",
    "hangup_method": "POST",
    "fallback_answer_url": "https://voice.example.com/fallback",
    "fallback_method": "POST",
}


@dataclass
class Account:
    """What Vobiz holds; `refuses` answers the requests that begin so."""

    applications: dict[str, dict[str, Any]] = field(default_factory=dict)
    attached: dict[str, str | None] = field(default_factory=lambda: {NUMBER: None})
    refuses: dict[str, Reply] = field(default_factory=dict)

    def __call__(self, request: Request) -> Reply:
        for beginning, reply in self.refuses.items():
            if str(request).startswith(beginning):
                return reply
        path = request.target.partition("?")[0].removeprefix(ROOT)
        if (request.method, path) == ("GET", "/Application/"):
            found = [{"app_id": app_id, **app} for app_id, app in self.applications.items()]
            return Reply(200, {"meta": {"total_count": len(found)}, "objects": found})
        if (request.method, path) == ("POST", "/Application/"):
            app_id = str(1000 + len(self.applications))
            self.applications[app_id] = request.body
            return Reply(201, {"app_id": app_id, "message": "created"})
        if request.method == "POST" and path.startswith("/Application/"):
            self.applications[path.split("/")[2]] |= request.body
            return Reply(202, {"message": "changed"})
        if (request.method, path) == ("GET", "/numbers"):
            return Reply(200, {"items": [{"e164": e, "application_id": a} for e, a in self.attached.items()]})
        assert (request.method, path) == ("POST", "/numbers/%2B911234567890/application")
        if NUMBER not in self.attached:
            return Reply(404, {"error": "number not found"})
        self.attached[NUMBER] = request.body["application_id"]
        return Reply(204)


@dataclass
class Terminal:
    vobiz: Standin
    account: Account
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def run(self, *arguments: str, **environ: str) -> int:
        self.out, self.err, self.vobiz.requests = [], [], []
        environ = {
            "VOBIZ_AUTH_ID": ID,
            "VOBIZ_AUTH_TOKEN": TOKEN,
            "VOBIZ_API_URL": self.vobiz.url,
            "PUBLIC_URL": "https://voice.example.com/",
            **environ,
        }
        status = await run(arguments, environ, self.out.append, self.err.append)
        assert TOKEN not in "\n".join(self.out + self.err)
        return status


@pytest.fixture
async def terminal(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Terminal]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    async with standing_in() as vobiz:
        vobiz.answers = account = Account()
        yield Terminal(vobiz, account)


async def test_the_first_time_everything_is_made(terminal: Terminal) -> None:
    assert await terminal.run("--number", "+91 12345 67890") == DONE
    assert terminal.account.applications == {"1000": {"app_name": "voice_agent", **URLS}}
    assert terminal.account.attached == {NUMBER: "1000"}
    assert (terminal.out, terminal.err) == (
        [
            "Created application voice_agent (1000).",
            "  answer_url          https://voice.example.com/answer",
            "  hangup_url          https://voice.example.com/hangup",
            "  fallback_answer_url https://voice.example.com/fallback",
            "Attached number +911234567890 to it.",
        ],
        [],
    )


async def test_the_second_time_nothing_is_left_to_do(terminal: Terminal) -> None:
    await terminal.run("--number", NUMBER)
    assert await terminal.run("--number", NUMBER) == DONE
    assert {request.method for request in terminal.vobiz.requests} == {"GET"}
    assert terminal.out == [
        "Application voice_agent (1000) is as it should be.",
        "Number +911234567890 is attached to it.",
    ]


async def test_a_new_public_url_is_told_to_vobiz(terminal: Terminal) -> None:
    old = {"app_name": "voice_agent", **URLS, "hangup_url": None, "message_url": "https://sms.example.com"}
    terminal.account.applications = {"7": {"app_name": "other"}, "8": old}
    assert await terminal.run("--public-url", "https://new.example.com/agents") == DONE
    assert terminal.account.applications["7"] == {"app_name": "other"}
    assert terminal.account.applications["8"]["hangup_url"] == "https://new.example.com/agents/hangup"
    assert terminal.account.applications["8"]["message_url"] == "https://sms.example.com"
    assert terminal.out[0] == "Updated application voice_agent (8)."
    assert terminal.out[-1].startswith("No number was given")
    assert terminal.account.attached == {NUMBER: None}


async def test_a_number_moves_to_this_application(terminal: Terminal) -> None:
    terminal.account.attached = {"+919876543210": "1000", NUMBER: "9"}
    assert await terminal.run("--app-name", "desk", "--number", NUMBER) == DONE
    assert terminal.account.attached == {"+919876543210": "1000", NUMBER: "1000"}


@pytest.mark.parametrize(
    ("at", "reply", "says"),
    [
        ("GET", Reply(401, {"error": "invalid credentials"}), ["VOBIZ_AUTH_TOKEN", "invalid credentials", "console"]),
        ("GET", Reply(429, None, {"Retry-After": "60"}), ["60 s"]),
        ("GET", Reply(302, None, {"Location": "/"}), ["VOBIZ_API_URL"]),
        ("POST", Reply(402, {"error": "no balance"}), ["no balance", "Top up"]),
        ("POST", Reply(fault=DROP), ["may or may not", "looks first"]),
        ("POST", Reply(400, {"error": "bad app_name"}), ["bad app_name", "--dry-run"]),
        (
            f"POST {ROOT}/numbers",
            Reply(409, {"error": {"code": "did_cool_off_in_effect", "message": "cool-off"}}),
            ["cool-off", "15 days"],
        ),
        (f"POST {ROOT}/numbers", Reply(404, {"error": "not found"}), [f"no number {NUMBER}", "--number"]),
    ],
)
async def test_what_vobiz_refuses_is_told_with_the_next_step(
    terminal: Terminal, at: str, reply: Reply, says: list[str]
) -> None:
    terminal.account.refuses = {at: reply}
    assert await terminal.run("--number", NUMBER) == FAILED
    told = "\n".join(terminal.err)
    assert not [word for word in says if word not in told], told


async def test_of_two_applications_of_the_name_none_is_touched(terminal: Terminal) -> None:
    terminal.account.applications = {"7": {"app_name": "voice_agent"}, "8": {"app_name": "voice_agent"}}
    assert await terminal.run("--number", NUMBER) == FAILED
    assert [request.method for request in terminal.vobiz.requests] == ["GET"]
    assert "7, 8" in terminal.err[0]


async def test_everything_that_is_missing_is_named_at_once(terminal: Terminal) -> None:
    assert await terminal.run(VOBIZ_AUTH_ID="", VOBIZ_AUTH_TOKEN="", PUBLIC_URL="") == MISUSED
    told = terminal.err[0].splitlines()
    assert [line.split()[0] for line in told[1:4]] == ["VOBIZ_AUTH_ID", "VOBIZ_AUTH_TOKEN", "PUBLIC_URL"]
    assert terminal.vobiz.requests == []


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        (["--number", "9876543210"], {}),
        (["--app-name", "my agent"], {}),
        (["--public-url", "voice.example.com"], {}),
        ([], {"VOBIZ_AUTH_TOKEN": f"{TOKEN} {TOKEN}"}),
        ([], {"VOBIZ_FROM_NUMBER": "what"}),
    ],
)
async def test_what_cannot_be_right_is_not_sent(
    terminal: Terminal, arguments: list[str], environ: dict[str, str]
) -> None:
    assert await terminal.run(*arguments, **environ) == MISUSED
    assert (len(terminal.err), terminal.vobiz.requests) == (1, [])


async def test_a_url_that_vobiz_will_not_call_is_remarked_on(terminal: Terminal) -> None:
    assert await terminal.run("--public-url", "http://127.0.0.1:8000") == DONE
    assert terminal.out[0] == "Note: Vobiz calls only https:// URLs with a valid certificate."


DRY_RUN = """\
Nothing is sent.  VOBIZ_AUTH_ID stands for the account's id, APP_ID for the application's.

If there is no application named voice_agent:
  GET https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/Application/?limit=20&offset=0
  POST https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/Application/
    {
      "app_name": "voice_agent",
      "answer_url": "https://voice.example.com/answer",
      "answer_method": "POST",
      "hangup_url": "https://voice.example.com/hangup",
      "hangup_method": "POST",
      "fallback_answer_url": "https://voice.example.com/fallback",
      "fallback_method": "POST"
    }
  GET https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/numbers?page=1&per_page=20&search=911234567890
  POST https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/numbers/%2B911234567890/application
    {
      "application_id": "APP_ID"
    }

If there is one named voice_agent with other URLs:
  GET https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/Application/?limit=20&offset=0
  POST https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/Application/APP_ID/
    {
      "app_name": "voice_agent",
      "answer_url": "https://voice.example.com/answer",
      "answer_method": "POST",
      "hangup_url": "https://voice.example.com/hangup",
      "hangup_method": "POST",
      "fallback_answer_url": "https://voice.example.com/fallback",
      "fallback_method": "POST"
    }
  GET https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/numbers?page=1&per_page=20&search=911234567890
  POST https://api.vobiz.ai/api/v1/Account/VOBIZ_AUTH_ID/numbers/%2B911234567890/application
    {
      "application_id": "APP_ID"
    }
"""


@pytest.mark.parametrize("account", [{}, {"VOBIZ_AUTH_ID": "MA_SECRET", "VOBIZ_AUTH_TOKEN": TOKEN}])
def test_a_dry_run_shows_every_request_and_sends_none(account: dict[str, str]) -> None:
    """As the command itself: nothing would answer here, so what it printed it did not send."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("VOBIZ_", "PUBLIC_URL"))}
    ran = subprocess.run(
        [sys.executable, "-m", "edge.setup", "--number", "+91 12345 67890", "--dry-run"],
        cwd=Path(__file__).resolve().parents[3],
        env={**kept, **account, "PUBLIC_URL": "https://voice.example.com"},
        capture_output=True, text=True, timeout=20,
    )  # fmt: skip
    assert (ran.stdout, ran.stderr, ran.returncode) == (DRY_RUN, "", DONE)


async def test_a_dry_run_sends_what_the_real_run_sends(terminal: Terminal) -> None:
    assert await terminal.run("--number", NUMBER, "--dry-run") == DONE
    assert terminal.vobiz.requests == []
    shown = [line.strip().replace("VOBIZ_AUTH_ID", ID) for line in terminal.out if line.startswith(("  GET", "  POST"))]
    assert await terminal.run("--number", NUMBER) == DONE
    origin = terminal.vobiz.url.removesuffix("/api/v1")
    assert [f"{request.method} {origin}{request.target}" for request in terminal.vobiz.requests] == shown[:4]
