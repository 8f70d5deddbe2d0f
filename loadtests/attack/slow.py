"""Clients that dawdle: windows never opened, bytes one by one, connections that say nothing (CVE-2019-9517, slowloris).

Where a timeout is the defence, the time that counts begins when it has passed.
"""

from __future__ import annotations

import socket
import struct
import time

from loadtests.attack.attack import WAIT_SECONDS, Outcome, attack
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import STREAM_INFER, amplified, good, opening, streams
from loadtests.fuzz.frames import CONTINUATION, DATA, END_STREAM, HEADERS, SETTINGS, WINDOW_UPDATE, frame
from loadtests.tools.process import allow_files

INITIAL_WINDOW_SIZE = 4
CALLS = 100
SILENT = 5_000
AT_ONCE = 150  # connections a second, within limits.connections.rate_per_peer
DRIPPING = 500


def _await_end(raw: Raw, outcome: Outcome, timeout: float) -> None:
    """The server has its timeout, then as long as any attack."""
    due = raw.began + timeout
    raw.read_until_closed(max(due - time.monotonic(), 0.0) + WAIT_SECONDS)
    outcome.note(raw, since=min(due, raw.closed_at or due))


@attack("window-shut", f"{CALLS} calls for answers of 1 MiB, and a window of 0")
def window_shut(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet({INITIAL_WINDOW_SIZE: 0})
        outcome.sent = raw.send_all(opening(s) + frame(DATA, s, amplified(), END_STREAM) for s in streams(CALLS))
        _await_end(raw, outcome, target.stalled)
    return outcome


@attack("window-shut-stream", "a stream of requests for 1 MiB each, and a window of 0")
def window_shut_stream(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet({INITIAL_WINDOW_SIZE: 0})
        for stream in streams(20):
            raw.send(opening(stream, STREAM_INFER))
            outcome.sent += raw.send_all((frame(DATA, stream, amplified()) for _ in range(32)), 1.0)
        _await_end(raw, outcome, target.stalled)
    return outcome


@attack("socket-shut", "a client that opens every window, asks for hundreds of MiB and never reads its socket")
def socket_shut(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet({INITIAL_WINDOW_SIZE: 2**31 - 1})
        raw.send(frame(WINDOW_UPDATE, 0, struct.pack(">I", 2**31 - 70_000)))
        raw.deaf = True
        outcome.sent = raw.send_all(
            (opening(s, STREAM_INFER) + frame(DATA, s, amplified()) * 32 for s in streams(CALLS)), 3.0
        )
        # reading would be taking: it is looked at once the server must have given up
        time.sleep(target.stalled + 2)
        raw.read_until_closed(WAIT_SECONDS)
        outcome.note(raw, since=(raw.closed_at or raw.began) - 2)
    return outcome


@attack("window-dribble", "an answer of 1 MiB, taken a byte at a time")
def window_dribble(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet({INITIAL_WINDOW_SIZE: 0})
        raw.send(opening(1) + frame(DATA, 1, amplified(), END_STREAM))
        one = frame(WINDOW_UPDATE, 1, struct.pack(">I", 1))
        outcome.sent = raw.send_all(one for _ in range(round(100_000 * scale)))
        raw.read_until_closed(WAIT_SECONDS)
        outcome.note(raw)
    return outcome


@attack("byte-by-byte", "a message of 100,000 bytes in as many DATA frames")
def byte_by_byte(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet()
        raw.send(opening(1) + frame(DATA, 1, struct.pack(">BI", 0, 100_000)))
        outcome.sent = raw.send_all(frame(DATA, 1, b"x") for _ in range(round(100_000 * scale)))
        raw.read_until_closed(WAIT_SECONDS)
        outcome.note(raw)
    return outcome


def _crowd(target: Target, count: int, first: bytes, outcome: Outcome) -> list[socket.socket]:
    """Connections at a rate that a peer may have, each with its first bytes."""
    allow_files(count + 200)
    held: list[socket.socket] = []
    began = time.monotonic()
    for i in range(count):
        while time.monotonic() - began < i / AT_ONCE:
            time.sleep(0.002)
        try:
            plain = target.connect_tcp()
            if first:
                plain.sendall(first)
        except OSError:
            outcome.refused()
            continue
        plain.setblocking(False)
        held.append(plain)
        outcome.sent += 1
    return held


def _closed(one: socket.socket) -> bool:
    try:
        while data := one.recv(4096):
            del data
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _await_all(held: list[socket.socket], outcome: Outcome, timeout: float) -> Outcome:
    """All are closed within the timeout of the last of them, and as long as any attack has."""
    outcome.connections += len(held)
    due = time.monotonic() + timeout
    while held and time.monotonic() < due + WAIT_SECONDS:
        left = [one for one in held if not _closed(one)]
        if len(left) < len(held):
            outcome.ended += len(held) - len(left)
            outcome.seconds = max(0.0, time.monotonic() - due)
        held[:] = left
        time.sleep(0.05)
    for one in held:
        one.close()
    return outcome


@attack("silent", f"{SILENT:,} connections that never say anything")
def silent(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    held = _crowd(target, round(SILENT * scale), b"", outcome)
    return _await_all(held, outcome, target.handshake)


@attack("half-hello", "connections that stop within the first bytes of their handshake")
def half_hello(target: Target, scale: float) -> Outcome:
    outcome = Outcome()
    first = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" if target.tls else b"PRI * HTTP"
    held = _crowd(target, round(SILENT / 5 * scale), first, outcome)
    return _await_all(held, outcome, target.handshake)


def _drip(target: Target, scale: float, begin: bytes, drip: bytes) -> Outcome:
    """Connections that send a drop a second for as long as they are let."""
    outcome = Outcome()
    allow_files(DRIPPING + 200)
    raws: list[Raw] = []
    for _ in range(round(DRIPPING * scale)):
        try:
            raw = target.connect()
        except OSError:
            outcome.refused()
            continue
        raw.greet()
        raw.send(begin)
        raws.append(raw)
        time.sleep(1 / AT_ONCE)
    due = time.monotonic() + target.request
    while not all(raw.closed for raw in raws) and time.monotonic() < due + WAIT_SECONDS:
        for raw in raws:
            raw.send(drip, 0.01)
            outcome.sent += 1
        time.sleep(0.5)
    for raw in raws:
        outcome.note(raw, since=min(due, raw.closed_at or due))
        raw.socket.close()
    return outcome


@attack("slow-body", f"{DRIPPING} bodies at a byte a second")
def slow_body(target: Target, scale: float) -> Outcome:
    return _drip(target, scale, opening(1) + frame(DATA, 1, struct.pack(">BI", 0, 10_000)), frame(DATA, 1, b"x"))


@attack("slow-headers", f"{DRIPPING} header blocks that never end")
def slow_headers(target: Target, scale: float) -> Outcome:
    return _drip(target, scale, frame(HEADERS, 1, b"\x83"), frame(CONTINUATION, 1, b""))


@attack("slow-frame", f"{DRIPPING} connections that send one SETTINGS frame byte by byte")
def slow_frame(target: Target, scale: float) -> Outcome:
    # the handshake has been made: this is a connection of an honest client that has stopped in the middle
    return _drip(target, scale, opening(1) + frame(DATA, 1, good()[:20]) + frame(SETTINGS, 0, bytes(60))[:12], b"\0")
