"""Reads sums of money: "₹2.5 crore", "Rs. 500/-", "$1,250.50", "₹500-700".  Rupees are grouped in lakhs and crores."""

from __future__ import annotations

import re

from workers.tts.normalise.numbers import NUMBER, Amount
from workers.tts.normalise.scales import SCALE, scale_name
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

_SIGNS = {
    "₹": "INR", "rs": "INR", "re": "INR", "inr": "INR", "रु": "INR", "रू": "INR", "us$": "USD", "$": "USD", "usd": "USD",
    "€": "EUR", "eur": "EUR", "£": "GBP", "gbp": "GBP", "aed": "AED", "¥": "JPY", "jpy": "JPY",
}  # fmt: skip
_SCALE = rf"(?:{SCALE}|[mb](?!\w))"
"""Scales after a currency sign, where "5m" is five million."""
_SIGN = r"(?:₹|US\$|\$|€|£|¥|(?<![\w])(?:(?:Rs|RS|rs|Re|रु|रू)\.?|INR|USD|EUR|GBP|AED|JPY))"
_AFTER = r"(?:₹|\$|€|£|¥|(?:Rs|rs|INR|USD|EUR|GBP|AED|JPY|रु|रू)\.?(?![\w\u0900-\u0963]))"
_UP_TO = rf" ?(?:[-–—]|(?:to|से) ?(?={_SIGN})) ?"
_PRICED = re.compile(
    rf"(?<!\w)([-−])?({_SIGN}) ?({NUMBER})(?: ?({_SCALE}))?(?:{_UP_TO}(?:{_SIGN})? ?({NUMBER})(?: ?({_SCALE}))?)?"
    r"(?:/-)?(?: ?(/)(?=[A-Za-z\u0904-\u0939]))?"
)
_COUNTED = re.compile(rf"({NUMBER})(?: ?({SCALE}))? ?({_AFTER})(?:/-)?(?: ?(/)(?=[A-Za-z\u0904-\u0939]))?")
_BARE_DASH = re.compile(rf"({NUMBER})/-")


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run before plain numbers."""

    def amount(written: str, scale: str | None, code: str) -> tuple[str, int, bool]:
        """Return (the amount in words, its hundredths, whether it is exactly one)."""
        taken = Amount.of(written)
        indian = True if code == "INR" else taken.indian or False
        if scale:
            return words.scaled(taken.spoken(words, indian=indian), words.scales[scale_name(scale)]), 0, False
        if len(taken.decimals) not in (0, 2) and int(taken.decimals):
            return taken.spoken(words, indian=indian), 0, False
        fraction = int(taken.decimals or 0)
        return words.cardinal(taken.whole, indian=indian), fraction, taken.whole == 1

    def sum_of(code: str, written: str, scale: str | None) -> str:
        spoken, fraction, one = amount(written, scale, code)
        return words.money(spoken, fraction, one, words.currencies[code])

    def priced(match: re.Match[str]) -> str:
        minus, sign, first, scale, last, last_scale, per = match.groups()
        code = _SIGNS[sign.lower().rstrip(".")]
        spoken = sum_of(code, last or first, last_scale if last else scale)
        if last:
            spoken = f"{amount(first, scale, code)[0]} {words.signs.to} {spoken}"
        return (f"{words.signs.minus} " if minus else "") + spoken + (f" {words.signs.per} " if per else "")

    def counted(match: re.Match[str]) -> str:
        number, scale, sign, per = match.groups()
        spoken = sum_of(_SIGNS[sign.lower().rstrip(".")], number, scale)
        return _stop(match, sign, spoken) + (f" {words.signs.per} " if per else "")

    return (
        Pass(_PRICED, priced),
        Pass(_COUNTED, counted),
        Pass(re.compile(rf"({NUMBER}) ?¢"), lambda match: f"{match[1]} {words.currencies['USD'].cents}", "¢"),
        Pass(_BARE_DASH, lambda match: sum_of("INR", match[1], None), "/"),
    )


def bare(words: Words) -> tuple[Pass, ...]:
    """Return the pass for a currency sign without a number."""
    return (
        Pass(re.compile(r" ?[₹€£¥$] ?"), lambda match: f" {words.currencies[_SIGNS[match[0].strip()]].many} ", "₹€£¥$"),
    )


def _stop(match: re.Match[str], sign: str, spoken: str) -> str:
    return f"{spoken}." if sign.endswith(".") and match.end() == len(match.string) else spoken
