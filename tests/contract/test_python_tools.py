"""Tools that are Python functions, in a process of their own: whatever the code does, only its own calls end."""

import asyncio
import json
import logging
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from common.agents.tools import Tool
from common.call.acts import ToolOutcome
from tests.contract.tool_servers import request
from tests.deadlines import SOON_S
from workers.tools.engines.python import PythonSource, PythonTools, child_environment_of
from workers.tools.engines.python_pipe import DIED, RAISED
from workers.tools.interfaces import CallableTool, ToolError

pytestmark = [pytest.mark.processes, pytest.mark.anyio]

SECRET = "pw-5ecret-98765"
CODE = '''
import asyncio, os, sys, threading, time
from typing import Literal
from voice import Call, Failed, tool

SEEN = []

@tool(repeatable=True, timeout_s=20, meanwhile=["One moment."])
async def look(call: Call, day: str, count: int = 1) -> dict:
    """Look up.

    Args:
        day: which day
    """
    await call.say("Looking.")
    return {"day": day, "count": count, "caller": call.caller, "key": call.key, "name": call.variables["name"]}

@tool
def plain(text: str | None) -> str:
    return f"plain {text}"

@tool
def nothing(): ...

@tool
def raises(): raise ValueError(os.environ["CLINIC_PASSWORD"])

@tool
def declines(): raise Failed("There is no table at that time.")

@tool
def exits(): os._exit(3)

@tool
async def leaves(): sys.exit(3)

@tool
def forks():
    pid = os.fork()
    if pid == 0:
        time.sleep(0.2)
        return "from the copy"
    return f"{pid}"

@tool
def lingers():
    pid = os.fork()
    if pid == 0:
        time.sleep(600)
        os._exit(0)
    return f"{pid}"

@tool
def hangs(): threading.Event().wait()

@tool
async def blocks(): time.sleep(600)

@tool
async def waits():
    try:
        await asyncio.sleep(600)
    finally:
        SEEN.append("cancelled")

@tool
def seen() -> str: return ",".join(SEEN)

@tool
def eats(): return len(bytearray(4 << 30))

@tool
def prints():
    print(os.environ["CLINIC_PASSWORD"]); sys.stderr.write("x" * 1_000_000)
    return os.environ["CLINIC_PASSWORD"]

@tool
def large(): return "x" * 10_000_000

@tool
def environment() -> str: return ",".join(sorted(os.environ))

@tool
def parents() -> str:
    try:
        return open(f"/proc/{os.getppid()}/environ").read()[:10]
    except OSError as error:
        return type(error).__name__

@tool
def says(call: Call):
    for number in range(100):
        call.say(f"{number}")

@tool
def process() -> int: return os.getpid()
'''


def clinic(code: str = CODE) -> PythonTools:
    given = {**os.environ, "CLINIC_PASSWORD": SECRET, "OTHER_SECRET": "another-secret"}
    return PythonTools(
        PythonSource(Path(__file__).with_name("clinic.py"), code), child_environment_of(["CLINIC_PASSWORD"], given)
    )


@pytest.fixture
async def python() -> AsyncIterator[PythonTools]:
    tools = clinic()
    yield tools
    await tools.aclose()


async def found(python: PythonTools, name: str, **options: Tool) -> CallableTool:
    return next(tool for tool in await python.declared(options) if tool.name == name)


async def run(python: PythonTools, name: str, heard: list[str] | None = None, **arguments: object) -> str:
    return await (await found(python, name)).run(request(arguments, heard))


async def fails(python: PythonTools, name: str) -> ToolError:
    with pytest.raises(ToolError) as raised:
        await run(python, name)
    return raised.value


async def late(python: PythonTools, name: str) -> None:
    """The call ends by its deadline, as in a session."""
    tool = await found(python, name)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await tool.run(request({}))


async def gone(pid: int) -> None:
    async with asyncio.timeout(SOON_S):
        while alive(pid):
            await asyncio.sleep(0.02)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


async def test_a_coroutine_is_run_with_its_call_and_speaks(python: PythonTools):
    heard: list[str] = []
    answer = json.loads(await run(python, "look", heard, day="Monday"))
    assert answer == {"day": "Monday", "count": 1, "caller": "911234567890", "key": "call-1:2:0", "name": "Asha"}
    assert heard == ["Looking."]


async def test_what_the_decorator_and_the_docstring_say_is_declared_and_the_agent_file_wins(python: PythonTools):
    tool = await found(python, "look")
    assert tool.description == "Look up."
    assert (tool.options.timeout_s, tool.options.repeatable, tool.options.meanwhile) == (20, True, ("One moment.",))
    assert tool.parameters["properties"]["day"] == {"type": "string", "description": "which day"}
    changed = await found(python, "look", look=Tool("Other words.", timeout_s=5))
    assert (changed.description, changed.options.timeout_s, changed.options.repeatable) == ("Other words.", 5, True)


async def test_a_plain_function_is_run_in_a_thread_and_what_may_be_none_may_be_missing(python: PythonTools):
    assert await run(python, "plain", text="x") == "plain x"
    assert await run(python, "plain") == "plain None"
    assert await run(python, "nothing") == ""


async def test_calls_run_side_by_side_in_one_process(python: PythonTools):
    waiting = asyncio.create_task(run(python, "waits"))
    processes = {await run(python, "process") for _ in range(3)}
    assert len(processes) == 1
    waiting.cancel()
    await asyncio.wait([waiting])
    assert await run(python, "seen") == "cancelled", "the coroutine was cancelled"
    assert {await run(python, "process")} == processes, "and its process lives on"


@pytest.mark.parametrize("name", ["raises", "leaves", "eats"])
async def test_what_raises_fails_alone_and_its_text_is_told_to_nobody(
    python: PythonTools, name: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    before = await run(python, "process")
    error = await fails(python, name)
    assert (error.outcome, error.text) == (ToolOutcome.FAILED, RAISED)
    assert await run(python, "process") == before
    assert SECRET not in caplog.text
    assert "at clinic.py:" in caplog.text


async def test_a_tool_says_itself_why_it_could_not(python: PythonTools):
    assert (await fails(python, "declines")).text == "There is no table at that time."


async def test_code_that_exits_ends_its_calls_and_is_started_again(python: PythonTools):
    waiting = asyncio.create_task(fails(python, "waits"))
    before = await run(python, "process")
    assert (await fails(python, "exits")).text == DIED
    assert (await waiting).text == DIED
    assert await run(python, "process") != before
    assert await run(python, "plain", text="again") == "plain again"


async def test_a_copy_that_the_code_forks_cannot_answer_and_dies_with_its_process(python: PythonTools):
    assert (await run(python, "forks")).isdecimal()
    assert await run(python, "plain", text="after") == "plain after"
    copy = int(await run(python, "lingers"))
    await python.aclose()
    await gone(copy)


@pytest.mark.parametrize("name", ["hangs", "blocks"])
async def test_code_that_hangs_ends_at_its_deadline_and_the_next_call_has_another_process(
    python: PythonTools, name: str
):
    before = await run(python, "process")
    await late(python, name)
    assert await run(python, "plain", text="next") == "plain next"
    assert await run(python, "process") != before
    await gone(int(before))


async def test_what_is_printed_reaches_no_frame_and_no_log_and_a_secret_is_hidden(
    python: PythonTools, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    assert await run(python, "prints") == "[secret]"
    assert await run(python, "plain", text="x") == "plain x"
    assert SECRET not in caplog.text


async def test_a_large_result_is_bounded(python: PythonTools):
    assert len(await run(python, "large")) == 100_000


async def test_the_child_has_the_named_variables_and_cannot_read_those_of_its_parent(python: PythonTools):
    names = set((await run(python, "environment")).split(","))
    assert "CLINIC_PASSWORD" in names
    assert names <= {"CLINIC_PASSWORD", "PATH", "HOME", "LANG", "PYTHONDONTWRITEBYTECODE", "LC_CTYPE"}
    if sys.platform == "linux" and os.geteuid() != 0:
        assert await run(python, "parents") == "PermissionError"


async def test_sentences_are_bounded(python: PythonTools):
    heard: list[str] = []
    await run(python, "says", heard)
    assert heard == [str(number) for number in range(10)]


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError at clinic.py:1"),
        ("\n\nx = (", "SyntaxError at clinic.py:3"),
        ("from voice import tool\n@tool\ndef x(a): ...", "x: the argument 'a' has no type"),
        ("import os\nos._exit(0)", "ended the process"),
        ("raise SystemExit", "SystemExit at clinic.py:1"),
    ],
)
async def test_a_file_that_cannot_be_loaded_is_said_to_its_author(
    code: str, word: str, caplog: pytest.LogCaptureFixture
):
    tools = clinic(code)
    with pytest.raises(ToolError) as raised:
        await tools.declared({})
    assert raised.value.outcome is ToolOutcome.FAILED
    assert word in caplog.text
    await tools.aclose()


async def test_the_child_ends_when_its_parent_is_killed(tmp_path: Path):
    """Even if a tool hangs in it: kill -9 of a worker leaves nothing behind."""
    script = """
import asyncio
from pathlib import Path
from tests.contract.test_python_tools import clinic, run
async def main():
    python = clinic()
    print(await run(python, "process"), flush=True)
    await run(python, "hangs")
asyncio.run(main())
"""
    root = Path(__file__).parents[2]
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, cwd=root, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await gone(child)
