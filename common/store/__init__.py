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

Time is the server's, everywhere: no host's clock judges what another host wrote.  After a failover that may be another
machine's, some seconds off; what follows from that is in docs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.call.end_reasons import EndReason
from common.protocol.messages import Message
from common.store.effects import Effect, Known
from common.store.ended_calls import EndedCalls
from common.store.members import Members, Quarantined
from common.store.suspicion import Left, Take

END_REASONS = tuple(reason.value for reason in EndReason)
"""Why a call ended; a closed set (common/call/end_reasons.py), as metrics count it."""

MAY_GO_ON = ("carrier", "caller hung up")
"""The reasons with which a call ends when its connection is gone; if the carrier has it still, it may go on."""
REOPEN_SECONDS = 60
"""How long a call that was reopened waits for its stream."""
NO_EPOCHS: Mapping[str, int] = {}
READY_STALE_MS = 3000
"""A member that has not said for so long that it takes calls is thought to be gone."""
UNSTARTED_SECONDS = 600
"""A record that no edge has started is forgotten after this: nobody picked up."""

WEBHOOK_FIELDS_MAX = 256
"""Facts of one call: some fifteen webhooks, each with the fields of its event."""
WEBHOOK_FIELDS_BYTES_MAX = 16_384
"""Of one call's facts, names and values.  A real call has about 4 KB."""
UNKNOWN_WEBHOOK_FIELDS_SECONDS = 60
"""How long facts of a call without a record are kept: its record may be on its way."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """What is known of a call.  Strings are empty and numbers 0 as long as nobody said so."""

    call_id: str
    agent: dict[str, Any] = field(default_factory=dict)
    """The agent's document (common/agents/model.py) as it was when the call began."""
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
    signed_urls: int = 0
    """1: the URLs that the carrier was given for the call carry our proof (edge/session/url_proof.py)."""


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
    trial_ms: int = 0
    """The call may kill its owner: for so long no other such call should be claimed.  0: it is trusted."""
    condemned: bool = False
    """It has killed too many: end it, and do not run it (common/store/suspicion.py)."""
    crashes: int = 0
    """Owners in a row that were lost with it."""
    passed_on: bool = False
    """The last owner could reach no provider."""


class CallStore(Protocol):
    """Every method raises ConnectionError or TimeoutError while the server is away."""

    @property
    def ended_calls(self) -> EndedCalls:
        """The calls that are over, and what is kept of them."""

    # The edge's side.

    async def create(self, record: CallRecord) -> None:
        """Write a new call's record; one that exists already is left as it is (webhooks come twice)."""

    async def read(self, call_id: str) -> CallRecord | None:
        """The call's record, or None if it is not known (any more)."""

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        """The caller is on the line at `edge`: raise the epoch.  None if the call is unknown or has ended."""

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        """The call is over.  True for whoever said so first; the record and the story expire later.

        With an `epoch`, only if that still is the call's connection: an old socket's end ends nothing.  Epoch 0: only
        if no edge has started the call.  After the end, or for a call that is not known, it sees to it that what was
        written too late expires as well.
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

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        """For how long nobody has said anything in each of these calls.  With a call's epoch, only if that still is
        its connection.
        """

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        """These calls are still on the line at this edge."""

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        """Of these calls, those that stand as ended.  A call whose server is away is not in the answer."""

    async def now_ms(self, call_id: str) -> int:
        """The clock of the server that has the call, Unix time in ms: for what another host will judge by it."""

    async def live(self) -> list[str]:
        """Every call that is on the line somewhere."""

    async def lost(self) -> dict[str, int]:
        """Calls whose edge has not touched them for so long that nobody seems to have them on the line any more, with
        the server's time (ms) of the last touch.

        One look is no proof: a failover may have set the server's clock forward.  A call is lost if a second look,
        later, finds the same last touch (edge/session/lost_calls.py).
        """

    async def notes(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What stands in each call's record besides `CallRecord`: the pools' fencing tokens and checkpoints, by name,
        and the epoch.  A call without a record is left out: the server has lost it.
        """

    async def restore(self, record: CallRecord, notes: Mapping[str, str], events: Sequence[Message]) -> bool:
        """Write a live call down again after the server has lost it, or the newest part of it, in one step.

        `record` has the call's next epoch, `notes` are what `notes` last returned for it, `events` go to the end of its
        event log.  All fencing tokens are raised: whoever held the call holds it no more.  False if the call has
        ended, or has this epoch already.
        """

    async def pools_with_room(self) -> set[str]:
        """The pools of which at least one member has said within `READY_STALE_MS` that it takes calls."""

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        """Of these calls, those that some pool does not hold right now, with the pools."""

    async def add_webhook_fields(self, call_id: str, facts: Mapping[str, str], unknown: bool = True) -> bool:
        """Keep what the carrier said about a call, by name; saying it again changes nothing.

        True if the call has a record.  Of one without they are kept for `UNKNOWN_WEBHOOK_FIELDS_SECONDS`, or with
        `unknown=False` not at all.  `WEBHOOK_FIELDS_MAX` and `WEBHOOK_FIELDS_BYTES_MAX` hold for each
        call; what does not fit is dropped.
        """

    async def facts(self, call_id: str) -> dict[str, str]:
        """All that the carrier said about a call."""

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        """Write down that a side effect begins, before it does (common/call/once.py).

        Of everybody who asks, one is told NEW.  With a claim, only while that is the newest of its pool; without, for
        whoever is asked by a webhook.
        """

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        """Write the result down, unless there is one; returns the one that holds.  Fenced like `begin_effect`."""

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        """False if this nonce came before with another digest."""

    async def shared_secret(self) -> bytes:
        """A random secret that all edges of the deployment share, made by the first that asks."""

    async def check_write(self, edge: str) -> None:
        """Raises ConnectionError (its text says why) or TimeoutError if the server takes no writes: full, read-only,
        away.  A server that is asked only for what it has would not show it.
        """

    async def keep_secret(self, secret: bytes) -> None:
        """Give the shared secret back to a server that has lost it."""

    # The pools' side.

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        """Up to `count` offered calls as (offer id, call id), waiting `block_ms` for the first.

        Offers that a dead member took and never settled come first.
        """

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        """The offer needs nobody any more: the call is held, or over."""

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        """Take the lease and the next fencing token.  None if another member holds it or the call is over.

        Raises Suspect if the call may kill its owner and `take` does not allow that, or it is too early.
        """

    async def renew(self, claims: Sequence[Claim]) -> list[Claim]:
        """Prolong the leases; returns those that were lost to a newer owner or whose call is gone."""

    async def release(self, claim: Claim, left: Left = Left.CLEAN) -> None:
        """Give the lease up now, so that another member can claim the call at once.

        Whoever only learns later that it was replaced, because Redis was away, may say so too: then its loss is not
        counted against the call.
        """

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        """Offer the calls to the pool; one that is on offer already is not offered twice.

        `all_that_wait`: no other call waits, so that offers of calls that ended meanwhile can be forgotten.
        """

    async def quarantine(self, call: Quarantined) -> None:
        """Note for people that the call is not run again."""

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        """Write to the call's events in one step, if the claim still is the newest.  False: drop the call."""

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        """Leave a note for the next owner; fenced like `append`."""

    async def try_scan_lock(self, pool: str, owner: str, ms: int) -> bool:
        """Shall this member look for orphans now?  One of the pool may in every `ms`: a look asks for every call."""

    async def orphans(self, pool: str) -> list[str]:
        """Live calls that no member of the pool holds."""

    async def report_room(self, pool: str, owner: str, has_room: bool) -> None:
        """This member takes calls, or it takes none for now.  To be said again within `READY_STALE_MS`."""

    async def report_health(self, pool: str, owner: str, healthy: bool) -> None:
        """This member can reach a provider, or none.  To be said again within `READY_STALE_MS`."""

    async def members(self, pool: str, within_ms: int = READY_STALE_MS) -> Members:
        """What the members of the pool have said of themselves lately."""

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        """Remove what nobody can use: shared keys, this edge's and those of its calls (`call_ids`) that hold another
        type than docs/bus.md says, locks without an end, and ids in `calls:live` of which there is no live record.
        Returns how many; said again it does nothing.
        """

    async def heartbeat(self, kind: str, node: str) -> None:
        """This node is alive.  `kind` is "edge" or a pool."""
