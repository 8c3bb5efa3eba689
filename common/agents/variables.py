"""Fills in `{{name}}` and `{{name|default}}` in an agent's texts, for one call.

A value comes from the call (`POST /v1/calls`, `on_call`), else from the agent's file, else it is one of `BUILT_IN`,
else the default behind the `|`.  Braces are never spoken.

The date and the time change from call to call, and a language model reads a prompt faster and cheaper if its beginning
is the same as in the call before.  So in `instructions` their names refer to a last line, where they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import islice
from zoneinfo import ZoneInfo

from common.agents.model import (
    FAREWELL_CHARS_MAX,
    GREETING_CHARS_MAX,
    INSTRUCTIONS_CHARS_MAX,
    VARIABLES_MAX,
    Agent,
)
from common.numbers import HOME_CODE, international, readable

HOME_ZONE = "Asia/Kolkata"
BUILT_IN = frozenset({"caller", "called", "direction", "call_id", "now", "today", "time", "daypart"})
"""Names that have a value in every call; `caller` and `called` are empty if the number is withheld."""
IN_LAST_LINE = {
    "now": "the date and time at the end of these instructions",
    "today": "the date at the end of these instructions",
    "time": "the time at the end of these instructions",
}
"""What stands in `instructions` in place of what changes from minute to minute."""
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z0-9_]{1,64})\s*(\|[^{}]{0,500})?\}\}")

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = tuple(
    re.findall(r"\w+", "January February March April May June July August September October November December")
)
_HINDI_WEEKDAYS = ["सोमवार", "मंगलवार", "बुधवार", "गुरुवार", "शुक्रवार", "शनिवार", "रविवार"]
_HINDI_MONTHS = ["जनवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून", "जुलाई", "अगस्त", "सितंबर", "अक्टूबर", "नवंबर", "दिसंबर"]
_DAYPARTS = {0: "night", 5: "morning", 12: "afternoon", 17: "evening", 22: "night"}
_HINDI_DAYPARTS = {0: "रात", 5: "सुबह", 12: "दोपहर", 17: "शाम", 22: "रात"}


@dataclass(frozen=True, slots=True)
class CallBeginning:
    """What is known of a call when it begins."""

    call_id: str = ""
    caller: str = ""
    """The number that calls, as the carrier writes it; personal data."""
    called: str = ""
    direction: str = "inbound"
    at_s: float = 0.0
    """When it began, Unix time in s; 0: not known, and neither are date and time."""

    @property
    def own_number(self) -> str:
        """The deployment's number in this call."""
        return self.called if self.direction == "inbound" else self.caller


UNKNOWN_CALL = CallBeginning()
NO_VALUES: Mapping[str, str] = {}


def for_inbound(
    agent: Agent | None, call: CallBeginning = UNKNOWN_CALL, variables: Mapping[str, str] = NO_VALUES
) -> Agent | None:
    """The agent as it answers a call that comes in; `variables` are those of its `on_call`.  None stays None."""
    return with_variables(agent, variables, call) if agent is not None else None


def with_variables(agent: Agent, variables: Mapping[str, str], call: CallBeginning = UNKNOWN_CALL) -> Agent:
    """The agent for one call, with its greeting, farewell and instructions filled in.

    A name without a value becomes empty.  Its `variables` are those of the call, too, for its tools.  The version stays
    that of the file, because the variables belong to the call.
    """
    given = {**agent.variables, **variables}
    values = {**built_in(agent, call), **given}
    last = _last_line(agent, given, call)
    return replace(
        agent,
        greeting=_filled(agent.greeting, values)[:GREETING_CHARS_MAX],
        farewell=_filled(agent.farewell, values)[:FAREWELL_CHARS_MAX],
        instructions=_filled(agent.instructions, {**values, **IN_LAST_LINE, **given} if last else values)[
            : INSTRUCTIONS_CHARS_MAX - len(last)
        ]
        + last,
        variables=dict(islice({**variables, **agent.variables, **variables}.items(), VARIABLES_MAX)),
        others={name: with_variables(other, variables, call) for name, other in agent.others.items()},
    )


def missing_variables(agent: Agent, variables: Mapping[str, str]) -> list[str]:
    """The names in the agent's texts without a value from the call or the agent, in the order of their use.

    Those of the agents that it can reach follow.
    """
    text = f"{agent.greeting}\n{agent.farewell}\n{agent.instructions}"
    names = names_without_value(text, {**agent.variables, **variables})
    for other in agent.others.values():
        names += missing_variables(other, variables)
    return list(dict.fromkeys(names))


def names_without_value(text: str, values: Mapping[str, str]) -> list[str]:
    """The names in a text that have neither one of these values nor a default, and are not built in."""
    names = dict.fromkeys(found[1] for found in _VARIABLE.finditer(text) if found[2] is None)
    return [name for name in names if name not in values and name not in BUILT_IN]


def built_in(agent: Agent, call: CallBeginning) -> dict[str, str]:
    """The values of `BUILT_IN` for one call, those of them that are known."""
    values = {
        "caller": readable(call.caller),
        "called": readable(call.called),
        "direction": call.direction,
        "call_id": call.call_id,
    }
    if call.at_s:
        when = _when(agent, call)
        parts = _HINDI_DAYPARTS if _is_hindi(agent) else _DAYPARTS
        daypart = next(parts[hour] for hour in sorted(parts, reverse=True) if when.hour >= hour)
        date, time = _date(when, _is_hindi(agent)), f"{when:%H:%M}"
        values |= {"now": f"{date}, {time}", "today": date, "time": time, "daypart": daypart}
    return {name: text for name, text in values.items() if text}


def zone_of(agent: Agent, own_number: str) -> tzinfo:
    """The agent's time zone; by default India's for an Indian number of ours, else UTC."""
    name = agent.timezone or (HOME_ZONE if international(own_number).startswith(HOME_CODE) else "UTC")
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # a host without the names; reading.py has refused a wrong one
        return timezone(timedelta(hours=5, minutes=30), HOME_ZONE) if name == HOME_ZONE else UTC


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda found: values.get(found[1], (found[2] or "|")[1:].strip()), template)


def _last_line(agent: Agent, given: Mapping[str, str], call: CallBeginning) -> str:
    """The line with date and time, if the instructions name them and no value of the call's own takes their place."""
    named = {found[1] for found in _VARIABLE.finditer(agent.instructions)}
    if not call.at_s or not (named & IN_LAST_LINE.keys()) - given.keys():
        return ""
    when = _when(agent, call)
    return f"\n\nIt is {_date(when, False)}, {when:%H:%M} ({when.tzinfo})."


def _when(agent: Agent, call: CallBeginning) -> datetime:
    return datetime.fromtimestamp(call.at_s, zone_of(agent, call.own_number))


def _date(when: datetime, hindi: bool) -> str:
    weekdays, months = (_HINDI_WEEKDAYS, _HINDI_MONTHS) if hindi else (_WEEKDAYS, _MONTHS)
    return f"{weekdays[when.weekday()]}, {when.day} {months[when.month - 1]} {when.year}"


def _is_hindi(agent: Agent) -> bool:
    return agent.language.partition("-")[0].lower() == "hi"
