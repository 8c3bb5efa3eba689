"""Runs Piper in a process of its own: `python -m workers.tts.piper_process`.  The only file that imports piper.

piper-tts is GPL-3.0; the rest of this program is not, and talks to this process only through its pipes:

    stdin   one JSON object per line
              {"id": 7, "text": "Good morning.", "speed": 1.0}    synthesise; requests are served in order
              {"cancel": 7}                                       drop the request, at its next sentence at the latest
            end of file: exit at once, whatever is running (the parent has exited)
    stdout  frames: one byte kind, u32 id, u32 length (big-endian), then `length` bytes
              R  ready, once, id 0: JSON {"sample_rate": 22050, "language": "en-us"}
              A  audio of request id: signed 16-bit little-endian samples, mono, at most FRAME_BYTES_MAX bytes
              E  the end of request id
              X  request id failed, or with id 0 the start did: JSON {"error": "down" | "rejected", "message": "..."}

Texts never appear in messages or logs.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import signal
import socket
import struct
import sys
import tempfile
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, BinaryIO

from workers.providers.downloaded_models import verify
from workers.providers.interfaces import Down
from workers.providers.packaged_models import onnx_session, onnxruntime

HEADER = struct.Struct(">cII")
FRAME_BYTES_MAX = 32_768
READY, AUDIO, END, FAILED = b"R", b"A", b"E", b"X"

_DOWNLOAD_S_MAX = 30.0  # without data on the socket


class Output:
    """Writes frames.  Blocks while the parent does not read; there is no other flow control."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def send(self, kind: bytes, request_id: int, payload: bytes = b"") -> None:
        """Write one frame."""
        self._file.write(HEADER.pack(kind, request_id, len(payload)) + payload)
        self._file.flush()

    def fail(self, request_id: int, error: str, message: str) -> None:
        """Report to the parent that a request, or with id 0 the start, failed; `error` is "down" or "rejected"."""
        self.send(FAILED, request_id, json.dumps({"error": error, "message": message}).encode())


class Requests:
    """The queue of requests.  A thread reads stdin, so that a cancel and the end of file are handled at once.

    The parent bounds the number of open requests.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._queue: SimpleQueue[dict[str, Any]] = SimpleQueue()
        self._open: set[int] = set()
        self._file = file
        Thread(target=self._read, name="requests", daemon=True).start()

    def _read(self) -> None:
        for line in self._file:
            request = json.loads(line)
            if "cancel" in request:
                self._open.discard(request["cancel"])
            else:
                self._open.add(request["id"])
                self._queue.put(request)
        os._exit(0)  # the parent has exited: the current sentence is not needed

    def next(self) -> dict[str, Any]:
        """Wait for the next request."""
        return self._queue.get()

    def wanted(self, request_id: int) -> bool:
        """True if the request was not cancelled."""
        return request_id in self._open

    def done(self, request_id: int) -> None:
        """Remove a request that was served, or failed."""
        self._open.discard(request_id)


def load(model: Path) -> Any:
    """Load the voice on one thread of the processor (piper's own `load` would use every core)."""
    from piper import PiperVoice
    from piper.config import PiperConfig

    config = PiperConfig.from_dict(json.loads(model.with_name(model.name + ".json").read_text("utf-8")))
    return PiperVoice(session=onnx_session(model), config=config, download_dir=model.parent)


def download(voice: str, folder: Path) -> Path:
    """Return the model file of a voice from piper's collection, downloaded if need be.

    Raises ValueError for a bad name, and `Down` if the checksums of the files are not known.
    """
    from piper.download_voices import VOICE_PATTERN, download_voice

    if not VOICE_PATTERN.match(voice):
        raise ValueError(f"no piper voice is named {voice!r}; names look like en_US-lessac-medium")
    model = folder / f"{voice}.onnx"
    if not model.exists():
        socket.setdefaulttimeout(_DOWNLOAD_S_MAX)
        folder.mkdir(parents=True, exist_ok=True)
        # Downloaded to a temporary folder, then moved: a download that breaks off leaves no partial voice behind.
        with tempfile.TemporaryDirectory(dir=folder) as unfinished:
            download_voice(voice, Path(unfinished))
            for name in (f"{voice}.onnx.json", f"{voice}.onnx"):
                (Path(unfinished) / name).replace(folder / name)
    verify("piper", [model, model.with_name(f"{model.name}.json")])
    return model


def serve(voice: Any, requests: Requests, output: Output) -> None:
    """Serve requests for ever; each sentence is sent as soon as it is synthesised."""
    from piper import SynthesisConfig

    while True:
        request = requests.next()
        request_id = request["id"]
        try:
            settings = SynthesisConfig(length_scale=voice.config.length_scale / request["speed"])
            # [[...]] would be read as raw phonemes
            sentences = iter(voice.synthesize(request["text"].replace("[[", "[ ["), settings))
            while requests.wanted(request_id) and (sentence := next(sentences, None)) is not None:
                pcm = sentence.audio_int16_bytes
                for start in range(0, len(pcm), FRAME_BYTES_MAX):
                    output.send(AUDIO, request_id, pcm[start : start + FRAME_BYTES_MAX])
        except BrokenPipeError:
            return
        except Exception as error:  # noqa: BLE001 - a failed request must not end the process
            output.fail(request_id, "down", f"piper failed: {type(error).__name__}")
        else:
            output.send(END, request_id)
        requests.done(request_id)


def main() -> None:
    """Load the voice, report ready, serve."""
    parser = argparse.ArgumentParser(description="Piper as a child process; see the head of the file.")
    parser.add_argument("--model", type=Path, help="path of a voice (its .json beside it)")
    parser.add_argument("--voice", default="", help="instead: the name of a voice of piper's collection")
    parser.add_argument("--folder", type=Path, default=Path(), help="where downloaded voices are kept")
    options = parser.parse_args()
    # The terminal sends Ctrl-C to the whole group, but a parent that drains still needs its voice: stdin ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.disable()  # piper logs texts
    # stdout carries frames only; output of libraries goes to stderr.
    output = Output(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    requests = Requests(sys.stdin.buffer)
    try:
        onnxruntime()  # before piper imports it
        voice = load(options.model or download(options.voice, options.folder))
    except ImportError:
        output.fail(0, "down", "piper-tts is not installed; run: pip install piper-tts")
    except Down as error:
        output.fail(0, "down", str(error))
    except ValueError as error:
        output.fail(0, "rejected", str(error))
    except Exception as error:  # noqa: BLE001 - the parent must be informed that there is no voice
        what = f"piper voice {options.voice!r} (fetched at the first use, which needs the network)"
        output.fail(0, "down", f"{what if options.voice else 'the voice'} cannot be loaded: {type(error).__name__}")
    else:
        ready = {"sample_rate": voice.config.sample_rate, "language": voice.config.espeak_voice}
        output.send(READY, 0, json.dumps(ready).encode())
        serve(voice, requests, output)


if __name__ == "__main__":
    main()
