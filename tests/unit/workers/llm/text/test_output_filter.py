"""What a model writes beside its words never reaches the voice: reasoning, special tokens, tools written as text."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hypothesis_profile import examples
from workers.llm.text.output_filter import OutputFilter
from workers.providers.interfaces import Retracted, ToolCall

pytestmark = pytest.mark.fast

TOOLS = ("end_call", "look_up")


def filtered(*pieces: str, reasons_first: bool = False) -> tuple[str, list[tuple[str, str]]]:
    """(what is left to speak, the tool calls)."""
    output = OutputFilter(TOOLS, reasons_first=reasons_first)
    words, calls = "", []
    for piece in [*itertools.chain.from_iterable(map(output.feed, pieces)), *output.finish()]:
        if isinstance(piece, Retracted):
            words = ""
        elif isinstance(piece, ToolCall):
            calls.append((piece.name, piece.arguments))
        else:
            words += piece
    return " ".join(words.split()), calls


END = [("end_call", "{}")]
UNSPOKEN = {
    "think": ("<think>The caller asks. I say nine.</think>\n\nAt nine.", "At nine.", []),
    "think, upper case": ("<THINK>Hm.</THINK>At nine.", "At nine.", []),
    "an empty think": ("<think>\n\n</think>\n\nAt nine.", "At nine.", []),
    "think in the middle": ("At nine. <think>Or ten?</think>We close at six.", "At nine. We close at six.", []),
    "thinking": ("<thinking>Hm.</thinking>At nine.", "At nine.", []),
    "reasoning with an attribute": ('<reasoning effort="low">Hm.</reasoning>At nine.', "At nine.", []),
    "Seed": ("<seed:think>Hm.</seed:think>At nine.", "At nine.", []),
    "Magistral": ("[THINK]Hm.[/THINK]At nine.", "At nine.", []),
    "Kimi": ("◁think▷Hm.◁/think▷At nine.", "At nine.", []),
    "Sky": ("<|begin_of_thought|>Hm.<|end_of_thought|>At nine.", "At nine.", []),
    "Command": ("<|START_THINKING|>Hm.<|END_THINKING|>At nine.", "At nine.", []),
    "MedGemma": ("<unused94>thought\nHm.<unused95>At nine.", "At nine.", []),
    "Gemma's channel": ("<|channel>thought\nHm.<channel|>At nine.", "At nine.", []),
    "unopened": ("The caller asks. I say nine.\n</think>\n\nAt nine.", "At nine.", []),
    "unopened, Magistral": ("Hm.[/THINK]At nine.", "At nine.", []),
    "unclosed": ("<think>The caller asks and asks", "", []),
    "a lone closing tag": ("</think>At nine.", "At nine.", []),
    "Harmony": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>At nine.<|return|>",
        "At nine.",
        [],
    ),
    "Harmony without its first token": (
        "analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>At nine.",
        "At nine.",
        [],
    ),
    "Harmony, final only": ("<|channel|>final<|message|>At nine.", "At nine.", []),
    "Harmony without tokens": ("analysisThe caller asks. I say nine.assistantfinalAt nine.", "At nine.", []),
    "Harmony's call": (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.look_up "
        '<|constrain|>json<|message|>{"day": "Friday"}<|call|>',
        "",
        [("look_up", '{"day": "Friday"}')],
    ),
    "Harmony's call, the recipient with the role": (
        "<|start|>assistant to=functions.end_call<|channel|>commentary <|constrain|>json<|message|>{}<|call|>", "", END,
    ),
    "Harmony's call without tokens": ("analysisBye.assistantcommentary to=functions.end_call json{}", "", END),
    "a leaked recipient": ('Noted. to=functions.look_up json\n{"day": "Friday"}\nThank you.',
        "Noted. Thank you.", [("look_up", '{"day": "Friday"}')]),
    "im_end": ("At nine.<|im_end|>", "At nine.", []),
    "eot_id": ("At nine.<|eot_id|>", "At nine.", []),
    "the end of a sequence": ("At nine.</s>", "At nine.", []),
    "DeepSeek's end": ("At nine.<｜end▁of▁sentence｜>", "At nine.", []),
    "Gemma's turns": ("<start_of_turn>model\nAt nine.<end_of_turn>", "At nine.", []),
    "ChatML's head": ("<|im_start|>assistant\nAt nine.<|im_end|>", "At nine.", []),
    "Llama's head": ("<|start_header_id|>assistant<|end_header_id|>\n\nAt nine.<|eot_id|>", "At nine.", []),
    "a byte token": ("At<0x0A>nine.", "Atnine.", []),
    "the caller's next turn invented": ("At nine.<|im_end|>\n<|im_start|>user\nAnd?<|im_end|>", "At nine.", []),
    "the same, Llama": ("At nine.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nAnd?", "At nine.", []),
    "the same, Mistral": ("At nine.</s>[INST] And on Sunday? [/INST] Closed.", "At nine.", []),
    "the same, Phi": ("At nine.<|end|><|user|>And on Sunday?", "At nine.", []),
    "the same, Gemma": ("At nine.<end_of_turn>\n<start_of_turn>user\nAnd?", "At nine.", []),
    "the agent's own label": ("Assistant: At nine.", "At nine.", []),
    "the same in bold": ("**Assistant:** At nine.", "At nine.", []),
    "the caller's next turn in plain text": ("At nine.\n\nUser: And on Sunday?\nAssistant: Closed.", "At nine.", []),
    "function=": ("Goodbye! <function=end_call></function>", "Goodbye!", END),
    "function= with arguments": (
        'One moment. <function=look_up>{"day": "Friday"}</function>', "One moment.", [("look_up", '{"day": "Friday"}')],
    ),
    "function= never closed": ("<function=end_call> Goodbye!", "Goodbye!", END),
    "function= that closes itself": ("Goodbye! <function=end_call/>", "Goodbye!", END),
    "Hermes": ('Goodbye! <tool_call>\n{"name": "end_call", "arguments": {}}\n</tool_call>', "Goodbye!", END),
    "Hermes, never closed": ('Goodbye! <tool_call>{"name": "end_call"', "Goodbye!", END),
    "two of Hermes": (
        '<tool_call>{"name": "look_up", "arguments": {"day": "Friday"}}</tool_call>'
        '<tool_call>{"name": "end_call"}</tool_call>',
        "",
        [("look_up", '{"day": "Friday"}'), *END],
    ),
    "Qwen's coder": (
        "<tool_call>\n<function=look_up>\n<parameter=day>\nFriday\n</parameter>\n</function>\n</tool_call>",
        "",
        [("look_up", '{"day": "Friday"}')],
    ),
    "GLM": (
        "<tool_call>look_up\n<arg_key>day</arg_key>\n<arg_value>Friday</arg_value>\n</tool_call>",
        "",
        [("look_up", '{"day": "Friday"}')],
    ),
    "Mistral": ('[TOOL_CALLS] [{"name": "end_call", "arguments": {}}]', "", END),
    "Mistral, newer": ('[TOOL_CALLS]look_up[ARGS]{"day": "Friday"}', "", [("look_up", '{"day": "Friday"}')]),
    "Llama's python tag": ('<|python_tag|>{"name": "end_call", "parameters": {}}<|eom_id|>', "", END),
    "Llama's JSON": ('{"name": "end_call", "parameters": {}}', "", END),
    "OpenAI's JSON": ('{"type": "function", "function": {"name": "end_call", "arguments": "{}"}}', "", END),
    "a list of JSON": ('[{"name": "end_call", "arguments": {}}]', "", END),
    "fenced JSON": ('Goodbye!\n```json\n{"name": "end_call", "arguments": {}}\n```', "Goodbye!", END),
    "Gemma's tool code": ("Goodbye!\n```tool_code\nend_call()\n```", "Goodbye!", END),
    "pythonic": ("[end_call()]", "", END),
    "a call in the words": ("Goodbye! end_call()", "Goodbye!", END),
    "a call with its room": ("Goodbye! functions.end_call({})", "Goodbye!", END),
    "a call with arguments": ('look_up({"day": "Friday"})', "", [("look_up", '{"day": "Friday"}')]),
    "in backticks": ("Goodbye! `end_call`", "Goodbye!", END),
    "in bold": ("Goodbye! **end_call**", "Goodbye!", END),
    "in brackets": ("Goodbye! [end_call]", "Goodbye!", END),
    "as a tag": ("Goodbye! <end_call>", "Goodbye!", END),
    "as a closed tag": ("<end_call></end_call>Goodbye!", "Goodbye!", END),
    "alone in a line": ("Goodbye!\nend_call", "Goodbye!", END),
    "as an action": ("Goodbye!\nAction: end_call\n", "Goodbye!", END),
    "invoke": ('<function_calls><invoke name="end_call"></invoke></function_calls>', "", END),
    "DeepSeek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look_up\n```json\n"
        '{"day": "Friday"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
        "",
        [("look_up", '{"day": "Friday"}')],
    ),
    "Kimi's call": (
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.end_call:0<|tool_call_argument_begin|>{}"
        "<|tool_call_end|><|tool_calls_section_end|>",
        "",
        END,
    ),
    "Command's call": ('<|START_ACTION|>[{"tool_name": "end_call", "parameters": {}}]<|END_ACTION|>', "", END),
    "Granite's call": ('<|tool_call|>[{"name": "end_call", "arguments": {}}]', "", END),
    "a tool that is not there": ('Yes. <tool_call>{"name": "fly"}</tool_call>', "Yes.", [("fly", "{}")]),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words", "calls"), UNSPOKEN.values(), ids=UNSPOKEN)
def test_what_is_not_speech_is_not_spoken_and_a_call_is_a_call(text: str, words: str, calls: list[object]) -> None:
    assert filtered(text) == (words, calls)
    assert filtered(*text) == (words, calls), "split over tokens"
    assert filtered(*(text[at : at + 3] for at in range(0, len(text), 3))) == (words, calls)


@pytest.mark.parametrize(
    "text",
    [
        "At nine.",
        "It is 5 < 6 and 7 > 3, I <3 it.",
        "The <b>best</b> one, <break time='500ms'/> and so on.",
        "I think the final analysis ends the call, functions and all.",
        "finally we close; analysis is free",
        "Call [name] at {time}, or [press 1].",
        "Your code is {1234}.",
        '{"a": 1} is JSON',
        "Use `make demo` or ```\nmake test\n``` today.",
        "I end_calls, recall and lookup things.",
        "The end",
        "f",
        "*checks the calendar* (softly) Yes_ 'well' \"so\"",
        "समय नौ बजे है। ठीक?",
        "Useful things:\nUsers come at nine.\nAgents, too.",
        "Assistants are here.\nNote: bring a card.",
        "Ai!",
        "a",
        "a<b and c",
        "Anything [else",
    ],
)
def test_words_stay_as_they_are_and_are_not_held_back_to_the_end(text: str) -> None:
    output = OutputFilter(TOOLS)
    assert filtered(text) == filtered(*text) == (" ".join(text.split()), [])
    whole = "".join(piece for char in text for piece in output.feed(char) if isinstance(piece, str))
    assert whole + "".join(map(str, output.finish())) == text


def test_plain_words_come_out_with_the_token_that_they_came_in() -> None:
    output = OutputFilter(TOOLS)
    pieces = ["We are", " open from", " nine to six", ", every day."]
    assert [output.feed(piece) for piece in pieces] == [[piece] for piece in pieces]


def test_a_server_that_leaves_out_the_opening_tag_is_waited_for() -> None:
    output = OutputFilter(TOOLS, reasons_first=True)
    assert output.feed("The caller asks. I say nine.\n</thi") == []
    assert output.feed("nk>At nine.") == ["At nine."]
    assert filtered("At nine.", reasons_first=True) == ("At nine.", []), "this time it did not reason"


def test_brackets_of_the_next_line_belong_to_no_call_wherever_the_text_is_split() -> None:
    assert filtered("end_call\n()") == filtered("end_call\n", "()") == ("()", [("end_call", "{}")])


PARTS = st.sampled_from(
    ["Assistant", "User", ":",
     "<think>", "</think>", "<|im_end|>", "<function=end_call>", "</function>", "end_call", "()", "[", "{", '"', "`",
     "\n", "Hi. ", "<", ">", "|", "analysis", "assistantfinal", "<|channel|>", "<|message|>", "to=functions.", "*"]
)  # fmt: skip


@settings(max_examples=examples(300), deadline=None)
@given(st.lists(PARTS, max_size=15).map("".join), st.data())
def test_how_the_model_splits_its_tokens_changes_nothing(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert filtered(*pieces) == filtered(text)
