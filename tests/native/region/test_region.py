"""Memory in common: names, slots that outlive their process, and a limit that several processes share."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelward_native.region.region import Region
from modelward_native.telemetry import stats
from modelward_native.testing.limits import Limiter, request_many

SECOND = 1_000_000_000

# once it is told, admits as fast as it can until that moment on the clock; prints how many passed
CLIENT = """
import sys, time
from modelward_native.testing.limits import Limiter
from modelward_native.region.region import Region
fd, slot, peers = map(int, sys.argv[1:])
limiter = Limiter(keys=1 << 16, region=Region.joined(fd, slot))
limiter.set_total(1000, 100)
limiter.set_peer(50, 5)
passed = 0
i = slot
print(flush=True)
until = int(sys.stdin.readline())
while (now := time.monotonic_ns()) < until:
    i += 1
    passed += limiter.request(now, b"%d" % (i % peers)) is None
print(passed)
"""


def run(region: Region, peers: int, seconds: float, processes: int) -> tuple[int, float]:
    """What `processes` processes let through together, and from when to when they could have, in seconds."""
    clients = [
        subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(region.fd), str(slot), str(peers)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[region.fd], text=True, bufsize=1,
        )
        for slot in range(processes)
    ]  # fmt: skip
    for client in clients:
        assert client.stdout is not None and client.stdout.readline() == "\n", "it has started"
    began = time.monotonic_ns()
    until = began + int(seconds * SECOND)
    return sum(int(client.communicate(f"{until}\n", timeout=60)[0]) for client in clients), (until - began) / SECOND


@pytest.mark.parametrize(("peers", "most"), [(1000, 1000), (10, 500)])
def test_a_rate_is_the_same_however_many_processes_hold_it(peers: int, most: int) -> None:
    region = Region.shared(2)
    passed, seconds = run(region, peers, 3, 2)
    burst = min(100, 5 * peers)
    assert most * 1.5 < passed <= burst + most * seconds + 1


def test_names_lead_to_the_same_place_in_every_process() -> None:
    region = Region.shared(2)
    first, second = (Region.joined(os.dup(region.fd), slot) for slot in (0, 1))
    one, other = Limiter(keys=64, region=first), Limiter(keys=64, region=second)
    assert one.key("peer", b"a") == other.key("peer", b"a")
    for limiter in (one, other):
        limiter.set_peer(1, 2)
    now = 1000 * SECOND
    assert one.request(now, b"a") is None
    assert other.request(now, b"a") is None
    assert one.request(now, b"a") == other.request(now, b"a") == ("peer", SECOND)
    assert region.names() == [b"limits"]


def test_an_older_reading_of_the_clock_adds_no_budget() -> None:
    region = Region.shared(2)
    one, other = (Limiter(keys=64, region=Region.joined(os.dup(region.fd), slot)) for slot in (0, 1))
    for limiter in (one, other):
        limiter.set_total(1000, 10)
    now, passed = 1000 * SECOND, 0
    for _ in range(1000):  # one of them always goes by a reading that is 3 ms old
        now += SECOND // 1000
        for limiter, at in ((one, now), (other, now - 3 * SECOND // 1000)):
            passed += [limiter.request(at, b"") for _ in range(5)].count(None)
    assert passed <= 10 + 1000


def test_keys_of_strangers_change_nothing_for_one_that_is_known() -> None:
    region = Region.shared(2)
    one, other = (Limiter(region=Region.joined(os.dup(region.fd), slot)) for slot in (0, 1))
    for limiter in (one, other):
        limiter.set_peer(10, 5)
    now, honest = 1000 * SECOND, 0
    for step in range(100):
        now += SECOND // 20
        assert request_many(one if step % 2 else other, step * 10_000, 10_000, now) == 10_000
        honest += sum(limiter.request(now, b"honest") is None for limiter in (one, other))
    assert honest == 5 + 10 * 99 // 20


def test_private_memory_needs_no_descriptor() -> None:
    region = Region()
    assert (region.fd, region.slot, region.slots) == (-1, 0, 1)
    assert stats.models(region) == {}


def test_a_slot_keeps_nothing_of_what_was_only_of_the_moment() -> None:
    region = Region.shared(2)
    worker = Region.joined(os.dup(region.fd), 1)
    worker.beat(12345)
    assert region.last_beat(1) == 12345
    stats.vacate(region, 1)
    assert region.last_beat(1) == 0


@pytest.mark.parametrize(("slots", "slot"), [(0, 0), (1, 1), (2, -2), (10_000, 0)])
def test_slots_that_there_cannot_be_are_refused(slots: int, slot: int) -> None:
    with pytest.raises(ValueError, match="slot"):
        Region(slots, -1, slot)


def test_memory_of_another_size_is_not_joined(tmp_path: Path) -> None:
    with (tmp_path / "memory").open("wb+") as file:
        file.truncate(1 << 20)
        with pytest.raises(ValueError, match=r"slot|version"):
            Region.joined(os.dup(file.fileno()), 0)


def test_slots_that_no_process_ever_had_cost_no_memory() -> None:
    region = Region.shared(128)
    region.open(0)
    stats.models(region)
    assert os.fstat(region.fd).st_blocks * 512 < 64 << 10
