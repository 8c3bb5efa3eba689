"""Simulates further parties of a call: the B leg of a `<Dial>`, and a `<Conference>`."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from simulators.carrier.causes import cause
from simulators.carrier.document import Conference, Dial
from simulators.carrier.fields import call_fields, dial_fields
from simulators.carrier.people import CAUSE_OF, Callee
from simulators.carrier.record import Webhook

if TYPE_CHECKING:
    from simulators.carrier.phone_call import PhoneCall

STATUS_OF = {"busy": "busy", "no-answer": "no-answer", "rejects": "failed", "unallocated": "failed", "fails": "failed"}


class Joint:
    """Joins one call with other parties."""

    def __init__(self, call: PhoneCall) -> None:
        self._call = call

    async def dial(self, verb: Dial) -> dict[str, str]:
        """Ring the numbers and talk if one answers; return the fields of the dial action."""
        people = self._call.world.people
        rung = [(number, people.next_for(number)) for number in verb.numbers]
        # All ring at once: the callee with the shortest ringing time answers.
        answering = [pair for pair in rung if pair[1].does in ("answers", "machine")]
        number, callee = min(answering or rung, key=lambda pair: pair[1].ring_ms)
        leg: dict[str, Any] = {
            "uuid": str(uuid.uuid4()),
            "from": verb.caller_id or self._call.record.from_number,
            "to": number,
            "seconds": 0.0,
        }
        ring_s = verb.timeout_s if callee.does == "no-answer" else callee.ring_ms / 1000
        await self._call.pause(min(ring_s, verb.timeout_s))
        status = "no-answer" if ring_s > verb.timeout_s else STATUS_OF.get(callee.does, "completed")
        if status == "completed":
            await self._talk(verb, leg, callee)
        else:
            leg["cause"] = cause(CAUSE_OF.get(callee.does, 3080), "Callee")
            self._report_leg(verb, leg, "DialHangup")
        self._call.record.dialled.append({"to": number, "status": status, "uuid": leg["uuid"]})
        return {
            "DialStatus": status,
            "DialRingStatus": str(callee.does not in ("fails", "unallocated")).lower(),
            "DialHangupCause": leg["cause"].text,
            "DialALegUUID": self._call.record.call_id,
            "DialBLegUUID": leg["uuid"] if status == "completed" else "",
        }

    async def _talk(self, verb: Dial, leg: dict[str, Any], callee: Callee) -> None:
        self._report_leg(verb, leg, "DialAnswer")
        self._report_leg(verb, leg, "DialConnected")
        talk_s = min(callee.talk_ms / 1000, verb.limit_s)
        await self._call.pause(talk_s)
        leg["seconds"] = talk_s
        leg["cause"] = cause(4000 if callee.talk_ms / 1000 <= verb.limit_s else 6000, "Callee")
        self._report_leg(verb, leg, "DialHangup")

    def _report_leg(self, verb: Dial, leg: dict[str, Any], event: str) -> None:
        fields = dial_fields(self._call.record, leg, event)
        self._call.reports.put(Webhook("dial", verb.callback_url, verb.callback_method, fields))

    async def confer(self, verb: Conference) -> None:
        """Enter the room, stay while the callee talks, and leave."""
        member = {"ConferenceUUID": str(uuid.uuid4()), "ConferenceName": verb.room, "ConferenceMemberID": "1"}
        fields = call_fields(self._call.record, self._call.world.options.account, "ConferenceEnter", "in-progress")
        enter = {"ConferenceAction": "enter", "ConferenceFirstMember": "true"}
        self._call.reports.put(Webhook("conference", verb.callback_url, verb.callback_method, fields | member | enter))
        await self._call.pause(self._call.callee.talk_ms / 1000)
        leave = {"Event": "ConferenceExit", "ConferenceAction": "exit", "ConferenceLastMember": "true"}
        self._call.reports.put(
            Webhook(
                "conference",
                verb.callback_url,
                verb.callback_method,
                {"CallUUID": self._call.record.call_id, **member, **leave},
            )
        )
