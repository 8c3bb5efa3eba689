"""Defines what an agent's file says about tools: HTTP requests, Python functions and MCP servers (docs/agents.md).

A value may name a variable of the environment of the tools workers as `${NAME}`: it is filled in there, when the tool
is run, and never stands in the call's record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from common.agents.fields import like

ToolName: TypeAlias = Annotated[
    str, like("[A-Za-z_][A-Za-z0-9_]{0,63}", "letters, digits and '_', such as order_status")
]
EnvironmentName: TypeAlias = Annotated[
    str, like("[A-Za-z_][A-Za-z0-9_]{0,127}", "the name of a variable such as SHOP_TOKEN")
]
Sentence: TypeAlias = Annotated[str, Meta(min_length=1, max_length=300)]
HeaderName: TypeAlias = Annotated[str, like("[A-Za-z0-9-]{1,64}", "the name of a header, such as Authorization")]
Host: TypeAlias = Annotated[str, like(r"[A-Za-z0-9.:_-]{1,255}", "a host name or an IP address")]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a tool."""

    type: Literal["string", "integer", "number", "boolean"] = "string"
    """Its JSON type."""
    description: Annotated[str, Meta(max_length=500)] = ""
    """What the model is told about it."""
    required: bool = True
    """False: the model may leave it out."""
    choices: Annotated[tuple[Annotated[str, Meta(max_length=100)], ...], Meta(max_length=50)] = ()
    """The only values that it may have; empty: any."""


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """An HTTP request.  `{name}` in the URL and in the values of `body` is the argument of this name."""

    url: Annotated[str, like(r"https?://\S{1,2000}", "a URL such as https://shop.example.com/orders/{order_id}")]
    """The URL; an argument is percent-encoded, and cannot change the host."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """The request method."""
    headers: Annotated[Mapping[HeaderName, Annotated[str, Meta(max_length=1_000)]], Meta(max_length=20)] = field(
        default_factory=dict
    )
    """Headers, such as `Authorization: Bearer ${SHOP_TOKEN}`."""
    body: Annotated[Mapping[str, Annotated[str, Meta(max_length=2_000)]], Meta(max_length=50)] = field(
        default_factory=dict
    )
    """Keys and values of the JSON object that is sent; empty: no body for GET and DELETE, else all arguments."""
    result: Annotated[str, Meta(max_length=200)] = ""
    """The part of the JSON answer that the model is told, such as `order.status` or `items[0].name`; empty: all."""
    private_hosts: Annotated[tuple[Host, ...], Meta(max_length=20)] = ()
    """Hosts with private addresses that the request may reach; any other private address is refused."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the model may call: an HTTP request, or options of a Python function or of an MCP server's tool."""

    description: Annotated[str, Meta(max_length=1_000)] = ""
    """What the model is told about it; a Python function has it in its docstring."""
    parameters: Annotated[Mapping[ToolName, Parameter], Meta(max_length=30)] = field(default_factory=dict)
    """The arguments of an HTTP request, by name."""
    http: HttpRequest | None = None
    """The request that it sends; without one it names a function of the agent's Python file or an MCP server's tool."""
    timeout_s: Annotated[int, Meta(ge=1, le=60)] = 10
    """After this time the model is told that it did not answer."""
    repeatable: bool = False
    """True: it may be run again if a worker died while it ran.  False: then its outcome is unknown, and said so."""
    parallel: bool = True
    """False: it is not run beside other tools of the same reply."""
    meanwhile: Annotated[tuple[Sentence, ...], Meta(max_length=10, extra={"one_text": "sentence"})] = ()
    """Sentences that are spoken in turn while it runs; empty: the default of the language."""
    filler_after_ms: Annotated[int, Meta(ge=0, le=10_000)] = 900
    """Silence of this length while it runs before one of them is spoken; 0: never."""


@dataclass(frozen=True, slots=True)
class McpServer:
    """An MCP server (modelcontextprotocol.io) whose tools the agent may call: a URL or a command."""

    url: Annotated[str, like(r"(https?://\S{1,2000})?", "a URL such as https://mcp.example.com/mcp, or nothing")] = ""
    """Its address, for the transport "streamable HTTP"."""
    headers: Annotated[Mapping[HeaderName, Annotated[str, Meta(max_length=1_000)]], Meta(max_length=20)] = field(
        default_factory=dict
    )
    """Headers of each request."""
    command: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...],
        Meta(max_length=50, extra={"one_text": "command"}),
    ] = ()
    """The command that starts it, for the transport "stdio"."""
    env: Annotated[Mapping[str, Annotated[str, Meta(max_length=1_000)]], Meta(max_length=50)] = field(
        default_factory=dict
    )
    """Variables of the environment of the command; it gets no others but PATH, HOME and LANG."""
    tools: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=50)] = ()
    """Names of the tools that the agent may call; empty: all."""
    private_hosts: Annotated[tuple[Host, ...], Meta(max_length=20)] = ()
    """As of an HTTP request."""
