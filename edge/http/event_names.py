"""Names and fields of a call's events in the public API: server-sent events of `GET /v1/calls/<id>/events`.

Clients depend on these names, so they are written out here, and renaming a class changes nothing outside.  A name is
never changed or reused; events and fields may be added.  docs/bus.md says what each means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from common.protocol import acts
from common.protocol import messages as m

EVENTS: Mapping[type[m.Message], tuple[str, str]] = {
    m.CallStarted: ("CallStarted", "epoch edge at_ms heard"),
    m.CallEnded: ("CallEnded", "epoch reason at_ms heard"),
    m.OwnerChanged: ("OwnerChanged", "pool token owner at_ms"),
    m.SpeechStarted: ("SpeechStarted", "utterance position_ms at_ms token"),
    m.SpeechEnded: ("SpeechEnded", "utterance position_ms token"),
    m.EagerUserTurn: ("EagerUserTurn", "utterance text stage_ms backchannel unsure"),
    m.UserTurn: ("UserTurn", "utterance text stage_ms unsure backchannel"),
    m.ReplyStarted: ("ReplyStarted", "turn utterance based_on inputs"),
    m.ReplyReleased: ("ReplyReleased", "turn stage_ms token"),
    m.ReplyDiscarded: ("ReplyDiscarded", "turn"),
    m.Clause: ("Clause", "turn clause text stage_ms fixed sound"),
    m.ReplyEnded: ("ReplyEnded", "turn clauses then"),
    m.ClauseSynthesized: ("ClauseSynthesized", "turn clause duration_ms char_timings epoch synthesized_chars"),
    m.PlaybackStarted: ("PlaybackStarted", "turn at_ms stage_ms epoch"),
    m.ClausePlayed: ("ClausePlayed", "turn clause epoch"),
    m.Interrupted: ("Interrupted", "turn clause heard_ms utterance epoch"),
    m.ReplyResumed: ("ReplyResumed", "turn utterance epoch"),
    m.ReplyPlayed: ("ReplyPlayed", "turn epoch"),
    m.DtmfReceived: ("DtmfReceived", "digit at_ms epoch"),
    acts.ToolsOffered: ("ToolsOffered", "source tools options"),
    acts.KeysEntered: ("KeysEntered", "entry keys count turn n"),
    acts.ToolsCalled: ("ToolsCalled", "turn first calls clauses refused"),
    acts.ToolSays: ("ToolSays", "turn n text"),
    acts.ToolReturned: ("ToolReturned", "turn n outcome result took_ms"),
    acts.TransferUpdated: ("TransferUpdated", "turn n state at_ms epoch"),
    acts.AgentChanged: ("AgentChanged", "turn name"),
    m.UsageReported: ("UsageReported", "pool provider amounts"),
}
"""Message class -> the event's name and its JSON fields; `public=own` where the class names a field otherwise."""


def to_event(message: m.Message) -> tuple[str, str] | None:
    """The event's name and its data as JSON; None for a message that the API does not publish."""
    if (known := EVENTS.get(type(message))) is None:
        return None
    name, fields = known
    return name, json.dumps({field: getattr(message, field) for field in fields.split()}, ensure_ascii=False)
