"""Spoken digits and numbers become digits again: as callers say them, and as our own voices do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.llm.text.spoken_digits import CHARS_MAX, digits_in, number_in
from workers.tts.normalise.pipeline import normalised
from workers.tts.normalise.words_en import English
from workers.tts.normalise.words_hi import Hindi

pytestmark = pytest.mark.fast

DICTATED = """
oh | 0
zero | 0
nine eight seven | 987
Nine, eight, seven. | 987
one two three four | 1234
one-two-three-four | 1234
double four | 44
double four double five | 4455
triple zero | 000
triple nine | 999
double oh seven | 007
nine double eight one | 9881
double 4 | 44
treble two | 222
twenty three | 23
twenty-three | 23
twenty, three | 203
twenty three forty five | 2345
ninety eight seventy six | 9876
ninety eight, seventy six | 9876
nineteen eighty four | 1984
twenty twenty four | 2024
one eight hundred | 1800
eighteen hundred | 1800
eighteen hundred one two three | 1800123
one hundred and five | 105
one hundred five | 105
a hundred | 100
four hundred | 400
two thousand | 2000
two thousand and five | 2005
two thousand twenty four | 2024
nine thousand nine hundred and ninety nine | 9999
oh nine eight | 098
two thousand five six | 200056
two thousand and five six | 20056
zero one two | 012
o one o two | 0102
niner niner | 99
ten eleven twelve | 101112
thirty ten | 3010
five ten | 510
98765 43210 | 9876543210
98765-43210 | 9876543210
9876543210 | 9876543210
+91 98765 43210 | 919876543210
(080) 1234 | 0801234
9,87,654 | 987654
1, 2, 3, 4 | 1234
007 | 007
my number is nine eight seven | 987
it's four seven one one | 4711
It is 4711. | 4711
the code is four two | 42
my account number is one two three | 123
um, four, uh, seven | 47
yes, four seven one one please | 4711
plus nine one nine eight | 9198
one and two | 12
nine eight then seven | 987
one lakh | 100000
two lakh fifty thousand | 250000
two lakh one | 200001
one crore twenty lakh | 12000000
one million | 1000000
three billion two | 3000000002
ek do teen | 123
do char | 24
ek do teen char paanch chhe saat aath nau | 123456789
ek do tin char panch che sat ath nau | 123456789
shunya ek do | 012
zero ek double do | 0122
double chaar nine aath | 4498
das bees tees | 102030
pachas | 50
pachaas paanch | 505
ikkis baees | 2122
unnees | 19
ninyanve | 99
chaubis ghante |
sau | 100
ek sau ek | 101
do sau pachas | 250
teen hazaar | 3000
teen hajar do sau | 3200
das hazar | 10000
paanch laakh | 500000
do lakh pachas hazaar | 250000
ek karod bees lakh | 12000000
ek crore | 10000000
dedh lakh | 150000
dhai hazaar | 2500
saadhe teen sau | 350
saadhe paanch hazaar | 5500
sawa do lakh | 225000
paune do lakh | 175000
sava lakh | 125000
mera number hai nau aath saat | 987
haan ji, char do | 42
mera pin chaar saat ek ek hai | 4711
नौ आठ | 98
नौ आठ सात छह पाँच | 98765
नौ आठ सात छः पांच | 98765
एक दो तीन चार | 1234
शून्य एक | 01
डबल चार | 44
ट्रिपल शून्य | 000
वन टू थ्री फोर | 1234
नाइन एट सेवन सिक्स फाइव | 98765
ज़ीरो डबल नाइन | 099
जीरो वन | 01
ट्वेंटी थ्री | 23
इक्कीस बाईस | 2122
पच्चीस | 25
निन्यानवे | 99
एक सौ एक | 101
दो लाख पचास हज़ार | 250000
दो लाख पचास हजार | 250000
एक करोड़ बीस लाख | 12000000
डेढ़ लाख | 150000
ढाई हज़ार | 2500
साढ़े तीन सौ | 350
सवा लाख | 125000
मेरा नंबर है नौ आठ सात | 987
हाँ जी, चार दो | 42
९८७६५ ४३२१० | 9876543210
२ लाख ५० हज़ार | 250000
2 lakh 50 hazaar | 250000
1.5 lakh | 150000
nine आठ saat 6 | 9876
what time is it |
I have two questions |
the one in the middle |
no |
yes |
do it |
hold on |
one moment please |
two of them |
a |
double |
double trouble |
double 44 |
twelve point five |
12.5 |
10:30 |
1/2 |
50% |
#4711 |
4th |
first |
minus five |
dedh |
saadhe teen |
मुझे दो चाहिए |
बारह बजे |
 |
... |
"""

NUMBERS = """
one hundred and five | 105
one two three four | 1234
twenty three | 23
do lakh pachas hazaar | 250000
do lakh pachas hazaar rupaye | 250000
two lakh fifty thousand rupees | 250000
₹ 2,50,000 | 250000
Rs 500 only | 500
dhai hazaar rupaye | 2500
डेढ़ लाख रुपये | 150000
पाँच सौ रुपए | 500
one lakh twenty thousand crore | 1200000000000
zero zero seven | 7
zero | 0
two million three hundred thousand | 2300000
five trillion | 5000000000000
99 crore 99 lakh | 999900000
dedh rupaye |
rupees |
a few |
"""


def rows(table: str) -> list[tuple[str, str]]:
    """(what is said, what is meant)"""
    lines = [line for line in table.split("\n") if "|" in line]
    return [(said.strip(), meant.strip()) for said, _, meant in (line.rpartition("|") for line in lines)]


@pytest.mark.parametrize(("said", "digits"), rows(DICTATED))
def test_digits_as_they_are_dictated(said: str, digits: str) -> None:
    assert digits_in(said) == digits


@pytest.mark.parametrize(("said", "number"), rows(NUMBERS))
def test_numbers_as_they_are_meant(said: str, number: str) -> None:
    assert number_in(said) == (int(number) if number else None)


DIGITS = st.text("0123456789", min_size=1, max_size=20)
NUMBERS_BELOW = st.integers(0, 10**12 - 1) | st.integers(0, 100_000)


@given(DIGITS)
def test_digits_that_our_voices_read_out_come_back(digits: str) -> None:
    assert digits_in(English().digits(digits)) == digits
    assert digits_in(Hindi().digits(digits)) == digits


@given(NUMBERS_BELOW)
def test_numbers_that_our_voices_read_out_come_back(number: int) -> None:
    for spoken in (
        English().cardinal(number, indian=True),
        English(says_and=False).cardinal(number, indian=False),
        Hindi().cardinal(number),
    ):
        assert number_in(spoken) == number, spoken
        assert digits_in(spoken) == str(number), spoken


@given(st.integers(0, 10**9 - 1))
def test_a_number_in_a_reply_of_ours_comes_back_from_what_the_voice_is_given(number: int) -> None:
    for language, sentence in (("en-IN", "₹{}"), ("hi", "₹{}")):
        assert number_in(normalised(sentence.format(number), language)) == number


@given(st.text(max_size=200))
def test_any_text_is_digits_or_nothing(text: str) -> None:
    digits = digits_in(text)
    assert digits == "" or (digits.isascii() and digits.isdecimal())
    number_in(text)


def test_a_text_that_is_too_long_is_no_dictation() -> None:
    assert digits_in("one " * (CHARS_MAX // 4)) == ""
    assert digits_in("one " * 64) == "1" * 64
    assert digits_in("one " * 65) == ""
    assert number_in("one " * 19) is None
