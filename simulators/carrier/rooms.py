"""Holds the conference rooms of the carrier and who is in them.  Pure.

What follows a conference that another member has ended is disputed between the documents; `CarrierOptions.after_room`
says which of the two this carrier does.
"""

import asyncio
import uuid
from dataclasses import dataclass, field


@dataclass(slots=True)
class Member:
    """One call in a room."""

    call_id: str
    number: int
    ends_on_exit: bool
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when another member has ended the conference."""
    met: bool = False
    """Whether it was ever with another member."""


@dataclass(slots=True)
class Room:
    """A conference; it exists while somebody is in it."""

    uuid: str = field(default_factory=lambda: str(uuid.uuid4()))
    members: list[Member] = field(default_factory=list)
    count: int = 0


@dataclass(slots=True)
class Rooms:
    """All rooms by name; `meetings` lists who has met whom, for tests."""

    rooms: dict[str, Room] = field(default_factory=dict)
    meetings: list[tuple[str, str]] = field(default_factory=list)

    def enter(self, name: str, call_id: str, ends_on_exit: bool) -> tuple[Room, Member]:
        """Put a call into the room."""
        room = self.rooms.setdefault(name, Room())
        room.count += 1
        member = Member(call_id, room.count, ends_on_exit)
        for other in room.members:
            other.met = member.met = True
            self.meetings.append((other.call_id, call_id))
        room.members.append(member)
        return room, member

    def leave(self, name: str, member: Member) -> bool:
        """Take a member out; True if it was the last.  With `endConferenceOnExit` the others leave as well."""
        room = self.rooms.get(name)
        if room is None or member not in room.members:
            return True
        room.members.remove(member)
        if member.ends_on_exit:
            for other in room.members:
                other.ended.set()
        if not room.members:
            del self.rooms[name]
        return not room.members
