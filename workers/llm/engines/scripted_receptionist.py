"""`local/receptionist`: a SCRIPTED receptionist.  Patterns and fixed sentences; no language model, no intelligence.

It lets the platform be tried, tested and benchmarked without a key and without a network: the same streams, clauses,
interruptions and tools as with a real model, and always the same answers.  It knows one clinic, in English, ignores the
agent's instructions, and "notes" appointments nowhere but in the conversation.  It says so when it is asked.

It is a pure function of the dialogue: the caller's turns are replayed through `_Talk` from the first to the last, so
any LLM worker can take over at any turn and gives the same reply.  What the caller did not hear of earlier replies
therefore changes nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workers.llm.engines.appointment_words import find_day, find_name, find_time, plain, say_time
from workers.providers.interfaces import ChatMessage, Piece, ToolCall, after

log = logging.getLogger(__name__)

END_CALL = "end_call"
LINE_CHARS_MAX = 500
STOP_WORDS_MAX = 8


@dataclass(frozen=True, slots=True)
class Facts:
    """All facts of the receptionist.  Times are minutes from midnight."""

    clinic: str = "Sunrise Dental Clinic"
    weekdays: tuple[int, int] = (9 * 60, 18 * 60)
    saturday: tuple[int, int] = (10 * 60, 14 * 60)
    address: str = "12 Lake Road, on the ground floor, opposite the city library"
    parking: str = "behind the building"
    checkup: str = "five hundred rupees"
    cleaning: str = "twelve hundred rupees"

    @property
    def hours_answer(self) -> str:
        return (
            f"We are open from Monday to Friday, from {_span(self.weekdays)}. "
            f"On Saturdays we are open for a shorter time, from {_span(self.saturday)}. "
            "On Sundays and on public holidays the clinic is closed, but you can call me at any time."
        )

    @property
    def address_answer(self) -> str:
        return f"You find us at {self.address}. There is parking {self.parking}."

    @property
    def prices_answer(self) -> str:
        return (
            f"A check-up costs {self.checkup}, and a cleaning {self.cleaning}. "
            "For anything else, the dentist tells you the price after a check-up."
        )

    @property
    def honest_answer(self) -> str:
        return (
            f"I am the automated receptionist of {self.clinic}, and I follow a script. "
            "For everything that I cannot answer, please ask at the front desk during opening hours."
        )

    @property
    def greeting(self) -> str:
        return f"Hello, this is {self.clinic}. How can I help you?"

    @property
    def farewell(self) -> str:
        return f"Thank you for calling {self.clinic}. Goodbye!"


FACTS = Facts()
ANYTHING_ELSE = "Is there anything else I can help you with?"
OF_COURSE = "Of course. How can I help?"
ABILITIES = (
    "I can tell you our opening hours, our address and our prices, or note an appointment for you. "
    "Which of these would you like?"
)


@dataclass(frozen=True, slots=True)
class ScriptedAnswer:
    """One reply.  `ends_call`: it is a farewell, and the call ends after it."""

    text: str
    ends_call: bool = False


def answer(dialogue: Sequence[ChatMessage], facts: Facts = FACTS) -> ScriptedAnswer:
    """Return the receptionist's reply to `dialogue` (OpenAI chat messages; only the caller's count)."""
    talk = _Talk(facts)
    given = ScriptedAnswer(facts.greeting)
    for message in dialogue:
        content = message.get("content")
        if message.get("role") == "user" and isinstance(content, str) and content.strip():
            given = talk.take(content[:LINE_CHARS_MAX])
    return given


class Receptionist:
    """Implements `LanguageModel` with `answer`."""

    def __init__(self, facts: Facts = FACTS) -> None:
        self._facts = facts
        self._announced = False

    async def warm(self) -> None:
        """Log once that this is a script."""
        if not self._announced:
            log.warning("local/receptionist answers: a script, no language model; set OPENAI_API_KEY for one")
            self._announced = True

    async def aclose(self) -> None:
        """Does nothing: there is nothing to free."""

    async def reply(
        self, dialogue: Sequence[ChatMessage], tools: Sequence[dict[str, Any]] = (), prefix: str = ""
    ) -> AsyncIterator[Piece]:
        """See `LanguageModel.reply`.  Streams word by word, as a real model does; never waits.

        The farewell calls `end_call`, if that is among `tools`.  After a tool's result the reply is empty.
        """
        if dialogue and dialogue[-1].get("role") == "tool":
            return
        given = answer(dialogue, self._facts)
        for word in re.findall(r"\S+\s*", after(prefix, given.text)):
            yield word
        if given.ends_call and any(_tool_name(tool) == END_CALL for tool in tools):
            yield ToolCall(f"{END_CALL}-{len(dialogue)}", END_CALL, "{}")


# --- understanding -------------------------------------------------------------------------------------------------


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(patterns)})\b")


GOODBYE = _any(
    r"good ?(?:bye|by|buy)", "bye", "bye bye", r"that(?:'s| is) all(?! right)", "hang up", "see you", "have a nice day"
)
REPEAT = _any(
    "repeat", r"say (?:that|it|this) again", "once more", "pardon", "come again", "what did you say",
    r"(?:didn't|did not|couldn't) (?:catch|hear|get|understand)",
)  # fmt: skip
CANCEL = _any(r"cancel", "never ?mind", r"forget (?:it|about|that)", r"(?:do not|don't) (?:want|need) (?:it|an|the)")
CHANGE = _any("change", "reschedule", r"(?:an)?other (?:day|time)", "different", "wrong", "not right", "incorrect")
BOOK = _any(
    r"book(?:ing)?", r"a? ?p+ointments?", "schedule", "reserv(?:e|ation)", "(?:see|visit) (?:a|the) (?:dentist|doctor)",
    "come in",
)  # fmt: skip
PAIN = _any(r"pain(?:ful)?", "(?:tooth|teeth) (?:hurts?|aches?)", "toothache", "ache", "hurts?")
EMERGENCY = _any("emergency", r"bleed(?:s|ing)?", "accident", "ambulance")
STOP = _any(
    "wait",
    "weight",
    "stop",
    "hold on",
    "hang on",
    r"(?:one|a) (?:moment|second|minute)",
    "pause",
    "enough",
    "quiet",
    "listen",
)
THANKS = _any(r"thanks?", "thank you", "cheers", "great", "perfect")
HELLO = _any("hello", "hi", "hey", "good (?:morning|afternoon|evening)", "namaste", "are you there")
YES = re.compile(r"(?:yes|yeah|yep|yup|sure|ok(?:ay)?|correct|right|please|that's right|of course| )+")
NO = re.compile(
    r"(?=.*\b(?:no|nope|nah|nothing|not|fine|good)\b)"
    r"(?:no|nope|nah|nothing|not|now|else|more|thanks?|thank you|i'm|fine|good| )+"
)

TOPICS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        _any(
            r"open(?:s|ing)?(?! to\b)", r"hours", r"opening ?(?:hours?|ours?)", r"clos(?:es?|ed|ing)(?! (?:to|by)\b)",
            r"timings?", r"what time do you", r"when (?:are|do) you",
        ),
        "hours_answer",
    ),
    (
        _any(
            "where", "ad+ress", "(?:a|your) dress", "locat(?:ed|ion)", "directions?",
            "how (?:do|can) i (?:get|reach|find)", "find you", "which (?:road|street)", "park(?:ing)?",
        ),
        "address_answer",
    ),
    (_any(r"prices?", r"costs?", "how much", r"fees?", r"charges?", "expensive", "rupees"), "prices_answer"),
    (
        _any(r"who are you", r"robot", r"human", r"real person", "operator", "machine", "computer", "automated"),
        "honest_answer",
    ),
)  # fmt: skip


class _Talk:
    """The state of the conversation that the script uses: the appointment, and the last question."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._open = False  # an appointment is being made
        self._noted = False
        self._day = ""
        self._time: int | None = None
        self._name = ""
        self._asked_more = False
        self._last = ScriptedAnswer(facts.greeting)

    def take(self, text: str) -> ScriptedAnswer:
        """Take one turn of the caller and return the reply."""
        words = plain(text)
        asked_more, self._asked_more = self._asked_more, False
        given = self._answer(text, words, asked_more)
        if _stops(text):  # a turn may hold both a question and the stop before its answer was heard
            given = ScriptedAnswer(OF_COURSE)
        if given.text != OF_COURSE:  # "Wait, stop. … What did you say?" asks for what was said before the stop
            self._last = given
        self._asked_more = given.text.endswith(ANYTHING_ELSE)
        return given

    def _answer(self, text: str, words: str, asked_more: bool) -> ScriptedAnswer:
        if GOODBYE.search(words) or (asked_more and NO.fullmatch(words)):
            return ScriptedAnswer(self._facts.farewell, ends_call=True)
        if REPEAT.search(words):
            return self._last
        if EMERGENCY.search(words):
            return ScriptedAnswer("In an emergency, please go to the nearest hospital at once. " + ANYTHING_ELSE)
        if (self._open or self._noted) and (CANCEL.search(words) or (self._open and words in ("no", "nope"))):
            self._forget()
            return ScriptedAnswer("All right, I have noted no appointment. " + ANYTHING_ELSE)
        if topics := self._topics(words):
            self._open = self._open or (BOOK.search(words) is not None and not self._noted)
            return ScriptedAnswer(f"{topics} {self._question()}".strip())
        return self._appointment(text, words) or self._small_talk(text, words)

    def _topics(self, words: str) -> str:
        answers = [str(getattr(self._facts, name)) for pattern, name in TOPICS if pattern.search(words)]
        return " ".join(answers[:2])

    def _appointment(self, text: str, words: str) -> ScriptedAnswer | None:
        """Update the appointment from the turn; None if the turn is about something else."""
        wanted = BOOK.search(words) or PAIN.search(words)
        going = self._open or self._noted
        day, rest = find_day(words)
        time = find_time(rest, loose=bool(day) or (going and len(rest.split()) <= STOP_WORDS_MAX))
        change = going and CHANGE.search(words)
        if change and not day and time is None:
            self._day, self._time = "", None
        elif not (wanted or (day and time is not None) or (going and (day or time is not None))):
            return self._named(text, words)
        sorry = "I am sorry to hear that. " if PAIN.search(words) else ""
        started = "Of course. " if not self._open and not sorry else ""
        if self._noted and wanted and not change and not day and time is None:
            return ScriptedAnswer(
                f"I have noted you for {self._when()}. Would you like to change it, or is there anything else?"
            )
        self._open, self._noted = True, False
        self._day = day or self._day
        self._time = time if time is not None else self._time
        self._name = find_name(text, awaited=False) or self._name
        return self._next(sorry or started)

    def _named(self, text: str, words: str) -> ScriptedAnswer | None:
        """Handle a turn that may be only a name; None if it is not."""
        awaited = self._open and bool(self._day) and self._time is not None and not self._name
        busy = STOP.search(words) or THANKS.search(words) or HELLO.search(words)
        name = find_name(text, awaited=awaited and not busy)
        if not name:
            return None
        self._name = name
        if self._open or self._noted:
            self._open, self._noted = True, False
            return self._next("")
        return ScriptedAnswer(f"Hello {name}. How can I help you?")

    def _next(self, lead: str) -> ScriptedAnswer:
        """Return the next step of the appointment: a correction, a question, or the confirmation."""
        if self._day.lower().endswith("sunday"):
            self._day = ""
            return ScriptedAnswer(f"{lead}We are closed on Sundays. {self._question()}")
        opens, closes = self._facts.saturday if self._day.lower().endswith("saturday") else self._facts.weekdays
        if self._time is not None and not opens <= self._time < closes:
            self._time = None
            return ScriptedAnswer(f"{lead}We are open from {_span((opens, closes))} then. {self._question()}")
        if question := self._question():
            return ScriptedAnswer(f"{lead}{question}")
        self._open, self._noted = False, True
        return ScriptedAnswer(
            f"Thank you, {self._name}. I have noted your appointment for {self._when()}. {ANYTHING_ELSE}"
        )

    def _question(self) -> str:
        """Return the question for what is missing; empty if nothing is, or if no appointment is being made."""
        if not self._open:
            return ""
        if not self._day and self._time is None:
            return "Which day and what time would suit you for the appointment?"
        if not self._day:
            return "On which day would you like to come?"
        if self._time is None:
            return f"At what time would you like to come {self._day}?"
        return "" if self._name else f"That is {self._when()}. May I have your name, please?"

    def _small_talk(self, text: str, words: str) -> ScriptedAnswer:
        if question := self._question():
            lead = "" if YES.fullmatch(words) or THANKS.search(words) else "Sorry, I did not understand that. "
            return ScriptedAnswer(lead + question)
        if YES.fullmatch(words):
            return ScriptedAnswer("Gladly. " + ABILITIES)
        if THANKS.search(words):
            return ScriptedAnswer("You are welcome. " + ANYTHING_ELSE)
        if HELLO.search(words) and len(words.split()) <= STOP_WORDS_MAX:
            return ScriptedAnswer("Hello! How can I help you?")
        return ScriptedAnswer("I am sorry, I did not understand that. " + ABILITIES)

    def _when(self) -> str:
        return f"{self._day} at {say_time(self._time or 0)}".removeprefix("on ")

    def _forget(self) -> None:
        self._open = self._noted = False
        self._day, self._time = "", None


def _stops(text: str) -> bool:
    """True if the turn ends with a sentence that says nothing but "stop"."""
    last = plain(re.split(r"(?<=[.?!])\s", text.strip())[-1])
    if not STOP.search(last) or len(last.split()) > STOP_WORDS_MAX or BOOK.search(last) or GOODBYE.search(last):
        return False
    day, rest = find_day(last)
    return not day and find_time(rest, loose=False) is None and not any(topic.search(last) for topic, _ in TOPICS)


def _span(times: tuple[int, int]) -> str:
    return f"{say_time(times[0])} to {say_time(times[1])}"


def _tool_name(tool: Mapping[str, Any]) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, Mapping) else None
