"""Defines the call store: the record of every call, and the claims and leases by which members of each pool own it.

The bus carries what happens; the call store decides who may act on it.  Each call has one hash (`call:<id>:state`)
with an owner for each pool, and each member of a pool has one lease (`pool:<pool>:leases`) for all calls that it owns:

  create   /answer writes the record: agent, numbers                            status "new"
  start    an edge is connected to the caller; a reconnect raises the epoch     status "live"
  claim    a pool member becomes the owner, with the next fencing token
  renew    every third of the lease's life, by each member that holds calls
  confirm  every few seconds, all calls of a member at once; returns those that it lost
  append   writes to the call's event log; refused once a newer token exists
  end      takes effect once, for the first that calls it                       status "ended"
  reopen   the carrier asks again for a call that ended for want of a connection; the next start continues it
  transfer each change of a call's transfer, with its events; one ends the call, and a failure lets it go on
  restore  the server lost the record: the edge that has the call writes it again

The fencing token is a counter in the record, so it outlives the owner.  A member that stood still (SIGSTOP, a long
garbage collection, a lost network) and was not replaced continues; one that was replaced can write nothing.

`CallStore` is the union of its ports; code that needs one of them takes that port alone:

  CallRecords       edges: one call's record, its end, its webhook fields
  LiveCalls         edges: heartbeats, silence and backups of all their calls
  PoolLeases        pool members: offers, leases, orphans, quarantine; edges offer
  EventLog          pool sessions: events and checkpoints; edges compact the logs of ended calls
  Effects           both: side effects that must not happen twice
  Secrets           edges keep digits that only tools may know; the tools pool reads them
  Presence          both: heartbeats of nodes, room and health of members
  SpeechCache       TTS workers: audio of fixed sentences
  AgentHistory      edges: versions of agents' files, and pins
  EdgeAuth          edges: the shared secret, the webhooks' nonces
  StoreMaintenance  edges: the probe for writes, repairs

All times are the server's: no host's clock judges what another host wrote.  After a failover they come from another
machine, perhaps some seconds off; docs/reliability.md describes the consequences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.call.end_reasons import EndReason
from common.protocol import redis_keys
from common.protocol.messages import Message
from common.store.agent_versions import AgentVersions
from common.store.effects import Effect, Known
from common.store.ended_calls import EndedCalls
from common.store.fixed_speech import FixedSpeech
from common.store.members import MemberReport, Members, Quarantined, Renewal
from common.store.secret_keys import Secrets
from common.store.suspicion import Left, Take
from common.store.transfers import CallTransfers

END_REASONS = tuple(reason.value for reason in EndReason)
"""The values of `EndReason` (common/call/end_reasons.py), as labels of metrics."""

MAY_GO_ON = ("carrier", "caller hung up")
"""End reasons of a call whose connection was lost; if the carrier still has the call, it may be reopened."""
REOPEN_SECONDS = 60
"""How long a reopened call waits for its stream."""
NO_EPOCHS: Mapping[str, int] = {}
READY_STALE_MS = 3000
"""A report of a pool member counts for this long; after it the member is taken for gone."""
UNSTARTED_SECONDS = 600
"""A record that no edge has started expires after this: the call was not picked up."""

WEBHOOK_FIELDS_MAX = 256
"""Most webhook fields of one call: about fifteen webhooks, each with the fields of its event."""
WEBHOOK_FIELDS_BYTES_MAX = 16_384
"""Most bytes of one call's webhook fields, names and values.  A real call has about 4 KB."""
UNKNOWN_WEBHOOK_FIELDS_SECONDS = 60
"""How long webhook fields of a call without a record are kept, as the record may follow."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """The record of a call.  A string is empty and a number 0 while it is not known."""

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
    """The outbound request that made the call, if there was one."""
    started_ms: int = 0
    """When the call began, moved on by the time without a connection between an end and a reopening."""
    active_ms: int = 0
    """When the caller or the agent last spoke, as far as it was reported."""
    ended_ms: int = 0
    reopens_ms: int = 0
    """Until when a stream may reopen the ended call; 0: it may not.  These four are Unix ms of the server's clock."""
    age_ms: int = 0
    silent_ms: int = 0
    """How many ms the call had lasted, and how many had been silent, when its newest connection came."""
    signed_urls: int = 0
    """1: the URLs that the carrier was given for the call have a signature (edge/session/url_proof.py)."""
    more_pools: str = ""
    """The pools that the call needs beside those of every call, separated by spaces (common/agents/needs.py)."""
    transfer: str = ""
    """The newest transfer of the call to a person, as JSON (common/call/transfer.py)."""

    @property
    def pools(self) -> tuple[str, ...]:
        """The pools that the call needs; a name of a newer release is left out."""
        more = self.more_pools.split()
        return tuple(pool for pool in redis_keys.ALL_POOLS if pool in redis_keys.POOLS or pool in more)


@dataclass(frozen=True, slots=True)
class CallLookup:
    """What the store knows of a call at one moment."""

    record: CallRecord | None
    """None if the call is not known (any more)."""
    end_noted: bool
    """Whether the carrier has ended the call, as `note_end` remembers it."""
    now_ms: int
    """The clock of the call's server, Unix time in ms, for times that other hosts will compare."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A call that one member of a pool owns, and its right to write to it."""

    call_id: str
    pool: str
    owner: str
    token: int
    record: CallRecord
    checkpoint: str = ""
    """The state that the last owner left for the next one, in the pool's own format."""
    trial_ms: int = 0
    """The call may kill its owner: no other suspect should be claimed for this long.  0: the call is trusted."""
    condemned: bool = False
    """It has killed too many owners: end it, and do not run it (common/store/suspicion.py)."""
    crashes: int = 0
    """How many owners in a row were lost while they had the call."""
    passed_on: bool = False
    """The last owner could not reach a provider."""


class CallRecords(CallTransfers, Protocol):
    """The records of calls, and the fields of the carrier's webhooks about them."""

    async def create(self, record: CallRecord) -> CallLookup:
        """Write a new call's record; an existing one stays as it is, because webhooks come twice.

        Returns what is known of the call after that.
        """

    async def look_up(self, call_id: str) -> CallLookup:
        """The call's record, whether its end was noted, and the time, in one step."""

    async def read(self, call_id: str) -> CallRecord | None:
        """The call's record, or None if it is not known (any more)."""

    async def start(self, call_id: str, edge: str) -> CallRecord | None:
        """Record that `edge` is connected to the caller, and raise the epoch.  None: the call is unknown or ended."""

    async def end(self, call_id: str, reason: str, epoch: int | None = None) -> bool:
        """End the call.  True for the first that ends it; the record and the event log expire later.

        With an `epoch`, the call ends only if that is still its connection, so the end of an old socket has no effect.
        Epoch 0: only if no edge has started the call.  For an ended or unknown call it makes keys that were written
        too late expire as well.
        """

    async def note_end(self, call_id: str, seconds: int) -> CallRecord | None:
        """Remember for `seconds` that the carrier has ended the call; returns its record, if it has one.

        Webhooks overtake each other: the end of a call may come before its beginning.  A call with a record cannot be
        reopened from now on.
        """

    async def reopen(self, call_id: str) -> bool:
        """Continue a call for which the carrier asks again.  False: the call is unknown, or over for good.

        A call that ended because its connection was lost may be started again within `REOPEN_SECONDS`.
        """

    async def live(self) -> list[str]:
        """The ids of all live calls."""

    async def add_webhook_fields(self, call_id: str, fields: Mapping[str, str], unknown: bool = True) -> bool:
        """Keep fields of the carrier's webhooks about a call, by name; repeating it changes nothing.

        True if the call has a record.  Without one they are kept for `UNKNOWN_WEBHOOK_FIELDS_SECONDS`, or with
        `unknown=False` not at all.  Beyond `WEBHOOK_FIELDS_MAX` or `WEBHOOK_FIELDS_BYTES_MAX` of a call they are
        dropped.
        """

    async def webhook_fields(self, call_id: str) -> dict[str, str]:
        """The fields of the carrier's webhooks about a call, by name."""


class LiveCalls(Protocol):
    """Reports and questions about many live calls at once, and the repair of lost records."""

    async def note_silence(self, silent_ms: Mapping[str, int], epochs: Mapping[str, int] = NO_EPOCHS) -> None:
        """Record for how many ms nobody has spoken in each of these calls.  With a call's epoch, only if that is still
        its connection.
        """

    async def heartbeat_calls(self, call_ids: Iterable[str]) -> None:
        """Report that these calls are still connected to this edge."""

    async def ended(self, call_ids: Sequence[str]) -> set[str]:
        """Those of the calls that have ended.  A call whose server is away is left out."""

    async def abandoned(self) -> dict[str, int]:
        """Calls without a heartbeat of an edge for so long that no edge seems to have them, with the server's time in
        ms of the last one.

        One look is no proof, as a failover may have set the server's clock forward.  A call is abandoned if a second
        look, later, finds the same heartbeat (edge/session/abandoned_calls.py).
        """

    async def state_fields(self, call_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """The fields of each call's hash beside `CallRecord`: the epoch, and the pools' fencing tokens and checkpoints.
        A call without a record, which the server has lost, is left out.
        """

    async def restore(self, record: CallRecord, state_fields: Mapping[str, str], events: Sequence[Message]) -> bool:
        """Write a live call again after the server has lost all or the newest part of it, in one step.

        `record` has the call's next epoch, `state_fields` is what that method last returned, `events` are appended to
        the event log.  All fencing tokens are raised, so no former owner can write.  False: the call has ended, or has
        this epoch already.
        """


class PoolLeases(Protocol):
    """The offers of calls to a pool, its members' claims, and their leases."""

    async def offer(self, pool: str, call_ids: Sequence[str], all_that_wait: bool = False) -> None:
        """Offer the calls to the pool, unless they are on offer already.

        `all_that_wait`: no other call waits, so that offers of calls that have ended can be removed.
        """

    async def take_offers(self, pool: str, owner: str, count: int, block_ms: int) -> list[tuple[str, str]]:
        """Up to `count` offered calls as (offer id, call id), after at most `block_ms` of waiting for the first.

        Offers that a dead member took without an acknowledgement come first.
        """

    async def ack_offer(self, pool: str, offer_id: str) -> None:
        """Remove an offer whose call has an owner, or is over."""

    async def claim(self, pool: str, call_id: str, owner: str, take: Take = Take.TRUSTED) -> Claim | None:
        """Own the call, with the next fencing token.  None if another member owns it, or the call is over.

        The owner itself may claim its call again, if it does not know whether an earlier claim succeeded.
        Raises Suspect if the call may kill its owner, and `take` does not allow that or it is too early.
        """

    async def renew(self, report: MemberReport) -> Renewal:
        """Prolong the lease of a member that holds calls, and report its room and health.

        To be repeated within a third of the lease's life, or within `READY_STALE_MS` by a member without calls.
        """

    async def confirm(self, claims: Sequence[Claim]) -> list[Claim]:
        """Report that the owner runs these calls; returns the claims that were lost to a newer owner or whose call is
        over or gone.  A call without a confirmation for some seconds has no owner, even if its owner's lease runs.
        """

    async def release(self, claim: Claim, left: Left = Left.CLEAN) -> None:
        """Give the call up, so that another member can claim it at once.  Nothing can be written by this claim then.

        An owner that learns only later that it was replaced, because Redis was away, may release too: then its loss is
        not counted against the call.
        """

    async def orphans(self, pool: str) -> list[str]:
        """Live calls that need the pool and have no owner in it: theirs has no lease, or did not confirm them, or there
        is none.
        """

    async def quarantine(self, call: Quarantined) -> None:
        """List the call, for people, as one that is not run again."""


class EventLog(Protocol):
    """The event logs of calls, and the checkpoints beside them."""

    @property
    def ended_calls(self) -> EndedCalls:
        """The ended calls and what is kept of them."""

    async def append(self, claim: Claim, messages: Sequence[Message]) -> bool:
        """Append to the call's event log in one step, if the claim is still the newest.  False: drop the call."""

    async def save_checkpoint(self, claim: Claim, checkpoint: str) -> bool:
        """Leave a checkpoint for the next owner; fenced like `append`."""


class Effects(Protocol):
    """Side effects of calls that must not happen twice."""

    async def begin_effect(self, effect: Effect, claim: Claim | None = None) -> Known:
        """Record that a side effect begins, before it does (common/call/once.py).

        One caller of all gets NEW.  With a claim, only while that is the newest of its pool; without one it is for
        webhook handlers, which have none.
        """

    async def finish_effect(self, effect: Effect, result: str, claim: Claim | None = None) -> Known:
        """Record the result, unless there is one, and return the one that counts.  Fenced like `begin_effect`."""


class Presence(Protocol):
    """The nodes and pool members that are there, and the calls that lack a member."""

    async def heartbeat(self, kind: str, node: str) -> None:
        """Report that this node is alive.  `kind` is "edge" or a pool."""

    async def members(self, pool: str, within_ms: int = READY_STALE_MS) -> Members:
        """The recent reports of the pool's members."""

    async def pools_with_room(self) -> set[str]:
        """The pools of which a member has reported room within `READY_STALE_MS`."""

    async def unheld(self, call_ids: Sequence[str]) -> dict[str, set[str]]:
        """Those of the calls that some pool that they need does not own now, with these pools."""


class SpeechCache(Protocol):
    """The kept audio of fixed sentences."""

    @property
    def fixed_speech(self) -> FixedSpeech:
        """The cache that all TTS workers share."""


class AgentHistory(Protocol):
    """The kept versions of agents' files."""

    @property
    def agent_versions(self) -> AgentVersions:
        """The versions and pins that all edges share."""


class EdgeAuth(Protocol):
    """The secret and the webhook nonces that all edges share."""

    async def shared_secret(self) -> bytes:
        """A random secret that all edges of the deployment share; the first that asks creates it."""

    async def keep_secret(self, secret: bytes) -> None:
        """Write the shared secret again to a server that has lost it."""

    async def remember_nonce(self, nonce: str, digest: str, seconds: int) -> bool:
        """Remember a webhook's nonce for `seconds`.  False if it came before with another digest."""


class StoreMaintenance(Protocol):
    """Checks and repairs of the server."""

    async def check_write(self, edge: str) -> None:
        """Test that the server accepts writes, which reading alone would not show.

        Raises ConnectionError (its text says why) or TimeoutError if it is full, read-only or away.
        """

    async def mend(self, edge: str, call_ids: Sequence[str]) -> int:
        """Remove what no process can use: keys of a wrong type (shared ones, this edge's and those of the calls
        `call_ids`; docs/bus.md has the types), locks without an expiry, and ids in `calls:live` without a live record.
        Returns how many; repeating it changes nothing.
        """


class CallStore(
    CallRecords,
    LiveCalls,
    PoolLeases,
    EventLog,
    Effects,
    Secrets,
    Presence,
    SpeechCache,
    AgentHistory,
    EdgeAuth,
    StoreMaintenance,
    Protocol,
):
    """All ports of one store.

    Every method raises ConnectionError or TimeoutError while the server is away.
    """
