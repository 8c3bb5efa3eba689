"""Deadlines of the vendors' adapters in tests, in seconds.

An adapter under test gets the `PATIENT` ones, unless its test is about a deadline: the production values (a connection
within 2 s, say) measure the machine as well as the code.  A test that waits until a deadline passes takes the `BRIEF`
ones: as short as the rest of the same call allows on a busy machine.
"""

from __future__ import annotations

from typing import Final

from tests.deadlines import WAIT_S
from workers.llm.engines.openai_chat import ChatOptions
from workers.providers.deadlines import SpeechDeadlines
from workers.stt.stream.stt_core import SttStreamOptions

PATIENT_TTS: Final = SpeechDeadlines(connect_s=WAIT_S, first_audio_s=WAIT_S, gap_s=WAIT_S)
BRIEF_TTS: Final = SpeechDeadlines(connect_s=WAIT_S, first_audio_s=1.5, gap_s=0.8)
"""`gap_s` is less than the second that the stand-ins' fault "slow" takes for each message."""

PATIENT_LLM: Final = ChatOptions(connect_s=WAIT_S, first_token_s=WAIT_S, gap_s=WAIT_S, warm_s=WAIT_S)
BRIEF_LLM: Final = ChatOptions(connect_s=WAIT_S, first_token_s=1.0, gap_s=1.0)

PATIENT_STT: Final = SttStreamOptions(
    connect_s=WAIT_S, send_s=WAIT_S, final_s=WAIT_S, ping_s=WAIT_S, pong_s=WAIT_S, unresponsive_s=WAIT_S
)
"""Cartesia and Sarvam."""
BRIEF_STT: Final = SttStreamOptions(
    connect_s=WAIT_S, send_s=1.0, final_s=0.8, ping_s=0.1, pong_s=0.8, unresponsive_s=0.8
)
