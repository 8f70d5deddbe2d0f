"""The table of callers: it keeps those with the most, however many others come."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from modelward_native.limits.callers import read, unwanted
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.testing.callers import Table
from tests.native.access.test_access import PERMISSION_DENIED, Guarded, bearer, settled
from tests.native.simulated import Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

PLACES, SAMPLE = 64, 8


def test_as_many_callers_as_there_are_places_are_counted_exactly() -> None:
    table = Table()
    for key in range(1, PLACES + 1):
        for _ in range(key):
            assert table.note(key)
    assert table.weights() == {key: (key, 0) for key in range(1, PLACES + 1)}


@pytest.mark.parametrize("seed", range(3))
def test_who_sends_much_is_kept_among_a_hundred_thousand_who_send_once(seed: int) -> None:
    random.seed(seed)
    table, sent = Table(), Counter[int]()
    for stranger in range(1000, 101_000):
        table.note(stranger)
        if stranger % 4 == 0:
            heavy = random.choice([1, 1, 1, 2, 2, 3])
            table.note(heavy)
            sent[heavy] += 1
    weights = table.weights()
    assert len(weights) == PLACES
    for key, count in sent.items():
        weight, error = weights[key]
        assert weight - error <= count <= weight + PLACES * SAMPLE
    assert sorted(weights, key=lambda key: -weights[key][0])[:3] == [1, 2, 3]


def test_refusals_are_told_by_name_and_limit(start: Start) -> None:
    limiter, region = Limiter(1024), Region()
    limiter.set_identity(0.001, 1)
    guarded = Guarded(start, limiter=limiter, region=region)
    client = guarded.client()
    first = client.infer(guarded.message(), bearer())
    guarded.accept("spiffe://prod/a")
    assert settled(client, first) == 0
    for _ in range(3):
        client.call(guarded.message(), bearer())
    ((_, kind, name, refused, _, _, at),), _ = read(region)
    assert (kind, name, refused) == ("token", "spiffe://prod/a", (0, 3, 0, 0))
    assert at > 0


@pytest.mark.parametrize(
    ("address", "told"), [(("10.1.2.3", 1), "10.1.2.3"), (("2001:db8::7", 1), "2001:db8::7"), (None, "unix:")]
)
def test_callers_without_a_name_are_told_by_their_address(start: Start, address: tuple[str, int], told: str) -> None:
    limiter, region = Limiter(1024), Region()
    limiter.set_peer(0.001, 1)
    guarded = Guarded(start, rules=({"anonymous": True, "models": ["*"]},), limiter=limiter, region=region)
    client = Client(guarded.simulation, address)
    for _ in range(2):
        client.call(guarded.message())
    ((_, kind, name, refused, *_),), _ = read(region)
    assert (kind, name, refused) == ("address", told, (1, 0, 0, 0))


def test_denied_calls_are_told_by_who_made_them(start: Start) -> None:
    region = Region()
    rules = ({"identity": "known", "models": ["others"]},)
    guarded = Guarded(start, rules=rules, region=region)
    client = Client(guarded.simulation, ("10.1.2.3", 1))
    first = client.infer(guarded.message(), bearer())
    guarded.accept("known")
    assert settled(client, first) == PERMISSION_DENIED
    client.call(guarded.message(), bearer())
    for _ in range(3):
        client.call(guarded.message())
    denied, anomalous, closed = unwanted(region)
    assert {(kind, name, count) for _, kind, name, _, count, *_ in denied} == {
        ("token", "known", 2), ("address", "10.1.2.3", 3),
    }  # fmt: skip
    assert (anomalous, closed) == ([], [])


def test_connections_closed_for_what_they_did_are_told_by_their_peer(start: Start) -> None:
    region = Region()
    simulation = start(Limiter(1024), region)
    for _ in range(2):
        simulation.connect(("10.1.2.3", 1)).send(b"GET / HTTP/1.1\r\n\r\n")
    Client(simulation, ("10.1.2.4", 1))
    denied, anomalous, ((_, kind, name, _, count, *_),) = unwanted(region)
    assert (kind, name, count) == ("address", "10.1.2.3", 2)
    assert (denied, anomalous) == ([], [])


def test_one_request_in_64_tells_who_spends(start: Start) -> None:
    region = Region()
    guarded = Guarded(start, region=region)
    client = guarded.client()
    first = client.infer(guarded.message(), bearer())
    guarded.accept("a")
    assert settled(client, first) == 0
    for _ in range(128):
        client.call(guarded.message(), bearer())
    _, ((_, kind, name, _, requests, spent_ns, _),) = read(region)
    assert (kind, name, requests) == ("token", "a", 128)
    assert spent_ns > 0
