"""The agent's words on their way to the voice: early, whole, and cut where a person would breathe."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from workers.llm.text.clauses import CLAUSE_CHARS_MAX, COMMAS, ENDS, Clauses
from workers.llm.text.sentence_marks import WITHOUT_SPACES
from workers.tts.normalise.abbreviations import BEFORE_NUMBERS, NUMBERS_OF

pytestmark = pytest.mark.fast


def spoken(*tokens: str) -> list[str]:
    clauses = Clauses()
    ready = [clause for token in tokens for clause in clauses.feed(token)]
    return ready + clauses.finish()


def test_the_caller_hears_the_first_words_before_the_sentence_is_written() -> None:
    clauses = Clauses()
    assert clauses.feed("We are open from Monday to") == []
    assert clauses.feed(" Friday, ") == ["We are open from Monday to Friday,"]
    assert clauses.feed("from nine to six, every") == []
    assert clauses.feed(" week. ") == ["from nine to six, every week."]
    assert clauses.finish() == []


def test_the_first_sentence_is_spoken_with_its_full_stop_and_later_ones_with_the_space_after_it() -> None:
    clauses = Clauses()
    assert clauses.feed("Of course") == []
    assert clauses.feed(".") == ["Of course."]  # the caller waits for this one
    assert clauses.feed(" How can I help you") == []
    assert clauses.feed("?") == []  # "?)" could still follow, and the caller hears the first clause meanwhile
    assert clauses.feed(" ") == ["How can I help you?"]


@pytest.mark.parametrize(
    "tokens",
    [
        ("Yes,", " we", " are", "."),
        ("Yes, of", " course", " we can."),
        ("Is it you", "?"),
        ("It works really well", "!"),
        ("I don't", "."),
        ("We are open from Monday", ","),
        ("नमस्ते", " जी", "।"),
        ("हाँ", " जी", " ज़रूर", ","),
        ("好的我们可以帮你看看", "。"),
        ("Dr. Rao has left", "."),
        ("It is at nine a.m. today", "."),
    ],
)
def test_the_first_clause_does_not_wait_for_the_token_after_its_mark(tokens: tuple[str, ...]) -> None:
    clauses = Clauses()
    assert [clauses.feed(token) for token in tokens[:-1]] == [[]] * (len(tokens) - 1)
    assert clauses.feed(tokens[-1]) == ["".join(tokens)]
    assert clauses.feed(" And") == clauses.feed(" then") == []


@pytest.mark.parametrize(
    "tokens",
    [
        ("It costs 3", ".", "5 percent today"),
        ("We open at 9", ":", "30 on Monday"),
        ("It was 10", ",", "000 rupees"),
        ("It is version two of 3", ".", " Yes"),
        ("You will see Dr", ".", " Rao today"),
        ("Come in at nine a", ".", "m", ".", " on Monday"),
        ("Ask for Mr", ".", " Jones there"),
        ("It is room No", ".", " 5 on Monday"),
        ("Go along Rt", ".", " 66 for an hour"),
        ("It is J", ".", " Smith who calls"),
        ("Take fruit, e", ".", "g", ".", " apples"),
        ("Well, let me see", "...", " yes"),
        ("Well, let me see", "…", " yes"),
        ("Visit example", ".", "com for it"),
        ("It is on example", ".", "co", ".", "in for you"),
        ("Write to front", ".", "desk@example.com now"),
        ("Write to desk@example", ".", "com now"),
        ("Go to www", ".", "example", ".", "com now"),
        ("See https://a.example/b", ",", "c now"),
        ("He has a Ph", ".", "D", ".", " in it"),
        ("She said “we are closed", ".", "” Then"),
        ("We are open (not today", ".", ") Then"),
        ("We are **open today", ".", "** Then"),
    ],
)
def test_a_mark_that_may_be_part_of_a_word_waits_for_the_next_token(tokens: tuple[str, ...]) -> None:
    assert spoken(*tokens) == spoken("".join(tokens))
    clauses = Clauses()
    assert [clauses.feed(token) for token in tokens[:2]] == [[], []]


@pytest.mark.parametrize(
    ("tokens", "clauses"),
    [
        (("Yes, we can", ".", ") Which day", "?"), ["Yes, we can.", ") Which day?"]),
        (("Is that so really", "?", "! Then come."), ["Is that so really?", "! Then come."]),
        (("We like Node", ".", "js for it."), ["We like Node.", "js for it."]),
    ],
)
def test_what_follows_an_early_end_without_a_space_begins_the_next_clause(
    tokens: tuple[str, ...], clauses: list[str]
) -> None:
    assert spoken(*tokens) == clauses


def test_a_first_sentence_without_a_comma_ends_before_a_linking_word() -> None:
    first, *_ = spoken("The dentist will see you on the ground floor because the lift is out of order today.")
    assert first == "The dentist will see you on the ground floor"


def test_a_hindi_clause_ends_before_a_linking_word_too() -> None:
    first, *_ = spoken("डॉ. राव आज सुबह नौ बजे क्लिनिक में आएँगे क्योंकि कल छुट्टी थी।")
    assert first == "डॉ. राव आज सुबह नौ बजे क्लिनिक में आएँगे"


def test_a_single_short_word_waits_for_company_but_a_long_one_does_not() -> None:
    assert spoken("Sure. Which day would suit you? ") == ["Sure. Which day would suit you?"]
    assert spoken("Absolutely! Which day would suit you?") == ["Absolutely!", "Which day would suit you?"]
    assert spoken("Yes, we are open.") == ["Yes, we are open."]


@pytest.mark.parametrize(
    "sentence",
    [
        "Dr. Rao sees you at 9:30 a.m. on the 5th.",
        "It costs 10,000.50 rupees or 3.5 percent.",
        "Prof. A. P. Sharma is in at 9 a.m. today.",
        "See https://example.com/a,b?c=d.e for more.",
        "Write to front.desk@example.co.in for it.",
        "Use e.g. a card, i.e. no cash.",
        "Bring Rs. 500 to room No. 5 please.",
        "It has 1,200 sq. ft. of garden behind it.",
        "Use a card, e.g., one of yours.",
        "कुल रु. 500 और नं. 5 है।",
    ],
)
def test_numbers_names_and_addresses_stay_whole(sentence: str) -> None:
    # A long sentence before it: the rules of later clauses apply, which break at the ends of sentences only.
    assert spoken(f"Here you are. {sentence} That is all we know.")[1:] == [sentence, "That is all we know."]


@pytest.mark.parametrize(
    "word", ["Dr. Rao", "9:30", "10,000", "3.5", "a.m. tomorrow", "a@b.example", "www.b.example/c"]
)
def test_nothing_is_torn_in_the_first_clause_either(word: str) -> None:
    assert any(word in clause for clause in spoken(f"So it is {word}, as I said."))


@pytest.mark.parametrize(
    "piece",
    [
        "is: 4521",
        "is: **4521**",
        "at: +91 98765 43210",
        "price – ₹500",
        "9:30 – 12:00",
        "it — 3",
        "10 and 12",
        "5 or 6",
    ],
)
def test_a_number_stays_with_the_words_that_say_how_to_read_it(piece: str) -> None:
    # "4521" alone would be read as a number of thousands, "12:00" would not be the end of a range.
    for text in (f"Your new code {piece} tonight.", f"The rooms that you asked us for are between {piece} tonight."):
        assert any(piece in clause for clause in spoken(text)), spoken(text)


def test_a_colon_or_a_dash_before_a_word_still_ends_the_first_clause() -> None:
    assert spoken("Here is the thing: we are closed.") == ["Here is the thing:", "we are closed."]
    assert spoken("Yes we are open — do come.") == ["Yes we are open —", "do come."]
    clauses = Clauses()
    assert clauses.feed("Here is the thing: ") == []  # a number could follow
    assert clauses.feed("w") == ["Here is the thing:"]


@pytest.mark.parametrize("short", sorted({*BEFORE_NUMBERS, *(f"{of}.no" for of in NUMBERS_OF)}))
def test_what_the_voice_reads_in_full_before_a_number_does_not_end_a_sentence(short: str) -> None:
    sentence = f"Please note down {short.capitalize()}. 44 as it is."
    assert spoken(f"Here you are. {sentence} That is all we know.")[1:] == [sentence, "That is all we know."]


@pytest.mark.parametrize(
    "sentence",
    [
        "Take Rt. 66 to the old dam, and then left.",
        "Go along Hwy. 44 for half an hour.",
        "He has lived at H.No. 4 since last May.",
        "The clinic is in Sec. 15 of the city.",
        "Write down Sr. No. 5 of the printed list.",
        "यह मकान सं. 45 में है।",
        "The invoice no. is in your mail.",
        "It is about 8 min. by car from here.",
        "The plot has Sy. No. 45 on its paper.",
        "Write down Ref. No. AB12 for the bank.",
    ],
)
def test_an_address_stays_whole(sentence: str) -> None:
    assert spoken(f"Here you are. {sentence} That is all we know.")[1:] == [sentence, "That is all we know."]


def test_at_the_bound_a_phone_number_moves_on_whole() -> None:
    filling = "x" * (CLAUSE_CHARS_MAX - len(" 98765 4"))
    assert spoken("Fine then. ", f"{filling} 98765 43210") == ["Fine then.", filling, "98765 43210"]


def test_no_is_an_abbreviation_only_before_a_number() -> None:
    assert spoken("You want to know? We are in No. 5 today. Is it far? Really, I say No. We are near.") == [
        "You want to know?",
        "We are in No. 5 today.",
        "Is it far?",
        "Really, I say No.",
        "We are near.",
    ]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("हम सुबह नौ बजे खुलते हैं। आप कब आएँगे?", ["हम सुबह नौ बजे खुलते हैं।", "आप कब आएँगे?"]),
        ("हम सुबह नौ बजे खुलते हैं।आप कब आएँगे?", ["हम सुबह नौ बजे खुलते हैं।", "आप कब आएँगे?"]),
        ("我们星期一到星期五都开门。请问您几点来？", ["我们星期一到星期五都开门。", "请问您几点来？"]),
        ("「我们星期一到五开门。」好的", ["「我们星期一到五开门。」", "好的"]),
        ("Let me see… I have it here!", ["Let me see…", "I have it here!"]),
        ('"Of course." She said so.', ['"Of course."', "She said so."]),
        ("1. Come in at nine\n2. Ask for the key", ["1. Come in at nine", "2. Ask for the key"]),
        ("Please ask for Dr.\nRao today.", ["Please ask for Dr. Rao today."]),
        ("I was born on July 5, 2001 here.", ["I was born on July 5, 2001 here."]),
    ],
)
def test_ends_in_other_scripts_and_layouts(text: str, clauses: list[str]) -> None:
    assert spoken(text) == clauses


SENTENCES = {
    "English": ("We open at nine.", "Will you come?"),
    "Hindi, Marathi, Nepali, Konkani, Bodo, Dogri, Maithili": ("हम नौ बजे खुलते हैं।", "क्या आप आएँगे?"),
    "Hindi, with a bar that was typed": ("हम नौ बजे खुलते हैं |", "क्या आप आएँगे?"),
    "Sanskrit": ("वयं नववादने उद्घाटयामः॥", "भवान् आगमिष्यति वा?"),
    "Bengali, Assamese": ("আমরা সকাল নয়টায় খুলি।", "আপনি কি আসবেন?"),
    "Punjabi": ("ਅਸੀਂ ਨੌਂ ਵਜੇ ਖੁੱਲ੍ਹਦੇ ਹਾਂ।", "ਕੀ ਤੁਸੀਂ ਆਓਗੇ?"),
    "Odia": ("ଆମେ ନଅଟାରେ ଖୋଲୁ।", "ଆପଣ ଆସିବେ କି?"),
    "Gujarati": ("અમે નવ વાગ્યે ખોલીએ છીએ.", "તમે આવશો?"),
    "Kannada": ("ನಾವು ಒಂಬತ್ತಕ್ಕೆ ತೆರೆಯುತ್ತೇವೆ.", "ನೀವು ಬರುತ್ತೀರಾ?"),
    "Malayalam": ("ഞങ്ങൾ ഒമ്പതിന് തുറക്കും.", "നിങ്ങൾ വരുമോ?"),
    "Tamil": ("நாங்கள் ஒன்பது மணிக்குத் திறக்கிறோம்.", "நீங்கள் வருவீர்களா?"),
    "Telugu": ("మేము తొమ్మిదికి తెరుస్తాము.", "మీరు వస్తారా?"),
    "Urdu": ("ہم نو بجے کھلتے ہیں۔", "کیا آپ آئیں گے؟"),
    "Sindhi": ("اسان نائين بجي کلون ٿا۔", "ڇا توهان ايندؤ؟"),
    "Kashmiri": ("أسۍ چھِ نَو بجہِ کھُلان۔", "تۄہۍ ییوا؟"),
    "Santali": ("ᱟᱞᱮ ᱟᱨᱮ ᱵᱟᱡᱮ ᱠᱷᱩᱞᱟᱹᱭ᱾", "ᱟᱢ ᱦᱮᱡ ᱟᱢ?"),
    "Manipuri": ("ꯑꯩꯈꯣꯏ ꯃꯥꯄꯟ ꯍꯥꯡꯉꯤ꯫", "ꯅꯍꯥꯛ ꯂꯥꯛꯀꯗ꯭ꯔꯥ?"),
    "Arabic": ("نفتح في التاسعة صباحاً.", "هل ستأتي غداً؟"),
    "Persian": ("ما ساعت نه باز می‌کنیم.", "آیا می‌آیید؟"),
    "Hebrew": ("אנחנו פותחים בתשע.", "האם תבוא?"),
    "Chinese": ("我们早上九点开门。", "您要来吗？"),
    "Japanese": ("九時に開店いたします。", "いらっしゃいますか？"),
    "Korean": ("저희는 아홉 시에 엽니다.", "오시겠어요?"),
    "Burmese": ("ကျွန်ုပ်တို့ ကိုးနာရီတွင်ဖွင့်ပါသည်။", "လာမလား။"),
    "Khmer": ("យើងបើកនៅម៉ោងប្រាំបួន។", "តើអ្នកមកទេ?"),
    "Tibetan": ("ང་ཚོ་ཆུ་ཚོད་དགུ་པར་སྒོ་འབྱེད།", "ཁྱེད་རང་ཡོང་ངམ།"),
    "Amharic": ("በዘጠኝ ሰዓት እንከፍታለን።", "ይመጣሉ፧"),
    "Armenian": ("Մենք բացում ենք իննին։", "Դուք կգա՞ք։"),
    "Greek": ("Ανοίγουμε στις εννέα.", "Θα έρθετε αύριο;"),
    "Sinhala": ("අපි නවයට විවෘත කරමු.", "ඔබ එනවාද?"),
}


@pytest.mark.parametrize("sentences", SENTENCES.values(), ids=SENTENCES)
def test_a_sentence_ends_in_every_language_of_the_documentation(sentences: tuple[str, str]) -> None:
    first, second = sentences
    clauses = Clauses()
    assert clauses.feed(f"{first} ") == [first], "not only when the reply is over"
    assert clauses.feed(f"{second} ") + clauses.finish() == [second]
    assert spoken(f"{first} {second} {first}") == [first, second, first] or len(second) < 12


@pytest.mark.parametrize("mark", ["؟", "۔", "।", "॥", "᱾", "᱿", "꯫", "။", "។", "።", "։", "。"])
def test_behind_the_mark_of_such_a_script_no_space_is_needed(mark: str) -> None:
    assert spoken(f"one two three four{mark}five six seven") == [f"one two three four{mark}", "five six seven"]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("ร้านเปิดเวลาเก้าโมงเช้าทุกวัน ยกเว้นวันอาทิตย์และวันหยุด", "ร้านเปิดเวลาเก้าโมงเช้าทุกวัน"),
        ("ພວກເຮົາເປີດເວລາເກົ້າໂມງເຊົ້າ ທຸກໆມື້", "ພວກເຮົາເປີດເວລາເກົ້າໂມງເຊົ້າ"),
        ("جی ہاں، ہم کل صبح نو بجے، کھلیں گے", "جی ہاں، ہم کل صبح نو بجے،"),
        ("እኛ ነገ ጠዋት፣ በዘጠኝ ሰዓት እንከፍታለን", "እኛ ነገ ጠዋት፣"),
    ],
    ids=["Thai", "Lao", "Urdu's comma", "Amharic's comma"],
)
def test_a_part_ends_where_its_script_has_no_sentence_mark_yet(text: str, first: str) -> None:
    assert spoken(text)[0] == first


@pytest.mark.parametrize("number", ["Rt. 66", "Hwy. 44", "H.No. 4", "No. 5"])
def test_an_address_is_not_cut_before_its_number(number: str) -> None:
    assert spoken(f"Well then. The clinic is at {number} near the lake.")[1:] == [
        f"The clinic is at {number} near the lake."
    ]


def test_a_long_sentence_is_cut_at_a_comma_and_an_endless_one_at_the_bound() -> None:
    parts = spoken("All right. " + "one of the many words, " * 8 + "and the end.")
    assert all(len(part) < 120 for part in parts) and all(part.endswith((",", ".")) for part in parts)
    endless = spoken("Well then. " + "word " * 200 + "Dr. Rao")
    assert all(len(part) <= CLAUSE_CHARS_MAX for part in endless)
    assert endless[-1].endswith("Dr. Rao")


def test_at_the_bound_a_title_moves_on_with_its_name() -> None:
    filling = "x" * (CLAUSE_CHARS_MAX - len(" Dr. R"))
    assert spoken("Fine then. ", f"{filling} Dr. Rao") == ["Fine then.", filling, "Dr. Rao"]


TEXTS = st.text(alphabet=st.sampled_from(list("abA D r.I 5,9:;!?…\n\t-—\"')/@ and।。、 é")), max_size=300) | st.text(
    max_size=200
)
FRAGMENTS = st.lists(
    st.sampled_from(["Dr.", "Rao", "a.m.", "No.", "5", "9:30", "and", "word,", "end.", "है।", "…", "\n", "b@c.d", "-"]),
    max_size=60,
).map(" ".join)


def tokens_of(text: str, data: st.DataObject) -> list[str]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


MARK = re.compile(rf"[{re.escape(''.join({*ENDS, *COMMAS, '.'}))}](?=\S)")
"""Any mark that whitespace does not follow, as both of "?:"."""
JOINED_MARK = re.compile(rf"\w[^\w\s]*[{re.escape(''.join({*ENDS, *COMMAS, '.'}))}](?=\S)")
"""The last of one or more marks behind a word, if whitespace does not follow."""


@settings(max_examples=examples(300), deadline=None)
@given(TEXTS | FRAGMENTS, st.data())
def test_how_the_model_splits_its_tokens_changes_nothing_if_spaces_follow_the_marks(
    text: str, data: st.DataObject
) -> None:
    text = MARK.sub(r"\g<0> ", text)
    assert spoken(*tokens_of(text, data)) == spoken(text) == spoken(*text)


@settings(max_examples=examples(300), deadline=None)
@given(TEXTS | FRAGMENTS, st.data())
def test_how_the_model_splits_its_tokens_changes_only_the_end_of_the_first_clause(
    text: str, data: st.DataObject
) -> None:
    tokens = tokens_of(text, data)
    first, whole = spoken(*tokens)[:1], spoken(text)[:1]
    assert first == whole or (whole[0].startswith(first[0]) and JOINED_MARK.match(text, text.index(first[0][-2:])))
    assert "".join("".join(spoken(*tokens)).split()) == "".join(text.split())
    rest = spoken(*tokens)[1:]
    assert all(clause and len(clause) <= CLAUSE_CHARS_MAX for clause in rest)


@settings(max_examples=examples(300), deadline=None)
@given(TEXTS | FRAGMENTS)
def test_no_word_is_lost_added_or_reordered_and_every_clause_has_a_bound(text: str) -> None:
    clauses = spoken(text)
    assert all(clause and clause == " ".join(clause.split()) for clause in clauses)
    assert all(len(clause) <= CLAUSE_CHARS_MAX for clause in clauses)
    assert "".join("".join(clauses).split()) == "".join(text.split())
    if not set(text) & WITHOUT_SPACES and all(len(word) < CLAUSE_CHARS_MAX for word in text.split()):
        assert " ".join(clauses) == " ".join(text.split())
