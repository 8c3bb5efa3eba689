"""docs/vobiz-client.md: every public method and every XML verb is on the page, and its example runs."""

import inspect
import re
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest

from edge.vobiz import xml
from edge.vobiz.rest.client import VobizClient
from edge.vobiz.rest.transport import CarrierOptions

PAGE = (Path(__file__).resolve().parents[4] / "docs/vobiz-client.md").read_text("utf-8")
METHODS = {name: method for name, method in vars(VobizClient).items() if not name.startswith("_")}

pytestmark = [pytest.mark.processes, pytest.mark.anyio]


def test_every_public_method_is_on_the_page_and_no_other():
    assert set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) == METHODS.keys()


@pytest.mark.parametrize("name", sorted(METHODS.keys() - {"aclose"}))
def test_a_method_is_typed_and_names_the_page_that_it_follows(name: str):
    signature, doc = inspect.signature(METHODS[name]), inspect.getdoc(METHODS[name]) or ""
    parameters = [parameter for own, parameter in signature.parameters.items() if own != "self"]
    assert all(parameter.annotation is not parameter.empty for parameter in parameters)
    assert signature.return_annotation is not signature.empty
    assert re.search(r'Vendor (?:pages?|section): "', " ".join(doc.split()))


@pytest.mark.parametrize("name", sorted(set(xml.__all__) - {"BadXml", "Verb", "render"}))
def test_every_xml_element_is_on_the_page(name: str):
    assert f"`{name}`" in PAGE
    assert getattr(xml, name) in (*get_args(xml.Verb), xml.Number, xml.User)


async def test_the_example_runs():
    requests: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(f"{request.method} {request.url.path}")
        if request.method == "DELETE":
            return httpx.Response(204)
        return httpx.Response(200, json={"calls": ["c-1", "c-2"], "direction": "inbound"})

    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(compile(example, "docs/vobiz-client.md", "exec"), namespace)
    options = CarrierOptions("MA_XXXXXXXX", "token", "https://api.example.com/api/v1")
    async with VobizClient(options, httpx.MockTransport(answer)) as client:
        assert await namespace["hang_up_all"](client) == 2
    assert requests[0] == "GET /api/v1/Account/MA_XXXXXXXX/Call/"
    assert requests[2:] == [
        "DELETE /api/v1/Account/MA_XXXXXXXX/Call/c-1/",
        "GET /api/v1/Account/MA_XXXXXXXX/Call/c-2/",
        "DELETE /api/v1/Account/MA_XXXXXXXX/Call/c-2/",
    ]
