"""Text that was made to be slow costs no more than other text."""

import re
import time

import pytest

from workers.tts.normalise import with_sources

pytestmark = [pytest.mark.fast, pytest.mark.exhaustive]

HOSTILE = re.findall(
    r"\S+",
    "1 12, - * _a | |- <a ]( [ ! @ a@b. A1- +9 http://a/ 1/2 1-2 ₹1_to_ OTP_is_ order_number_no_id_ 1_Jan_ in_2026_ "
    "U.S. ½ # Mon- Lake_St_ 24/7 5_sq._ft a.b.com 5:30_बजे AI_302_ [laughs *checks_ (a_ &amp; &amp;amp;lt; call_100,_ "
    "5L_ 1_000_ flat_4B_ on_5/6_ on_5/6,_ Rt._6_ H.No. 1-2- 800-555- Goa-560001_ phone_is_1_ order_123_ 5'_ 5\"a_ "
    "100_police_ Class_I_ Part_X- A-1- X1-2/ \\n \\u20b9 ++a :a: 12_45_ 1/2_cup_ A_Street_ ₹1_000_ गोली_आधा_ टिकट_500_",
)


HEADS = [
    ("](", "a"),
    ("](a", " "),
    ("<a", " x"),
    ("http://", "a."),
    ("a@", "b-"),
    ("OTP", " is"),
    ("5", ",00"),
    ("| ", "-"),
]
PIECES_OF_WORK = [("", piece.replace("_", " ")) for piece in HOSTILE] + HEADS + [("", " "), ("", " \n")]


@pytest.mark.parametrize(("head", "piece"), PIECES_OF_WORK)
def test_hostile_text_takes_linear_time(head: str, piece: str) -> None:
    text = (head + piece * 20_000)[:20_000]
    started = time.process_time()
    assert len(with_sources(text, "hi" if "ब" in piece else "en").text) < 20 * len(text)
    assert time.process_time() - started < 4  # 0.1 to 0.6 s; minutes if a pattern backtracks
