"""Checks and resolves which agents may hand a call over to which (`transfer_to`, docs/agents.md).  Pure.

A call's record holds the agent with which the call begins and, in `Agent.others`, every agent that can be reached from
it by hand-offs.  So a call keeps all of them as they were when it began.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from common.agents.fields import Problem
from common.agents.files import Document

if TYPE_CHECKING:
    from common.agents.model import Agent

OTHERS_MAX = 10
"""Most agents that can be reached from one by hand-offs: the record of each of its calls holds all of them."""


def reachable(name: str, hands_to: Mapping[str, Sequence[str]]) -> list[str]:
    """The agents that a call of the agent `name` can reach, the nearest first, without that one.

    `hands_to`: agent -> its `transfer_to`; names of no agent are left out.
    """
    found = [name]
    for one in found:
        found += [other for other in dict.fromkeys(hands_to[one]) if other in hands_to and other not in found]
    return found[1:]


def link(agent: Agent, known: Mapping[str, Agent]) -> Agent:
    """The agent with those of `known` in `others` that it can reach; the nearest `OTHERS_MAX`, if there are more."""
    if not agent.transfer_to and not agent.others:
        return agent
    hands_to = {**{name: other.transfer_to for name, other in known.items()}, agent.name: agent.transfer_to}
    names = reachable(agent.name, hands_to)[:OTHERS_MAX]
    others = {name: replace(known[name], others={}) for name in names}
    return agent if others == agent.others else replace(agent, others=others)


def wrong_handoffs(
    agents: Sequence[tuple[Document, Agent]], canaries: Sequence[tuple[Document, Agent]], unread: Collection[str] = ()
) -> list[str]:
    """A problem for each entry of `transfer_to` that cannot work, and for an agent that can reach too many.

    `unread` are the names of files that have other problems: they may be agents, too.
    """
    known = {agent.name: agent.transfer_to for _, agent in agents}
    problems: list[str] = []
    for document, agent in (*agents, *canaries):
        for index, name in enumerate(agent.transfer_to):
            location = document.location(("transfer_to", index))
            if name == agent.name:
                problems.append(f"{location}: 'transfer_to' names the agent itself; name others, or leave it out")
            elif name not in known and name not in unread:
                advice = _advice(name, agent.name, known)
                problems.append(f"{location}: 'transfer_to' names {name!r}, which is no agent here; {advice}")
        others = reachable(agent.name, {**known, agent.name: agent.transfer_to})
        if len(others) > OTHERS_MAX:
            problems.append(
                f"{document.location(('transfer_to',))}: {len(others)} agents can be reached from {agent.name!r} by"
                f" hand-offs: {', '.join(others)}; at most {OTHERS_MAX}, since each call keeps all of them"
            )
    return problems


def _advice(name: str, own_name: str, known: Collection[str]) -> str:
    others = sorted(set(known) - {own_name})
    if near := difflib.get_close_matches(name, others, 1):
        return f"did you mean {near[0]!r}?"
    return f"write one of: {', '.join(others)}" if others else "there is no other agent"


def others_of(
    document: Mapping[str, Any], parse: Callable[[Any], tuple[Agent | None, list[Problem]]]
) -> tuple[dict[str, Agent], list[str]]:
    """The agents under `others` of the document of a call's agent, and what is wrong with them.

    `parse` reads the document of one; what that one says about further agents is not read.
    """
    entries = document.get("others") or {}
    if not isinstance(entries, dict):
        return {}, ["'others' is no mapping"]
    others: dict[str, Agent] = {}
    wrong: list[str] = []
    for name, entry in entries.items():
        agent, problems = parse(entry)
        wrong += [f"agent {name!r}: {problem.what}" for problem in problems]
        if agent is not None:
            others[agent.name] = agent
    return others, wrong
