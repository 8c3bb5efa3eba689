"""Lists the marks that end sentences and parts of sentences, by script.  Pure data.

From Unicode's property Sentence_Terminal for the scripts of living languages, and the marks that correspond to a comma.
Every language of docs/agents.md has its script here; Thai and Lao have no marks, and put a space between phrases.
"""

from __future__ import annotations

SENTENCE_ENDS = {
    "Latin, and common": "?!…‼⁇⁈⁉‽⸮",
    "Chinese, Japanese": "。！？｡．﹖﹗",
    "Indian scripts": "।॥৷",  # danda: Devanagari, Bengali, Gurmukhi, Odia and more
    "Arabic (Urdu, Sindhi, Kashmiri, Persian)": "؟۔؞",
    "Ol Chiki (Santali)": "᱾᱿",
    "Meitei Mayek (Manipuri)": "꯫꫰꫱",
    "Myanmar": "။",
    "Khmer": "។៕",
    "Tibetan, Dzongkha": "།༎",
    "Ethiopic (Amharic, Tigrinya)": "።፧፨",
    "Armenian": "։",
    "Greek": "\u037e",
    "Hebrew": "׃",
    "Syriac": "܀܁܂",
    "NKo": "߹",
    "Mongolian": "᠃᠉",
    "Sinhala": "෴",
    "Limbu": "᥄᥅",
    "Lepcha": "᰻᰼",
    "Saurashtra": "꣎꣏",
    "Kayah Li": "꤯",
    "Balinese": "᭚᭛᭞᭟",
    "Javanese": "꧈꧉",
    "Cham": "꩝꩞꩟",
    "Tai Tham": "᪨᪩᪪᪫",
    "Phags-pa": "꡶꡷",
    "Philippine scripts": "᜵᜶",
    "Canadian syllabics": "᙮",
    "Lisu": "꓿",
    "Vai": "꘎꘏",
    "Bamum": "꛳꛷",
    "Chakma": "𑅁𑅂𑅃",
    "Adlam": "𞥞𞥟",
    "Fullwidth forms": "︒︕︖",
}
PART_ENDS = {
    "Latin, and common": ",;:—–",
    "Chinese, Japanese": "，、；：､﹐﹑",
    "Arabic": "،؛",
    "Ethiopic": "፣፤፥፦",
    "Myanmar": "၊",
    "Khmer": "៖",
    "Mongolian": "᠂",
    "NKo": "߸",
    "Tibetan": "༔",
    "Bamum": "꛵꛶",
    "Lisu": "꓾",
    "Vai": "꘍",
}
WITHOUT_SPACES = frozenset(
    "。！？｡।॥、，｡．" + "".join(ends for script, ends in SENTENCE_ENDS.items() if "Latin" not in script)
)
"""Marks after which a sentence begins even without a space."""
LOCAL_ENDS = {";": ("\u0370", "\u03ff"), ":": ("\u0531", "\u058f"), "|": ("\u0900", "\u0dff")}
"""Marks that end a sentence only after a letter of one script: the Greek question mark, the Armenian full stop, and
the bar that is typed for a danda."""
SPACED_PHRASES = (("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"))
"""Scripts without spaces between words (Thai, Lao, Myanmar, Khmer): a space ends a phrase."""
