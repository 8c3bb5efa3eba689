"""What a caller does in a run, act by act."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.simulation.carrier import Phone
from tests.simulation.ending import LOOK_SECONDS
from tests.simulation.plan import WAIT_SECONDS_MAX, Act, Caller
from tests.simulation.providers import noise_frames, word_frames
from tests.simulation.trial import Trial

if TYPE_CHECKING:
    from tests.simulation.run import Run

CALM_SECONDS_MAX = 40.0
"""After the last fault, everything the caller said must be answered within this."""
TRANSFER_SECONDS_MAX = 250.0
"""The same with transfers: if an edge dies while the carrier is asked to ring a person, it is not known whether they
are rung, and the caller waits as long as a person may ring and be briefed.
"""
COUGH_FRAMES = 12
KEY_SECONDS = (0.0, 0.0, 0.12, 0.35, 0.9)
"""Pauses between keys: all at once, as from a memory, or as a person presses them."""


async def act_out(run: Run, phone: Phone, trial: Trial, caller: Caller) -> None:
    """Do what the caller does, wait until all is answered, and hang up."""
    for act in caller.acts:
        await _wait_for(run, phone, trial, act)
        run.note(
            f"{phone.call_id} the caller: {act.does} {' '.join(run.plan.vocabulary[n] for n in act.words)}{act.keys}"
        )
        match act.does:
            case "say":
                for number in act.words:
                    phone.speech.extend(word_frames(number))
            case "press":
                await _press(run, phone, trial, act)
            case "cough":
                phone.speech.extend(noise_frames(COUGH_FRAMES))
            case "hang up":
                phone.hang_up()
                return
    calm = 0.0
    calm_s_max = TRANSFER_SECONDS_MAX if run.plan.persons else CALM_SECONDS_MAX
    since = run.loop.time()
    while calm < 1.0:
        await asyncio.sleep(LOOK_SECONDS)
        if phone.away:
            since = run.loop.time()
        settled = trial.settled and phone.quiet and not phone.speech and phone.connection is not None
        calm = calm + LOOK_SECONDS if settled else 0.0
        if not settled and run.loop.time() - max(since, run.breaking.last_s) > calm_s_max:
            run.breach(f"{phone.call_id} waits in vain: {trial.unsettled()}")
            break
    phone.hang_up()


async def _wait_for(run: Run, phone: Phone, trial: Trial, act: Act) -> None:
    until = run.loop.time() + WAIT_SECONDS_MAX
    while phone.speech or (phone.away and act.does != "hang up"):
        await asyncio.sleep(LOOK_SECONDS)
    if act.when == "answered":
        while not (trial.settled and phone.quiet) and run.loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
    elif act.when == "asked":
        while not (_is_asked(trial) and phone.quiet) and run.loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
    elif act.when != "now":
        while phone.quiet == (act.when == "speaking") and run.loop.time() < until:
            await asyncio.sleep(LOOK_SECONDS)
    await asyncio.sleep(act.pause_s)


async def _press(run: Run, phone: Phone, trial: Trial, act: Act) -> None:
    pause_s = KEY_SECONDS[len(act.keys) % len(KEY_SECONDS)]
    if act.when == "asked" and not _is_asked(trial):
        return
    for key in act.keys:
        if phone.press(key):
            trial.tools.keys.pressed += key
        await asyncio.sleep(pause_s)


def _is_asked(trial: Trial) -> bool:
    """Has the caller heard that digits are wanted?"""
    return trial.tools.wants_keys(lambda turn: turn in trial.replies and trial.replies[turn].closed)
