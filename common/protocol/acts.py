"""The messages about what an agent does beside speaking: tools, transfers, keys and the hand-off to another agent.

They follow the rules of messages.py.  The number of a call of a tool is unique in its reply: `(turn, n)` identifies it,
and with the call's id it is the key of its side effect (common/store/effects.py).

    ToolsCalled ──▶ the tools pool, the call's edge or the LLM worker runs it ──▶ ToolReturned, once for each call

An order to the edge is repeated to each new connection until its `ToolReturned` is in the event log; the effect of the
same number makes it happen once.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

from common.protocol.fields import CallId, ClauseNumber, Count, EdgeEvent, Tagged, Text, UnixMs, Word

ToolArguments: TypeAlias = Annotated[str, Meta(max_length=32_000)]
"""JSON text of an object, as the model wrote it or as it was checked."""
CalledTool: TypeAlias = tuple[Word, Word, ToolArguments]
"""One call of a tool: (the model's id of the call, name of the tool, arguments)."""
CalledTools: TypeAlias = Annotated[tuple[CalledTool, ...], Meta(max_length=16)]
Keys: TypeAlias = Annotated[str, Meta(max_length=64)]
"""Keys of a telephone, each of 0-9 * #."""

# --- call:<id>:events ----------------------------------------------------------------------------------------------


class ToolsCalled(Tagged, frozen=True, tag=35):
    """In reply `turn`, after its first `clauses` clauses, the model calls these tools, numbered from `first`."""

    turn: Count
    first: Count
    calls: CalledTools
    clauses: ClauseNumber
    refused: Annotated[tuple[Count, ...], Meta(max_length=16)] = ()
    """Numbers of the calls that nobody may run; the model is told why by their `ToolReturned`."""


class ToolReturned(Tagged, frozen=True, tag=36):
    """Call `n` of reply `turn` is over; `result` is what the model is told.  Only the first one of a call counts.

    `outcome` is a value of `ToolOutcome` (common/call/acts.py).
    """

    turn: Count
    n: Count
    outcome: Word
    result: Text
    took_ms: Count = 0
    """From the begin of the run to its end; 0 if it did not run."""


class ToolsOffered(Tagged, frozen=True, tag=37):
    """A tools worker offers these tools for the call, beside those that the agent's file declares.

    `source` is "python" or the name of an MCP server; a later offer of one source replaces the earlier one.  `tools` is
    the JSON text of a list of OpenAI function tools.
    """

    source: Word
    tools: Text
    options: Text = ""
    """JSON text: tool -> those of its options that the LLM worker needs (`LLM_OPTIONS` of workers/tools/options.py), as
    far as they are not the defaults; empty: none."""


class ToolSays(Tagged, frozen=True, tag=39):
    """Call `n` of reply `turn` is running, and its program wants this sentence said meanwhile."""

    turn: Count
    n: Count
    text: Annotated[str, Meta(max_length=1_000)]


class KeysEntered(Tagged, frozen=True, tag=25):
    """The caller has entered `keys` and is done; written by the LLM worker.  `entry` counts from 1.

    `keys` is empty for keys that are secret: only their `count` is known.  With a `turn` they are the digits that call
    `n` of that reply asked for (`collect_digits`), whose result follows; they take all keys that were pressed before.
    """

    entry: Count
    keys: Keys
    count: Count
    turn: Count = 0
    n: Count = 0


class AgentChanged(Tagged, frozen=True, tag=38):
    """From reply `turn` on the agent `name` has the call: one of those that the call's record holds."""

    turn: Count
    name: Word


class TransferUpdated(EdgeEvent, frozen=True, eq=False, tag=57):
    """The transfer that call `n` of reply `turn` asked for is in this state, a value of `TransferState`."""

    turn: Count
    n: Count
    state: Word
    at_ms: UnixMs
    epoch: Count = 0


# --- edge:<eid>:priority -------------------------------------------------------------------------------------------


class TransferCall(Tagged, frozen=True, tag=71):
    """Order of the LLM worker: transfer the caller to `target` of the agent's file, because of call `n` of `turn`."""

    call_id: CallId
    token: Count
    epoch: Count
    turn: Count
    n: Count
    target: Word
    agent: Word = ""
    """The agent whose target it is; empty: that with which the call began."""
    reason: Text = ""
    """What the person is told before the caller is connected to them, in a warm transfer."""


class SendKeys(Tagged, frozen=True, tag=72):
    """Order of the LLM worker: send these keys to the other side, because of call `n` of `turn`."""

    call_id: CallId
    token: Count
    epoch: Count
    turn: Count
    n: Count
    keys: Annotated[str, Meta(max_length=64, pattern="^[0-9*#wW]*$")]
    """`w` waits 0.5 s, `W` 1 s."""


class KeepKeysSecret(Tagged, frozen=True, tag=73):
    """Order of the LLM worker: until the next one, `DtmfReceived` names no digit; the digits are kept under `name`.

    Only tools get them (docs/keys.md).  An empty `name` ends it.
    """

    call_id: CallId
    token: Count
    epoch: Count
    name: Word
    digits_max: Count = 64
    """Most digits that are kept; further ones are secret, too, and kept nowhere."""
