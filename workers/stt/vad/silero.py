"""Detects speech with Silero VAD (MIT, weights included) at 8 kHz, batched over all calls of the process.

One thread runs the model; the event loop only cuts audio into windows and takes the results:

    loop                                            thread
    stream.feed(mulaw) -> windows wait
    at most every GATHER_S: one job  ------------>  runs window 1 of every call, then window 2 of ...
    call by call: on_window(position, p)  <-------  one call_soon_threadsafe per job

One job is out at a time, so that the batch grows with the load by itself.  The model is recurrent: each call has a
slot in arrays that only the thread touches.  There is no task, future or await per frame, and not even per window.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

import numpy as np
import numpy.typing as npt

from common.audio import g711
from workers.providers.interfaces import Down
from workers.providers.packaged_models import PackagedModel, model_path, onnx_session

MODEL = PackagedModel(
    package="silero_vad",
    path="data/silero_vad.onnx",
    sha256="1a153a22f4509e292a94e67d6f9b85e8deb25b4988682b7e174c65279d8788e3",
    requirement="silero-vad==6.2.3 --no-deps",  # its dependencies are PyTorch, which the ONNX model does not need
)
WINDOW_BYTES = 256
WINDOW_MS = WINDOW_BYTES // g711.BYTES_PER_MS
GATHER_S = 0.004
"""Windows wait this long to be batched: a batch of 32 costs a third of 32 single runs."""
WINDOWS_PER_JOB = 32
"""Of one call: a replay of much audio must not hold up the other calls for longer than this."""
WINDOWS_BEHIND_MAX = 1250
"""40 s: the longest replay fits; a call further behind drops its oldest windows."""
STOP_S = 5.0
_CONTEXT = 32  # samples of the previous window that v5 and v6 of the model take again
_STATE = 128

OnWindow = Callable[[int, float], None]
OnFailure = Callable[[Down], None]
_Floats = npt.NDArray[np.float32]


@dataclass(eq=False, slots=True)
class _Item:
    """One call's part of a job: consecutive windows, and then their probabilities."""

    stream: VadStream
    slot: int
    fresh: bool
    position_ms: int
    windows: list[bytes]
    probabilities: list[float]


class VadStream:
    """One call's audio on its way through the model; made by `SileroVad.open`, freed by `close`."""

    def __init__(self, vad: SileroVad, slot: int, on_window: OnWindow, on_failure: OnFailure) -> None:
        self.windows_dropped = 0
        self._vad = vad
        self._slot = slot
        self._on_window = on_window
        self._on_failure = on_failure
        self._fresh = True
        self._open = True
        self._windows: deque[tuple[int, bytes]] = deque()
        self._part = b""
        self._part_at = 0  # where `_part` begins, counted in bytes: positions in ms are too coarse to add up
        self._taken_to_ms = -1  # where the windows given to jobs end

    def feed(self, position_ms: int, mulaw: bytes) -> None:
        """Take the audio that begins at `position_ms`; positions rise.  After a gap the model begins anew."""
        at = position_ms * g711.BYTES_PER_MS
        if abs(at - self._part_at - len(self._part)) >= g711.BYTES_PER_MS:
            self._part, self._part_at = b"", at
        audio = self._part + mulaw if self._part else mulaw
        start = 0
        while start + WINDOW_BYTES <= len(audio):
            window_ms = (self._part_at + start) // g711.BYTES_PER_MS
            self._windows.append((window_ms, audio[start : start + WINDOW_BYTES]))
            start += WINDOW_BYTES
        self._part, self._part_at = audio[start:], self._part_at + start
        while len(self._windows) > WINDOWS_BEHIND_MAX:
            self._windows.popleft()
            self.windows_dropped += 1
        if self._windows:
            self._vad._ready(self)

    def close(self) -> None:
        """End the stream: neither callback is called from now on.  Idempotent."""
        if self._open:
            self._open = False
            self._windows.clear()
            self._vad._closed(self, self._slot)

    def _take(self) -> _Item | None:
        """The next consecutive windows for a job."""
        if not self._windows:
            return None
        position_ms, window = self._windows.popleft()
        item = _Item(self, self._slot, self._fresh or position_ms != self._taken_to_ms, position_ms, [window], [])
        end_ms = position_ms + WINDOW_MS
        while self._windows and self._windows[0][0] == end_ms and len(item.windows) < WINDOWS_PER_JOB:
            item.windows.append(self._windows.popleft()[1])
            end_ms += WINDOW_MS
        self._fresh, self._taken_to_ms = False, end_ms
        return item

    def _landed(self, item: _Item) -> None:
        for index, probability in enumerate(item.probabilities):
            if not self._open:  # a callback may close the stream
                return
            self._on_window(item.position_ms + index * WINDOW_MS, probability)

    def _failed(self, error: Down) -> None:
        if self._open:
            self._on_failure(error)


class SileroVad:
    """The process's one voice activity detector.  `load`, then `open` a stream per call, on one event loop."""

    def __init__(self) -> None:
        self._model: _Model | None = None
        self._thread: Thread | None = None
        self._jobs: SimpleQueue[list[_Item] | None] = SimpleQueue()  # at most one job and the stop mark
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: dict[VadStream, None] = {}  # streams with windows, in order of arrival
        self._timer: asyncio.TimerHandle | None = None
        self._job_is_out = False
        self._slots = 0
        self._free_slots: list[int] = []

    def load(self) -> None:
        """Load the model.  Blocks for 0.1 to 1 s: call it off the loop.  Raises `Down` without a usable model."""
        if self._model is None:
            self._model = _Model()

    def open(self, on_window: OnWindow, on_failure: OnFailure) -> VadStream:
        """A stream for one call.  `on_window(position_ms, probability)` is called on the running loop, in order."""
        assert self._model is not None, "load() first"
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = Thread(target=self._work, args=(self._loop, self._model), name="silero-vad", daemon=True)
            self._thread.start()
        if self._free_slots:
            slot = self._free_slots.pop()
        else:
            slot, self._slots = self._slots, self._slots + 1
        return VadStream(self, slot, on_window, on_failure)

    async def aclose(self) -> None:
        """Stop the thread and free the model.  Close the streams first."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        thread, self._thread = self._thread, None
        if thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(thread.join, STOP_S)
        self._model = None

    # --- on the loop ---

    def _ready(self, stream: VadStream) -> None:
        self._waiting[stream] = None
        self._schedule()

    def _closed(self, stream: VadStream, slot: int) -> None:
        self._waiting.pop(stream, None)
        # A job that is out may still write to the slot; the next owner's first window clears it after that.
        self._free_slots.append(slot)

    def _schedule(self) -> None:
        if self._timer is None and not self._job_is_out and self._waiting and self._thread is not None:
            assert self._loop is not None
            self._timer = self._loop.call_later(GATHER_S, self._dispatch)

    def _dispatch(self) -> None:
        self._timer = None
        waiting, self._waiting = self._waiting, {}
        job = [item for stream in waiting if (item := stream._take()) is not None]
        for item in job:
            if item.stream._windows:
                self._waiting[item.stream] = None
        if job:
            self._job_is_out = True
            self._jobs.put(job)

    def _landed(self, job: list[_Item], error: Down | None) -> None:
        self._job_is_out = False
        self._schedule()
        for item in job:
            if error is not None:
                item.stream._failed(error)
                continue
            try:
                item.stream._landed(item)
            except Exception as failure:  # noqa: BLE001 - one call's fault must not cost the others their results
                item.stream._failed(Down(f"listening failed: {type(failure).__name__}"))

    # --- in the thread ---

    def _work(self, loop: asyncio.AbstractEventLoop, model: _Model) -> None:
        while (job := self._jobs.get()) is not None:
            error: Down | None = None
            try:
                model.run(job)
            except Exception as failure:  # noqa: BLE001 - whatever onnxruntime raises, every call of the job fails
                error = Down(f"voice activity detection failed: {type(failure).__name__}")
            try:
                loop.call_soon_threadsafe(self._landed, job, error)
            except RuntimeError:  # the loop is closed: results are not wanted
                return


class _Model:
    """The ONNX session and the memory of every slot.  Only the thread uses it."""

    def __init__(self) -> None:
        self._session = onnx_session(model_path(MODEL))
        self._rate = np.array(g711.SAMPLE_RATE, np.int64)
        self._linear: _Floats = (np.array(g711.LINEAR_OF_MULAW) / 32768).astype(np.float32)
        self._state: _Floats = np.zeros((2, 0, _STATE), np.float32)
        self._context: _Floats = np.zeros((0, _CONTEXT), np.float32)
        # The first run allocates for 50 ms, before a call waits for it.
        self._step(np.zeros((1, _CONTEXT + WINDOW_BYTES), np.float32), np.zeros((2, 1, _STATE), np.float32))

    def _step(self, audio: _Floats, state: _Floats) -> tuple[_Floats, _Floats]:
        outputs: tuple[_Floats, _Floats] = self._session.run(None, {"input": audio, "state": state, "sr": self._rate})
        return outputs

    def run(self, job: list[_Item]) -> None:
        """Fill in the probabilities: one model run for the first windows of all calls, one for the second, ..."""
        self._make_room(max(item.slot for item in job) + 1)
        for item in job:
            if item.fresh:
                self._state[:, item.slot] = 0
                self._context[item.slot] = 0
        for step in range(max(len(item.windows) for item in job)):
            items = [item for item in job if step < len(item.windows)]
            slots = [item.slot for item in items]
            codes = np.frombuffer(b"".join(item.windows[step] for item in items), np.uint8)
            audio: _Floats = np.concatenate(
                (self._context[slots], self._linear[codes].reshape(-1, WINDOW_BYTES)), axis=1
            )
            output, state = self._step(audio, self._state[:, slots])
            self._state[:, slots] = state
            self._context[slots] = audio[:, -_CONTEXT:]
            for item, probability in zip(items, output[:, 0].tolist(), strict=True):
                item.probabilities.append(probability)

    def _make_room(self, slots: int) -> None:
        missing = slots - len(self._context)
        if missing > 0:
            missing += slots  # doubling
            self._state = np.concatenate((self._state, np.zeros((2, missing, _STATE), np.float32)), axis=1)
            self._context = np.concatenate((self._context, np.zeros((missing, _CONTEXT), np.float32)))
