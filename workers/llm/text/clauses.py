"""Cuts a stream of text into clauses for speech synthesis, as early as sounds natural.  Pure: no clock, no I/O.

    "Of", " course", ". Dr", ". Rao is", " in", …   ──feed──▶   "Of course."   "Dr. Rao is in until half past five."

The caller waits for the first clause only, so it is as short as can be spoken: a sentence, or a part that ends at a
comma or before a word like "and".  Later clauses are synthesised while earlier ones play, so they are whole sentences,
which sound better; a long one is cut at commas.

Whether a mark ends a word is known for certain only from the whitespace after it, which is part of the model's next
token.  The first clause does not wait for that token: if a piece of text ends with the mark, and the word before it is
no abbreviation, number or address, the clause is complete (`_ends_with_piece`).  So the model's tokenisation changes
one thing only: if something other than whitespace follows such a mark (`fine.)`, `Really?!`, `Node.js`), the first
clause may end between them, and the rest of that word begins the next clause.  All other cuts are decided character by
character, and no tokenisation changes them.

Joined with single spaces the clauses are the text again, except for the width of its whitespace.  Three things are cut
without whitespace: such a first clause, text after an ideographic stop or a danda, and, so that every clause
is bounded, "words" of over `CLAUSE_CHARS_MAX` characters.
"""

from __future__ import annotations

import re
from unicodedata import category

from workers.llm.text.sentence_marks import LOCAL_ENDS, PART_ENDS, SENTENCE_ENDS, SPACED_PHRASES, WITHOUT_SPACES

CLAUSE_CHARS_MAX = 240
"""Longest clause, in characters; about 15 s of speech."""

FIRST_SENTENCE_WORDS = 2
FIRST_COMMA_WORDS = 3
FIRST_BREAK_WORDS = 7
"""Least number of words of the first clause at the end of a sentence, at a comma, and before a linking word."""
LATER_SENTENCE_WORDS = 3
LATER_COMMA_CHARS = 90
LATER_BREAK_CHARS = 140
"""Least number of words of a later clause at the end of a sentence, and of characters at lesser breaks."""
SENTENCE_CHARS = 8
COMMA_CHARS = 16
"""A single long word ("Absolutely!") and scripts without spaces are measured in characters, not in words."""

CLOSERS = "\"')]}”’»›*_」』）】》〉"
ENDS = frozenset("".join(SENTENCE_ENDS.values()))
COMMAS = frozenset("".join(PART_ENDS.values()))
JOINTS = frozenset(":：—–")
"""Marks that may join a number to what precedes it: "your code is: 4521", "9:30 – 12:00"."""
LINKS = set(
    re.findall(
        r"\S+",
        "and but because so which that who where when while if or then from until unless although before after with "
        "और लेकिन क्योंकि तो या कि",
    )
)
ABBREVIATIONS = set(
    re.findall(
        r"\S+",
        "dr mr mrs ms prof st sr jr smt shri sri rev hon capt col gen lt sgt vs etc approx dept inc ltd pvt co "
        "corp ave rd blvd apt flr rs jan feb aug sept oct nov dec sq ft govt bldg opp nr regd m/s viz mt ln pkwy "
        "intl univ dist reg regn ref inv acct acc cust flt tkt emp lic veh sl sy rly stn tab inj syr ph mob tel "
        "rm डॉ डा प्रो श्री रु रू नं सं मो रजि कि.मी मि.ली कि.ग्रा",
    )
)
BEFORE_NUMBERS = frozenset(
    re.findall(
        r"\S+",
        "no nos fig vol ext p pp ph tel rt rte hwy fwy expy sec sect fl rm blk ste pg ch chap art qty amt bal flt "
        "wt ht temp reg regn ref inv acct acc tkt wd plt cl sch dt dtd std ver ed bk pkt gr tab ex mob cont lic "
        "min mins hr hrs yr yrs",
    )
)
"""Abbreviations if a number follows: "No. 5" and "Rt. 66", but "No. We are closed."."""
_NUMBER_OF = (".no", ".nos")
"""Ends of compound abbreviations before a number: "H.No. 4", "Sr.No. 5"."""

_DOTTED = re.compile(r"(?:[^\W\d_]\.)+")  # a.m. e.g. U.S. J.
_MARKS = CLOSERS + "([{“‘«." + "".join(ENDS | COMMAS)
_OPENERS = "([{“‘«\"'*_`"
_NUMBER_SIGNS = "₹$€£+#"
_EARLY_MARKS = (ENDS | COMMAS | {"."}) - JOINTS - {"…"}
"""Marks with which the first clause may end before the whitespace has come."""
_LIST_MARK = re.compile(r"\d{1,2}[.)]")
_IN_WORDS = "'’-\u200c\u200d"
"""What a plain word may have besides letters: apostrophe, hyphen, and the joiners of Indian scripts."""
_UNCLOSED = re.compile('["“”‘«»„*_`()\\[\\]{}]')
"""What a closer may follow behind the mark: a quotation, a bracket, emphasis."""
_BEFORE_ADDRESSES = frozenset(
    re.findall(
        r"\S+", "at to on in via see is use visit open check site website web url link page app mail email e-mail"
    )
)
"""Words after which the next one may be the first part of an address: "visit example.com"."""


class Clauses:
    """Cuts the text of one reply.  Create one object for each reply."""

    def __init__(self) -> None:
        self._words: list[str] = []
        """The complete words of the current clause."""
        self._word = ""
        self._count = 0
        self._undecided = False
        """True if the last word ends the clause, unless a number follows."""

    def feed(self, text: str) -> list[str]:
        """Take more text, split anywhere, and return the clauses that it completes."""
        ready: list[str] = []
        for char in text:
            if char.isspace():
                self._complete(ready)
                if char in "\n\r\u2028\u2029" and self._words and not _abbreviated(self._words[-1]):
                    self._cut(ready)
                continue
            if _last(self._word) in WITHOUT_SPACES and char not in CLOSERS and char not in ENDS and char not in COMMAS:
                self._complete(ready)
            if self._undecided and char not in _OPENERS:
                self._undecided = False
                goes_on = char.islower() and self._words[-1:] and self._words[-1].endswith(".")
                if not char.isdigit() and char not in _NUMBER_SIGNS and not goes_on:  # "no. is", "8 min. by car"
                    self._cut(ready)
            self._word += char
            if len(self._word) >= CLAUSE_CHARS_MAX:
                self._complete(ready)
        if self._count == 0 and self._ends_with_piece():
            self._complete(ready)
        return ready

    def finish(self) -> list[str]:
        """Return the clauses that were still open: the text has ended, or seems to have."""
        ready: list[str] = []
        self._complete(ready)
        if self._words:
            ready.append(" ".join(self._words))
            self._words = []
            self._count += 1
        self._undecided = False
        return ready

    def _complete(self, ready: list[str]) -> None:
        """Add the complete word, and cut the clause before it or after it if that is a break."""
        word, self._word = self._word, ""
        if not word:
            return
        if self._words and self._length() + 1 + len(word) > CLAUSE_CHARS_MAX:
            self._cut_long(ready, word)
        elif self._links(word):
            self._cut(ready)
        self._words.append(word)
        if self._ends_sentence(word):
            if word.endswith(".") and _before_number(word):
                self._undecided = True
            else:
                self._cut(ready)
        elif self._ends_part(word):
            if _last(word) in JOINTS:
                self._undecided = True
            else:
                self._cut(ready)

    def _cut(self, ready: list[str]) -> None:
        clause = " ".join(self._words)
        if not any(char.isalnum() for char in clause):
            return  # only a bullet or a dash: nothing to speak yet
        ready.append(clause)
        self._words = []
        self._count += 1

    def _cut_long(self, ready: list[str], word: str) -> None:
        """Cut at the length limit, but keep "Dr." with the name and a phone number in one clause."""
        kept = len(self._words)
        following = word
        while kept > 1 and _belongs(self._words[kept - 1], following):
            kept -= 1
            following = self._words[kept]
        carried = self._words[kept:]
        if sum(len(each) + 1 for each in carried) + len(word) > CLAUSE_CHARS_MAX:
            carried = []
        ready.append(" ".join(self._words[: len(self._words) - len(carried)]))
        self._words = carried
        self._count += 1

    def _ends_sentence(self, word: str) -> bool:
        last = _last(word)
        if last == ".":
            if _abbreviated(word) or (len(self._words) == 1 and _LIST_MARK.fullmatch(word)):
                return False
            if _bare(word).lower() in ("no", "nos") and self._words[-2:-1] and self._words[-2].endswith("."):
                return False  # Ref. No. AB12
        elif last not in ENDS and not _ends_locally(" ".join(self._words[-2:])):
            return False
        words = FIRST_SENTENCE_WORDS if self._count == 0 else LATER_SENTENCE_WORDS
        return len(self._words) >= words or self._length() >= SENTENCE_CHARS

    def _ends_part(self, word: str) -> bool:
        if not (_last(word) in COMMAS or _is_phrase(word)) or word[:-1].isdigit():  # "July 5, 2026" stays together
            return False
        if word[:-1].lower() in ("e.g.", "i.e."):
            return False
        if self._count:
            return self._length() >= LATER_COMMA_CHARS
        return len(self._words) >= FIRST_COMMA_WORDS or self._length() >= COMMA_CHARS

    def _links(self, word: str) -> bool:
        if _bare(word).lower() not in LINKS or (self._words and _abbreviated(self._words[-1])):
            return False
        if self._words and self._words[-1][-1].isdigit():  # "between 10 and 12"
            return False
        if self._count:
            return self._length() >= LATER_BREAK_CHARS
        return len(self._words) >= FIRST_BREAK_WORDS

    def _ends_with_piece(self) -> bool:
        """True if the open word ends the first clause, although no whitespace has come after it yet."""
        word = self._word
        mark = word[-1:]
        if self._undecided or mark not in _EARLY_MARKS or not _is_plain(word[:-1]) or self._links(word):
            return False
        if mark == "." and (_before_number(word) or _bare(" ".join(self._words[-1:])).lower() in _BEFORE_ADDRESSES):
            return False
        if any(map(_UNCLOSED.search, self._words)) or self._length() + 1 + len(word) > CLAUSE_CHARS_MAX:
            return False
        self._words.append(word)
        ends = self._ends_sentence(word) or self._ends_part(word)
        self._words.pop()
        return ends

    def _length(self) -> int:
        return sum(map(len, self._words)) + max(0, len(self._words) - 1)


def _last(word: str) -> str:
    """Return the character that decides: the last one inside quotes and brackets."""
    return word.rstrip(CLOSERS)[-1:]


def _ends_locally(words: str) -> bool:
    """True if the mark at the end of these words ends a sentence in the script of the letter before it."""
    least, most = LOCAL_ENDS.get(_last(words), ("", ""))
    return bool(least) and any(least <= char <= most for char in words.rstrip(CLOSERS)[:-1].rstrip()[-1:])


def _is_phrase(word: str) -> bool:
    """True if the word is of a script that puts spaces between phrases only."""
    return any(least <= word[-1] <= most for least, most in SPACED_PHRASES)


def _bare(word: str) -> str:
    """Return the word without the punctuation around it."""
    return word.strip(_MARKS)


def _before_number(word: str) -> bool:
    """True if the full stop at the end of this word is part of the word when a number follows."""
    bare = _bare(word).lower()
    return bare in BEFORE_NUMBERS or bare.endswith(_NUMBER_OF)


def _is_plain(word: str) -> bool:
    """True for a word of two letters or more of any script, which is no number, initial, ellipsis or address."""
    if len(word) < 2 or not (word[0].isalpha() and word[-1] not in _IN_WORDS):
        return False
    return all(char.isalpha() or char in _IN_WORDS or category(char)[0] == "M" for char in word)


def _belongs(word: str, following: str) -> bool:
    """True if a cut between these two words is to be avoided."""
    return _abbreviated(word) or (word[-1].isdigit() and following[0].isdigit())


def _abbreviated(word: str) -> bool:
    """True if the full stop at the end of this word is part of the word."""
    stripped = word.strip(CLOSERS + "([{“‘«")
    if not stripped.endswith("."):
        return False
    if stripped == "I.":
        return False
    return bool(_DOTTED.fullmatch(stripped)) or stripped[:-1].lower() in ABBREVIATIONS
