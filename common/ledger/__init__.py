"""The ledger: which calls there are, and which member of each pool holds them.

The bus carries what happens; the ledger says who may act on it.  One hash per call (`call:<id>:state`) and one lease
per call and pool (`call:<id>:lease:<pool>`):

  create   /answer writes the record: agent, numbers                            status "new"
  start    an edge has the caller on the line; a reconnect raises the epoch     status "live"
  claim    a pool member takes the lease, with the next fencing token
  renew    every third of the lease's life; who comes too late and was replaced is told so
  append   writes to the story of the call, refused once a newer token exists
  end      once, whoever comes first                                            status "ended"
  reopen   the carrier asks again for a call that ended for want of a connection; the next start takes it up
  restore  the server lost the record: the edge that has the call writes it again

The fencing token is a counter in the record, so it outlives the lease: a member that merely slept (SIGSTOP, a long
garbage collection, a lost network) and was not replaced goes on; one that was replaced can write nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.ledger.effects import Effect, Known
from common.messages import Message

END_REASONS = (
    "caller hung up",
    "agent hung up",
    "operator hung up",
    "silence",
    "too long",
    "carrier",
    "refused",
    "no worker",
    "error",
)
"""Why a call ended; a closed set, as metrics count it.  "no worker": no member of a pool took it for too long."""

MAY_GO_ON = ("carrier", "caller hung up")
"""The reasons with which a call ends when its connection is gone; if the carrier has it still, it may go on."""
REOPEN_SECONDS = 60
"""How long a call that was reopened waits for its stream."""
READY_STALE_MS = 3000
"""A member that has not said for so long that it takes calls is thought to be gone."""
UNSTARTED_SECONDS = 600
"""A record that no edge has started is forgotten after this: nobody picked up."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is known of a call.  Strings are empty and numbers 0 as long as nobody said so."""

    call_id: str
    agent: dict[str, Any] = field(default_factory=dict)
    """The agent's document (common/agents.py) as it was when the call began."""
    from_number: str = ""
    to_number: str = ""
    direction: str = "inbound"
    status: str = "new"
    epoch: int = 0
    edge: str = ""
    created_ms: int = 0
    ended_because: str = ""
    dial_id: str = ""
    """The outbound request that made the call, if one did."""
    started_ms: int = 0
    """When the call began.  Time without a connection, between an end and a reopening, is not counted."""
    active_ms: int = 0
    """When anybody last said anything, as far as it was noted."""
    ended_ms: int = 0
    reopens_ms: int = 0
    """Until when a stream may take the ended call up again; 0: none may.  These four are of the ledger's clock."""
    age_ms: int = 0
    silent_ms: int = 0
    """How long the call had lasted, and nobody said anything, when its newest connection came."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that one member of a pool holds, and its right to write."""

    call_id: str
    pool: str
    owner: str
    token: int
    record: CallRecord
    checkpoint: str = ""
    """What the last owner left for the next one; the pool's own format."""


class Ledger(Protocol):
    """Every method raises ConnectionError or TimeoutError while the server is away."""

    # The edge's side.

    async def create(self, record: CallRecord) -> None:
        """Write a new call's record; one that exists already is left as it is (webhooks come twice)."""

    async def read(self, call_id: str) -> CallRecord | None:
        """The call's record, or None if it is not known (any more)."""

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        """The caller is on the line at `edge`: raise the epoch.  None if the call is unknown or has ended."""

    async def end(self, call_id: str, reason: str, epoch: int = 0) -> bool:
        """The call is over.  True for whoever said so first; the record and the story expire later.

        With an `epoch`, only if that still is the call's connection: an old socket's end ends nothing.
        """

    async def note_end(self, call_id: str, seconds: int) -> None:
        """The carrier has no such call any more; remember it that long, whether or not there is a record.

        Webhooks overtake each other: the end of a call may come before its beginning.  A call that has a record cannot
        be reopened from now on.
        """

    async def end_noted(self, call_id: str) -> bool:
        """Did the carrier say lately that the call is over?"""

    async def reopen(self, call_id: str) -> bool:
        """The carrier asks what to do with a call that it has.  False if the call is unknown, or over for good.

        One that ended because its connection was gone may be started again within `REOPEN_SECONDS`.
        """

    async def note_silence(self, silent_ms: Mapping[str, int]) -> None:
        """For how long nobody has said anything in each of these calls."""

    async def touch(self, call_ids: Iterable[str]) -> None:
        """These calls are still on the line at this edge."""

    async def live(self) -> list[str]:
        """Every call that is on the line somewhere."""

    async def lost(self) -> list[str]:
        """Calls whose edge has not touched them for so long that nobody has them on the line any more."""

    async def notes(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What stands in each call's record besides `CallRecord`: the pools' fencing tokens and checkpoints, by name,
        and the epoch.  A call without a record is left out: the server has lost it.
        """

    async def restore(self, record: CallRecord, notes: Mapping[str, str], story: Sequence[Message]) -> bool:
        """Write a live call down again after the server has lost it, or the newest part of it, in one step.

        `record` has the call's next epoch, `notes` are what `notes` last returned for it, `story` goes to the end of
        its events.  All fencing tokens are raised: whoever held the call holds it no more.  False if the call has
        ended, or has this epoch already.
        """

    async def pools_with_room(self) -> set[str]:
        """The pools of which at least one member has said within `READY_STALE_MS` that it takes calls."""

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        """Of these calls, those that some pool does not hold right now, with the pools."""

    async def add_facts(self, call_id: str, facts: Mapping[str, str]) -> None:
        """Keep what the carrier said about a call, by name; saying it again changes nothing."""

    async def facts(self, call_id: str) -> dict[str, str]:
        """All that the carrier said about a call."""

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        """Write down that a side effect begins, before it does (common/once.py).  Of everybody who asks, one is told
        NEW.  With a claim, only while that is the newest of its pool; without, for whoever is asked by a webhook.
        """

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        """Write the result down, unless there is one; returns the one that holds.  Fenced like `begin_effect`."""

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        """False if this nonce came before with another digest."""

    async def shared_secret(self) -> bytes:
        """A random secret that all edges of the deployment share, made by the first that asks."""

    async def keep_secret(self, secret: bytes) -> None:
        """Give the shared secret back to a server that has lost it."""

    # The pools' side.

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        """Up to `count` offered calls as (offer id, call id), waiting `block_ms` for the first.

        Offers that a dead member took and never settled come first.
        """

    async def settle(self, pool: str, offer_id: str) -> None:
        """The offer needs nobody any more: the call is held, or over."""

    async def claim(self, pool: str, call_id: str, owner: str) -> Claim | None:
        """Take the lease and the next fencing token.  None if another member holds it or the call is over."""

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Prolong the leases; returns those that were lost to a newer owner or whose call is gone."""

    async def release(self, claim: Claim) -> None:
        """Give the lease up now, so that another member can claim the call at once."""

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        """Write to the call's events in one step, if the claim still is the newest.  False: drop the call."""

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        """Leave a note for the next owner; fenced like `append`."""

    async def may_scan(self, pool: str, owner: str, ms: int) -> bool:
        """Shall this member look for orphans now?  One of the pool may in every `ms`: a look asks for every call."""

    async def orphans(self, pool: str) -> list[str]:
        """Live calls that no member of the pool holds."""

    async def report_room(self, pool: str, owner: str, has_room: bool) -> None:
        """This member takes calls, or it takes none for now.  To be said again within `READY_STALE_MS`."""

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        """Remove what nobody can use: shared keys, this edge's and those of its calls (`call_ids`) that hold another
        type than docs/bus.md says, locks without an end, and ids in `calls:live` of which there is no live record.
        Returns how many; said again it does nothing.
        """

    async def beat(self, kind: str, node: str) -> None:
        """This node is alive.  `kind` is "edge" or a pool."""
