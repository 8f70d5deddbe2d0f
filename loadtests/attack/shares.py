"""One caller, or a few, who take all they can of what all share: bytes, places of calls and connections, turns."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import grpc
import numpy as np

from loadtests.attack.attack import WAIT_SECONDS, Outcome, attack
from loadtests.attack.raw import Raw, Target
from loadtests.attack.requests import ADD, INFER, opening, streams
from loadtests.fuzz.frames import DATA, WINDOW_UPDATE, data, frame
from loadtests.tools.client import framed, request

MiB = 2**20
MESSAGE = 16 * MiB  # limits.message_size
HELD_MIB = 256  # limits.inflight_bytes: what all together may hold is no leak
PIECE = 16_384
STALLED_SECONDS = 2.0  # of an upload for which the server opens no window
WATCH, CHECK = b"/grpc.health.v1.Health/Watch", b"/grpc.health.v1.Health/Check"
PEERS = 8
WATCHES = 120  # of a connection, within limits.streams
CHECKS = 20_000
AT_ONCE = 60
URGENT = 6_000
ADMIN_CONNECTIONS = 80
ADMIN_REQUEST_SECONDS = 2.0  # within which a call's message must be there
REOPENED_SECONDS = 0.5
STATUS = b"/modelward.admin.v1.Admin/Status"


def _peers(target: Target, count: int) -> list[Target]:
    """From addresses that are not the bystander's."""
    return [replace(target, source=f"127.0.1.{number + 1}") for number in range(count)]


@contextmanager
def _connected(targets: list[Target], outcome: Outcome) -> Iterator[list[Raw]]:
    with ExitStack() as stack:
        raws = []
        for target in targets:
            try:
                raw = stack.enter_context(target.connect())
            except OSError:
                outcome.refused()
                continue
            raw.greet()
            raws.append(raw)
        yield raws


def _await(condition: Callable[[], bool], raws: list[Raw], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        for raw in raws:
            raw.read(0.005)
    return condition()


def _upload(raw: Raw, size: int) -> None:
    """A message that is a byte short, as far as the server's windows let it come."""
    raw.read(0.05)  # its SETTINGS
    raw.send(opening(1) + frame(DATA, 1, struct.pack(">BI", 0, size)))
    sent, moved = 5, time.monotonic()
    while sent < size + 4 and not raw.closed and not raw.ended and time.monotonic() < moved + STALLED_SECONDS:
        room = min(raw.room(1), raw.room(0)) - sent
        if room <= 0:
            raw.read(0.005)
            continue
        piece = min(room, PIECE, size + 4 - sent)
        raw.send(frame(DATA, 1, bytes(piece)))
        sent, moved = sent + piece, time.monotonic()


@attack("held-bytes", f"uploads of {MESSAGE // MiB} MiB, each a byte short, from {PEERS} addresses", holds_mib=HELD_MIB)
def held_bytes(target: Target, scale: float) -> Outcome:
    """Each is refused for want of room, or when its time is up."""
    outcome = Outcome()
    with _connected(_peers(target, PEERS) * 2, outcome) as raws:
        for raw in raws:
            _upload(raw, max(round(MESSAGE * scale), MiB))
            outcome.sent += 1
        due = time.monotonic() + target.request
        _await(lambda: all(raw.closed or raw.ended for raw in raws), raws, target.request + WAIT_SECONDS)
        for raw in raws:
            outcome.note(raw, since=min(due, raw.closed_at or due), streams_ended=bool(raw.ended))
    return outcome


@attack("watch-flood", f"{WATCHES} Watch on each of {2 * PEERS} connections from {PEERS} addresses", end="open")
def watch_flood(target: Target, scale: float) -> Outcome:
    """As many stay open as there are places; the others are refused at once, and a probe finds a place of its own."""
    outcome = Outcome()
    count = round(WATCHES * scale)
    empty = framed(b"")
    with _connected(_peers(target, PEERS) * 2, outcome) as raws:
        for raw in raws:
            raw.send(b"".join(opening(s, WATCH) + data(s, empty, end=True) for s in streams(count)))
            outcome.sent += count
        # each is answered: by its first message, or by its end
        answered = _await(lambda: all(raw.frames[DATA] + len(raw.ended) >= count for raw in raws), raws, WAIT_SECONDS)
        refused = sum(len(raw.ended) for raw in raws)
        if scale >= 1 and refused == 0:
            outcome.wrong.append("every Watch was let in")
        with target.connect() as probe:  # from an address that has none
            probe.greet()
            probe.send(opening(1, CHECK) + data(1, empty, end=True))
            probe.read_until_ended(1, 1.0)
            if probe.statuses != {"0": 1}:
                outcome.wrong.append(f"a probe was answered with {dict(probe.statuses)}")
        for raw in raws:
            outcome.note(raw, streams_ended=answered)
    return outcome


def _pipelined(target: Target, count: int, one: Callable[[int], bytes], allowed: set[str]) -> Outcome:
    """Calls on one connection, AT_ONCE open at a time; each has to end with one of these statuses."""
    outcome = Outcome()
    with target.connect() as raw:
        raw.greet()
        raw.send(frame(WINDOW_UPDATE, 0, struct.pack(">I", 2**31 - 70_000)))
        pending = list(streams(count))
        for start in range(0, count, AT_ONCE):
            batch = pending[start : start + AT_ONCE]
            if not raw.send(b"".join(map(one, batch))):
                break
            outcome.sent += len(batch)
            raw.read_until_ended(outcome.sent)
        if not set(raw.statuses) <= allowed:
            outcome.wrong.append(f"answered with {dict(raw.statuses)}")
        outcome.note(raw, streams_ended=len(raw.ended) >= outcome.sent)
    return outcome


@attack("probe-flood", f"{CHECKS:,} health checks, {AT_ONCE} at a time", end="answered")
def probe_flood(target: Target, scale: float) -> Outcome:
    check = framed(b"")
    return _pipelined(target, round(CHECKS * scale), lambda s: opening(s, CHECK) + data(s, check, end=True), {"0", "8"})


@cache
def _urgent() -> bytes:
    message: Any = request(ADD, {"x": np.ones((1, 4), np.float32)})
    message.parameters["priority"].uint64_param = 1
    encoded: bytes = message.SerializeToString()
    return framed(encoded)


@attack("priority-flood", f"{URGENT:,} requests with priority 1, {AT_ONCE} at a time", end="answered")
def priority_flood(target: Target, scale: float) -> Outcome:
    return _pipelined(
        target, round(URGENT * scale), lambda s: opening(s, INFER) + data(s, _urgent(), end=True), {"0", "8", "14"}
    )


@attack(
    "unended-admin",
    f"{ADMIN_CONNECTIONS} admin connections from 5 addresses, each with a call that never ends",
    admin=True,
)
def unended_admin(target: Target, scale: float) -> Outcome:
    """Opened again every half second, and all the while an operator asks for the status from one of these addresses."""
    outcome = Outcome()
    at = [
        replace(target, port=target.admin, tls=False, source=f"127.0.0.{n % 5 + 1}") for n in range(ADMIN_CONNECTIONS)
    ]
    rounds = max(round(6 * scale), 2)
    for turn in range(rounds):
        with _connected(at, outcome) as raws:
            for raw in raws:
                raw.send(opening(1, STATUS))
                outcome.sent += 1
            _ask_status(target, outcome)
            _await(lambda: False, raws, REOPENED_SECONDS)
            if turn == rounds - 1:  # these are left open
                _await(lambda: all(raw.closed for raw in raws), raws, ADMIN_REQUEST_SECONDS + WAIT_SECONDS)
                due = raws[-1].began + ADMIN_REQUEST_SECONDS
                for raw in raws:
                    outcome.note(raw, since=min(due, raw.closed_at or due))
    return outcome


def _ask_status(target: Target, outcome: Outcome) -> None:
    with grpc.insecure_channel(f"{target.host}:{target.admin}", [("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            channel.unary_unary(STATUS.decode())(b"", timeout=2.0)
        except grpc.RpcError as refused:
            outcome.wrong.append(f"an operator was refused: {refused.code().name}")
