"""Reads PIN codes after a city, ZIP codes after a state, and house numbers: Bengaluru - 560001; Austin, TX 78701."""

from __future__ import annotations

import re

from workers.tts.normalise.contexts import counts
from workers.tts.normalise.phones import digit_words
from workers.tts.normalise.spans import Pass
from workers.tts.normalise.words import Words

CITIES = (
    "Agartala|Agra|Ahmedabad|Ahmednagar|Aizawl|Ajmer|Aligarh|Allahabad|Alappuzha|Amravati|Amritsar|Anantapur|Asansol|"
    "Aurangabad|Bareilly|Belagavi|Belgaum|Bengaluru|Bangalore|Bhopal|Bhubaneswar|Bikaner|Bokaro|Calicut|Chandigarh|"
    "Chennai|Coimbatore|Cuttack|Darjeeling|Dehradun|Delhi|Dhanbad|Durgapur|Ernakulam|Erode|Faridabad|Gangtok|Gaya|"
    "Ghaziabad|Goa|Gorakhpur|Guntur|Gurgaon|Gurugram|Guwahati|Gwalior|Haridwar|Howrah|Hubballi|Hubli|Hyderabad|Imphal|"
    "Indore|Itanagar|Jabalpur|Jaipur|Jalandhar|Jammu|Jamnagar|Jamshedpur|Jhansi|Jodhpur|Kanpur|Kannur|Kochi|Cochin|"
    "Kohima|Kolhapur|Kolkata|Kollam|Kota|Kottayam|Kozhikode|Leh|Lucknow|Ludhiana|Madurai|Mangaluru|Mangalore|Mathura|"
    "Meerut|Moradabad|Mumbai|Mysuru|Mysore|Nagpur|Nashik|Nellore|Noida|Ooty|Palakkad|Panaji|Panipat|Panvel|Patiala|"
    "Patna|Prayagraj|Puducherry|Pondicherry|Pune|Raipur|Rajahmundry|Rajkot|Ranchi|Rourkela|Salem|Secunderabad|Shillong|"
    "Shimla|Siliguri|Solapur|Srinagar|Surat|Thane|Thiruvananthapuram|Thrissur|Tiruchirappalli|Tirunelveli|Tirupati|"
    "Trichy|Trivandrum|Udaipur|Udupi|Ujjain|Vadodara|Varanasi|Vellore|Vijayawada|Visakhapatnam|Vizag|Warangal|"
    "Andhra Pradesh|Arunachal Pradesh|Assam|Bihar|Chhattisgarh|Gujarat|Haryana|Himachal Pradesh|Jharkhand|Karnataka|"
    "Kerala|Madhya Pradesh|Maharashtra|Manipur|Meghalaya|Mizoram|Nagaland|Odisha|Punjab|Rajasthan|Sikkim|Tamil Nadu|"
    "Telangana|Tripura|Uttar Pradesh|Uttarakhand|West Bengal|India|"
    "आगरा|अहमदाबाद|अमृतसर|औरंगाबाद|बेंगलुरु|बैंगलोर|भोपाल|भुवनेश्वर|चंडीगढ़|चेन्नई|कोयंबटूर|देहरादून|दिल्ली|फरीदाबाद|गाज़ियाबाद|"
    "गाजियाबाद|गोवा|गुरुग्राम|गुवाहाटी|ग्वालियर|हैदराबाद|इंदौर|जबलपुर|जयपुर|जालंधर|जोधपुर|कानपुर|कोच्चि|कोलकाता|कोटा|लखनऊ|लुधियाना|"
    "मथुरा|मेरठ|मुंबई|मैसूर|नागपुर|नासिक|नाशिक|नोएडा|पटना|प्रयागराज|पुणे|रायपुर|राजकोट|रांची|राँची|शिमला|सूरत|ठाणे|उदयपुर|वडोदरा|"
    "वाराणसी|विशाखापत्तनम|बिहार|गुजरात|हरियाणा|झारखंड|कर्नाटक|केरल|मध्य प्रदेश|महाराष्ट्र|पंजाब|राजस्थान|तमिलनाडु|तेलंगाना|"
    "उत्तर प्रदेश|उत्तराखंड|पश्चिम बंगाल|भारत"
)
_STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "D C", "FL": "Florida", "GA": "Georgia", "HI": "Hawaii", "ID": "Idaho",
    "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky", "LA": "Louisiana", "ME": "Maine",
    "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota", "MS": "Mississippi", "MO": "Missouri",
    "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire", "NJ": "New Jersey", "NM": "New Mexico",
    "NY": "New York", "NC": "North Carolina", "ND": "North Dakota", "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon",
    "PA": "Pennsylvania", "RI": "Rhode Island", "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee",
    "TX": "Texas", "UT": "Utah", "VT": "Vermont", "VA": "Virginia", "WA": "Washington", "WV": "West Virginia",
    "WI": "Wisconsin", "WY": "Wyoming",
}  # fmt: skip
_FULL_STATES = "|".join(sorted(set(_STATES.values()) - {"D C"}, key=len, reverse=True))
_SIX = r"([1-9][0-9]{2} ?[0-9]{3})(?![\w%])(?![.,:/-][0-9])"
_AREAS = (
    "Road|Rd|Street|Nagar|Layout|Colony|Marg|Enclave|Vihar|Puram|Chowk|Bazaar|Bazar|Market|Extension|Extn|Cross|Main|Gardens|"
    "Township|Taluk|District|Dist|Post|East|West|North|South|रोड|नगर|कॉलोनी|मार्ग|विहार|चौक|बाज़ार|बाजार|ज़िला|जिला"
)
_PIN = re.compile(rf"(?<![\w\u0900-\u0963])(?:{CITIES}|{_AREAS})\)?(?:(?:,| [-–—:]|[-–—:])? ?|, )\(?{_SIX}")
_STATE_LETTERS = "AP|AR|AS|BR|CG|CH|DL|GA|GJ|HP|HR|JH|JK|KA|KL|MH|ML|MP|OD|PB|PY|RJ|TG|TN|TS|UK|UP|WB"
_PIN_OF_STATE = re.compile(rf"(?<!\w)(?:{_STATE_LETTERS})(?:,| [-–—])? {_SIX}")
_DASHED = re.compile(rf"(?<!\w)([A-Z][A-Za-z]{{2,20}}|[\u0904-\u0963]{{2,20}}) ?[-–—] ?{_SIX}")
_SUMS = re.compile(
    r"(?i)(?:total|amount|price|cost|rent|salary|balance|bill|budget|deposit|rupees|subtotal|fees?|emi|loan|premium|payment|"
    r"quantity|population|views|score|likes|followers|votes|count|points|visitors|users|members|income|profit|loss|tax|sales|revenue|कुल|राशि|रकम|किराया|कीमत|वेतन|बिल|शुल्क)\Z"
)
_ZIP = re.compile(
    rf"(?<!\w)({'|'.join(_STATES)}|{_FULL_STATES}),? ([0-9]{{5}})(?:-([0-9]{{4}}))?(?![\w%])(?![.,:/-][0-9])"
)
_STREETS = (
    "Street|St|Avenue|Ave|Road|Rd|Boulevard|Blvd|Lane|Ln|Drive|Dr|Court|Ct|Way|Place|Pl|Parkway|Pkwy|Highway|Hwy|"
    "Broadway|Square|Terrace|Circle|Trail"
)
_AMERICAN_HOUSE = re.compile(
    rf"(?<![\w₹$€£.,:/-])([1-9][0-9]{{2,4}})([A-Z]?)(?= (?:(?:[NSEW]\.?|[A-Z][a-z]{{1,20}}|"
    rf"[0-9]{{1,3}}(?:st|nd|rd|th)) ){{0,3}}"
    rf"(?:{_STREETS})(?!\w))"
)
_FORM = re.compile(r"(?<!\w)([Ff]orms? )([0-9]{4})(?![\w%])(?![.,:/][0-9])")
_INDIAN_HOUSE = re.compile(
    r"(?<![\w.,₹-])([0-9]{1,3}(?:-[0-9]{1,4}){2,4}(?:/[0-9]{1,4})?(?:/[A-Z]{1,2}[0-9]{0,2}(?:/[0-9]{1,3})?)?)(?![\w-])"
)
_HOUSE_BEFORE = re.compile(r"(?i)(?:house|door|flat|plot|quarter|मकान|घर)(?: (?:no|number|नंबर)\.?)?[ :]{1,2}\Z")


def passes(words: Words) -> tuple[Pass, ...]:
    """Return the passes; they run after phone numbers and codes, before dates and ranges, which use dashes, too."""

    def pin(match: re.Match[str]) -> str | None:
        digits = match[match.lastindex or 1]
        if counts(match.string, match.end()):
            return None
        return match[0][: -len(digits)] + digit_words(words, digits.replace(" ", ""))

    def dashed(match: re.Match[str]) -> str | None:
        round_sum = match[2].endswith("000")
        return None if round_sum or _SUMS.search(match[1]) else pin(match)

    def code_of_state(match: re.Match[str]) -> str | None:
        state, first, last = match.groups()
        if counts(match.string, match.end()):
            return None
        spoken = f"{_STATES.get(state, state)} {words.digits(first)}"
        return f"{spoken}, {words.digits(last)}" if last else spoken

    def house(match: re.Match[str]) -> str | None:
        number, letter = match.groups()
        spoken = _in_pairs(words, number)
        return f"{spoken} {letter}" if letter else spoken

    def row(match: re.Match[str]) -> str | None:
        if not _HOUSE_BEFORE.search(match.string, max(0, match.start() - 24), match.start()):
            return None
        parts = [_part(words, part) for part in re.split("([-/])", match[1])]
        return "".join({"-": ", ", "/": f" {words.signs.by} "}.get(part, part) for part in parts)

    return (
        Pass(_PIN, pin),
        *((Pass(_PIN_OF_STATE, pin),) if words.indian else ()),
        Pass(_DASHED, dashed, "-–—"),
        Pass(_INDIAN_HOUSE, row, "-"),
        *((Pass(_ZIP, code_of_state),) if not words.indian else ()),
        *(
            (Pass(_AMERICAN_HOUSE, house), Pass(_FORM, lambda match: f"{match[1]}{_in_pairs(words, match[2])}"))
            if words.month_first
            else ()
        ),
    )


def _part(words: Words, part: str) -> str:
    if part in "-/":
        return part
    return words.cardinal(int(part), indian=True) if len(part) <= 2 and part.isdecimal() else _mixed(words, part)


def _mixed(words: Words, part: str) -> str:
    return " ".join(
        words.digits(run) if run.isdecimal() else " ".join(run) for run in re.findall("[A-Z]+|[0-9]+", part)
    )


def _in_pairs(words: Words, number: str) -> str:
    """Read a house number as in America: 350 "three fifty", 1425 "fourteen twenty-five", 1600 "sixteen hundred"."""
    if len(number) == 5:
        return words.digits(number)
    head, tail = number[:-2], number[-2:]
    first = words.cardinal(int(head), indian=False)
    if tail == "00":
        return words.cardinal(int(number), indian=False) if head.endswith("0") else f"{first} hundred"
    return f"{first} {'oh ' + words.digits(tail[1]) if tail[0] == '0' else words.cardinal(int(tail), indian=False)}"
