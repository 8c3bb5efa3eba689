"""Decides whether a call kills the workers that own it, from its record in each pool (`hold:<pool>`).  Pure.

The end of a hold is *clean* if its owner released it: the session was over, or was handed over (SIGTERM, a lost Redis).
Any other end counts: the owner crashed, stood still for longer than its lease, or its session raised an exception.

    TRUSTED ──two owners lost, the second soon after its claim; or three──▶ SUSPECT ◀──────────────────┐
       ▲                                                                      │ claimed alone          │ survives
       └──held for SURVIVED_MS without an end that counts                  ON_TRIAL ───────────────────┘
                                                                              │ its owner is lost again, soon
                                 CRASHES_MAX owners lost ────────────────▶ CONDEMNED: ended, never run again

When a worker dies, all its calls look alike.  So a first loss changes nothing, and any member with room takes them all.
A *suspect* is claimed after a pause, by a member that has no other suspect on trial and, if it has calls, is not the
last of its pool: its death then shows which call it was, and the calls that died beside it have survived elsewhere.  A
suspect that finds no such member waits TRIAL_WAIT_MS at most, because its caller hears nothing meanwhile.

`SCRIPT` is the same in Lua, for one step of Redis; tests/contract/test_suspicion.py compares the two.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

SURVIVED_MS = 60_000
"""A call that was held for so long, in ms, has not killed its owner; earlier losses no longer count."""
CRASHES_MAX = 6
"""The most owners that are lost in a row, however slowly the call kills them."""
TRIAL_MS = 2_000
"""An owner lost within this time of its claim, in ms, was killed by it; the time grows with the losses before."""
BACKOFF_MS = 500
"""Pause before a suspect is claimed again, in ms; doubled for each owner lost after the second."""
TRIAL_WAIT_MS = 12_000
"""The longest time, in ms, for which a suspect waits for a member without another suspect."""


class Suspect(Exception):
    """The call may kill its owner: claim it alone, or later.  The text names the owner that was lost last."""


class Take(Enum):
    """The calls that a member is willing to claim."""

    TRUSTED = "trusted"
    """Calls that are no suspects."""
    ALONE = "alone"
    """Suspects as well: this member has no other one on trial."""
    BESIDE = "beside"
    """Suspects that have waited too long as well, though another one is on trial here."""


class Left(Enum):
    """How an owner leaves a call.  A crash is not reported, and counts like FAILED."""

    CLEAN = "clean"
    FAILED = "failed"
    """The session raised an exception."""
    PASSED_ON = "passed on"
    """This member can reach no provider, and another one may."""


class Standing(IntEnum):
    """The standing of a call in one pool; the script uses the same numbers."""

    TRUSTED = 0
    SUSPECT = 1
    ON_TRIAL = 2
    CONDEMNED = 3


@dataclass(frozen=True, slots=True)
class LastOwner:
    """The owner of a call's newest claim in one pool."""

    token: int
    was_lost: bool
    """It vanished without a release: its lease ran out, and it is not the member that claims the call now."""
    seen_ms: float
    """When it last renewed its lease, in ms of the server's clock."""


@dataclass(slots=True)
class Hold:
    """The owners of a call in one pool (see the module docstring).  Times are ms of the server's clock."""

    token: int = 0
    """The token of the newest claim that was counted here."""
    began_ms: float = 0.0
    ended: int = 0
    """The token whose end was processed last."""
    crashes: int = 0
    standing: Standing = Standing.TRUSTED
    waits_ms: float = 0.0
    """Since when the call waits for an owner."""
    blamed: int = 0
    """The token whose end was counted as a loss last."""
    passed_on: bool = False

    @property
    def trial_ms(self) -> float:
        """How soon after a claim the loss of the owner is blamed on the call, in ms."""
        return TRIAL_MS * max(self.crashes - 1, 1)

    def claim(self, last: LastOwner, take: Take, now_ms: float) -> bool:
        """Process the end of the last owner and begin a hold.  False: not now (`Suspect`)."""
        if last.token > 0 and self.ended != last.token:
            # A claim that was not counted here was restored after a loss.
            self._end(last.token, last.was_lost and self.token == last.token, last.seen_ms, now_ms)
        if self.standing is Standing.SUSPECT:
            waited_ms = now_ms - self.waits_ms
            least_ms = TRIAL_WAIT_MS if take is Take.BESIDE else BACKOFF_MS * 2 ** max(self.crashes - 2, 0)
            if take is Take.TRUSTED or waited_ms < least_ms:
                return False
            # With other calls on this member, the loss of its owner proves little.
            self.standing = Standing.ON_TRIAL if take is Take.ALONE else Standing.TRUSTED
        self.token, self.began_ms = last.token + 1, now_ms
        return True

    def leave(self, token: int, newest: int, left: Left, now_ms: float) -> None:
        """Process a release by the owner with `token`, perhaps after it was replaced by the owner of `newest`."""
        if token == newest == self.token and self.ended != token:
            self._end(token, left is Left.FAILED, now_ms, now_ms)
            self.passed_on = left is Left.PASSED_ON
        elif token < newest and left is Left.CLEAN and self.blamed == token:
            self.crashes, self.blamed = self.crashes - 1, 0  # the owner was cut off, and did not die
            if self.crashes < 2 and self.standing is not Standing.ON_TRIAL:
                self.standing = Standing.TRUSTED

    def _end(self, token: int, counts: bool, seen_ms: float, now_ms: float) -> None:
        held_ms = max(seen_ms - self.began_ms, 0)
        if held_ms >= SURVIVED_MS and self.standing is not Standing.CONDEMNED:
            self.crashes, self.blamed, self.standing = 0, 0, Standing.TRUSTED
        on_trial = self.standing is Standing.ON_TRIAL
        if counts:
            soon = held_ms < self.trial_ms
            self.crashes += 1
            self.blamed = token
            if self.crashes >= CRASHES_MAX or (on_trial and soon):
                self.standing = Standing.CONDEMNED
            elif self.standing is not Standing.CONDEMNED:
                suspect = self.crashes >= 3 or (self.crashes == 2 and soon)
                self.standing = Standing.SUSPECT if suspect else Standing.TRUSTED
        elif on_trial:
            self.standing = Standing.SUSPECT if held_ms < self.trial_ms else Standing.TRUSTED
        self.ended, self.waits_ms = token, now_ms


_NUMBERS = "'token', 'began', 'ended', 'crashes', 'standing', 'waits', 'blamed', 'passed_on'"

SCRIPT = f"""
local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local NUMBERS = {{{_NUMBERS}}}
local function hold_of(pool)
  local hold, at = {{}}, 1
  for number in string.gmatch(redis.call('HGET', KEYS[1], 'hold:' .. pool) or '', '%d+') do
    if NUMBERS[at] then hold[NUMBERS[at]] = tonumber(number) end
    at = at + 1
  end
  for _, name in ipairs(NUMBERS) do hold[name] = hold[name] or 0 end
  return hold
end
local function keep(pool, hold)
  local numbers = {{}}
  for at, name in ipairs(NUMBERS) do numbers[at] = string.format('%.0f', hold[name]) end
  redis.call('HSET', KEYS[1], 'hold:' .. pool, table.concat(numbers, ' '))
end
local function trial_ms(hold) return {TRIAL_MS} * math.max(hold.crashes - 1, 1) end
local function finish(hold, token, counts, seen, now)
  local held = math.max(seen - hold.began, 0)
  if held >= {SURVIVED_MS} and hold.standing ~= 3 then hold.crashes, hold.blamed, hold.standing = 0, 0, 0 end
  local on_trial = hold.standing == 2
  if counts then
    local soon = held < trial_ms(hold)
    hold.crashes = hold.crashes + 1
    hold.blamed = token
    if hold.crashes >= {CRASHES_MAX} or (on_trial and soon) then
      hold.standing = 3
    elseif hold.standing ~= 3 then
      hold.standing = (hold.crashes >= 3 or (hold.crashes == 2 and soon)) and 1 or 0
    end
  elseif on_trial then
    hold.standing = held < trial_ms(hold) and 1 or 0
  end
  hold.ended, hold.waits = token, now
end
"""

# Keys: the state, the pool's leases.  Arguments: pool, owner, the lease's life in ms, which calls are claimed, ms after
# which a call that its owner did not confirm is free, ms for which old leases are kept.  The lease is written first: if
# it cannot be, nothing is claimed.
CLAIM = f"""{SCRIPT}
local pool, now = ARGV[1], now_ms()
local known = redis.call('HMGET', KEYS[1], 'status', 'token:' .. pool, 'owner:' .. pool, 'seen:' .. pool)
if known[1] ~= 'live' then return {{0, 'over'}} end
local token, owner = tonumber(known[2] or '0') or 0, known[3]
local lease = owner and tonumber(redis.call('ZSCORE', KEYS[2], owner) or '0') or 0
if owner and owner ~= ARGV[2] and lease > now and now - (tonumber(known[4] or '0') or 0) < tonumber(ARGV[5]) then
  return {{0, 'held'}}
end
local hold = hold_of(pool)
if token > 0 and hold.ended ~= token then
  local lost = owner and owner ~= ARGV[2] and lease <= now
  finish(hold, token, lost and hold.token == token, lease - ARGV[3], now)
  keep(pool, hold)
end
if hold.standing == 1 then
  local least = ARGV[4] == 'beside' and {TRIAL_WAIT_MS} or {BACKOFF_MS} * 2 ^ math.max(hold.crashes - 2, 0)
  if ARGV[4] == 'trusted' or now - hold.waits < least then return {{0, 'suspect', owner or ''}} end
  hold.standing = ARGV[4] == 'alone' and 2 or 0
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[2])
redis.call('PEXPIRE', KEYS[2], ARGV[6])
local passed_on = hold.passed_on
token = redis.call('HINCRBY', KEYS[1], 'token:' .. pool, 1)
redis.call('HSET', KEYS[1], 'owner:' .. pool, ARGV[2], 'seen:' .. pool, string.format('%.0f', now))
hold.token, hold.began, hold.passed_on = token, now, 0
keep(pool, hold)
return {{token, redis.call('HGETALL', KEYS[1]), hold.standing, hold.crashes, passed_on}}
"""

# Key: the state.  Arguments: pool, token, owner, how the call is left.
RELEASE = f"""{SCRIPT}
local newest = redis.call('HMGET', KEYS[1], 'token:' .. ARGV[1], 'owner:' .. ARGV[1])
if not newest[1] then return 0 end
local hold, token, now = hold_of(ARGV[1]), tonumber(ARGV[2]), now_ms()
if newest[1] == ARGV[2] and newest[2] == ARGV[3] then
  if hold.token == token and hold.ended ~= token then
    finish(hold, token, ARGV[4] == 'failed', now, now)
    hold.passed_on = ARGV[4] == 'passed on' and 1 or 0
    keep(ARGV[1], hold)
  end
  return redis.call('HDEL', KEYS[1], 'owner:' .. ARGV[1])
elseif token < tonumber(newest[1]) and ARGV[4] == 'clean' and hold.blamed == token then
  hold.crashes, hold.blamed = hold.crashes - 1, 0
  if hold.crashes < 2 and hold.standing ~= 2 then hold.standing = 0 end
  keep(ARGV[1], hold)
end
return 0
"""
