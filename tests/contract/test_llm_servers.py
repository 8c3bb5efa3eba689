"""What is behind OPENAI_BASE_URL: a wrong address, another model, one that sleeps.  Told at the start, in a line."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from simulators.openai_standin import Reply, Request, stop, text
from tests.contract.llm_dialects import failure, openai_error, roles, serving, speaking, words_of
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat
from workers.providers.interfaces import Busy, Down, Rejected

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

# --- the address ----------------------------------------------------------------------------------------------------

PAGE = Reply(status=200, media="text/html; charset=utf-8", body="<!DOCTYPE html><title>Open WebUI</title>")
WRONG: dict[str, tuple[str, Reply, str]] = {
    "a web page": ("", PAGE, "web page"),
    "a page that is not found": ("", Reply(status=404, media="text/html", body="<html>404</html>"), "web page"),
    "no /v1": ("", Reply(status=404, media="text/plain", body="404 page not found"), r"try http://127\.0\.0\.1:\d+/v1"),
    "no such route": ("/v1", Reply(status=404, body='{"detail": "Not Found"}'), "no chat completions"),
    "no such method": ("/v1", Reply(status=405, body='{"detail": "Method Not Allowed"}'), "no chat completions"),
    "another API": ("/v1", Reply(body='{"status": "ok"}'), "JSON that is no chat completion"),
    "Ollama's root": ("", Reply(body='{"message": "Ollama is running"}'), "no chat completion; try"),
    "https only": ("/v1", Reply(status=400, media="text/plain",
                                body="Client sent an HTTP request to an HTTPS server."), "write https://"),
}  # fmt: skip


@pytest.mark.parametrize(("path", "reply", "told"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_with_the_address_is_said_in_one_sentence(path: str, reply: Reply, told: str) -> None:
    async with serving(lambda request: reply, path=path) as (_, chat):
        for fails in (chat.warm, lambda: words_of(chat)):
            with pytest.raises(Rejected, match=told) as caught:
                await fails()
            assert "OPENAI_BASE_URL (http://127.0.0.1:" in str(caught.value) and "\n" not in str(caught.value)


async def test_an_address_that_leads_elsewhere_is_told_with_where_it_leads() -> None:
    def moving(request: Request) -> Reply:
        if request.path.startswith("/v1"):
            return Reply(status=301, location=request.path.replace("/v1", "/api/v1"))
        return Reply(status=405, body='{"detail": "Method Not Allowed"}')

    async with serving(moving) as (_, chat):
        with pytest.raises(Rejected, match=r"redirects to http://127.0.0.1:\d+/api/v1"):
            await chat.warm()


async def test_an_address_that_moves_each_request_works_and_is_told() -> None:
    def moving(request: Request) -> Reply:
        if request.path.startswith("/v1"):
            return Reply(status=308, location=request.path.replace("/v1", "/api/v1"))
        return speaking([])(request)

    async with serving(moving) as (_, chat):
        await chat.warm()
        assert await words_of(chat) == "At nine."


@pytest.mark.parametrize(
    ("url", "told"),
    [("http://127.0.0.1:9/v1", "nothing listens there"), ("http://no-such-host.invalid/v1", "no host named")],
)
async def test_nobody_there_is_a_line_of_the_log(url: str, told: str, caplog: pytest.LogCaptureFixture) -> None:
    chat = OpenAIChat("some-model", key="", url=url)
    await chat.warm()
    assert told in caplog.text and "Traceback" not in caplog.text
    assert isinstance(await failure(chat), Down)
    await chat.aclose()


async def test_a_server_without_tls_is_told_from_one_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        chat = OpenAIChat("some-model", key="", url=f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await chat.warm()
        assert "write http://" in caplog.text
        await chat.aclose()


# --- the model ------------------------------------------------------------------------------------------------------


def having(*names: str, spelled: str = "data") -> Callable[[Request], Reply]:
    """A server with these models, strict about their names."""

    def answer(request: Request) -> Reply:
        if request.path.endswith("/models"):
            return Reply(
                body=json.dumps({"object": "list", spelled: [{"id": name, "object": "model"} for name in names]})
            )
        if request.body["model"] not in names:
            return openai_error(
                404, f"model '{request.body['model']}' not found, try pulling it first", code="not_found"
            )
        return Reply([*text("At ", "nine."), *stop()])

    return answer


@pytest.mark.parametrize(
    "names", [("qwen3:8b",), ("qwen3:8b", "nomic-embed-text"), ("bge-m3", "qwen3:8b", "whisper-1")]
)
@pytest.mark.parametrize("warm", [True, False], ids=["at the start", "in the first call"])
async def test_the_only_model_is_taken_and_told(names: Any, warm: bool, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(having(*names), model="gpt-4o-mini") as (server, chat):
        if warm:
            await chat.warm()
        assert await words_of(chat) == "At nine."
        assert server.requests[-1].body["model"] == "qwen3:8b"
        (line,) = [record.message for record in caplog.records]
        assert "gpt-4o-mini" in line and "qwen3:8b" in line


@pytest.mark.parametrize("warm", [True, False], ids=["at the start", "in the first call"])
async def test_of_several_models_the_choice_is_shown(warm: bool) -> None:
    async with serving(having("qwen3:8b", "llama3.2:3b"), model="gpt-4o-mini") as (_, chat):
        with pytest.raises(Rejected, match=r"it has qwen3:8b, llama3.2:3b; set LLM_PROVIDER=openai/qwen3:8b"):
            await (chat.warm() if warm else words_of(chat))


@pytest.mark.parametrize(
    ("listed", "wanted", "asked"),
    [
        ("llama3.2:latest", "llama3.2", "llama3.2"), ("models/gemini-flash", "gemini-flash", "gemini-flash"),
        ("Qwen/Qwen3-8B", "qwen/qwen3-8b", "Qwen/Qwen3-8B"), ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o-mini"),
    ],
)  # fmt: skip
async def test_a_model_is_known_by_its_other_spellings(listed: str, wanted: str, asked: str) -> None:
    def answer(request: Request) -> Reply:
        return (
            having(listed, "another")(request)
            if request.path.endswith("/models")
            else Reply([*text("At nine."), *stop()])
        )

    async with serving(answer, model=wanted) as (server, chat):
        await chat.warm()
        assert server.requests[-1].body["model"] == asked


async def test_a_model_that_is_not_listed_may_work_all_the_same() -> None:
    def answer(request: Request) -> Reply:
        return (
            having("one", "two")(request) if request.path.endswith("/models") else Reply([*text("At nine."), *stop()])
        )

    async with serving(answer, model="an-alias") as (server, chat):
        await chat.warm()
        assert await words_of(chat) == "At nine."
        assert server.requests[-1].body["model"] == "an-alias"


@pytest.mark.parametrize("body", ['{"object": "list", "data": null}', '{"models": []}', "[]"])
async def test_a_server_without_any_model_says_so(body: str) -> None:
    def answer(request: Request) -> Reply:
        return Reply(body=body) if request.path.endswith("/models") else having()(request)

    async with serving(answer) as (_, chat):
        with pytest.raises(Rejected, match="lists none; load one"):
            await chat.warm()


# --- warming up -----------------------------------------------------------------------------------------------------


async def test_a_model_that_is_loaded_when_first_asked_is_waited_for_at_the_start() -> None:
    slow = [": loading\n\n", *["<pause>"] * 20, *text("Yes."), *stop()]
    async with serving(speaking([]), options=ChatOptions(first_token_s=0.2, gap_s=0.2)) as (server, chat):
        server.rule = lambda request: None
        server.will_refuse(404)
        server.will(*slow)
        await chat.warm()
        server.will(*text("At nine."), *stop())
        assert await words_of(chat) == "At nine."
        roles_of = roles(server.requests[1].body)
        assert roles_of == ["system", "user", "assistant", "user"], "it is asked as in a call"


async def test_a_model_that_is_never_ready_keeps_no_process_from_starting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(lambda request: None, options=ChatOptions(warm_s=0.3)) as (server, chat):
        server.will_refuse(404)
        server.will("<stall>")
        await chat.warm()
        assert "is not ready" in caplog.text


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_a_bad_minute_at_the_start_is_a_line_of_the_log(status: int, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(lambda request: Reply(status=status, media="text/html", body="<html>bad</html>")) as (_, chat):
        await chat.warm()
        assert "is not ready" in caplog.text
        assert isinstance(await failure(chat), Busy if status == 429 else Down)


@pytest.mark.parametrize("body", ["", "{", "null", "7", '"text"', '{"data": [null, 7, {}]}', "<html>", "\x00"])
async def test_no_list_of_models_ends_the_process(body: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    def answer(request: Request) -> Reply:
        return Reply(body=body) if request.path.endswith("/models") else Reply([*text("At nine."), *stop()])

    async with serving(answer) as (_, chat):
        await chat.warm()
        assert await words_of(chat) == "At nine."
