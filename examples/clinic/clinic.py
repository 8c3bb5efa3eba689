"""The tools of the agent `clinic`: one function, which books an appointment in a file."""

import os
import tempfile
import time
from pathlib import Path
from typing import Literal

from voice import Call, Failed, tool

BOOK = Path(os.environ.get("CLINIC_BOOK") or Path(tempfile.gettempdir()) / "clinic-appointments.txt")
HOURS = range(9, 18)
CALENDAR_S = 2.0
"""How long the clinic's calendar takes to confirm."""


# Not repeatable, which is the default: if the process dies while it runs, nobody knows whether the appointment is in
# the calendar, and the agent says so instead of booking twice.
@tool(timeout_s=20, meanwhile=["One moment, please.", "The calendar takes a little longer today."])
def book_appointment(call: Call, day: str, hour: int, name: str, doctor: Literal["shah", "rao"] = "shah") -> str:
    """Book an appointment. Ask for day, time and name first.

    Args:
        day: The day, as 2026-01-31.
        hour: The full hour, from 9 to 17.
        name: The name of the patient.
        doctor: The doctor who was asked for.
    """
    if hour not in HOURS:
        raise Failed(f"The clinic is open from {HOURS[0]} to {HOURS[-1] + 1}.")
    call.say("I am writing it into the calendar.")
    with BOOK.open("a", encoding="utf-8") as book:
        book.write(f"{day} {hour:02}:00 {doctor} {name} {call.key}\n")
    time.sleep(CALENDAR_S)
    return f"Booked: doctor {doctor.title()} at {hour} o'clock on {day}, for {name}."
