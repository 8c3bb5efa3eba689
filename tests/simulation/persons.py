"""The persons to whom callers are transferred, and what they do when they are rung.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from common.agents.acts import TransferTarget

OUR_NUMBER = "+911234567890"
CALLER_NUMBER = "+911234567891"
TRANSFER = "x"
"""A caller's word that begins so asks for a person."""
RING_S = 8
"""How long an agent's target may ring, in seconds."""


class PersonDoes:
    """What a person does who is rung."""

    ANSWERS = "answers"
    BUSY = "busy"
    NO_ANSWER = "no answer"
    DECLINES = "declines"
    FAILS = "failed"


@dataclass(frozen=True, slots=True)
class RungPerson:
    """One person, for the caller's word that asks for them."""

    word: str
    number: str
    mode: str
    does: str
    ring_s: float
    talk_s: float
    key: str
    """What they press when they are asked whether they take the call; empty: nothing."""

    def target(self) -> TransferTarget:
        """The person as an agent's file names them."""
        return TransferTarget(self.number, mode=self.mode, ring_s=RING_S)  # type: ignore[arg-type]


def draw_person(random: Random, word: str, number: int) -> RungPerson:
    """What this one does."""
    does = random.choice(
        (PersonDoes.ANSWERS,) * 5 + (PersonDoes.BUSY, PersonDoes.NO_ANSWER, PersonDoes.DECLINES, PersonDoes.FAILS)
    )
    return RungPerson(
        word,
        f"+9112345{number:05}",
        random.choice(("cold", "warm")),
        does,
        float(RING_S + 5) if does == PersonDoes.NO_ANSWER else random.uniform(0.2, 6.0),
        random.choice((0.2, random.uniform(0.5, 2.5), random.uniform(4.0, 12.0))),
        random.choice(("1", "1", "1", "2", "", "7")),
    )


DIAL_STATUS = {
    PersonDoes.ANSWERS: "completed",
    PersonDoes.BUSY: "busy",
    PersonDoes.NO_ANSWER: "no-answer",
    PersonDoes.DECLINES: "failed",
    PersonDoes.FAILS: "failed",
}
DIAL_CAUSES = {
    PersonDoes.ANSWERS: "NORMAL_CLEARING",
    PersonDoes.BUSY: "USER_BUSY",
    PersonDoes.NO_ANSWER: "NO_ANSWER",
    PersonDoes.DECLINES: "CALL_REJECTED",
    PersonDoes.FAILS: "SERVER_ERROR",
}
CODES = {PersonDoes.BUSY: "3010", PersonDoes.NO_ANSWER: "6010", PersonDoes.DECLINES: "3020", PersonDoes.FAILS: "3080"}
"""Hangup causes of a call to a person who is not reached."""
