"""Checks the transfer targets of agent files: not our own number, and a number that may be joined with ours.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from common.agents.files import Document
from common.agents.model import Agent
from common.numbers import HOME, international, is_possible, number_key, regions_of


def transfer_problems(agents: Sequence[tuple[Document, Agent]], own_numbers: Iterable[str]) -> list[str]:
    """A problem for each target that cannot be rung, with its file and line.  Numbers are never quoted."""
    ours = [number for number in (*own_numbers, *(number for _, agent in agents for number in agent.numbers)) if number]
    own = {number_key(number) for number in ours}
    at_home = any(regions_of(international(number)) == (HOME,) for number in ours)
    return [
        f"{document.location(('transfer', name, 'number'))}: {what}"
        for document, agent in agents
        for name, target in agent.transfer.items()
        for what in _problems(target.number, own, at_home)
    ]


def _problems(number: str, own: set[str], at_home: bool) -> Iterator[str]:
    full = international(number)
    if number_key(number) in own:
        yield (
            "'number' is a number of your own: the caller would come back to an agent, and both calls would cost;"
            " write the number of a person"
        )
    elif not full or not is_possible(full):
        yield "'number' is no number of any country; write it with its country code, such as '+911234567890'"
    elif at_home and HOME not in regions_of(full) and not full.startswith("+91"):
        yield (
            "'number' is not in India, but yours is: Vobiz joins calls of Indian numbers within India only;"
            " write a number of India"
        )
