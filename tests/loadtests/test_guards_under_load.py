"""Small editions of the load tests: the same servers, clients and checks, with counts that a test run can afford."""

import asyncio
import os

import pytest

from loadtests import idle, slow, soak, traffic
from loadtests.soak import Checkpoint
from loadtests.tools import h2load

sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer changes what memory and time are needed"
)


@sanitized
def test_a_model_past_its_deadline_is_replaced_by_the_fallback_on_the_clients_clock() -> None:
    with slow.slow_server() as port:
        outcome = asyncio.run(slow.ask(port, requests=200, at_once=20))
    assert outcome.kinds == {slow.IN_TIME: 200}
    assert outcome.longest_ms <= slow.CLIENT_TIMEOUT_MS


@sanitized
def test_idle_connections_are_opened_handshaken_and_served() -> None:
    growth = idle.measure(300)
    # the shared part is not spread over many here, so this bounds gross waste only: buffers per connection would show
    assert growth.handshaken_kib < 24
    assert growth.answered_kib < 32


@pytest.mark.skipif(not h2load.installed(), reason=h2load.ABSENT)
def test_a_short_soak_sends_every_kind_and_every_answer_is_as_it_should_be() -> None:
    sent: dict[str, int] = {}

    def count(kind: str, requests: int) -> None:
        sent[kind] = sent.get(kind, 0) + requests

    checkpoints = soak.soak(5_000, count, cycles=2)
    assert set(sent) == {kind.name for kind in traffic.kinds()} | {talk.name for talk in traffic.TALKS}
    assert checkpoints[-1].requests == sum(sent.values())
    assert all(checkpoint.resident_bytes > 0 for checkpoint in checkpoints)


def test_the_shares_of_the_soak_are_the_whole() -> None:
    shares = [kind.share for kind in traffic.kinds()] + [talk.share for talk in traffic.TALKS]
    assert sum(shares) == pytest.approx(1.0)


def test_growth_is_counted_from_when_the_server_has_settled() -> None:
    sizes = [50, 80, 90, 95, 100] + [101] * (soak.CYCLES - 6) + [104]
    assert soak.growth_percent([Checkpoint(i, size) for i, size in enumerate(sizes)]) == pytest.approx(4.0)
