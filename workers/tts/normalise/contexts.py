"""Defines which words around a number decide how it is read: codes, calls, vehicles, rooms, money and counting.

A number is a code because of a word before it ("order 98321").  The words after it take precedence: a currency, a unit
or a counted noun makes it a number again ("order 2500 rupees", "the train is 120 minutes late").
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NumberContext:
    """Words after which a number is read digit by digit."""

    words: str
    """The words, as alternatives of a pattern, in any case."""
    links: str
    """Words that may stand between such a word and the number, as alternatives of a pattern."""
    digits_min: int
    """A number of fewer digits is read as a number: "room 12"."""
    named_digits_min: int
    """The same if "number", "no.", "#" or ":" stands between: "order number 12"."""
    priced: bool = False
    """True if the thing may have a price: "the ticket is 1500"."""
    described: bool = False
    """True if words that describe it may stand between: "The code for the gate is 4521"."""


_IS = "is|was|are|है|हैं|का|की"
_NAMED = "no|nos|number|numbers|id|code|ref|नंबर|नम्बर|संख्या|आईडी"

SECRET = NumberContext(
    "otp|one[- ]time password|m?pin(?: ?code)?|passcode|password|cvv|pnr|utr|(?:zip|postal|area|dialling) ?code|zip|"
    "(?:verification|access|security|confirmation|activation|promo|coupon|door) code|"
    "aadhaa?r|pan|ifsc|imei|uan|gstin|ending (?:in|with)|ends (?:in|with)|ending|last (?:four|4) digits?|"
    "ओटीपी|पिन ?कोड|पिन|पीएनआर|पासवर्ड|कोड|आधार|आख़िरी (?:चार|4) अंक|आखिरी (?:चार|4) अंक",
    f"{_IS}|{_NAMED}|card|account|ending|in|with|कार्ड|आपका",
    digits_min=1,
    named_digits_min=1,
    described=True,
)
IDENTIFIER = NumberContext(
    "code|ref|reference|tracking|transaction|txn|id|awb|docket|consignment|customer|consumer|member|user|आईडी|रेफरेंस",
    f"{_IS}|{_NAMED}|ending",
    digits_min=3,
    named_digits_min=3,
    described=True,
)
RECORD = NumberContext(
    "orders?|bookings?|tickets?|invoices?|accounts?|a/c|acct|policy|complaints?|case|membership|registration|"
    "application|card|challan|shipment|folio|patient|employee|student|passport|"
    "ऑर्डर|आर्डर|बुकिंग|टिकट|खाता|खाते|शिकायत|इनवॉइस|पॉलिसी|कार्ड|केस",
    f"{_IS}|{_NAMED}|ending",
    digits_min=3,
    named_digits_min=3,
    priced=True,
)
AMOUNT = NumberContext(
    "bill|loan|claim|cheque|check|receipt|voucher|meter|file|form|licen[cs]e|certificate|job|service request|request|"
    "बिल|लोन|क्लेम|चेक|मीटर",
    f"{_IS}|{_NAMED}",
    digits_min=99,
    named_digits_min=3,
)
"""Things with both an amount and a number; only the number is ever called one."""
CALL = NumberContext(
    "dial|call|ring|helpline|hotline|whatsapp|extension|ext|contact|sms|"
    "reach (?:us|me|them|him|her)|customer care|हेल्पलाइन|कॉल|डायल|एक्सटेंशन|व्हाट्सएप",
    f"{_IS}|{_NAMED}|on|at|us|me|them|पर|करें",
    digits_min=3,
    named_digits_min=3,
    described=True,
)
PHONE = NumberContext(
    "phone|mobile|telephone|tel|fax|फ़ोन|फोन|मोबाइल",
    f"{_IS}|{_NAMED}",
    digits_min=3,
    named_digits_min=3,
    priced=True,
)
"""A phone may also be a thing with a price."""
VEHICLE = NumberContext(
    "flights?|trains?|bus|coach|vehicle|car|cab|taxi|फ़्लाइट|फ्लाइट|ट्रेन|गाड़ी|बस|कैब",
    f"{_IS}|{_NAMED}",
    digits_min=3,
    named_digits_min=3,
    priced=True,
)
ROOM = NumberContext(
    "rooms?|flat|apartment|suite|unit|house|door|plot|shop|villa|quarter|cabin|locker|gate|platform|counter|seats?|"
    "berth|ward|bed|token|box|port|block|tower|building|bldg|highway|route|interstate|nh|sh|exit|channel|roll|"
    "कमरा|रूम|फ़्लैट|फ्लैट|मकान|प्लॉट|दुकान|गेट|प्लेटफ़ॉर्म|प्लेटफॉर्म|काउंटर|सीट|बर्थ|वार्ड|बेड|टोकन",
    f"{_IS}|{_NAMED}",
    digits_min=3,
    named_digits_min=3,
    priced=True,
)
NUMBER = NumberContext(
    "number|no|नंबर|नम्बर|संख्या",
    "is|are|है|code|id",
    digits_min=4,
    named_digits_min=4,
    priced=True,
)
"""A number of anything: "badge no. 4412"."""
CONTEXTS = (SECRET, IDENTIFIER, RECORD, AMOUNT, CALL, PHONE, VEHICLE, ROOM, NUMBER)

SERVICE_WORDS = (
    "police|ambulances?|fire|emergency|emergencies|helpline|hotline|toll[- ]free|cyber(?: ?crime)?|child ?line|"
    "women|railway|rail|disaster|crisis|lifeline|suicide|roadside|poison|aadhaar|electricity|gas leak|control room|"
    "पुलिस|एम्बुलेंस|एंबुलेंस|दमकल|फायर|फ़ायर|आपातकाल|आपातकालीन|इमरजेंसी|हेल्पलाइन|साइबर|महिला|चाइल्डलाइन|रेलवे"
)
"""Words for the services that have short numbers."""
SERVICE_NUMBERS = (
    "100|101|102|104|108|111|112|119|1033|1063|1070|1073|1077|1078|1090|1091|1096|1097|1098|1099|13[89]|1363|1077|"
    "14[0-9]{3}|15100|155[0-9]{3}|155[14]|181|1860|19(?:0[0-9]|1[0-9]|2[0-9]|30|47|50)|[2-8]11|911|988|999"
)
"""Short numbers that exist only to be dialled, in India, North America and Britain."""

MONEY_WORDS = (
    "salary|ctc|package|rent|prices?|priced|costs?|fees?|loans?|emi|amount|budget|worth|pays?|paid|earned|deposit|income|"
    "balance|bill|earns?|spends?|spent|saves?|saved|savings|sells?|sold|buys?|bought|offer(?:ed)?|quoted?|revenue|turnover|sales|funding|raised|valuation|premium|"
    "prize|discount|cashback|refund|invest(?:ed|ment)?|sum|total|rupees|charges?|limit|profit|loss|paying|cover|"
    "rs|inr|usd|[₹$€£]|किराया|वेतन|लोन|कीमत|क़ीमत|दाम|बजट|रकम|राशि|फीस|फ़ीस|बिल|सैलरी|पैकेज|क़ीमत|जमा|कमाई|खर्च|ख़र्च"
)
"""Words after which "5L" is five lakh."""
LETTERED_PLACES = (
    "flat|seats?|gates?|tower|block|wing|rooms?|row|unit|apartment|apt|house|plot|rules?|sections?|sec|form|class|"
    "grade|exit|bay|lane|stall|shop|hall|platform|coach|bus|berth|suite|floor|level|zone|terminal|door|locker|cabin|"
    "counter|table|article|clause|schedule|type|size|model|vitamin|street|phase|sector|pillar|slot|box|ward|bed|"
    "building|villa|house|route|booth|division|form|part|figure|annexure|appendix|"
    "फ्लैट|फ़्लैट|सीट|गेट|टावर|ब्लॉक|कमरा|रूम|धारा|नियम|मकान|प्लॉट|दुकान|बर्थ|कोच"
)
"""Words after which "5L" is five and a letter, even if money was mentioned before."""

_CALLED = re.compile(r"(?i)(?<!\w)(?:no|nos|number|numbers|id|code|ref|ending)(?!\w)|[#:]|नंबर|नम्बर|संख्या")
_SAID_TO_BE = re.compile(r"(?i)(?<!\w)(?:is|was|are|है|हैं)(?!\w)")
_OWNED = re.compile(r"(?i)(?<!\w)(?:your|my|his|her|their|our|आपका|आपकी|आपके|मेरा|मेरी) (?:\w{1,12} )?\Z")
NEAR_CHARS = 200
"""Distance in characters within which a word decides how a number is read."""
PRICE_DIGITS_MAX = 6
"""Most digits of a price after "the phone is ..."."""

ROUND_DIGITS_MAX = 9
"""Most digits of such a price if it ends in 000: "the flat is 4500000"."""

_STOPS = frozenset(
    re.findall(
        r"\S+",
        "is was are were be been has have had will would can could should may might must shall do does did "
        "for from to at on in by with and or but so if that which who when where as than of the rents a an "
        "this these those your my our his her its their it i you we he she they please now today tomorrow "
        "tonight yesterday then not no yes ok okay thanks thank sir leaves departs arrives lands boards takes "
        "needs stops starts runs expires comes goes costs includes contains reaches faces opens closes works "
        "shows says means belongs gets gives remains looks seems appears matches ends begins connects serves "
        "covers carries flies waits sits stands stays changes crosses passes lets moves becomes holds always "
        "perhaps besides towards across adds one two three four five six seven eight nine ten eleven twelve "
        "half dozen upstairs downstairs indoors outdoors afterwards sometimes overseas hai hain ka ki ke ko "
        "se par pe mein me wala via until till after before once है हैं था थी थे हो हुआ हुई हुए का की के को "
        "से पर में तक ने या और तो भी ही जो कि कल आज अब शाम सुबह रात दोपहर परसों अभी एक दो तीन चार पाँच पांच "
        "छह सात आठ नौ दस ग्यारह बारह आधा आधे डेढ़ ढाई साढ़े",
    )
)
"""Function words and verbs: after them a number counts nothing any more."""
_COUNTED = frozenset(
    re.findall(
        r"\S+",
        "more extra people men women children persons pax feet foot inch inches mice teeth rupee rupaye rupay "
        "rupaiye rupya paise paisa percent per gram kilo litre liter metre meter minute hour day week month "
        "year night item unit plate piece guest point staff crew off only each apiece onwards onward square "
        "sq cubic dollar euro usd inr rs aed eur gbp thousand lakh lakhs lac crore crores hundred million "
        "billion k km kms kg kgs g gm gms mg ml l ltr cm mm m ft min mins hr hrs sec secs gb mb tb kb mbps "
        "kmph bps times kwh watt watts volts calories kcal log logo din dino ghante ghanta mahine mahina saal "
        "hafte hafta baar bacche ladke kilometer kilometre रुपये रुपए रुपया रुपयों रुपैया पैसे बची बचे बचीं "
        "उपलब्ध रु रु. डॉलर यूरो मिनट मिनटों घंटे घंटा घंटों दिन दिनों हफ़्ते हफ्ते हफ़्ता सप्ताह महीने महीना "
        "महीनों साल सालों वर्ष लोग लोगों व्यक्ति मेहमान मेहमानों बच्चे बच्चों यात्री यात्रियों सीटें सीट टिकट "
        "टिकटें प्लेट प्लेटें किलो ग्राम किलोग्राम लीटर मीटर किलोमीटर किमी सेमी फुट फ़ुट इंच प्रतिशत फ़ीसदी "
        "फीसदी बार गुना डिग्री लाख करोड़ हज़ार हजार सौ अंक अंकों पॉइंट पॉइंट्स यूनिट नग पीस पेज डिब्बे बोतल "
        "बोतलें पैकेट कमरे मरीज़ मरीज मरीज़ों गोलियाँ गोली आइटम मात्र शब्द एमबी जीबी",
    )
)
"""Currencies, units and nouns that do not end in "s"; a word that does is a plural."""
_NEXT_WORD = re.compile(r"[ -]?((?:[^\W\d_]|[\u0900-\u0963])[\w\u0900-\u0963'’]{0,30}\.?)")
_SIGN_AFTER = re.compile(r" ?(?:[%٪₹$€£°]|/-|a (?:night|day|week|month|year|head|person|piece|plate|kilo)\b)")
_PRICED_IN_HINDI = re.compile(
    r" (?:(?:का|की|के) (?:है|हैं|था|थी|पड़ेगा|पड़ेगी|मिलेगा|मिलेगी|आता|आती|आएगा|आएगी|होगा|होगी)|"
    r"(?:में|मे) (?:है|(?:मिल|आ|पड़)[\u0904-\u0963]{1,8}))"
    r"| (?:ka|ki|ke) (?:hai|hain|tha|padega|milega|hoga)(?!\w)| (?:ka|का)(?=[,.।]|$)"
)
_VERB_AFTER = re.compile(
    r" (?:[0-9₹$]|(?:a|an|the|your|my|our|his|her|their|you|us|me|him|them|it|to|that|this|all|no)\b)"
)
"""Words after a verb that ends in "s", but not after a noun: "NH 275 adds 20 minutes"."""
_HINDI_PLURAL = re.compile("(?:.{2}ों|ियाँ|ियां|[^गतनकयह]े)$")
"""Endings of plurals: समोसों, साड़ियाँ, डिब्बे; verbs ("भेजें", "आएँगे", "जाने") end otherwise."""
_HINDI_SINGULAR = frozenset(
    (
        "क्यों", "दोनों", "यों", "आगे", "पहले", "पीछे", "नीचे", "वाले", "जैसे", "कैसे", "ऐसे", "वैसे", "सीधे",
        "थोड़े", "दूसरे", "सारे", "पूरे", "हमारे", "तुम्हारे", "मेरे", "तेरे", "देखे", "चले", "मिले", "भेजे",
        "साढ़े", "आधे", "धीरे", "बारे", "द्वारे", "सवेरे", "मुझे", "तुझे", "उसे", "इसे", "किसे", "तीसरे",
    )
)  # fmt: skip
WORDS_AHEAD_MAX = 3
"""Words after a number among which its noun is looked for: "500 extra large plates"."""


def counts(text: str, end: int) -> bool:
    """True if the number that ends at `end` counts what follows it: money, a unit, a noun in the plural."""
    if _SIGN_AFTER.match(text, end) or _PRICED_IN_HINDI.match(text, end):
        return True
    for _ in range(WORDS_AHEAD_MAX):
        following = _NEXT_WORD.match(text, end)
        if following is None:
            return False
        word, end = following[1], following.end()
        plain = word.rstrip(".").lower()
        if plain in _COUNTED or plain.rstrip("s") in ("rupee", "dollar", "euro", "pound"):
            return True
        if plain in _STOPS or word[0].isupper() or word.endswith("."):
            return _is_plural(plain) and word.endswith(".") and plain not in _STOPS and word[0].islower()
        if _is_plural(plain):
            return not _VERB_AFTER.match(text, end)
    return False


def _is_plural(word: str) -> bool:
    if "\u0900" <= word[0] <= "\u0963":
        return bool(_HINDI_PLURAL.search(word)) and word not in _HINDI_SINGULAR
    return len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is", "'s", "’s"))


def is_code(context: NumberContext, text: str, start: int, between: str, token: str, end: int) -> bool:
    """True if the `token` that ends at `end` is read digit by digit.  `start`: where the context's word begins."""
    if context is ROOM and re.search("[-/]", token):
        return False  # Flat 12/4
    digits = sum(map(str.isdecimal, token))
    named = bool(_CALLED.search(between))
    if digits < (context.named_digits_min if named else context.digits_min) or counts(text, end):
        return False
    large = digits > PRICE_DIGITS_MAX and not (token.endswith("000") and digits <= ROUND_DIGITS_MAX)
    if named or not context.priced or not token.isdecimal() or large:
        return True
    if not _SAID_TO_BE.search(between):
        return True
    if token.endswith(("0", "99")) and token[0] != "0":
        return False
    return token[0] == "0" or digits >= 5 or bool(_OWNED.search(text, max(0, start - 30), start))
