"""What clients of `GET /v1/calls/<id>/events` read: these names are a contract, whatever the code calls its classes."""

import json

import pytest

from common.protocol import acts
from common.protocol import messages as m
from edge.http.event_names import EVENTS, to_event

pytestmark = pytest.mark.fast

CONTRACT = {
    "CallStarted": {"epoch", "edge", "at_ms", "heard"},
    "CallEnded": {"epoch", "reason", "at_ms", "heard"},
    "OwnerChanged": {"pool", "token", "owner", "at_ms"},
    "SpeechStarted": {"utterance", "position_ms", "at_ms", "token"},
    "SpeechEnded": {"utterance", "position_ms", "token"},
    "EagerUserTurn": {"utterance", "text", "stage_ms", "backchannel", "unsure"},
    "UserTurn": {"utterance", "text", "stage_ms", "unsure", "backchannel"},
    "ReplyStarted": {"turn", "utterance", "based_on", "inputs"},
    "ReplyReleased": {"turn", "stage_ms", "token"},
    "ReplyDiscarded": {"turn"},
    "Clause": {"turn", "clause", "text", "stage_ms", "fixed", "sound"},
    "ReplyEnded": {"turn", "clauses", "then"},
    "ClauseSynthesized": {"turn", "clause", "duration_ms", "char_timings", "epoch", "synthesized_chars"},
    "PlaybackStarted": {"turn", "at_ms", "stage_ms", "epoch"},
    "ClausePlayed": {"turn", "clause", "epoch"},
    "Interrupted": {"turn", "clause", "heard_ms", "utterance", "epoch"},
    "ReplyResumed": {"turn", "utterance", "epoch"},
    "ReplyPlayed": {"turn", "epoch"},
    "DtmfReceived": {"digit", "at_ms", "epoch"},
    "ToolsOffered": {"source", "tools", "options"},
    "KeysEntered": {"entry", "keys", "count", "turn", "n"},
    "ToolsCalled": {"turn", "first", "calls", "clauses", "refused"},
    "ToolSays": {"turn", "n", "text"},
    "ToolReturned": {"turn", "n", "outcome", "result", "took_ms"},
    "TransferUpdated": {"turn", "n", "state", "at_ms", "epoch"},
    "AgentChanged": {"turn", "name"},
    "UsageReported": {"pool", "provider", "amounts"},
}
"""Event -> fields of its JSON.  Changing a line here breaks the programs of others: add, and never rename."""

BUS_ONLY = {m.AudioStarted, m.AudioIn, m.AudioEnded, m.WordsDetected, m.AudioOut, m.ReplySynthesized, m.HangUp}
BUS_ONLY |= {m.CallOffered, acts.TransferCall, acts.SendKeys, acts.KeepKeysSecret}
"""Messages that are in no call's events."""


def made(kind: type) -> m.Message:
    return kind(*[1] * len(kind.__struct_fields__))  # checked when it is decoded, not when it is made


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_the_names_and_fields_are_those_of_the_contract(kind: type):
    event = to_event(made(kind))
    assert event is not None
    name, data = event
    assert set(json.loads(data)) == CONTRACT[name]


def test_every_event_is_in_the_contract_once_and_every_message_is_shown_or_bus_only():
    assert sorted(name for name, _ in EVENTS.values()) == sorted(CONTRACT)
    assert set(EVENTS) | BUS_ONLY == set(m.Message.__args__)
    assert not set(EVENTS) & BUS_ONLY


def test_what_is_bus_only_makes_no_event():
    assert to_event(m.CallOffered("c-1")) is None
