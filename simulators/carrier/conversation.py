"""Simulates further parties of a call: the B leg of a `<Dial>`, and a `<Conference>`."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from simulators.carrier.causes import Cause, cause
from simulators.carrier.document import Conference, Dial, Speak
from simulators.carrier.fields import call_fields, dial_fields
from simulators.carrier.people import CAUSE_OF, Callee
from simulators.carrier.plan import Target
from simulators.carrier.record import Webhook

if TYPE_CHECKING:
    from simulators.carrier.phone_call import PhoneCall

CHARS_PER_S = 15.0
"""Speech is about 15 characters a second."""
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
        note = {"to": number, "status": "cancel", "uuid": leg["uuid"], "heard": []}
        self._call.record.dialled.append(note)
        try:
            await self._ring_and_talk(verb, leg, callee, note)
        except asyncio.CancelledError:  # the caller hung up, or the call was transferred
            leg["cause"] = cause(1000, "Caller")
            self._report_leg(verb, leg, "DialHangup")
            raise
        return {
            "DialStatus": note["status"],
            "DialRingStatus": str(callee.does not in ("fails", "unallocated")).lower(),
            "DialHangupCause": leg["cause"].text,
            "DialALegUUID": self._call.record.call_id,
            "DialBLegUUID": leg["uuid"] if note["status"] == "completed" else "",
        }

    async def _ring_and_talk(self, verb: Dial, leg: dict[str, Any], callee: Callee, note: dict[str, Any]) -> None:
        ring_s = verb.timeout_s if callee.does == "no-answer" else callee.ring_ms / 1000
        await self._call.pause(min(ring_s, verb.timeout_s))
        status = "no-answer" if ring_s > verb.timeout_s else STATUS_OF.get(callee.does, "completed")
        if status == "completed" and await self._confirmed(verb, leg, callee, note):
            await self._talk(verb, leg, callee)
        else:
            leg.setdefault("cause", cause(CAUSE_OF.get(callee.does, 3080), "Callee"))
            self._report_leg(verb, leg, "DialHangup")
            status = "failed" if status == "completed" else status
        note["status"] = status

    async def _confirmed(self, verb: Dial, leg: dict[str, Any], callee: Callee, note: dict[str, Any]) -> bool:
        """The callee picks up, hears `confirmSound`, and presses `confirmKey` if one is wanted."""
        self._report_leg(verb, leg, "DialAnswer")
        if verb.confirm_sound:
            target = Target(verb.confirm_sound, "POST")
            for spoken in await self._call.ask(target, "action", "DialConfirm"):
                if isinstance(spoken, Speak):
                    note["heard"].append(spoken.text)
                    await self._call.pause(len(spoken.text) / CHARS_PER_S)
        if verb.confirm_key and not callee.digits.startswith(verb.confirm_key):
            leg["cause"] = cause(9110, "Vobiz")
            return False
        return True

    async def _talk(self, verb: Dial, leg: dict[str, Any], callee: Callee) -> None:
        self._report_leg(verb, leg, "DialConnected")
        talk_s = min(callee.talk_ms / 1000, verb.limit_s)
        await self._call.pause(talk_s)
        leg["seconds"] = talk_s
        leg["cause"] = cause(4000 if callee.talk_ms / 1000 <= verb.limit_s else 6000, "Callee")
        self._report_leg(verb, leg, "DialHangup")

    def _report_leg(self, verb: Dial, leg: dict[str, Any], event: str) -> None:
        fields = dial_fields(self._call.record, leg, event)
        self._call.reports.put(Webhook("dial", verb.callback_url, verb.callback_method, fields))

    async def confer(self, verb: Conference) -> Cause | None:
        """Enter the room and stay while the callee talks; return the cause if the call ends with the conference.

        A call that leaves others behind hangs up: that is how a person leaves.  One that was alone goes on.
        """
        call, rooms = self._call, self._call.world.rooms
        room, member = rooms.enter(verb.room, call.record.call_id, verb.end_on_exit)
        about = {"ConferenceUUID": room.uuid, "ConferenceName": verb.room, "ConferenceMemberID": str(member.number)}
        first = str(len(room.members) == 1).lower()
        fields = call_fields(call.record, call.world.options.account, "ConferenceEnter", "in-progress")
        self._report_room(verb, fields | about | {"ConferenceAction": "enter", "ConferenceFirstMember": first})
        talking = asyncio.ensure_future(call.pause(min(call.callee.talk_ms / 1000, verb.limit_s)))
        ended = asyncio.ensure_future(member.ended.wait())
        try:
            await asyncio.wait({talking, ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            talking.cancel()
            ended.cancel()
            last = str(rooms.leave(verb.room, member)).lower()
            leave = {"Event": "ConferenceExit", "ConferenceAction": "exit", "ConferenceLastMember": last}
            self._report_room(verb, {"CallUUID": call.record.call_id, **about, **leave})
        if not member.ended.is_set():
            return cause(4000, call.party) if member.met else None
        return cause(4020, "Vobiz") if call.world.options.after_room == "hangup" else None

    def _report_room(self, verb: Conference, fields: dict[str, str]) -> None:
        self._call.reports.put(Webhook("conference", verb.callback_url, verb.callback_method, fields))
