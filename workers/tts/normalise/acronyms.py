"""Reads words of capital letters: letter by letter (E M I), or as a word (NASA)."""

from __future__ import annotations

import re

from workers.tts.normalise.spans import Pass

_INITIALISMS = frozenset(
    re.findall(
        r"\S+",
        "AC AGM AI AMC API APR ATM AUM AWB BEO BOE BPO CA CEO CFO CIO COD COO CTO CVV DA DOB EMI ENT EPF ESI ESIC "
        "ETA EU EV FAQ FD FIR FY GPA GST HOD HRA HUF IAS ICICI ICU ID IFSC IIM IIT IMEI IMPS INR IP IPL IPO IPS "
        "IRCTC ISBN ISD ISI IST ITI ITR IVR JEE KYC LED LIC MBA MD MICR MLA MNC MOU MP MRI MRP NAV NGO NOC NRE NRI "
        "NRO OBC OPD OTP OTT PA PC PDF PNR PO POS PR QA QR RBI RD RTGS SBI SLA SMS SOP SOS STD SUV TDS TV UAE UAN "
        "AD EST EDT ET UTC IV IU ED AED OT ECG EEG EOD OPD IPD LPA ITC MAC APO DOA IDP OSA COE ODI IED ATC EMD EOI "
        "UI UK UPI UPS URL USA USB USD UTI UTR UV VIP VPA VPN WWW XUV ",
    )
)
"""Pronounceable, but read letter by letter.  Acronyms without a vowel always are."""
_WORDS = frozenset({"HMM", "HMMM", "MR", "MRS", "DR", "ST", "TH", "SHH", "PSST", "NTH"})
_VOWELS = frozenset("AEIOUY")
LETTERS_MAX = 6

_CAPITALS = re.compile(r"(?<![\w'’])([A-Z]{2,6})(s|'s|’s)?(?![\w])(?!['’]\w)")
_DOTTED = re.compile(r"(?<![\w.])(?:[A-Z]\.){2,6}(?![\w])")


def is_initialism(capitals: str) -> bool:
    """True if this word of capital letters is read letter by letter."""
    if capitals in _INITIALISMS:
        return True
    return len(capitals) <= LETTERS_MAX and capitals not in _WORDS and not _VOWELS & set(capitals)


def _capitals(match: re.Match[str]) -> str | None:
    letters, plural = match[1], match[2]
    return " ".join(letters) + ("'s" if plural else "") if is_initialism(letters) else None


def _dotted(match: re.Match[str]) -> str:
    ends = match.end() == len(match.string)
    return match[0].replace(".", " ").rstrip() + ("." if ends else "")


PASSES: tuple[Pass, ...] = (Pass(_DOTTED, _dotted, "."), Pass(_CAPITALS, _capitals))
