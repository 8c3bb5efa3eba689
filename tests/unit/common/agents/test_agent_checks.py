"""What the keys of an agent's file say together is checked when it is read: each mistake with its line and a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.agents.model import BadAgents
from common.agents.reading import load_agents

pytestmark = pytest.mark.fast

HEAD = "greeting: Hello.\ninstructions: Be kind.\n"
ORDERS = """tools:
  order_status:
    description: Looks an order up.
    parameters:
      order_id: {description: The number of the order.}
    http:
      url: https://shop.example.com/orders/{order_id}
      headers: {Authorization: "Bearer ${SHOP_TOKEN}"}
"""


def told(folder: Path, text: str, name: str = "desk") -> list[str]:
    """The problems of a file, without its folder."""
    (folder / f"{name}.yaml").write_text(text, "utf-8")
    try:
        load_agents(folder)
    except BadAgents as error:
        return [problem.removeprefix(f"{folder}/") for problem in error.problems]
    return []


def test_a_tool_by_http_is_read_with_all_that_it_says(tmp_path: Path) -> None:
    assert told(tmp_path, HEAD + ORDERS) == []
    tool = load_agents(tmp_path).by_name["desk"].tools["order_status"]
    assert tool.http is not None and tool.http.headers == {"Authorization": "Bearer ${SHOP_TOKEN}"}
    assert tool.parameters["order_id"].required and tool.http.method == "GET"


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        (ORDERS.replace("orders/{order_id}", "orders/{id}"), 9, "{id} is no parameter; write it under `tools.order"),
        (ORDERS.replace("order.}", "order., required: no}"), 7, "{order_id} is part of the URL's path"),
        (ORDERS.replace("shop.example", "{order_id}.example"), 9, "an argument cannot be part of the host"),
        (ORDERS + "      body: {a: '{amount}'}\n", 11, "{amount} is no parameter"),
        (ORDERS + "      method: get\n", 11, "'tools.order_status.http.method' is 'get'; write GET, POST, PUT, PATCH"),
        (ORDERS.replace("order_status", "end_call"), 4, "'end_call' is a tool that every agent has; choose"),
        ("tools:\n  book: {timeout_s: 5}\n", 4, "'tools.book' has nothing to run: write `http:` below"),
        ("tools: [book]\n", 3, "'tools' must be at most 50 names, each with its own keys"),
        ("mcp:\n  shop: {}\n", 4, "'mcp.shop' has no address; write `url:` or `command:`"),
        ("mcp:\n  shop: {url: 'https://a.example', command: uvx a}\n", 4, "'mcp.shop' has both"),
        ("mcp:\n  shop:\n    command: uvx 'a\n", 5, "'mcp.shop.command' has a quote that does not end"),
        ("timezone: Asia/Delhi\n", 3, "'timezone' 'Asia/Delhi' is not known; write a name such as Asia/Kolkata"),
        ("transfer:\n  desk: {number: 12}\n", 4, "'transfer.desk.number' is no phone number"),
        ("numbers: ['*']\nfarewell: Bye {{name}}.\n", 4, "{{name}} has no value in calls that come in"),
        ("canary: 10\n", 3, "'canary' belongs into desk.canary.yaml"),
        (ORDERS + "    meanwhile: Order #5\n", 11, "'tools.order_status.meanwhile' is cut off, since ` #` begins"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_by_its_line_with_what_to_write(text: str, line: int, what: str, tmp_path: Path) -> None:
    (problem,) = told(tmp_path, HEAD + text)
    assert problem.startswith(f"desk.yaml:{line}: {what}"), problem


def test_a_tool_of_a_python_file_or_of_a_server_needs_no_request(tmp_path: Path) -> None:
    options = "tools:\n  book: {timeout_s: 5}\n"
    assert told(tmp_path, f"{HEAD}{options}mcp:\n  shop: {{url: 'https://a.example'}}\n") == []
    assert told(tmp_path, HEAD + options) != []
    (tmp_path / "desk.py").write_text("")
    assert told(tmp_path, HEAD + options) == []


def test_one_text_is_one_sentence_or_the_words_of_one_command(tmp_path: Path) -> None:
    more = "    meanwhile: One moment, please.\nmcp:\n  shop: {command: uvx shop --key 'a b'}\n"
    assert told(tmp_path, HEAD + ORDERS + more) == []
    agent = load_agents(tmp_path).by_name["desk"]
    assert agent.tools["order_status"].meanwhile == ("One moment, please.",)
    assert agent.mcp["shop"].command == ("uvx", "shop", "--key", "a b")


def test_a_name_without_a_value_needs_a_default_a_variable_or_a_webhook(tmp_path: Path) -> None:
    called = "greeting: Hello {{name}}.\ninstructions: x\nnumbers: ['*']\n"
    assert len(told(tmp_path, called)) == 1
    assert told(tmp_path, called.replace("name}}", "name|dear guest}}")) == []
    assert told(tmp_path, f"{called}variables: {{name: guest}}\n") == []
    assert told(tmp_path, f"{called}on_call: {{url: 'https://shop.example.com/in'}}\n") == []
    assert told(tmp_path, called.replace("{{name}}", "{{caller}}, good {{daypart}}")) == []


def test_a_second_version_belongs_to_an_agent_and_has_its_numbers(tmp_path: Path) -> None:
    assert told(tmp_path, f"{HEAD}numbers: [+91 12345 67890]\n") == []
    assert told(tmp_path, f"{HEAD}canary: 10\n", "desk.canary") == []
    agents = load_agents(tmp_path)
    assert agents.canaries["desk"].canary == 10 and agents.canaries["desk"].numbers == ("+91 12345 67890",)
    (problem,) = told(tmp_path, f"{HEAD}canary: 10\nnumbers: [+91 12345 67891]\n", "desk.canary")
    assert problem == "desk.canary.yaml:4: 'numbers' are those of the agent's other file; remove them here"
    (problem,) = told(tmp_path, f"name: disk\n{HEAD}canary: 10\n", "desk.canary")
    assert problem.startswith("desk.canary.yaml:1: a second version of the agent 'disk', which is not there")
