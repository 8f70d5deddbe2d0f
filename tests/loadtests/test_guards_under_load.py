"""Small editions of the load tests: the same servers, clients and checks, with counts that a test run can afford."""

import asyncio
import os
from collections.abc import Callable

import numpy as np
import pytest

from loadtests import callers, idle, limits, slow, soak, traffic
from loadtests.soak import Sample
from loadtests.tools import h2load

PATIENT_MS = 10_000.0

sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer changes what memory and time are needed"
)


@sanitized
def test_a_model_past_its_deadline_is_replaced_by_the_fallback_in_every_answer() -> None:
    """How long that takes on a client's clock `make bench-slow` tells: here the client may not have its turn."""
    with slow.slow_server() as port:
        outcome = asyncio.run(slow.ask(port, requests=200, at_once=20, timeout_ms=PATIENT_MS))
    assert outcome.kinds == {slow.IN_TIME: 200}


@sanitized
def test_idle_connections_are_opened_handshaken_and_served() -> None:
    growth = idle.measure(300)
    # the shared part is not spread over many here, so this bounds gross waste only: buffers per connection would show
    assert growth.handshaken_kib < 24
    assert growth.answered_kib < 32


@sanitized
def test_a_short_soak_gives_up_half_of_its_calls_and_leaves_nothing_over() -> None:
    outcome = soak.soak(seconds=3.0, per_second=600.0)
    assert outcome.tally.wrong.total() == 0, outcome.tally.wrong
    assert set(outcome.tally.given_up) >= set(callers.MOMENTS)
    assert outcome.tally.calls > 500
    assert outcome.tally.given_up.total() >= 0.4 * outcome.tally.calls
    assert outcome.before is not None and outcome.after is not None
    assert outcome.after.inflight == 0
    assert outcome.after.descriptors <= outcome.before.descriptors
    assert all(sample.server > 0 and sample.upstreams > 0 for sample in outcome.samples)


with_h2load = pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)


@sanitized
@with_h2load
@pytest.mark.parametrize("name", limits.SPREADS)
def test_a_limit_holds_over_workers_however_connections_lie_with_them(name: str) -> None:
    found = limits.spread(name, 3.0, tries=1)  # the limit holds as well where they lie otherwise than wanted
    # a machine that is busy may offer less; nothing makes it admit more
    assert 0.5 * limits.RATE < found.admitted <= 1.02 * limits.RATE
    if name == "all on one worker":
        assert sorted(found.connections) == [0, 1]


@sanitized
@with_h2load
@pytest.mark.parametrize(
    ("beside", "count"), [(limits.peers, 50_000), (limits.keys, 20_000), (limits.connections, 1000)]
)
def test_strangers_take_nothing_from_honest_callers(beside: Callable[[int, float], limits.Honest], count: int) -> None:
    found = beside(count, 3.0)
    allowed = limits.FRESH_RATE if beside is limits.connections else limits.RATE
    assert 0.5 * allowed < found.at_limit <= 1.02 * allowed
    assert found.refused == 0
    assert found.per_second > 0


def test_the_shares_of_the_soak_are_the_whole() -> None:
    assert sum(kind.share for kind in traffic.kinds()) == pytest.approx(1.0)


def test_growth_is_judged_from_when_the_server_has_settled() -> None:
    settled = soak.settled([50.0, 80, 90, 95, 99, *np.linspace(100, 104, 25)])
    assert settled[0] == 100
    assert soak.growth_percent(settled) == pytest.approx(4.0)
    assert soak.range_percent(settled) == pytest.approx(4.0)


def test_a_median_of_the_soak_does_not_see_one_spike() -> None:
    sizes = [100] * 300
    sizes[150] = 900
    samples = [Sample(float(i), i, size, size) for i, size in enumerate(sizes)]
    assert soak.range_percent(soak.medians(samples, lambda sample: sample.server)) == 0
