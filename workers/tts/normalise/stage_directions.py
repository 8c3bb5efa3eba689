"""Removes stage directions: `[laughs]`, `*checks calendar*`, `(in a warm voice)`.  For all languages.

In brackets of any kind the words decide.  Square brackets are kept for a voice that performs audio tags.
"""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass

CHARS_MAX = 80
"""Longest direction, in characters; anything longer is text."""

_SOUNDS = (
    "laugh|chuckl|giggl|sigh|paus|cough|gasp|whisper|smil|nod|grin|wink|shrug|hum|sob|groan|moan|sniff|sniffl|yawn|"
    "exhal|inhal|snicker|smirk|frown|blush|gulp|stammer|mumbl|mutter|applaud|snort|growl|shudder|murmur|squeal|nodd|breath|"
    "hesitat|swallow|ponder|whistl|wheez|hiccup|sing|shout|yell|scream|blink|giggle"
)
"""Stems of words that are only used as directions."""
_SOUND = rf"(?:(?:{_SOUNDS})(?:e?s|e|ing|ming|bing|ging|ning|ping|ed|ter)?|deep breath|crying|cries|laughter|applause)"
_DOINGS = (
    "check|look|typ|scroll|flip|think|search|pull|review|consult|listen|wait|open|clos|tap|click|writ|jot|not|hold|"
    "transfer|hang|dial|read|lean|glanc|stare|star|point|gestur|pick|tak|turn|rustl|shuffl|clear|bring|go|browse|brows|"
    "scan|updat|add|book|confirm|enter|press|put|walk|sit|stand|connect|process|access|load|verif|scratch|rub|adjust|"
    "paus|speak|play|fetch|find|switch|mark|call|retriev|star"
)
_COMPOUNDS = (
    "(?!(?:waiting|checking|booking|reading|opening|calling|clearing|turning|marking|playing|holding) "
    "(?:list|accounts?|details|line|orders?|books?|information|cards?)(?!\\w))"
)
"""Compounds that are things and no actions: a waiting list, a checking account."""
_DOING = rf"{_COMPOUNDS}(?:(?:{_DOINGS})(?:e?s|ies|ing|ping|ting|ning|ying))"
_OBJECTS = (
    "calendar|schedule|system|notes?|records?|screen|computer|files?|list|diary|book|slots?|availability|keyboard|"
    "watch|clock|throat|database|phone|papers?|head|menu|inventory|register|paperwork|pages?|laptop|order|appointments?|"
    "details|line|call|caller|patient|hold|eyes|breath|information|account|folder|map|catalogu?e|planner|chart"
)
_MANNERS = (
    "excited|cheerful|happy|sad|angry|warm|soft|gentle|calm|quiet|curious|sarcastic|nervous|enthusiastic|polite|"
    "apologetic|sympathetic|empathetic|empathic|reassuring|thoughtful|bright|serious|friendly|professional|surprised|"
    "confused|concerned|playful|mischievous|dramatic|confident|hopeful|relieved|tired|sincere|amused|delighted|"
    "disappointed|frustrated|worried|proud|neutral|energetic|upbeat|rushed|deadpan|exhausted|awestruck|"
    "tender|compassionate"
)
_MANNER = rf"(?:(?:very|slightly|more|a bit|somewhat) )?(?:{_MANNERS})(?:ly|ily|ally)?(?: (?:tone|voice))?"
_NOISES = (
    r"(?:(?:soft|hold|background|upbeat|phone|elevator|light) )*(?:music|noise|silence|static|chatter)"
    r"(?: (?:play\w*|in the background|starts|stops|fades))?"
    r"|(?:typing|keyboard|clicking|paper|phone|background|dial|ring|beep|door)[ -]?(?:sounds?|noises?|"
    r"clicks?|clicking|clacking|typing|rings?|ringing|rustling|tone|shuffling|beeps?)"
    r"|beeps?|sfx\b.*|sounds? of .*|(?:short |long |brief |slight )?(?:pause|break|beat|silence)"
    r"(?: (?:for )?[0-9.]+ ?(?:s|ms|seconds?))?"
    r"|pause: ?[0-9.]+ ?\w*|[0-9.]+ ?(?:s|ms|seconds?) (?:pause|silence|break)|inaudible|crosstalk|"
    r"unintelligible|end(?: of)? (?:the )?call|call (?:ends|ended|disconnected|transferred)|"
    r"disconnects|(?:phone )?ringing|on hold"
    r"|(?:the )?line (?:goes|is) (?:quiet|dead|silent)|(?:a )?(?:few )?moments? later|"
    r"after a (?:short |brief )?(?:pause|moment|beat)"
    r"|(?:transfers?|transferring) (?:the |your )?call|plac(?:es|ing) .{1,20}on hold|(?:user|caller|"
    r"customer) (?:speaks|responds|answers|replies|hangs up|is silent)|speak(?:s|ing) (?:\w+ly|in \w+|"
    r"faster|slower|slowly)|pauses? to \w+"
    r"|(?:emotion|pace|tone|style|action|mood|voice|stage direction|pitch|speed|volume|sound|expression) ?[:=] ?.*"
    r"|(?:in|with) an? (?:\w+ )?(?:\w+ )?(?:voice|tone|smile|laugh|chuckle|sigh|grin|manner|whisper)|"
    r"(?:under|with) (?:his|her|their|bated) breath|internal (?:thought|monologue).*|"
    r"thinks? to (?:him|her|them|it)sel(?:f|ves)"
)
_HINDI = (
    r"(?:.{0,40} )?\S{1,15}(?:ते|ता|ती) हु(?:ए|ये|आ|ई)|(?:.{0,30} )?(?:हँस|हंस|मुस्कुरा|रुक|ठहर|खाँस|"
    r"खांस|फुसफुसा)कर|हँसी|हंसी|हँसता है|हँसती है|"
    r"हंसता है|हंसती है|मुस्कुराता है|मुस्कुराती है|मुस्कान|ठहाका|विराम|गहरी (?:साँस|सांस)|खाँसी|खांसी|"
    r"(?:कैलेंडर|सिस्टम|शेड्यूल|रिकॉर्ड|डायरी|स्क्रीन|कंप्यूटर|सूची) .{0,20}(?:ता|ती|ते) (?:है|हैं)"
)
_ADVERB = r"\w{3,15}ly"
_PLAYED = re.compile(
    rf"(?:{_ADVERB} )?(?:(?:the )?(?:agent|assistant|receptionist|operator|ai|bot|she|"
    rf"he) )?(?:{_SOUND}|{_DOING} (?:the )?(?:{_OBJECTS})|(?:starts|begins|stops) {_SOUND})"
    r"(?: (?:\w+ly|a bit|a little|again|once|for \w+ \w+|for a moment|to (?:him|her|it|them)self|"
    r"and .{2,30}|in .{2,20}|at .{2,20}|with .{2,20}|under .{2,20}|nervously|loudly|deeply|heavily|"
    r"her head|his head|head|slightly|while .{2,40})|,? then .{2,40})*"
    rf"|(?:{_ADVERB} )?{_DOING}(?: [\w’'-]+){{0,4}} (?:{_OBJECTS})(?: .{{2,30}})?"
    rf"|clears? throat|takes? a (?:deep )?breath|hangs? up|puts .{{2,20}}on hold|{_MANNER}|{_NOISES}|{_HINDI}",
    re.IGNORECASE,
)
_ALONE = re.compile(rf"(?:{_DOING})(?: [\w’',-]+){{0,7}}", re.IGNORECASE)
"""Directions only if no sentence continues through them: "*looks up*"."""

_ACTED = re.compile(
    rf"(?:{_SOUND}(?<=s|g)(?: .{{2,40}})?|clears? throat|{_DOING}(?: [\w’'-]+){{0,4}} (?:{_OBJECTS})|"
    rf"{_HINDI})",
    re.IGNORECASE,
)
"""Directions even within a sentence."""
_MANNER_ONLY = re.compile(rf"(?:{_MANNERS})", re.IGNORECASE)
"""Descriptions in round brackets, which are no directions."""
_ONE_DOING = re.compile("(?:checks|waits|types|listens|looks|thinks|typing|thinking|listening)")
_LOOKS_UP = re.compile(
    rf"(?:{_DOINGS})(?:e?s|ies) (?:it|up|through|into|over|around|away)(?: .{{2,40}})?", re.IGNORECASE
)

_OPEN = r"(?:(?<!\w)_|[*\[({])[*_\[({]{0,3}"
_CLOSE = r"[*_\])}]{1,4}"
_MARKED = re.compile(rf" ?({_OPEN})([^*_\[\](){{}}\n]{{2,{CHARS_MAX}}})({_CLOSE})(?!\(|\w)([,;:.]?)")
_OPENED = re.compile(rf"(?:(?<=[.!?…।,] )|^)([*\[])([^*_\[\](){{}}\n]{{2,{CHARS_MAX}}})$")
_PAIRS = {"(": ")", "[": "]", "{": "}", "*": "*", "_": "_"}

TAG_START, TAG_END = "\U000f0000", "\U000f0001"
"""Placeholders for the square brackets of an audio tag, until everything else is rewritten."""


def is_direction(words: str, marks: str, *, alone: bool) -> bool:
    """True for a stage direction.  `alone`: no sentence continues through it.  `marks`: the opening brackets."""
    words = words.strip(" .!,…")
    if _PLAYED.fullmatch(words):
        if "[" in marks or (alone and not ("(" in marks and _MANNER_ONLY.fullmatch(words))):
            return True
        return bool(_ACTED.fullmatch(words))
    if not alone or any(char.isdecimal() for char in words):
        return False
    if "(" in marks:
        return bool(_ONE_DOING.fullmatch(words))
    return bool((_ALONE if words[:1].islower() else _LOOKS_UP).fullmatch(words))


def _alone(text: str, start: int) -> bool:
    before = text[max(0, start - 2) : start].rstrip(" ")
    return not before or before[-1] in ".!?…।,:;—–-])*\n"


def _rule(match: re.Match[str]) -> str | None:
    opened, words, closed, after = match.groups()
    if not all(_PAIRS[mark] in closed for mark in opened):
        return None
    goes_on = match.string[match.end() : match.end() + 2].strip()[:1].islower() and "[" not in opened
    if not is_direction(words, opened, alone=not goes_on and _alone(match.string, match.start())):
        return None
    before = match.string[max(0, match.start() - 2) : match.start()].rstrip()
    if not before or before[-1] in ".!?…।,:;":
        return " "  # the punctuation after it ends no sentence
    return f"{after} "


def _tagged(match: re.Match[str]) -> str | None:
    words = match[1]
    return f"{TAG_START}{words}{TAG_END}" if is_direction(words, "[", alone=True) else None


DIRECTIONS: tuple[Pass, ...] = (
    Pass(_MARKED, _rule, "*[({_"),
    Pass(_OPENED, lambda match: " " if is_direction(match[2], match[1], alone=True) else None, "*["),
)
AUDIO_TAGS: tuple[Pass, ...] = (
    Pass(re.compile(rf"[*_]{{0,3}}\[([^*_\[\](){{}}\n]{{2,{CHARS_MAX}}})\][*_]{{0,3}}(?!\()"), _tagged, "["),
)
TAGS_BACK: tuple[Pass, ...] = (
    Pass(re.compile(TAG_START), lambda match: "["),
    Pass(re.compile(TAG_END), lambda match: "]"),
)
