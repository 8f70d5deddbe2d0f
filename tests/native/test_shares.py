"""What workers have together: what one of them holds is not there for the others, until it gives it back or dies."""

from __future__ import annotations

import os
import struct

import pytest

from loadtests.fuzz.script import TEMPLATES
from loadtests.fuzz.simulation import Simulation
from native.region import Region
from tests.native.simulated import WATCH, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

KIB = 1024
USUAL = TEMPLATES[0]


class Pair:
    """Two workers of one server."""

    def __init__(self, start: Start) -> None:
        self.region = Region.shared(2)
        self.workers = [self.worker(start, slot) for slot in (0, 1)]

    def worker(self, start: Start, slot: int) -> Simulation:
        self.region.open(slot)
        return start(region=Region.joined(os.dup(self.region.fd), slot))


@pytest.fixture
def pair(start: Start) -> Pair:
    return Pair(start)


# ---- bytes in flight


def hold(worker: Simulation, size: int) -> tuple[Client, int]:
    """A request of which all but the last byte has come, unless it is refused before."""
    client = Client(worker)
    stream = client.begin()
    rest = struct.pack(">BI", 0, size) + bytes(size - 1)
    while rest and not client.replies[stream].over:
        client.send(stream, rest[:4096])
        rest = rest[4096:]
    return client, stream


def limit_bytes(pair: Pair, size: int) -> None:
    for worker in pair.workers:
        worker.server.listener.set_sizes(100 * KIB, size, 100)


def test_bytes_that_one_worker_holds_are_not_there_for_another(pair: Pair) -> None:
    limit_bytes(pair, 150 * KIB)
    one, other = pair.workers
    client, stream = hold(one, 100 * KIB)
    assert not client.replies[stream].over
    refused, late = hold(other, 100 * KIB)
    assert refused.replies[late].reason == "INFLIGHT_BYTES"
    client.h2.reset_stream(stream)
    client.flush()
    assert pair.region.gauges()[1] == 0
    client, stream = hold(other, 100 * KIB)
    assert not client.replies[stream].over


def test_the_bytes_of_all_workers_never_exceed_the_limit_by_more_than_a_message(pair: Pair) -> None:
    limit_bytes(pair, 500 * KIB)
    held = [hold(worker, 90 * KIB) for _ in range(5) for worker in pair.workers]
    refused = [client for client, stream in held if client.replies[stream].over]
    assert 0 < len(refused) < 10
    assert pair.region.gauges()[1] <= 500 * KIB


def test_messages_that_a_coroutine_has_not_read_count_for_all_workers(pair: Pair) -> None:
    client = Client(pair.workers[0])
    stream = client.begin(WATCH)
    client.send(stream, 2 * (struct.pack(">BI", 0, 1000) + b"\x0a\x00" * 500))
    assert pair.region.gauges()[1] >= 1000
    client.peer.leave()
    assert pair.region.gauges()[1] == 0
