"""What workers have together: what one of them holds is not there for the others, until it gives it back or dies."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterator

import pytest

from loadtests.fuzz.script import TEMPLATES
from loadtests.fuzz.simulation import Simulation
from modelward_native.region.region import Region
from modelward_native.telemetry import stats
from tests.e2e.h2client import framed
from tests.native.simulated import REFLECTION, WATCH, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

KIB = 1024
USUAL = TEMPLATES[0]


class Pair:
    """Two workers of one server."""

    def __init__(self, start: Start) -> None:
        self.region = Region.shared(2)
        self.regions = [self.worker_region(slot) for slot in (0, 1)]
        self.workers = [start(region=region) for region in self.regions]

    def worker_region(self, slot: int) -> Region:
        self.region.open(slot)
        return Region.joined(os.dup(self.region.fd), slot)


@pytest.fixture
def pair(start: Start) -> Iterator[Pair]:
    made = Pair(start)
    yield made
    for worker in made.workers:
        for peer in worker.peers:
            peer.leave()


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
    stream = client.begin(REFLECTION)
    client.send(stream, 2 * (struct.pack(">BI", 0, 1000) + b"\x0a\x00" * 500))
    assert pair.region.gauges()[1] >= 1000
    client.peer.leave()
    assert pair.region.gauges()[1] == 0


# ---- connections of a peer


def connect(worker: Simulation, host: str = "127.0.0.1") -> bool:
    """Opens a connection that stays busy, so that it does not give way; whether it was accepted."""
    client = Client(worker, (host, 50000))
    if client.peer.open:
        client.send(client.begin(WATCH), framed(b""), end=True)
    return client.peer.open


def accepting(pair: Pair) -> Pair:
    for region in pair.regions:
        region.accept(True)
    return pair


def test_a_peer_has_so_many_connections_over_all_workers(pair: Pair) -> None:
    one, other = accepting(pair).workers
    for worker in pair.workers:
        worker.server.listener.max_per_peer = 4
    assert [connect(worker) for worker in (one, one, one, other, other, one)] == [True] * 4 + [False] * 2
    assert connect(one, "127.0.0.9")
    assert connect(other, "127.0.0.9")
    one.peers[0].leave()
    assert connect(other)
    assert not connect(one)


def test_an_ipv6_network_is_one_peer_over_all_workers(pair: Pair) -> None:
    one, other = accepting(pair).workers
    for worker in pair.workers:
        worker.server.listener.max_per_peer = 2
    assert connect(one, "2001:db8::1")
    assert connect(other, "2001:db8::2")
    assert not connect(one, "2001:db8::3")
    assert connect(one, "2001:db8:0:1::1")


def test_connections_of_a_worker_that_drains_leave_room_for_those_that_come_in_their_place(pair: Pair) -> None:
    one, other = accepting(pair).workers
    for worker in pair.workers:
        worker.server.listener.max_per_peer = 2
    assert [connect(one), connect(one), connect(other)] == [True, True, False]
    pair.regions[0].accept(False)
    assert [connect(other), connect(other), connect(other)] == [True, True, False]


def test_new_connections_of_a_peer_have_one_rate_over_all_workers(pair: Pair) -> None:
    for worker in pair.workers:
        worker.server.listener.set_arrivals(0.01)
    one, other = pair.workers
    assert [connect(one), connect(other), connect(one)] == [True, False, False]
    assert connect(other, "127.0.0.9")


def hashes(count: int) -> list[int]:
    drawn = random.Random(7)
    return [drawn.getrandbits(64) for _ in range(count)]


def test_what_a_dead_worker_had_of_a_peer_is_free_and_costs_no_memory(pair: Pair) -> None:
    one, other = accepting(pair).regions
    peers = hashes(1000)
    for peer in peers:
        one.count_peer(peer, 3)
    assert {other.peer_in_other_workers(peer) for peer in peers} == {3}
    assert {one.peer_in_other_workers(peer) for peer in peers} == {0}
    held = os.fstat(pair.region.fd).st_blocks
    stats.vacate(pair.region, 0)
    assert os.fstat(pair.region.fd).st_blocks < held - 1024  # of 512 bytes: half of a table
    pair.worker_region(0).accept(True)
    assert {other.peer_in_other_workers(peer) for peer in peers} == {0}


def test_every_peer_of_a_full_table_has_its_count_and_takes_no_other_peers_cell(pair: Pair) -> None:
    one, other = accepting(pair).regions
    peers = hashes(80_000)  # of 131,072 cells
    for i, peer in enumerate(peers):
        assert one.sees_peer(peer)
        one.count_peer(peer, i % 1000 + 1)
    assert all(other.peer_in_other_workers(peer) == i % 1000 + 1 for i, peer in enumerate(peers))
    strangers = hashes(400_000)[len(peers) :]
    for peer in strangers:
        one.count_peer(peer, 1)
    assert all(other.peer_in_other_workers(peer) == i % 1000 + 1 for i, peer in enumerate(peers))
    for peer in strangers:
        one.count_peer(peer, 0)
    for peer in peers:
        one.count_peer(peer, 0)
    assert not any(other.peer_in_other_workers(peer) for peer in peers + strangers)


def test_a_peer_that_a_full_table_has_no_place_for_keeps_its_share_of_the_limit(pair: Pair) -> None:
    one, other = accepting(pair).workers
    for worker in pair.workers:
        worker.server.listener.max_per_peer = 4
    for region in pair.regions:
        for peer in hashes(400_000):
            region.count_peer(peer, 1)
    places = [connect(worker) for worker in (one, other) for _ in range(4)]
    assert places == [True, True, False, False] * 2
