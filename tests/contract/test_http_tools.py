"""Tools that are HTTP requests, against a service with every fault: guarded, bounded, and always a clear word."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from common.agents.tools import HttpRequest, Parameter, Tool
from common.call.acts import ToolOutcome
from tests.contract.tool_servers import ShopService, request, shop_service
from workers.tools.engines.http import ANSWER_BYTES_MAX, REDIRECTS_MAX, HttpTools
from workers.tools.interfaces import ToolError

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

TOKEN = "tok-5ecret-12345"
LOOPBACK = ("127.0.0.1",)


@pytest.fixture
async def shop() -> AsyncIterator[ShopService]:
    async with shop_service() as service:
        yield service


@pytest.fixture
async def tools() -> AsyncIterator[HttpTools]:
    engine = HttpTools({"SHOP_TOKEN": TOKEN})
    yield engine
    await engine.aclose()


async def run(tools: HttpTools, url: str, arguments: dict | None = None, **more: object) -> str:
    http = HttpRequest(url, **{"private_hosts": LOOPBACK, **more})  # type: ignore[arg-type]
    tool = tools.tool("order_status", Tool("Looks up.", {"order": Parameter()}, http))
    return await tool.run(request(arguments or {}))


async def refused(tools: HttpTools, url: str, arguments: dict | None = None, **more: object) -> ToolError:
    with pytest.raises(ToolError) as raised:
        await run(tools, url, arguments, **more)
    return raised.value


async def test_an_order_is_looked_up(shop: ShopService, tools: HttpTools):
    url = shop.url + "/orders/{order}?x={order}"
    told = await run(tools, url, {"order": "A 7"}, result="order.status", headers={"X-Key": "Bearer ${SHOP_TOKEN}"})
    assert told == "on its way"
    (seen,) = shop.seen
    assert seen.raw_path == "/orders/A%207?x=A%207"
    assert seen.headers["X-Key"] == f"Bearer {TOKEN}"
    assert seen.headers["Idempotency-Key"] == "call-1:2:0"
    assert shop.bodies == [None]


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ({}, {"order": "7", "count": 3}),
        ({"id": "{order}", "n": "{count}", "by": "us"}, {"id": "7", "n": 3, "by": "us"}),
    ],
)
async def test_a_body_is_json(shop: ShopService, tools: HttpTools, body: dict, sent: dict):
    await run(tools, shop.url + "/orders/7", {"order": "7", "count": 3}, method="POST", body=body)
    assert shop.bodies == [sent]


@pytest.mark.parametrize(
    ("path", "method", "outcome", "word"),
    [
        ("large", "GET", "failed", "too large"),
        ("html", "GET", "failed", "web page"),
        ("html", "POST", "failed", "accepted the request, but it is a web page and no data. Do not try again."),
        ("nonsense", "GET", "failed", "cannot be read"),
        ("missing", "GET", "failed", "no such order"),
        ("circle", "GET", "failed", "without an answer"),
        ("breaks", "GET", "failed", "You may try once more"),
        ("breaks", "POST", "unknown", "may or may not have been done"),
        ("breaks", "PUT", "unknown", "may or may not have been done"),
        ("breaks", "DELETE", "unknown", "may or may not have been done"),
    ],
)
async def test_a_fault_is_told(shop: ShopService, tools: HttpTools, path: str, method: str, outcome: str, word: str):
    error = await refused(tools, f"{shop.url}/{path}", method=method)
    assert (error.outcome, word in error.text) == (outcome, True), error.text
    if path != "circle" and method != "GET":
        assert len(shop.seen) == 1, "no order is sent twice"
    assert len(shop.seen) <= (REDIRECTS_MAX + 1 if path == "circle" else 2)


async def test_an_empty_answer_is_a_success(shop: ShopService, tools: HttpTools):
    assert await run(tools, f"{shop.url}/empty", method="POST") == "Done. There is no further answer."


async def test_ten_megabytes_are_not_read(shop: ShopService, tools: HttpTools):
    async with asyncio.timeout(5):
        assert "too large" in (await refused(tools, f"{shop.url}/large")).text
    assert ANSWER_BYTES_MAX < 1 << 20


async def test_a_hanging_service_ends_with_the_deadline_and_frees_its_connection(shop: ShopService, tools: HttpTools):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await run(tools, f"{shop.url}/hangs")
    assert await run(tools, f"{shop.url}/orders/7", result="order.id") == "7"


async def test_nobody_there_is_said_and_nothing_was_done(tools: HttpTools):
    error = await refused(tools, "http://127.0.0.1:1/x", method="POST")
    assert (error.outcome, error.text) == (
        ToolOutcome.FAILED, "The service cannot be reached at the moment; nothing was done.",
    )  # fmt: skip


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f000001", "127.1", "0.0.0.0"]
)
async def test_a_private_address_is_not_reached(shop: ShopService, tools: HttpTools, host: str):
    port = shop.url.rpartition(":")[2]
    error = await refused(tools, f"http://{host}:{port}/orders/7", private_hosts=())
    assert (error.outcome, "may not reach" in error.text) == (ToolOutcome.REFUSED, True)
    assert shop.seen == []


async def test_a_named_host_may_be_private_by_its_name(shop: ShopService, tools: HttpTools):
    port = shop.url.rpartition(":")[2]
    assert await run(tools, f"http://localhost:{port}/orders/7", private_hosts=("localhost",), result="order.id") == "7"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_to_a_private_address_is_not_followed(shop: ShopService, tools: HttpTools, status: int):
    async with shop_service() as inside:
        shop.elsewhere = inside.url.replace("127.0.0.1", "127.0.0.2") + "/orders/7"
        error = await refused(tools, f"{shop.url}/moved/{status}")
        assert (error.outcome, inside.seen) == (ToolOutcome.REFUSED, [])


async def test_a_redirect_on_the_same_server_is_followed_and_one_elsewhere_gets_no_secret(
    shop: ShopService, tools: HttpTools
):
    headers = {"Authorization": "Bearer ${SHOP_TOKEN}", "X-Shop": "7"}
    shop.elsewhere = "/echo"
    told = await run(tools, f"{shop.url}/moved/302", headers=headers, result="X-Shop")
    assert told == "7"
    async with shop_service() as other:
        shop.elsewhere = f"{other.url}/echo"
        await run(tools, f"{shop.url}/moved/307", headers=headers)
        (seen,) = other.seen
        assert not {"Authorization", "X-Shop", "Idempotency-Key"} & set(seen.headers)


@pytest.mark.parametrize(
    "elsewhere", ["file:///etc/passwd", "ftp://x.example.com/", "http://u:p@127.0.0.1/", "http://["]
)
async def test_a_strange_redirect_is_not_followed(shop: ShopService, tools: HttpTools, elsewhere: str):
    shop.elsewhere = elsewhere
    assert "may not use" in (await refused(tools, f"{shop.url}/moved/302")).text


async def test_an_order_is_not_sent_on_to_another_server(shop: ShopService, tools: HttpTools):
    async with shop_service() as other:
        shop.elsewhere = f"{other.url}/orders/7"
        assert (await refused(tools, f"{shop.url}/moved/307", method="POST")).outcome is ToolOutcome.REFUSED
        assert other.seen == []


async def test_a_secret_that_comes_back_is_hidden(shop: ShopService, tools: HttpTools):
    told = await run(tools, f"{shop.url}/echo", headers={"X-Key": "Bearer ${SHOP_TOKEN}"})
    assert TOKEN not in told and "[secret]" in told


async def test_a_missing_variable_is_logged_once_by_its_name(
    shop: ShopService, tools: HttpTools, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING)
    for _ in range(3):
        error = await refused(tools, f"{shop.url}/echo", headers={"X-Key": "${NOT_SET}"})
        assert (error.outcome, "NOT_SET" in error.text) == (ToolOutcome.REFUSED, False)
    assert len([line for line in caplog.messages if "NOT_SET" in line]) == 1
    assert shop.seen == []


async def test_a_bad_argument_sends_nothing(shop: ShopService, tools: HttpTools):
    error = await refused(tools, shop.url + "/orders/{order}", {"order": "../admin"})
    assert (error.outcome, shop.seen) == (ToolOutcome.REFUSED, [])
