"""Removes the marks of Markdown, HTML and SSML, and keeps the text.  For all languages.

Marks are removed one by one, not in pairs: a clause may hold only the first half of a pair.
"""

from __future__ import annotations

import html
import re

from workers.tts.normalise.spans import Pass, erased

_SPACES = {"br", "p", "div", "li", "tr", "td", "th", "s", "break", "hr", "h", "ul", "ol"}
"""Tags that separate words, even where no space does."""
_UNSEEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffc\ufffe\uffff\ud800-\udfff\ue000-\uf8ff"
)
_ENTITY = r"(?:#[0-9]{1,8}|#[xX][0-9A-Fa-f]{1,7}|[A-Za-z][A-Za-z0-9]{1,31})"
UNESCAPED_MAX = 6
"""Times that text may have been escaped."""


def _tag(match: re.Match[str]) -> str:
    return " " if match[1].lower().rstrip("0123456789") in _SPACES else ""


def _unescaped(match: re.Match[str]) -> str | None:
    unescaped = match[0]
    for _ in range(UNESCAPED_MAX):
        unescaped, before = html.unescape(unescaped), unescaped
        if unescaped == before:
            break
    return None if unescaped.startswith("&") and unescaped.endswith(";") else unescaped


def _escaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else " " if match[2] == "t" else "\n"


def _link(match: re.Match[str]) -> str:
    return match[1]


CLEANING: tuple[Pass, ...] = (
    # &rsquo; &#8377; &#x20B9;, also escaped twice: &amp;lt;
    Pass(
        re.compile(rf"&(?:(?:amp|#38|#[xX]26);){{0,{UNESCAPED_MAX - 1}}}{_ENTITY};|&nbsp(?![A-Za-z])"),
        _unescaped,
        "&",
        apart=False,
    ),
    # \n and \u20b9, left by JSON that was encoded twice
    Pass(re.compile(r"\\u([0-9a-fA-F]{4})|\\([nrt])(?![a-z])"), _escaped, "\\", apart=False),
    # Invisible characters: controls, zero widths, direction marks, byte order marks, soft hyphens.  The joiners of
    # Indian scripts (U+200C, U+200D) are letters there and stay, but for those that join emoji.
    Pass(re.compile(f"[{_UNSEEN}]+"), erased),
    Pass(re.compile("[\t\xa0\u1680\u2000-\u200a\u202f\u205f\u3000]+"), lambda match: " "),
    Pass(re.compile("\r\n?|[\u0085\u2028\u2029]"), lambda match: "\n"),
    Pass(re.compile(r" {2,}"), lambda match: " "),
    Pass(re.compile(r"(?: ?\n){2,} ?|(?: \n ?|\n )"), lambda match: "\n", "\n"),
)  # fmt: skip

MARKUP: tuple[Pass, ...] = (
    Pass(re.compile(r"```[A-Za-z0-9+#-]{0,20}(?=\s|$)|~~~[a-z]{0,20}(?=\s|$)"), erased, "`~"),
    Pass(re.compile(r"<!--[^<>]{0,300}-->"), erased, "<"),
    Pass(re.compile(r"<((?:https?://|mailto:)[^\s<>]{1,300}|[^\s<>@]{1,64}@[^\s<>@]{1,100})>"), _link, "<"),
    Pass(re.compile(r"</?([A-Za-z][A-Za-z0-9]{0,20})(?=[\s/>:-])[^<>]{0,300}>"), _tag, "<"),
    Pass(re.compile(r"!(?=\[)"), erased, "["),
    Pass(re.compile(r'\]\([^()\s]{0,500}(?: "[^"]{0,100}")?\)'), erased, "]"),  # [text](address): the text is kept
    Pass(re.compile(r"\]\[[^\[\]\n]{0,60}\]|\[\^[^\[\]\n]{1,20}\]"), erased, "["),
    Pass(re.compile(r"\+\+(\w[^+\n]{0,60})\+\+|(?<=[A-Z])~([0-9])~"), lambda match: match[1] or match[2], "+~"),
    Pass(re.compile(r"(?<=\w)\^(?=[4-9]|[0-9]{2})"), lambda match: " ", "^"),
    Pass(re.compile(r"(?<=\w)\^([23])(?![0-9])"), lambda match: {"2": "²", "3": "³"}[match[1]], "^"),
    Pass(re.compile(r"\${2,10}"), erased, "$"),
    Pass(re.compile(r" ?【[^【】]{0,80}】"), erased, "【"),  # a source, as OpenAI writes it
    Pass(re.compile(r"(?<![\w:]):(?:[a-z][a-z0-9_+-]{1,30}|\+1|-1|100):(?![\w:])"), erased, ":"),  # :smile:
    Pass(re.compile(r"(?<=[\w.,!?)])\[[0-9]{1,3}(?:, ?[0-9]{1,3}){0,5}\]"), erased, "["),  # a source: [1]
    Pass(re.compile(r"^ {0,3}(?:> ?){1,5}", re.MULTILINE), erased, ">"),
    Pass(re.compile(r"^ {0,3}#{1,6} |(?<=\S) #{1,6}$", re.MULTILINE), erased, "#"),
    Pass(re.compile(r"^(?:[-*_=+] ?){3,200}$", re.MULTILINE), erased),
    Pass(re.compile(r"^ ?(?:[-*+•◦▪●■‣·–—]{1,3} ){1,3}(?:\[[ xX]\] )?", re.MULTILINE), erased),
    Pass(re.compile(r"[◦▪●■‣•] ?"), erased, "◦▪●■‣•"),
    Pass(re.compile(r"\|(?: ?:?-{1,40}:? ?\|){1,30} ?"), erased, "|"),  # the rule under a table's head
    Pass(re.compile(r"^ ?\| ?| ?\| ?$", re.MULTILINE), erased, "|"),
    Pass(re.compile(r"[,;:]? ?(?:\| ?){1,50}"), lambda match: ", ", "|"),
    Pass(
        re.compile(r"(?<![0-9] )\*{1,200}|\*{1,200}(?! [0-9])|`{1,200}|~~|(?<!\S)==(?=\S)|(?<=\S)==(?!\S)"),
        erased,
        "*`~=",
    ),
    Pass(re.compile(r"(?<![A-Za-z0-9])_{1,200}|_{1,200}(?![A-Za-z0-9])"), erased, "_"),
)

REMAINS: tuple[Pass, ...] = (
    Pass(re.compile(r"(?<=\w)_{1,200}(?=\w)"), lambda match: " ", "_"),
    Pass(re.compile(r"[*_`~|\\^\[\]{}<>#]+"), erased),
    Pass(re.compile(r"\( ?\)"), erased, "("),
)
"""Marks that are never spoken, wherever they stand."""
