"""What the model writes and what the caller hears: a table of both, and what holds for any text."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from workers.tts.normalise import normalised, with_sources
from workers.tts.normalise.words_en import English
from workers.tts.normalise.words_hi import Hindi

pytestmark = pytest.mark.fast

ROOT = Path(__file__).resolve().parents[5]

PLAIN = """
en | Of course, I can help you with that.
en | She isn't in on Sundays (or holidays); shall I book Monday?
en | "Yes," she said. Really? Wait... I see — fine!
en | I AM NOT SURE ABOUT THAT, BUT OK
en | The sun sat on the wed couple; may I march on?
hi | Aapka order confirm ho gaya hai, thank you.
hi | आपका order confirm हो गया है। Delivery Friday को होगी।
hi | क्या आप कल सुबह नौ बजे आ सकते हैं?
ta | நாளை காலை 10 மணிக்கு ₹500 கொண்டு வாருங்கள், 25% தள்ளுபடி.
mr | उद्या १० वाजता या, 5 मिनिटं लागतील.
fr | Bonjour ! Ça coûte 10 €, n'est-ce pas ?
"""

MARKUP = """
en | **Bold**, *it*, __strong__, _em_, ~~gone~~ and `code` => Bold, it, strong, em, gone and code
en | ***both of them*** => both of them
en | a clause that ends in **the middle => a clause that ends in the middle
en | ### Our rooms ### => Our rooms
en | - one item => one item
en | * [x] another => another
en | • a third => a third
en | 1. **First**: ask => one. First: ask
en | > quoted => quoted
en | See [our page](https://example.com/help "Help"). => See our page.
en | please](https://example.com/help) come => please come
en | ![a cat](https://example.com/cat.png) here => a cat here
en | So says Rao[1], and Sen[2, 3]. => So says Rao, and Sen.
en | ```python print('hi') ``` => print('hi')
en | <speak>Hi <break time="1s"/> there</speak> => Hi there
en | One<br>two <b>three</b> => One two three
en | Tom &amp; Jerry => Tom and Jerry
en | snake_case and {curly} [square] (round) => snake case and curly square (round)
en | Hello 😊! 👍🏽 Great 🇮🇳 => Hello! Great
en | Example™ ⭐ :) yes => Example yes
en | Yes!!! Really?!? Well..... => Yes! Really? Well...
en | wait -- what => wait — what
en | Ours → yours => Ours, yours
hi | **नमस्ते** 😊 आप कैसे हैं? => नमस्ते आप कैसे हैं?
ta | **விலை** ₹500 😊 => விலை ₹500
te | # శీర్షిక => శీర్షిక
mr | [१० रुपये](https://example.com) `फक्त` => १० रुपये फक्त
gu | <b>૫૦૦</b> રૂપિયા => ૫૦૦ રૂપિયા
"""

ADDRESSES = """
en | See https://www.example.com/help. => See example dot com slash help.
en | Go to example.co.in, please => Go to example dot co dot in, please
en | <https://example.com:8080/x_y-z?a=1> => example dot com slash x underscore y dash z
en | https://example.com/a/b/c/d/e/f => example dot com slash a slash b slash c slash d
en | Mail name@example.com. => Mail name at example dot com.
en | first.last+tag2@mail.example.com => first dot last plus tag two at mail dot example dot com
en | Pay ravi_k@okaxis => Pay ravi underscore k at okaxis
en | Open report.pdf => Open report dot pdf
en | Write to @ravi => Write to at ravi
hi | ईमेल a@example.com पर भेजें => ईमेल a ऐट example डॉट com पर भेजें
"""

MONEY = """
en | It is ₹1,25,000 in all. => It is one lakh twenty-five thousand rupees in all.
en | ₹2.5 crore => two point five crore rupees
en | ₹5L, 2 Cr and 10k => five lakh rupees, two crore and ten thousand
en | Rs. 500/- only => five hundred rupees only
en | Rs 12,34,56,789 => twelve crore thirty-four lakh fifty-six thousand seven hundred and eighty-nine rupees
en | ₹99.50 or ₹0.50 => ninety-nine rupees and fifty paise or fifty paise
en | ₹1 and ₹10.5 => one rupee and ten point five rupees
en | 1500 INR. => one thousand five hundred rupees.
en | ₹500-700 per night => five hundred to seven hundred rupees per night
en | from ₹500 to ₹700 => from five hundred to seven hundred rupees
en | ₹500 to 3 guests => five hundred rupees to three guests
en | ₹5-10 lakh => five to ten lakh rupees
en | ₹2,000/night => two thousand rupees per night
en | -₹500 => minus five hundred rupees
en | ₹1,00,005 => one lakh and five rupees
en | $1,250.50 => one thousand two hundred and fifty dollars and fifty cents
en | $2.5 million => two point five million dollars
en-GB | ₹2500000 => twenty-five lakh rupees
en | $2500000 => two million five hundred thousand dollars
en | €20, £5.01 and AED 30 => twenty euros, five pounds and one penny and thirty dirhams
hi | आपका बिल ₹1,25,000 है। => आपका बिल एक लाख पच्चीस हज़ार रुपये है।
hi | ₹1 => एक रुपया
hi | ₹99.50 => निन्यानवे रुपये पचास पैसे
hi | ₹2.5 करोड़ या ₹1.5 लाख => ढाई करोड़ रुपये या डेढ़ लाख रुपये
hi | किराया ₹500-700 है => किराया पाँच सौ से सात सौ रुपये है
hi | रु. 500 और ५० पैसे => पाँच सौ रुपये और पचास पैसे
hi | बिल500₹का है => बिल पाँच सौ रुपये का है
hi | Aapka bill ₹500 hai. => Aapka bill five hundred rupees hai.
"""

NUMBERS = """
en | 1,25,000 or 1,250,000 => one lakh twenty-five thousand or one million two hundred and fifty thousand
en | 10000000 => one crore
en-GB | 10000000 and 205 => ten million and two hundred and five
en-US | 10000000 and 205 => ten million and two hundred five
en | 0.5, .5 and 3.14 => zero point five, point five and three point one four
en | 007 => zero zero seven
en | 1, 2,3 => one, two, three
en | 1st, 2nd, 3rd, 12th, 20th, 21st => first, second, third, twelfth, twentieth, twenty-first
en | 12.5% or 5-10% => twelve point five percent or five to ten percent
en | 10-12 days => ten to twelve days
en | 5 – 6 people => five to six people
en | 1/2 cup, 3/4 and 2 1/2 or 2½ => half a cup, three quarters and two and a half or two and a half
en | 4.5/5 and 7/10 => four point five out of five and seven out of ten
en | Flat 12/4, Lake Road => Flat twelve by four, Lake Road
en | open 24/7 => open twenty-four seven
en | the ratio is 2:1 => the ratio is two to one
en | 3 x 4 = 12 and 10x12 => three times four equals twelve and ten by twelve
en | ~500, >5, 100+ and #1 => about five hundred, more than five, one hundred plus and number one
en | 2x faster => two times faster
en | 1 km, 10 km and 80 km/h => one kilometre, ten kilometres and eighty kilometres per hour
en | 5°C to -5°C => five degrees Celsius to minus five degrees Celsius
en | 500 GB, 2 GB/day, 1.5kg => five hundred gigabytes, two gigabytes per day, one point five kilograms
en | a 5 min. walk => a five minutes walk
en | 1,200 sq. ft. flat => one thousand two hundred square feet flat
en | Version v2.1.3 => Version version two point one point three
en | 123456789012345678 => one two three four, five six seven eight, nine zero one two, three four five six, seven eight
hi | 10-12 किमी दूर => दस से बारह किलोमीटर दूर
hi | 25% छूट => पच्चीस प्रतिशत छूट
hi | 5वीं मंज़िल, 2री गली, 6वां => पाँचवीं मंज़िल, दूसरी गली, छठा
hi | 1,00,00,000 लोग => एक करोड़ लोग
hi | 3.5 किमी और 1/2 => तीन दशमलव पाँच किलोमीटर और आधा
hi | १२३ => एक सौ तेईस
hi | 24/7 खुला => चौबीसों घंटे खुला
hi | 44, 67, 79 और 99 लोग => चवालीस, सड़सठ, उनासी और निन्यानवे लोग
en | नमस्ते 500 => नमस्ते पाँच सौ
"""

DATES = """
en | 15/08/2026 => fifteenth August twenty twenty-six
en | 15-08-2026 or 15.08.2026 or 15/8/26 => {15} or {15} or {15}
en | 2026-08-15 => fifteenth August twenty twenty-six
en | 2026-08-15T17:30 => fifteenth August twenty twenty-six, five thirty P M
en | 1/4/2026 => first April twenty twenty-six
en-US | 1/4/2026 => January fourth, twenty twenty-six
en | 08/25/2026 => twenty-fifth August twenty twenty-six
en | by 15/08 => by fifteenth August
en | 15 August 2026 at 5:30 pm. => fifteenth August twenty twenty-six at five thirty P M.
en | the 15th of August => the fifteenth of August
en | August 15, 2026, is a holiday => August fifteenth, twenty twenty-six, is a holiday
en | 15 Aug. => fifteenth August.
en | 15-17 August => fifteenth to seventeenth August
en | Aug 2026 => August twenty twenty-six
en | in 2005, since 1998, by 2010 => in two thousand and five, since nineteen ninety-eight, by twenty ten
en | the 1990s and the 90s => the nineteen nineties and the nineties
en | FY 2026-27 => F Y twenty twenty-six to twenty-seven
en | Mon-Fri, Sat 10 am => Monday to Friday, Saturday ten A M
en | 5 pm or 5 p.m. or 5:30pm => five P M or five P M or five thirty P M
en | We close at 6 p.m. => We close at six P M.
en | 17:30, 00:15 and 10:05 => five thirty P M, twelve fifteen A M and ten oh five
en | 10:00 or 12:00 noon => ten o'clock or twelve noon
en | 9-6pm, 9am-6pm, 10:30-12:30 => nine to six P M, nine A M to six P M, ten thirty to twelve thirty
en | nine a.m. today => nine A M today
hi | 15/08/2026 को आइए => पंद्रह अगस्त दो हज़ार छब्बीस को आइए
hi | 15 अगस्त 1947 => पंद्रह अगस्त उन्नीस सौ सैंतालीस
hi | 10-15 अगस्त तक => दस से पंद्रह अगस्त तक
hi | शाम 5:30 बजे, शाम 17:30 बजे => शाम साढ़े पाँच बजे, शाम साढ़े पाँच बजे
hi | दोपहर 1:30 बजे, 2:30 बजे => दोपहर डेढ़ बजे, ढाई बजे
hi | 17:30 से पहले => शाम साढ़े पाँच बजे से पहले
hi | कल 9:45 am को => कल सुबह पौने दस बजे को
hi | 17:00 बजे, रात 10:15 => शाम पाँच बजे, रात सवा दस बजे
hi | 10:20 बजे => दस बजकर बीस मिनट
"""

CODES = """
en | Call +91 98765 43210 now. => Call plus nine one, {mobile} now.
en | +919876543210, 98765-43210 or 09876543210 => plus nine one, {mobile}, {mobile} or zero, {mobile}
en | Dial 1800 123 4567 => Dial one eight zero zero, one two three, four five six seven
en | 080-1234 5678 => zero eight zero, one two three four, five six seven eight
en | (123) 456-7890 => one two three, four five six, seven eight nine zero
en | call 112 => call one one two
en | Your OTP is 482913. => Your O T P is four eight two, nine one three.
en | The code is: **4521** => The code is: four five two one
en | 4521 is your OTP => four five two one is your O T P
en | PIN code 560001 => PIN code five six zero, zero zero one
en | card ending in 4321 or XXXX4321 => card ending in four three two one or ending in four three two one
en | order number 98321, order #12 => order number nine eight three two one, order number twelve
en | order 12 plates => order twelve plates
en | account no. 1234 => account number one two three four
en | PNR AB12CD => P N R A B one two C D
en | booking id is BK2345 => booking id is B K two three four five
en | flight 6E 2134 => flight six E two one three four
en | Aadhaar 1234 5678 9012 => Aadhaar one two three four, five six seven eight, nine zero one two
en | KA 01 AB 1234 => K A zero one A B one two three four
en | 5G, B2B, A4, T20, 3BHK => five G, B two B, A four, T twenty, three B H K
en | COVID-19 and Section 80C => COVID nineteen and Section eighty C
hi | आपका OTP 4521 है => आपका O T P चार पाँच दो एक है
hi | 9876543210 पर कॉल करें => नौ आठ सात छह पाँच, चार तीन दो एक शून्य पर कॉल करें
hi | पिन 0420 => पिन शून्य चार दो शून्य
"""

ABBREVIATIONS = """
en | Dr. Rao, Mr. Sen and Prof. A. P. Iyer => Doctor Rao, Mister Sen and Professor A. P. Iyer
en | Smt. Devi of St. Mary's => Shrimati Devi of Saint Mary's
en | Room No. 5, 12 Lake St. => Room Number five, twelve Lake Street.
en | e.g. a card, i.e. no cash => for example a card, that is no cash
en | approx. 5 km etc. => approximately five kilometres et cetera.
en | Sunrise Pvt. Ltd. is near => Sunrise Private Limited is near
en | w/o sugar, a/c details => without sugar, account details
en | he/she and/or they => he or she and or they
en | EMI by UPI at an ATM, with GST => E M I by U P I at an A T M, with G S T
en | PAN, NASA and NEFT => PAN, NASA and NEFT
en | HDFC, SBI and RBI => H D F C, S B I and R B I
en | OTPs, PDFs, R&D and AT&T => O T P's, P D F's, R and D and A T and T
en | U.S. law by I.B.M. => U S law by I B M.
hi | डॉ. राव और नं. 5 => डॉक्टर राव और नंबर पाँच
hi | EMI कितनी है? => E M I कितनी है?
"""

SHORT = {
    "{15}": "fifteenth August twenty twenty-six",
    "{mobile}": "nine eight seven six five, four three two one zero",
}


def rows(table: str) -> list[tuple[str, str, str]]:
    found = []
    for line in table.strip().splitlines():
        language, _, rest = line.partition(" | ")
        written, _, spoken = rest.partition(" => ")
        for short, full in SHORT.items():
            spoken = spoken.replace(short, full)
        found.append((language.strip(), written, spoken or written))
    return found


TABLES = (MARKUP, ADDRESSES, MONEY, NUMBERS, DATES, CODES, ABBREVIATIONS)
ROWS = [row for table in TABLES for row in rows(table)]


@pytest.mark.parametrize(("language", "written", "spoken"), ROWS)
def test_what_is_written_is_spoken(language: str, written: str, spoken: str) -> None:
    assert normalised(written, language) == spoken
    assert normalised(spoken, language) == spoken  # plain by now


@pytest.mark.parametrize(("language", "written", "_"), rows(PLAIN))
def test_what_is_plain_stays_as_it_is(language: str, written: str, _: str) -> None:
    said = with_sources(written, language)
    assert said.text == written
    assert said.sources == tuple(range(len(written)))


@pytest.mark.parametrize("written", ["", "  ", "😊", "...", "<break/>", "**", "---", "| --- |"])
def test_nothing_to_say_is_nothing(written: str) -> None:
    assert normalised(written, "en") == ""


@pytest.mark.parametrize("written", ["[](http://x.example)", "```no```", "[1]", "|a|", "# #a"])
def test_something_to_say_is_never_lost(written: str) -> None:
    assert re.search("[a-z]", normalised(written, "en"))


def test_several_lines_stay_lines() -> None:
    assert normalised("# Rooms\n\n- Deluxe: ₹2,000\n- Suite\r\n", "en") == "Rooms\nDeluxe: two thousand rupees\nSuite"
    table = "| Room | Price |\n|:-----|------:|\n| Deluxe | ₹2,000 |"
    assert normalised(table, "en") == "Room, Price\nDeluxe, two thousand rupees"
    assert (
        normalised("| --- | --- | | Deluxe | ₹2,000 |", "en") == "Deluxe, two thousand rupees"
    )  # a clause has no lines


# --- where it came from --------------------------------------------------------------------------------------------


def test_the_caller_who_heard_the_word_after_the_sum_heard_the_sum() -> None:
    written = "**Pay** ₹1,25,000 today."
    said = with_sources(written, "en")
    assert said.text == "Pay one lakh twenty-five thousand rupees today."
    for word, place in (("Pay", "Pay"), ("one lakh", "₹"), ("thousand rupees", "₹"), (" today", " today"), (".", ".")):
        assert said.source(said.text.index(word)) == written.index(place), word
    assert said.source(len(said.text)) == said.source(len(said.text) + 5) == len(written)


def test_words_around_a_number_keep_their_own_place() -> None:
    written = "आपका OTP 4521 है"
    said = with_sources(written, "hi")
    assert said.source(said.text.index("चार")) == written.index("4521")
    assert said.source(said.text.index("है")) == written.index("है")
    assert with_sources("order #12", "en").source(0) == 0


# --- number words --------------------------------------------------------------------------------------------------

VALUES = {word: at for at, word in enumerate(English().digits("0123456789").split())}
VALUES |= {"ten": 10, "eleven": 11, "twelve": 12, "thirteen": 13, "fourteen": 14, "fifteen": 15, "sixteen": 16}
VALUES |= {"seventeen": 17, "eighteen": 18, "nineteen": 19, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50}
VALUES |= {"sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
SIZES = {"hundred": 100, "thousand": 1000, "lakh": 10**5, "crore": 10**7, "million": 10**6, "billion": 10**9}
SIZES |= {"trillion": 10**12}


def value(words: str) -> int:
    """What a listener would write down."""
    total = part = 0
    for word in words.replace("-", " ").split():
        if word == "hundred":
            part *= 100
        elif word == "crore":
            total, part = (total + part) * SIZES[word], 0
        elif word in SIZES:
            total, part = total + part * SIZES[word], 0
        elif word != "and":
            part += VALUES[word]
    return total + part


@given(st.integers(0, 10**13) | st.integers(0, 3000), st.booleans())
def test_a_listener_writes_down_the_same_number(number: int, indian: bool) -> None:
    assert value(English(indian=indian).cardinal(number, indian=indian)) == number


def test_hindi_has_a_word_of_its_own_for_each_number() -> None:
    hindi = Hindi()
    spoken = [hindi.cardinal(number) for number in range(2000)]
    assert len(set(spoken)) == 2000 and len(set(spoken[:100])) == 100
    assert all(" " not in word for word in spoken[:100])


# --- any text ------------------------------------------------------------------------------------------------------

PIECES = re.findall(
    r"\S+",
    "₹ Rs. $ 1 25 1,25,000 10 2026 15/08/2026 5:30 pm a.m. , . ? ! - – — / % ** _ ` # [ ]( ] ( ) <b> < & &amp; @ "
    "a@b.in https://x.in/y OTP is code order no. No. Dr. EMI A b word Mon Sat Aug May km °C ½ 😊 • | है रु. बजे वीं लाख "
    "lakh to and x + = ~ ... … 's ' \" { } \\ ^ : ; XX AB12 U.S. e.g. etc. St. min 24/7 0 007 +91 १२ é 。 ² v2.1 1st "
    "90s K L Cr flat call dial police 112 2500 rupees on by 5/6 Bengaluru 560001 Rt. H.No. Class XII 6E "
    "&lt; &amp;amp; \\n 1800 train phone BP # 'Aug 10 000 5' gold M CA का मिनट ",
)
DIRECTIONS = ["[laughs]", "*checks calendar*"]
PIECES += [" ", "  ", "\n", "\t", "\u200b", "\u200d", "\ufe0f", "98765 43210"]
TEXTS = st.lists(st.sampled_from(PIECES + DIRECTIONS) | st.just(" "), max_size=25).map("".join) | st.text(max_size=60)
LANGUAGES = st.sampled_from(["en", "en-IN", "en-US", "hi", "hi-IN", "ta", "fr", ""])


def unescaped(text: str) -> str:
    for _ in range(6):
        text = html.unescape(text)
    return text


@settings(max_examples=examples(400), deadline=None)
@given(TEXTS, LANGUAGES)
def test_any_text_is_spoken_and_leads_back(text: str, language: str) -> None:
    said = with_sources(text, language)
    assert len(said.sources) == len(said.text)
    assert list(said.sources) == sorted(said.sources)
    assert all(0 <= source < len(text) for source in said.sources)
    assert normalised(said.text, language) == said.text
    assert not re.search(r"[*_`~|\\^\[\]{}<>#]|  ", said.text)
    assert said.text == said.text.strip()
    if language[:2] in ("en", "hi"):
        assert not re.search("[0-9₹%]", said.text)
    for dropped in (*DIRECTIONS, "\\n"):
        text = text.replace(dropped, " ")
    if re.search(r"[^\W_]", re.sub(r"<[^<>]{0,300}>", "", unescaped(text))) and not re.search("[\ue000-\uf8ff]", text):
        assert re.search(r"[^\W_]", said.text)


# --- the page ------------------------------------------------------------------------------------------------------


def examples() -> list[tuple[str, str, str]]:
    """The rows of docs/speech.md: (language, written, spoken)."""
    found = []
    for line in (ROOT / "docs/speech.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if len(cells) == 3 and cells[0].startswith("`") and cells[1].startswith("`"):
            found.append((cells[0].strip("`"), cells[1][1:-1].replace("``", "`"), cells[2]))
    return found


def test_every_example_of_the_page_is_true() -> None:
    assert len(examples()) > 40
    for language, written, spoken in examples():
        assert normalised(written, language) == spoken
