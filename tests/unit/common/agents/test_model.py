"""Agents as files: a newcomer's typos are told by line, and every call finds its agent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.agents.model import (
    Agent,
    Agents,
    BadAgents,
    GreetingAfter,
    Limits,
    ProviderNames,
    TurnOptions,
    from_document,
    number_key,
    parse,
    to_document,
)
from common.agents.reading import load_agents
from common.agents.variables import with_variables

pytestmark = pytest.mark.fast

SHIPPED = Path(__file__).parents[4] / "agents"
SMALL = "greeting: Hello.\ninstructions: Be kind.\n"


def written(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return folder


def problems(folder: Path) -> list[str]:
    with pytest.raises(BadAgents) as caught:
        load_agents(folder)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.replace(f"{folder}/", "") for problem in caught.value.problems]


def test_the_shipped_agents_load_and_leave_the_providers_to_the_deployment() -> None:
    agent = load_agents(SHIPPED).by_name["receptionist"]
    assert agent.greeting == "Hello, this is Sunrise Dental Clinic. How can I help you?"
    assert agent.providers == ProviderNames() and agent.turn == TurnOptions() and agent.limits == Limits()
    assert agent.numbers == ("*",)


def test_a_small_file_is_an_agent_named_like_the_file(tmp_path: Path) -> None:
    agent = load_agents(written(tmp_path, kind=SMALL)).by_name["kind"]
    assert agent == Agent("kind", "Hello.", "Be kind.")


@pytest.mark.parametrize(
    ("said", "after"),
    [
        ("", GreetingAfter(2000, 0)),
        ("greeting_after_ms: 700\n", GreetingAfter(700, 700)),
        ("greeting_after_ms: {inbound: 1_500}\n", GreetingAfter(1500, 0)),
        ("greeting_after_ms:\n  inbound: 0\n  outbound: 300\n", GreetingAfter(0, 300)),
    ],
)
def test_the_greeting_waits_as_the_file_says_by_direction(tmp_path: Path, said: str, after: GreetingAfter) -> None:
    agent = load_agents(written(tmp_path, kind=SMALL + said)).by_name["kind"]
    assert agent.greeting_after_ms == after
    assert from_document(json.loads(json.dumps(to_document(agent)))) == agent


@pytest.mark.parametrize("said", ["soon", "-1", "20000", "{inbund: 5}", "{inbound: soon}", "[1, 2]"])
def test_a_wait_that_is_none_is_told_by_line(tmp_path: Path, said: str) -> None:
    (problem,) = problems(written(tmp_path, kind=f"{SMALL}greeting_after_ms: {said}\n"))
    assert problem.startswith("kind.yaml:3: ")
    assert "greeting_after_ms" in problem or "inbound" in problem


def test_everything_can_be_said(tmp_path: Path) -> None:
    text = (
        "name: front-desk\ngreeting: ''\ninstructions: |\n  One.\n  Two.\nlanguage: no\nvoice: 007\n"
        "providers:\n  stt: deepgram/nova-3, local/whisper-tiny.en\n"
        "  llm: [openai/gpt-4o-mini, openai/meta/llama]\n  tts:\n"
        "turn: {min_interruption_ms: 200, endpointing_ms: 1_000, interruptible: no}\n"
        "limits:\n  call_s: 60\n  silence_s: '10'\n"
        "numbers: [+911234567890, 0123 456 7891]\n"
    )
    assert load_agents(written(tmp_path, any=text)).by_name["front-desk"] == Agent(
        name="front-desk",
        greeting="",
        instructions="One.\nTwo.",
        language="no",
        voice="007",
        providers=ProviderNames(
            ("deepgram/nova-3", "local/whisper-tiny.en"), ("openai/gpt-4o-mini", "openai/meta/llama")
        ),
        turn=TurnOptions(200, 1_000, interruptible=False),
        limits=Limits(60, 10),
        numbers=("+911234567890", "0123 456 7891"),
    )


def test_all_problems_of_all_files_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    first = (
        "# my agent\nname: Front Desk\ngreting: Hello.\ninstructions: |\n  Be kind.\n"
        "turn:\n  min_interruption_ms: soon\n  endpointing_ms: 9000\n  interuptible: true\n"
        "providers:\n  llm:\n    - openai/gpt-4o-mini\n    - gpt-4o\nnumbers:\n  - call 12345\nlimits: 5\n"
    )
    told = problems(written(tmp_path, a=first, b="greeting: Hi.\n", c="greeting: 'Hi\nvoice: x\n", d=""))
    assert told[:-1] == [
        "a.yaml:2: 'greeting' is missing; write `greeting: …`",
        "a.yaml:2: 'name' is 'Front Desk'; write small letters, digits, '-' and '_', at most 64, such as 'front-desk'",
        "a.yaml:3: unknown key 'greting'; did you mean 'greeting'?",
        "a.yaml:7: 'turn.min_interruption_ms' is 'soon'; write a whole number from 40 to 2,000",
        "a.yaml:8: 'turn.endpointing_ms' is '9000'; write a whole number from 100 to 5,000",
        "a.yaml:9: unknown key 'interuptible'; did you mean 'interruptible'?",
        "a.yaml:13: entry 2 of 'providers.llm': 'gpt-4o' is no provider; "
        "write vendor/model, such as openai/gpt-4o-mini, or leave it empty for the default",
        "a.yaml:15: entry 1 of 'numbers': is no phone number; "
        "write digits such as '+911234567890', or '*' for every number",
        "a.yaml:16: 'limits' must be `key: value` lines; write one of: call_s, silence_s",
        "b.yaml:1: 'instructions' is missing; write `instructions: …`",
        "c.yaml:3: is no YAML: found unexpected end of stream; check quotes, colons and indentation here",
    ]
    assert told[-1] == "d.yaml:1: is empty; copy agents/receptionist.yaml and edit it"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{SMALL}greeting: Hi.\n", "x.yaml:3: 'greeting' stands here again, first on line 1; keep one of the two"),
        (f"{SMALL}turn:\n\tonset_ms: 5\n", "x.yaml:4: is no YAML: found character '\\t' that cannot start any token"),
        (f"{SMALL}voice: !!python/name:os.system\n", "x.yaml:3: the tag"),
        (f"{SMALL}voice: [a]\n", "x.yaml:3: 'voice' must be text"),
        (f"{SMALL}numbers: {{a: b}}\n", "x.yaml:3: 'numbers' must be a list"),
        (f"{SMALL}limits:\n\n  - 5\n", "x.yaml:3: 'limits' must be `key: value` lines"),
        (f"{SMALL}limits:\n  call_s: true\n", "x.yaml:4: 'limits.call_s' is 'true'; write a whole number"),
        (f"{SMALL}turn:\n  interruptible: perhaps\n", "x.yaml:4: 'turn.interruptible' is 'perhaps'; write true"),
        (f"{SMALL}language: English please\n", "x.yaml:3: 'language' is 'English please'; write a language tag"),
        (f"greeting: {'x' * 1001}\ninstructions: y\n", "x.yaml:1: 'greeting' has 1,001 characters; write 0 to 1,000"),
        ("greeting: Hi.\ninstructions: ''\n", "x.yaml:2: 'instructions' has 0 characters; write 1 to 20,000"),
        ("- greeting\n", "x.yaml:1: the file must be `key: value` lines"),
        (f"{SMALL}numbers: &a [*a]\n", "x.yaml:3: is nested too deep"),
        (f"{SMALL}numbers: {['1234567'] * 1_001}\n", "x.yaml:3: 'numbers' has 1,001 entries; write at most 1,000"),
        ("x" * 200_000, "x.yaml:1: is larger than 128 KiB"),
        ("[" * 50_000, "x.yaml:1: cannot be read (RecursionError)"),
        (
            f"{SMALL}turn:\n  min_interruption_ms: 10\n",
            "x.yaml:4: 'turn.min_interruption_ms' is '10'; write a whole number from 40",
        ),
        (f"{SMALL}---\ngreeting: two\n", "x.yaml:3: is no YAML: but found another document"),
    ],
)  # fmt: skip
def test_each_kind_of_mistake_is_told_once_by_its_line(tmp_path: Path, text: str, told: str) -> None:
    (problem,) = problems(written(tmp_path, x=text))
    assert problem.startswith(told)


CUT = "is cut off, since ` #` begins a comment; put the text in quotes, or the comment on its own line"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("greeting: Press #1 for sales.\ninstructions: x\n", f"x.yaml:1: 'greeting' {CUT}"),
        ("greeting: Press # 1 for sales.\ninstructions: x\n", f"x.yaml:1: 'greeting' {CUT}"),
        ("greeting:\n  Welcome,\n  press #1.\ninstructions: x\n", f"x.yaml:3: 'greeting' {CUT}"),
        ("greeting: #1 in town!\ninstructions: x\n", f"x.yaml:1: 'greeting' {CUT}"),
        ("greeting: Hi.\ninstructions: Room #5 is free.\n", f"x.yaml:2: 'instructions' {CUT}"),
        (f"{SMALL}keyterms:\n  - Asha\n  - Suite #9\n", f"x.yaml:5: 'keyterms' {CUT}"),
        (f"{SMALL}keyterms: Suite #9\n", f"x.yaml:3: 'keyterms' {CUT}"),
        (f"{SMALL}voice: Rachel #2\n", f"x.yaml:3: 'voice' {CUT}"),
        ("greeting: &Co is here.\ninstructions: x\n", "x.yaml:1: 'greeting' is cut off, since `&` at the beginning"),
        ("greeting: ! Hello.\ninstructions: x\n", "x.yaml:1: 'greeting' is cut off, since `!` at the beginning"),
    ],
)  # fmt: skip
def test_a_text_that_yaml_cuts_off_is_a_mistake_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    (problem,) = problems(written(tmp_path, x=text))
    assert problem.startswith(told)
    assert "sales" not in problem and "Co " not in problem


@pytest.mark.parametrize(
    "text",
    [
        'greeting: "Press #1 for sales."\ninstructions: |\n  # Role\n  Be kind. #1\n',
        "greeting: >-  # said first\n  Press #1 for sales.\ninstructions: 'Be #1'  # a comment\n",
        "greeting: Press#1\ninstructions: Be kind.\n# the end\n",
        "greeting:  # none: the caller speaks first\ninstructions: Be kind.\n",
        f"{SMALL}language: hi  # Hindi\nvoice: nova # calm\nnumbers: [1234567890] # ours\n",
        f"{SMALL}turn: # as others\n  endpointing_ms: 200 # soon\nlimits:\n  call_s: 60 #short\nkeyterms: [a] # one\n",
        "greeting: &hello Hello.\ninstructions: *hello\n",
    ],
)
def test_comments_that_cut_nothing_off_are_comments(tmp_path: Path, text: str) -> None:
    assert load_agents(written(tmp_path, x=text)).by_name["x"].instructions


TRAPS = ["no", "Yes", "ON", "off", "true", "Null", "~", "007", "+911", "1e3", "0x1F", "0o17", "1_000", ".5", "12:30",
         "2026-01-31", "12:30:45", "1.10", "=", "NaN"]  # fmt: skip


@pytest.mark.parametrize("layout", ["keyterms: [{}]", "keyterms:\n  - {}"])
def test_words_stay_the_words_that_were_typed(tmp_path: Path, layout: str) -> None:
    joined = ", ".join(TRAPS) if "[" in layout else "\n  - ".join(TRAPS)
    agent = load_agents(written(tmp_path, x=f"{SMALL}{layout.format(joined)}\n")).by_name["x"]
    assert agent.keyterms == tuple(TRAPS)


@pytest.mark.parametrize("word", [word for word in TRAPS if word not in ("Null", "~")])
def test_a_value_stays_what_was_typed(tmp_path: Path, word: str) -> None:
    agent = load_agents(written(tmp_path, x=f"greeting: {word}\ninstructions: {word}\nvoice: {word}\n")).by_name["x"]
    assert (agent.greeting, agent.instructions, agent.voice) == (word, word, word)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "greeting: Hello: how are you?\ninstructions: x\n",
            "x.yaml:1: is no YAML: mapping values are not allowed here",
        ),
        (
            "greeting:\n  Hello: how are you?\ninstructions: x\n",
            "x.yaml:1: 'greeting' must be text; write it in quotes",
        ),
        (f"{SMALL}keyterms:\n  - Dr: Rao\n", "x.yaml:4: entry 1 of 'keyterms': must be text; put it in quotes"),
        (f"{SMALL}keyterms: [Dr: Rao]\n", "x.yaml:3: entry 1 of 'keyterms': must be text; put it in quotes"),
        ("greeting: {{name}}\ninstructions: x\n", "x.yaml:1: 'greeting' must be text; write it in quotes"),
        ("greeting: [Name] speaking.\ninstructions: x\n", "x.yaml:1: is no YAML"),
        ("greeting: *hello\ninstructions: x\n", "x.yaml:1: is no YAML: found undefined alias"),
    ],
)
def test_signs_in_an_unquoted_text_are_told_by_line(tmp_path: Path, text: str, told: str) -> None:
    assert problems(written(tmp_path, x=text))[0].startswith(told)


def test_one_text_with_commas_is_a_list(tmp_path: Path) -> None:
    agent = load_agents(written(tmp_path, x=f"{SMALL}keyterms: Asha, Dr Rao\nnumbers: 080 1234567, 1234567890\n"))
    assert agent.by_name["x"].keyterms == ("Asha", "Dr Rao")
    assert agent.by_name["x"].numbers == ("080 1234567", "1234567890")


def test_a_billion_laughs_are_refused_quickly(tmp_path: Path) -> None:
    lists = "".join(f"k{step}: &k{step} [{', '.join([f'*k{step - 1}'] * 60)}]\n" for step in (1, 2, 3))
    (problem,) = problems(written(tmp_path, x=f"k0: &k0 ha\n{lists}"))
    assert "repeats too much" in problem


def test_bytes_that_are_no_text_and_files_that_would_be_ignored(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"greeting: Hello.\nvoice: \xff\n")
    (tmp_path / "y.yml").write_text(SMALL)
    assert problems(tmp_path) == [
        "y.yml:1: would be ignored; rename it to y.yaml",
        "x.yaml:2: is not UTF-8 text; save the file as UTF-8",
    ]


def test_a_folder_without_agents_says_what_to_do(tmp_path: Path) -> None:
    assert "holds no agent" in problems(tmp_path)[0]
    assert "set AGENTS_DIR" in problems(tmp_path / "missing")[0]


def test_two_agents_cannot_claim_one_number_or_name(tmp_path: Path) -> None:
    claim = SMALL + "name: same\nnumbers:\n  - '*'\n  - "
    told = problems(written(tmp_path, a=f"{claim}+91 12345 67890\n", b=f"{claim}01234567890\n"))
    assert told == [
        f"b.yaml:3: the name 'same' is taken at {tmp_path}/a.yaml:3; choose another".replace(f"{tmp_path}/", ""),
        "b.yaml:5: '*' is claimed at a.yaml:5 too; keep it in one agent",
        "b.yaml:6: this number is claimed at a.yaml:6 too; keep it in one agent",
    ]
    assert not any("12345" in line or "67890" in line for line in told)
    with pytest.raises(BadAgents, match="'a' and 'b' claim the same number"):
        Agents({name: Agent(name, "", "x", numbers=("1234567890",)) for name in "ab"})


DESK = Agent("desk", "Hi.", "x", numbers=("+91 12345 67890",))
REST = Agent("rest", "Hi.", "x", numbers=("*",))


@pytest.mark.parametrize(
    "dialled",
    [
        "+911234567890", "911234567890", "00911234567890", "01234567890", "1234567890", "0911234567890",
        "+91 (12345) 678-90", "sip:+911234567890@sip.example.com",
    ],
)  # fmt: skip
def test_a_call_finds_its_agent_however_the_carrier_writes_the_number(dialled: str) -> None:
    agents = Agents({"desk": DESK, "rest": REST})
    assert agents.for_number(dialled) is DESK
    assert agents.for_number(dialled, "rest") is REST
    assert agents.for_number(dialled, "nobody") is None


def test_other_numbers_go_to_the_star_or_to_the_only_agent_or_to_nobody() -> None:
    assert Agents({"desk": DESK, "rest": REST}).for_number("1234567891") is REST
    assert Agents({"desk": DESK}).for_number("1234567891") is DESK
    assert Agents({"desk": DESK, "mute": replace(REST, name="mute", numbers=())}).for_number("1234567891") is None


def test_a_national_number_that_begins_with_the_country_code_stays_whole() -> None:
    assert number_key("9112345678") == "9112345678" == number_key("+919112345678") == number_key("00919112345678")


def test_the_version_names_the_behaviour() -> None:
    assert DESK.version == Agent("desk", "Hi.", "x", numbers=("+91 12345 67890",)).version
    assert len(DESK.version) == 12 and int(DESK.version, 16) >= 0
    other = [
        replace(DESK, version="", **change)
        for change in ({"greeting": "Ho."}, {"turn": TurnOptions(161)}, {"voice": "v"})
    ]
    assert len({agent.version for agent in (DESK, *other)}) == 4


def test_a_call_keeps_its_agent_across_releases() -> None:
    document = json.loads(json.dumps(to_document(DESK)))
    assert from_document(document) == DESK
    newer = {**document, "whims": ["x"], "turn": {**document["turn"], "model": "y"}, "version": "0123456789ab"}
    assert from_document(newer) == replace(DESK, version="0123456789ab")
    older = {key: document[key] for key in ("name", "greeting", "instructions", "version")}
    assert from_document(older) == replace(DESK, numbers=())
    with pytest.raises(BadAgents, match=r"agent document: 'turn.min_interruption_ms' is True"):
        from_document({**document, "turn": {"min_interruption_ms": True}})


LINES = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)


@given(
    greeting=LINES,
    instructions=LINES.filter(str.strip),
    min_interruption_ms=st.integers(40, 2_000),
    eager_endpointing_ms=st.integers(0, 5_000),
    interruptible=st.booleans(),
    llm=st.lists(st.from_regex(r"[a-z0-9_-]{1,8}/[a-z0-9.:-]{1,20}", fullmatch=True), max_size=5),
)
def test_every_agent_survives_the_bus(
    greeting: str,
    instructions: str,
    min_interruption_ms: int,
    eager_endpointing_ms: int,
    interruptible: bool,
    llm: list[str],
) -> None:
    agent = Agent(
        "a", greeting.strip(), instructions.strip(),
        turn=TurnOptions(min_interruption_ms, eager_endpointing_ms=eager_endpointing_ms, interruptible=interruptible),
        providers=ProviderNames(llm=tuple(llm)),
    )  # fmt: skip
    assert from_document(json.loads(json.dumps(to_document(agent)))) == agent


SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
KEYS = st.sampled_from(["min_interruption_ms", "endpointing_ms", "interruptible", "x"])


@given(st.recursive(SCALARS, lambda some: st.lists(some) | st.dictionaries(KEYS, some), max_leaves=12))
def test_any_document_is_an_agent_or_told_to_be_none(document: object) -> None:
    try:
        from_document({"name": "a", "greeting": "", "instructions": "x", "turn": document, "numbers": document})
    except BadAgents as error:
        assert error.problems


def test_a_farewell_is_a_key_of_the_file_and_may_hold_variables() -> None:
    plain = {"name": "desk", "greeting": "Hello.", "instructions": "Be kind."}
    silent, _ = parse(plain)
    polite, problems = parse({**plain, "farewell": "Goodbye, {{name}}."})
    assert silent is not None and polite is not None and not problems
    assert with_variables(polite, {"name": "Asha"}).farewell == "Goodbye, Asha."
    assert from_document(to_document(polite)).farewell == "Goodbye, {{name}}."
    assert silent.version != polite.version and "farewell" not in to_document(silent)
    _, too_long = parse({**plain, "farewell": "x" * 501})
    assert [problem.path for problem in too_long] == [("farewell",)]


def test_former_names_of_keys_are_read_and_both_at_once_is_a_mistake():
    head = {"name": "desk", "greeting": "Hello.", "instructions": "Be kind."}
    former, _ = parse({**head, "turn": {"onset_ms": 90, "endpoint_ms": 700, "likely_ms": 300}})
    present, _ = parse(
        {**head, "turn": {"min_interruption_ms": 90, "endpointing_ms": 700, "eager_endpointing_ms": 300}}
    )
    assert former == present
    agent, problems = parse({**head, "turn": {"onset_ms": 90, "min_interruption_ms": 100}})
    assert agent is None
    assert "'turn.onset_ms' is the former name of 'min_interruption_ms'" in problems[0].what
    _, problems = parse({**head, "turn": {"endpointing": 90}})
    assert "did you mean 'endpointing_ms'?" in problems[0].what
