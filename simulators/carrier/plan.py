"""Options of one call, and of the carrier as a whole.  Frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from simulators.carrier.hooks import HookHabits
from simulators.carrier.people import Callee
from simulators.script import SPEECH
from simulators.stream import WireOptions

ACCOUNT = "MA_XXXXXXXX"


@dataclass(frozen=True, slots=True)
class Target:
    """A URL of the server and the HTTP method."""

    url: str = ""
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Detection:
    """Machine detection: `mode` is "" (off), "true" (report) or "hangup"."""

    mode: str = ""
    target: Target = Target()
    time_ms: float = 5000.0


@dataclass(frozen=True, slots=True)
class CallPlan:
    """One call as REST requested it, or as the number's application defines it."""

    answer: Target
    hangup: Target = Target()
    """Without it the Hangup webhook goes to the answer URL."""
    ring: Target = Target()
    fallback: Target = Target()
    detection: Detection = Detection()
    ring_timeout_s: float = 120.0
    hangup_on_ring_s: float = 0.0
    time_limit_s: float = 14_400.0
    send_digits: str = ""
    caller_name: str = ""
    sip_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class CarrierOptions:
    """The simulated carrier.  A real trial account has `cps=1, calls_max=3`."""

    port: int = 0
    """0 takes a free port."""
    host: str = "127.0.0.1"
    auth_id: str = ACCOUNT
    auth_token: str = "simulated-token"
    parent_auth_id: str = ""
    parent_token: str = ""
    """The token of the main account, if `auth_id` is a sub-account."""
    cps: int = 0
    """Call starts per second; 0 is no limit."""
    calls_max: int = 1000
    """Calls at a time."""
    error_shape: int | None = None
    """Which of the three error bodies to use; None takes them in turn, but for 429 and 401."""
    callee: Callee = field(default_factory=Callee)
    """The callee of a number that is not in `callees`."""
    callees: Mapping[str, Callee | tuple[Callee, ...]] = field(default_factory=dict)
    numbers: tuple[str, ...] = ("+911234567890",)
    """The account's own numbers."""
    wire_options: WireOptions = field(default_factory=WireOptions)
    hooks: HookHabits = field(default_factory=HookHabits)
    degraded_after_ms: float | None = None
    """Real time after which each stream is reported as degraded."""
    time_scale: float = 1.0
    """Factor on every wait of the carrier: ringing, Speak, Wait, pauses.  Media are in real time."""
    answer_deadline_s: float = 10.0
    answer_tries: int = 3
    hangup_delay_ms: float = 1000.0
    """From the end of a call to its Hangup webhook; about 5 s were captured."""
    after_room: Literal["next verb", "hangup"] = "next verb"
    """What becomes of a call in a `<Conference>` that another member has ended."""
    speech: Path = SPEECH
    wavs: Path | None = None
    """Record every stream into this folder: caller left, agent right."""

    @property
    def account(self) -> str:
        """The main account's id, as webhooks name it."""
        return self.parent_auth_id or self.auth_id
