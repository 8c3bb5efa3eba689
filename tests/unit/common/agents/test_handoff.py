"""Which agents may hand a call over to which: checked when the folder is read, and kept in the call's record."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.agents.handoff import OTHERS_MAX, reachable
from common.agents.model import Agent, BadAgents, from_document, to_document
from common.agents.reading import load_agents
from common.agents.variables import missing_variables, with_variables

pytestmark = pytest.mark.fast

FILE = "greeting: Hello {{name}}.\ninstructions: Be brief, {{name}}.\n"


def folder(path: Path, **more: str) -> Path:
    for name, text in more.items():
        (path / f"{name}.yaml").write_text(FILE + text)
    return path


def problems(path: Path) -> list[str]:
    with pytest.raises(BadAgents) as caught:
        load_agents(path)
    return [problem.replace(f"{path}/", "") for problem in caught.value.problems]


def test_a_call_keeps_all_agents_that_it_can_reach(tmp_path: Path) -> None:
    agents = load_agents(
        folder(tmp_path, desk="transfer_to: [billing]\n", billing="transfer_to: [sales, desk]\n", sales="", alone="")
    ).by_name
    assert {name: list(agent.others) for name, agent in agents.items()} == {
        "alone": [], "billing": ["sales", "desk"], "desk": ["billing", "sales"], "sales": [],
    }  # fmt: skip
    assert all(not other.others for other in agents["desk"].others.values())
    document = json.loads(json.dumps(to_document(agents["desk"])))
    assert from_document(document) == agents["desk"]
    assert list(document["others"]) == ["billing", "sales"]
    assert "others" not in to_document(agents["alone"]) and "transfer_to" not in to_document(agents["alone"])


def test_the_version_names_the_others_and_not_what_they_say(tmp_path: Path) -> None:
    before = load_agents(folder(tmp_path, desk="transfer_to: [billing]\n", billing="")).by_name["desk"]
    after = load_agents(folder(tmp_path, billing="voice: anna\n")).by_name["desk"]
    assert before.version == after.version and before != after
    assert load_agents(folder(tmp_path, desk="")).by_name["desk"].version != before.version


def test_variables_are_filled_in_for_all_of_them(tmp_path: Path) -> None:
    agents = load_agents(folder(tmp_path, desk="transfer_to: [billing]\n", billing="variables: {name: you}\n")).by_name
    assert missing_variables(agents["desk"], {}) == ["name"]
    called = with_variables(agents["desk"], {"name": "Asha"})
    assert (called.greeting, called.others["billing"].greeting) == ("Hello Asha.", "Hello Asha.")
    assert with_variables(agents["desk"], {}).others["billing"].instructions == "Be brief, you."


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("transfer_to: [desk]\n", "'transfer_to' names the agent itself; name others, or leave it out"),
        ("transfer_to: [biling]\n", "'transfer_to' names 'biling', which is no agent here; did you mean 'billing'?"),
        ("transfer_to: [x]\n", "'transfer_to' names 'x', which is no agent here; write one of: billing"),
        ("transfer_to: [Big One]\n", "entry 1 of 'transfer_to': is 'Big One'; write small letters, digits"),
        ("sounds: {hold: ../x.wav}\n", "'sounds.hold' is '../x.wav'; write the name of a WAV file, or of one of raw"),
        ("sounds: {hold: x.mp3}\n", "'sounds.hold' is 'x.mp3'; write the name of a WAV file, or of one of raw mu-law"),
    ],
)
def test_mistakes_are_told_by_line(tmp_path: Path, text: str, told: str) -> None:
    (problem,) = problems(folder(tmp_path, desk=text, billing=""))
    assert problem.startswith(f"desk.yaml:3: {told}")


def test_a_file_with_other_mistakes_may_be_an_agent_too(tmp_path: Path) -> None:
    (problem,) = problems(folder(tmp_path, desk="transfer_to: [billing]\n", billing="greting: x\n"))
    assert problem.startswith("billing.yaml:3: unknown key")


def test_a_name_counts_and_not_the_name_of_the_file(tmp_path: Path) -> None:
    (problem,) = problems(folder(tmp_path, desk="transfer_to: [billing]\n", billing="name: accounts\n"))
    assert problem.startswith("desk.yaml:3: 'transfer_to' names 'billing', which is no agent here")


def test_too_many_agents_for_one_call_are_a_mistake(tmp_path: Path) -> None:
    chain = {f"a{number}": f"transfer_to: [a{number + 1}]\n" for number in range(OTHERS_MAX)}
    load_agents(folder(tmp_path, **chain, **{f"a{OTHERS_MAX}": ""}))
    (problem,) = problems(folder(tmp_path, **{f"a{OTHERS_MAX}": "transfer_to: [z]\n", "z": ""}))
    assert problem.startswith("a0.yaml:3: 11 agents can be reached from 'a0' by hand-offs: a1, a2,")


def test_circles_end() -> None:
    hands_to = {"a": ("b", "b"), "b": ("a", "c", "gone"), "c": ("c",)}
    assert reachable("a", hands_to) == ["b", "c"] and reachable("c", hands_to) == []


@pytest.mark.parametrize("others", ["x", ["x"], {"b": "x"}, {"b": {"name": "b"}}, {"b": None}])
def test_documents_of_others_are_checked(others: object) -> None:
    with pytest.raises(BadAgents, match="agent document"):
        from_document({**to_document(Agent("a", "", "-")), "others": others})


def test_a_second_version_of_an_agent_may_hand_to_others_too(tmp_path: Path) -> None:
    folder(tmp_path, desk="", billing="transfer_to: [desk]\n")
    (tmp_path / "desk.canary.yaml").write_text(f"{FILE}canary: 10\ntransfer_to: [billing]\n")
    agents = load_agents(tmp_path)
    canary = agents.canaries["desk"]
    assert list(canary.others) == ["billing"] and not agents.by_name["desk"].others
    assert agents.by_name["billing"].others["desk"].canary == 0, "who is handed over gets the first version"
    (tmp_path / "desk.canary.yaml").write_text(f"{FILE}canary: 10\ntransfer_to: [biling]\n")
    (problem,) = problems(tmp_path)
    assert problem.startswith("desk.canary.yaml:4: 'transfer_to' names 'biling'")
