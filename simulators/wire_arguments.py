"""Defines the command-line options for the carrier's behaviour on the media socket, for callers and carrier alike."""

import argparse

from simulators.stream import WireOptions
from simulators.stream_messages import Spelling
from simulators.uplink import Disturbance

SUBPROTOCOL = "audio.drachtio.org"
SPELLINGS = {
    "flat_start": "the old `start` with its fields at the top",
    "aliases": "`start` under other names: callUUID, streamSid, callSid, auth_id",
    "ids_in_played": "send streamId with playedStream",
    "numbered_played": "send streamId and sequenceNumber with playedStream",
    "bare_cleared": "clearedAudio without a sequenceNumber",
    "flat_digit": 'dtmf as {"event":"dtmf","digit":"1"}',
    "old_media": "media with its format and an integer timestamp, without numbers",
}
COUNTS = {
    "burst_frames": "hold this many frames back, then send them at once",
    "gap_every": "leave out 10 frames every so often",
    "duplicate_every": "send a frame twice every so often",
    "unknown_every": "send an event that no document names every so often",
    "second_start_after": "send `start` again on the same socket after so many frames",
}


def add_wire_arguments(parser: argparse.ArgumentParser) -> None:
    spelling = parser.add_argument_group("how the carrier writes its messages")
    for name, what in SPELLINGS.items():
        spelling.add_argument(_flag(name), action="store_true", help=what)
    group = parser.add_argument_group("what happens on the wire")
    group.add_argument("--media-before-start", type=int, default=0, metavar="FRAMES", help="let media overtake `start`")
    group.add_argument("--clear-delay-ms", type=float, default=20.0, help="time from clearAudio to clearedAudio")
    group.add_argument("--send-stop", action="store_true", help="say `stop` before the caller's hang-up")
    group.add_argument("--abort-close", action="store_true", help="end without a closing handshake (code 1006)")
    group.add_argument("--subprotocol", action="store_true", help=f"offer {SUBPROTOCOL}")
    group.add_argument(
        "--break-after-ms", type=float, action="append", default=[], metavar="MS",
        help="lose the socket then and come again with a new streamId; may be repeated",
    )  # fmt: skip
    group.add_argument("--retry-pause-ms", type=float, default=500.0, help="pause before a new socket")
    group.add_argument("--phantom-after-ms", type=float, metavar="MS", help="connect once more after the call's end")
    group.add_argument("--odd-frames", action="store_true", help="media in pieces of other sizes than 20 ms")
    group.add_argument("--jitter-ms", type=float, default=0.0, help="make each frame late by a random time up to this")
    for name, what in COUNTS.items():
        group.add_argument(_flag(name), type=int, default=0, metavar="FRAMES", help=what)
    group.add_argument("--seed", type=int, default=1, help="of everything random")
    group.add_argument("--light", action="store_true", help="keep no samples: no recordings, but hundreds of calls")


def wire_options(parsed: argparse.Namespace) -> WireOptions:
    counts = {name: max(0, getattr(parsed, name)) for name in COUNTS}
    return WireOptions(
        spelling=Spelling(**{name: getattr(parsed, name) for name in SPELLINGS}),
        media_before_start=max(0, parsed.media_before_start),
        clear_delay_ms=max(0.0, parsed.clear_delay_ms),
        send_stop=parsed.send_stop,
        subprotocol=SUBPROTOCOL if parsed.subprotocol else None,
        disturbance=Disturbance(
            odd_frames=parsed.odd_frames, jitter_ms=max(0.0, parsed.jitter_ms), seed=parsed.seed, **counts
        ),
        break_after_ms=tuple(sorted(parsed.break_after_ms)),
        retry_pause_ms=max(0.0, parsed.retry_pause_ms),
        abort_close=parsed.abort_close,
        phantom_after_ms=parsed.phantom_after_ms,
        light=parsed.light,
    )


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"
