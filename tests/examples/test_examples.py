"""Each example is phoned: its agent file says what is heard, and its README says what the caller says.

A fact that the README promises and the agent file does not have fails here, and so does a file that cannot be loaded.
"""

import asyncio
import itertools
import re
import shlex
from pathlib import Path

import pytest

from common.agents.variables import missing_variables
from common.process.env_file import EnvFile
from common.settings import Settings
from simulators.openai_standin import Reply, Request, standing_in, stop, text, tool_piece
from simulators.script import SPEECH, Say, read_script
from tests.deploy.command_checks import problems
from tests.deploy.shell_commands import commands
from tests.examples.agent_phone import EXAMPLES, AgentPhone, Example, answers, call_to, example
from tests.examples.loop_with_threads import LoopWithThreads
from tools.check import check
from workers.llm.engines.catalog import language_model
from workers.llm.engines.openai_chat import ChatOptions, OpenAIChat

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

KEYS = {
    "receptionist": {"OPENAI_API_KEY": "sk-fake"},
    "appointment": {},
    "outbound-reminder": {"OPENAI_API_KEY": "sk-fake"},
    "hindi": {"OPENAI_API_KEY": "sk-fake", "SARVAM_API_KEY": "fake"},
    "own-model-server": {"OPENAI_BASE_URL": "http://127.0.0.1:11434/v1"},
    "order-status": {"OPENAI_API_KEY": "sk-fake"},
    "clinic": {"OPENAI_API_KEY": "sk-fake"},
    "keypad-menu": {"OPENAI_API_KEY": "sk-fake"},
}
"""What each README tells the reader to set."""
NO_FILE = EnvFile(Path(".env"))
README_LINES_MAX = 40
PATIENT = ChatOptions(connect_s=60.0, first_token_s=60.0, gap_s=60.0)
"""Seconds of the virtual clock, which does not wait for sockets."""

EVERY = pytest.mark.parametrize("name", KEYS)


async def talk(phone: AgentPhone, one: Example) -> None:
    """The conversation of the README, to the end of the call."""
    await phone.hears_about(phone.agent.greeting)
    for say, fact in one.lines:
        await phone.says(say)
        await phone.hears_about(fact)
    assert phone.line.stopped, "the agent hangs up after the farewell"
    phone.hangs_up()
    assert await phone.ended() == "agent hung up"


# --- the files -----------------------------------------------------------------------------------------------------


def test_every_folder_is_an_example() -> None:
    assert sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir()) == sorted(KEYS)


@EVERY
def test_the_product_can_start_with_it(name: str) -> None:
    """What `make run` checks before it starts anything, with the variables of the README and no others."""
    found = check(NO_FILE, {"AGENTS_DIR": str(EXAMPLES / name), **KEYS[name]})
    assert found.mistakes == ()
    assert len(found.warnings) == (3 if name == "outbound-reminder" else 0), found.warnings


@pytest.mark.parametrize(("name", "variable"), [(name, key) for name, keys in KEYS.items() for key in keys])
def test_a_variable_that_the_readme_asks_for_is_needed_and_named(name: str, variable: str) -> None:
    without = {key: value for key, value in KEYS[name].items() if key != variable}
    found = check(NO_FILE, {"AGENTS_DIR": str(EXAMPLES / name), **without})
    assert any(variable in mistake for mistake in found.mistakes)
    assert variable in (EXAMPLES / name / "README.md").read_text("utf-8")


@EVERY
def test_the_readme_is_short_and_its_commands_can_be_run(name: str) -> None:
    readme = EXAMPLES / name / "README.md"
    page = readme.read_text("utf-8")
    assert len(page.splitlines()) <= README_LINES_MAX
    assert f"AGENTS_DIR=examples/{name} make run" in page
    assert [problem for command in commands(readme, name) for problem in problems(command)] == []
    for script in re.findall(r"examples/\S+\.json", page):
        for step in read_script(EXAMPLES.parent / script):
            assert not isinstance(step, Say) or (SPEECH / f"{step.name}.wav").is_file()


# --- the calls -----------------------------------------------------------------------------------------------------


async def test_the_receptionist_answers_from_its_facts() -> None:
    one = example("receptionist")
    async with call_to(one) as phone:
        await talk(phone, one)
        assert phone.mind.asked[0][0] == {"role": "system", "content": one.agent.instructions}
        assert phone.mouth.options[0].language == "en-IN"


async def test_the_appointment_is_noted_by_the_scripted_model_without_a_key() -> None:
    one = example("appointment")
    (spec,) = Settings.from_env({}).providers("llm", one.agent.providers.llm)
    async with call_to(one, model=language_model(spec, {})) as phone:
        await talk(phone, one)
        assert phone.ears.options[0].endpointing_ms == 700
        noted = phone.transcript.exchanges[3].heard
        assert "noted" in noted and "tomorrow at three in the afternoon" in noted.lower(), noted
    assert "five hundred rupees" in one.agent.instructions, "a model has the facts that the script has"


def documented_variables() -> dict[str, str]:
    """Those of the command in the README."""
    page = (EXAMPLES / "outbound-reminder/README.md").read_text("utf-8")
    (command,) = re.findall(r"^\S+python -m edge\.call (?:.*\\\n)*.*", page, re.MULTILINE)
    words = shlex.split(command.replace("\\\n", " "))
    pairs = [word.partition("=") for before, word in itertools.pairwise(words) if before == "--variable"]
    return {name: value for name, _, value in pairs}


async def test_the_reminder_speaks_first_with_the_values_of_its_call() -> None:
    one = example("outbound-reminder")
    variables = documented_variables()
    assert missing_variables(one.agent, {}) == list(variables) == ["name", "day", "hour"]
    assert missing_variables(one.agent, variables) == []
    async with call_to(one, variables, "outbound") as phone:
        began = asyncio.get_running_loop().time()
        await phone.until(lambda: phone.heard, "the greeting")
        assert asyncio.get_running_loop().time() - began < 1.0, "a person who was called waits for nothing"
        await talk(phone, one)
        assert "{" not in phone.heard and "appointment on Friday at three" in phone.heard
        assert phone.ears.options[0].min_interruption_ms == 400


async def test_the_reminder_gives_a_silent_line_up() -> None:
    one = example("outbound-reminder")
    async with call_to(one, documented_variables(), "outbound") as phone:
        assert await phone.ended() == "silence"


async def test_hindi_is_understood_and_spoken() -> None:
    one = example("hindi")
    async with call_to(one) as phone:
        await talk(phone, one)
        assert phone.ears.options[0].language == "hi"
        assert (phone.mouth.options[0].language, phone.mouth.options[0].voice) == ("hi", "anushka")
        assert [turn.understood for turn in phone.transcript.exchanges[1:]] == [say for say, _ in one.lines]


@pytest.mark.parametrize("anyio_backend", [("asyncio", {"loop_factory": LoopWithThreads})], ids=["threads"])
async def test_a_server_of_ones_own_answers() -> None:
    """The real adapter, over loopback, to the simulators' server for OpenAI's chat completions."""
    one = example("own-model-server")
    (spec,) = one.agent.providers.llm
    vendor, _, name = spec.partition("/")
    assert vendor == "openai"
    replies = answers(one.lines, one.agent)

    def rule(request: Request) -> Reply:
        words = replies[request.body["messages"][-1]["content"]]
        if words == "<end_call>":
            return Reply([*text(""), tool_piece(0, "{}", id="call_1", name="end_call"), *stop("tool_calls")])
        return Reply([*text(*re.findall(r"\S+\s*", words)), *stop()])

    async with standing_in() as server:
        server.rule = rule
        model = OpenAIChat(name, key="", url=server.url, options=PATIENT)
        async with call_to(one, model=model) as phone:
            await talk(phone, one)
        await model.aclose()
        assert {request.body["model"] for request in server.requests} == {"llama3.2"}
        assert server.requests[0].body["messages"][0]["content"] == one.agent.instructions
