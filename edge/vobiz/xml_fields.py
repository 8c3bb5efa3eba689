"""Types and rules of the fields of XML verbs.  The verbs are in edge/vobiz/xml.py.

A verb is a frozen dataclass on `Element`.  Its annotations are its grammar: a `bool`, a `Literal`, or a type of this
file is checked when the verb is built, and written as an attribute with the field's name in camel case, without the
unit (`max_length_s` is `maxLength`); a type marked `CONTENT` is the element's text; anything else holds verbs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cache
from types import MappingProxyType, NoneType
from typing import Annotated, Any, Literal, TypeAlias, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from edge.vobiz.numbers import dialled

URL_CHARS_MAX = 2048
HEADERS_BYTES_MAX = 512
HINTS_MAX = 500
HINTS_CHARS_MAX = 10_000
CALL_S_MAX = 86_400
"""Vobiz ends every call after a day."""

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPELT = {"relay_dtmf": "relayDTMF", "asynchronous": "async"}
_NEEDS = {
    "method": "action",
    "callback_method": "callback_url",
    "status_callback_method": "status_callback_url",
    "interim_speech_results_callback_method": "interim_speech_results_callback",
    "transcription_type": "transcription_url",
    "transcription_method": "transcription_url",
    "confirm_key": "confirm_sound",
    "confirm_timeout_s": "confirm_sound",
    "wait_method": "wait_sound",
    "send_on_preanswer": "send_digits",
    "record_file_format": "record",
    "min_silence_ms": "silence",
}
"""Fields that have no effect unless another one is set, where a verb has both."""


class BadXml(ValueError):
    """The XML is invalid or would not do what it says; the text says what to write instead."""


def spelt(value: object) -> str:
    """Spell an attribute's value as Vobiz reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return ",".join(f"{name}={text}" for name, text in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def spoken(text: str) -> str:
    """Remove characters that XML cannot hold; XML parsers normalise line ends themselves."""
    return _FORBIDDEN.sub("", text)


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of a value: a description for errors, a check, and its spelling."""

    expected: str
    allows: Callable[[Any], bool]
    spell: Callable[[Any], str] = spelt


CONTENT = "content"
"""Marks the field that is the element's text instead of an attribute."""


def whole(least: int, most: int | None = None) -> Rule:
    """A whole number from `least` to `most`, both included."""
    expected = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    return Rule(expected, lambda value: type(value) is int and least <= value and (most is None or value <= most))


def like(pattern: str, expected: str) -> Rule:
    """A text that matches the whole pattern."""
    shape = re.compile(pattern)
    return Rule(expected, lambda value: isinstance(value, str) and shape.fullmatch(value) is not None)


def _each(pattern: str, expected: str) -> Rule:
    shape = re.compile(pattern)

    def allows(value: object) -> bool:
        if not isinstance(value, tuple) or not all(isinstance(item, str) and shape.fullmatch(item) for item in value):
            return False
        return 0 < len(value) <= HINTS_MAX and len(spelt(value)) <= HINTS_CHARS_MAX

    return Rule(expected, allows)


def pairs(characters: str) -> Rule:
    """Names and values, written `k=v,k2=v2`.  Vobiz does not encode them: a space or a plus sign can break the call."""
    shape = re.compile(f"[{characters}]+")

    def allows(value: object) -> bool:
        if not isinstance(value, Mapping) or not 0 < len(spelt(value)) <= HEADERS_BYTES_MAX:
            return False
        return all(isinstance(text, str) and shape.fullmatch(text) for pair in value.items() for text in pair)

    return Rule(f"names and values of {characters} alone, at most {HEADERS_BYTES_MAX} bytes together", allows)


def url_of(*schemes: str, word: str = "") -> Rule:
    """A full URL with a host, or the one word `word`."""

    def allows(value: object) -> bool:
        if not isinstance(value, str) or len(value) > URL_CHARS_MAX or not re.fullmatch(r"[!-~]+", value):
            return False
        try:
            parts = urlsplit(value)
            return value == word or (parts.scheme in schemes and bool(parts.hostname) and parts.port != 0)
        except ValueError:  # brackets that do not match, or a port out of range
            return False

    expected = f"a full {schemes[0]}:// URL of at most {URL_CHARS_MAX} ASCII characters without spaces"
    return Rule(expected + (f", or {word!r}" if word else ""), allows)


def _is_line(value: object) -> bool:
    # A line break in an attribute would be read as a space.
    return isinstance(value, str) and bool(value.strip()) and not re.search(r"[\t\n\r]|" + _FORBIDDEN.pattern, value)


def _is_phone(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\+?[0-9]{3,15}", _digits(value)) is not None


def _digits(number: str) -> str:
    """The digits of a number that is written with separators, or with the 0 that only callers at home dial."""
    try:
        return dialled(number)
    except ValueError:
        return re.sub(r"[ ()-]", "", number)


WsUrl: TypeAlias = Annotated[str, url_of("wss", "ws")]
HttpUrl: TypeAlias = Annotated[str, url_of("https", "http")]
Positive: TypeAlias = Annotated[int, whole(1)]
Loop: TypeAlias = Annotated[int, whole(0)]
WithinCall: TypeAlias = Annotated[int, whole(1, CALL_S_MAX)]
SecondsOrAuto: TypeAlias = Annotated[
    int | Literal["auto"],
    Rule("2 to 10, or 'auto'", lambda value: value == "auto" or (type(value) is int and 2 <= value <= 10)),
]
Text: TypeAlias = Annotated[
    str, Rule("text that is not blank", lambda value: isinstance(value, str) and bool(spoken(value).strip()), spoken)
]
Line: TypeAlias = Annotated[str, Rule("one line of text that is not blank", _is_line)]
Language: TypeAlias = Annotated[str, like(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", "a tag such as 'en-IN'")]
Voice: TypeAlias = Annotated[str, like(r"WOMAN|MAN|Polly\.[A-Za-z0-9-]+", "WOMAN, MAN or Polly.<name>")]
Phone: TypeAlias = Annotated[str, Rule("a phone number such as '+911234567890'", _is_phone, _digits)]
SipUri: TypeAlias = Annotated[str, like(r"sips?:[!-~]{1,250}", "a URI such as 'sip:agent@example.com'")]
Key: TypeAlias = Annotated[str, like(r"[0-9*#]", "one key: 0-9, * or #")]
Keys: TypeAlias = Annotated[str, like(r"[0-9*#]{1,12}", "keys: 0-9, * and #")]
Patterns: TypeAlias = Annotated[tuple[str, ...], _each(r"[0-9*#]+", "a tuple of key sequences: 0-9, * and #")]
SendDigits: TypeAlias = Annotated[str, like(r"[0-9*#w]+", "keys 0-9, * and #, and w for half a second")]
SipHeaders: TypeAlias = Annotated[Mapping[str, str], pairs("A-Za-z0-9")]
Hints: TypeAlias = Annotated[
    tuple[str, ...], _each(r"[^,\x00-\x1f\ud800-\udfff\ufffe\uffff]{1,100}", "a tuple of phrases without commas")
]

Method: TypeAlias = Literal["GET", "POST"]
FileFormat: TypeAlias = Literal["mp3", "wav"]


@dataclass(frozen=True, slots=True)
class Written:
    """The spelling of one field in XML."""

    rule: Rule
    attribute: str
    """Empty: the field is the element's text."""
    optional: bool


class Element:
    """Base of verbs and of the elements inside them.  Raises BadXml if a field is invalid."""

    __slots__ = ()

    def __post_init__(self) -> None:
        who = type(self).__name__
        problems = []
        for field, written in self.written().items():
            value = getattr(self, field)
            if not (written.optional if value is None else written.rule.allows(value)):
                problems.append(f"{who}.{field}: expected {written.rule.expected}")
            elif isinstance(value, Mapping):
                object.__setattr__(self, field, MappingProxyType(dict(value)))  # what was checked is what is sent
        for field, needed in _NEEDS.items():
            if getattr(self, field, None) is not None and not getattr(self, needed, True):
                problems.append(f"{who}.{field} means nothing alone: also set {needed}")
        if not problems:
            problems = [f"{who}.{problem}" for problem in self.contradictions()]
        if problems:
            raise BadXml("; ".join(problems))

    @classmethod
    def written(cls) -> Mapping[str, Written]:
        """The fields that are written as attributes or text, in order; the others hold verbs."""
        kind: Any = cls  # mypy considers a class unhashable if its instances may be
        return _written(kind)

    def contradictions(self) -> Iterator[str]:
        """Yield the fields that are valid alone and contradict each other, as "<field>: <what to write instead>"."""
        return iter(())

    def children(self) -> tuple[Element, ...]:
        """The elements inside this one."""
        return ()


def only(kinds: tuple[type, ...], field: str, value: object) -> Iterator[str]:
    """Yield a contradiction unless the value is a tuple of instances of `kinds` alone."""
    if not isinstance(value, tuple) or not all(isinstance(child, kinds) for child in value):
        yield f"{field}: expected a tuple that holds only {', '.join(kind.__name__ for kind in kinds)}"


@cache
def _written(kind: Any) -> dict[str, Written]:
    found = {}
    hints = get_type_hints(kind, include_extras=True)
    for field in (field.name for field in fields(kind)):
        hint, optional = hints[field], False
        if get_origin(hint) is not Annotated and NoneType in get_args(hint):
            hint, optional = next(part for part in get_args(hint) if part is not NoneType), True
        notes = getattr(hint, "__metadata__", ())
        rule = _rule(hint, notes)
        if rule is not None:
            found[field] = Written(rule, "" if CONTENT in notes else _camel(field), optional)
    return found


def _rule(hint: Any, notes: tuple[object, ...]) -> Rule | None:
    if hint is bool:
        return Rule("True or False", lambda value: type(value) is bool)
    if get_origin(hint) is Literal:
        values = get_args(hint)
        return Rule(f"one of {', '.join(map(repr, values))}", lambda value: value in values)
    return next((note for note in notes if isinstance(note, Rule)), None)


def _camel(field: str) -> str:
    first, *more = re.sub(r"_m?s$", "", field).split("_")
    return _SPELT.get(field) or first + "".join(map(str.capitalize, more))
