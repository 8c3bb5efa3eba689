"""What is played, encoded or marked up is not said: stage directions, HTML entities, leftovers of markdown."""

from __future__ import annotations

import pytest

from workers.tts.normalise import normalised

pytestmark = pytest.mark.fast

DIRECTIONS = [
    "[laughs]", "[laughs softly]", "[Laughs]", "[sighs]", "[pause]", "[short pause]", "[pause: 1 second]",
    "[0.5s pause]", "[pauses for a moment]", "[typing]", "[typing sounds]", "[excited]", "[whispers]",
    "[cheerfully]", "[emotion=happy]", "[SFX: phone rings]", "[hold music playing]", "[Agent laughs]",
    "[clears throat]", "[checking the calendar]", "*laughs*", "**laughs**", "*checks calendar*", "*sighs deeply*",
    "*types on keyboard*", "*looks up your appointment*", "*pulls up the schedule*", "*cheerfully*",
    "*in a warm tone*", "*nods*", "*thinks*", "*puts you on hold*", "*clears throat*", "*[laughs]*",
    "_smiles warmly_", "_(chuckles)_", "(laughs)", "(pause)", "(checks calendar)", "(checking the system)",
    "(in a cheerful voice)", "(smiling)", "(with a smile)", "{laughs}", "<laughs>", "<sigh/>", "[हँसते हुए]",
    "(मुस्कुराते हुए)", "*कैलेंडर देखते हुए*", "*कैलेंडर चेक करती है*", "[विराम]", "(गहरी साँस)", "[Laughs.]",
    "[Transferring call...]", "[call transferred]", "[disconnects]", "*the line goes quiet*", "*Looks it up*",
    "(checks)", "*a moment later*", "[after a pause]", "*pauses, then smiles*", "[on hold]",
    "*places you on hold*", "[agent checks system]", "(pauses to check)", "[waiting for user]", "[User speaks]",
    "[speaking softly]", "*friendly tone*", "[tone: warm]", "[phone ringing]", "*writes down number*",
    "*connecting call*",
]  # fmt: skip
TEXT = [
    "That's *very* important.", "It is *always* open.", "*Never* pay cash.", "The clinic *closes at five*.",
    "*Please note* the *opening hours*.", "*Note:* we are closed.", "*Guests* must pay.", "*Rooms* are free.",
    "Ask Mr. Rao (the cardiologist).", "We are open (Monday to Friday).", "It is free (including tax).",
    "The *checking* account is fine.", "Please see [your name] there.", "We teach *typing classes*.",
    "He spoke (taking his time) to us.", "Bring it back (closes at five).", "It is [open] today.",
    "दाम (बढ़ते हुए भी) ठीक हैं।", "हम *रोज़* खुले हैं।", "Press the *pause* button.", "*Cheers* to that.",
    "*Opening hours* are long.", "*Opens at nine* daily.", "Dr. Rao (friendly) and Dr. Sen (professional).",
    "The caller (patient) is here.", "She said *thanks*.", "We are *looking forward* to it.",
    "*looking forward* to it!", "*Taking orders* now.", "It is long (waiting list only).",
    "*Turns out* it is free.", "*Takes cash only* there.", "(Calls are recorded) as you know.",
]  # fmt: skip
MARKS = str.maketrans("", "", "*[]")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("language", ["en-IN", "hi", "ta"])
def test_what_is_played_is_not_said(direction: str, language: str) -> None:
    assert normalised(f"{direction} One moment, please.", language) == "One moment, please."
    assert normalised(f"One moment. {direction} Monday is free.", language) == "One moment. Monday is free."
    assert normalised(direction, language) == ""


@pytest.mark.parametrize("written", TEXT)
def test_what_is_meant_is_said(written: str) -> None:
    language = "hi" if "ह" in written else "en"
    written = written.replace("Mr.", "Mister").replace("Dr.", "Doctor")
    assert normalised(written, language) == written.translate(MARKS)


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Sure [laughs], we can.", "Sure, we can."),
        ("Sure *smiles*. We can.", "Sure. We can."),
        ("That is (pauses) fine.", "That is fine."),
        ("Sure. *checks the calendar for Monday,", "Sure."),  # a clause that was cut in it
        ("*chuckles*", ""),
        ("[laughs] 😊", ""),
    ],
)
def test_the_sentence_around_a_direction_stays_whole(written: str, spoken: str) -> None:
    assert normalised(written, "en") == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("that&rsquo;s", "that’s"),
        ("caf&eacute; and cr&egrave;me br&ucirc;l&eacute;e", "café and crème brûlée"),
        ("&#8377;500, &#x20B9;500 and &#X20b9;500", "five hundred rupees, five hundred rupees and five hundred rupees"),
        ("Tom &amp;amp; Jerry &amp;amp;amp; Co", "Tom and Jerry and Co"),
        ("&amp;lt;b&amp;gt;Hello&amp;lt;/b&amp;gt;", "Hello"),
        ("It&#39;s &quot;free&quot;&hellip;", 'It\'s "free"…'),
        ("5&nbsp;km and 5&nbsp;&deg;C", "five kilometres and five degrees Celsius"),
        ("&frac12; cup &ndash; done&#33;", "half a cup – done!"),
        ("&euro;20 &lt; &pound;20", "twenty euros less than twenty pounds"),
        ("AT&T; R&D and Q&A", "A T and T; R and D and Q and A"),
        ("a soft&shy;ware &zwnj;note", "a software \u200cnote"),
        ("&#0;&#xD800;ok", "ok"),
    ],
)
def test_entities_are_characters(written: str, spoken: str) -> None:
    assert normalised(written, "en") == spoken


@pytest.mark.parametrize("language", ["ta", "fr", "mr"])
def test_entities_are_characters_in_every_language(language: str) -> None:
    assert normalised("caf&eacute; &amp;lt;br&amp;gt; &#2958;", language) == "café எ"


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("1\\. First \\*not bold\\*", "one. First not bold"),
        ("Sure:\\n- one\\n- two", "Sure:\none\ntwo"),
        ("\\u20b9500 only", "five hundred rupees only"),
        ("Great :smile: :+1:", "Great"),
        ("The fee【4†source】 is ₹500【12:3†terms.pdf】.", "The fee is five hundred rupees."),
        ("==Important== and ++new++", "Important and new"),
        ("x^2 + y^3", "x squared plus y cubed"),
        ("Open at 10:30: come in", "Open at ten thirty: come in"),
    ],
)
def test_leftovers_of_markup_are_not_read(written: str, spoken: str) -> None:
    assert normalised(written, "en") == spoken
