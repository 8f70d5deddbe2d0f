"""What clients have sent, and which of it came to an answer: what is spent on the rest is no load."""

from loadtests.fuzz.script import TEMPLATES
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.telemetry import stats
from tests.e2e.h2client import framed
from tests.native.simulated import INFER, WATCH, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

USUAL = TEMPLATES[0]
FRAMES = 400  # bytes at most that come with a request, beside its message


def test_a_message_that_is_answered_is_useful_and_its_connection_is_settled(start: Start) -> None:
    region = Region()
    client = Client(start(region=region))
    assert client.call(USUAL).code == 0
    assert client.call(USUAL).code == 0
    seen = stats.traffic(region)
    assert seen["useful"] == 2 * len(USUAL) < seen["received"] < 2 * (len(USUAL) + FRAMES)
    assert (seen["opened"], seen["settled"]) == (1, 1)


def test_a_message_that_is_refused_is_not_and_its_connection_neither(start: Start) -> None:
    region = Region()
    limiter = Limiter(16, region=region)
    limiter.set_peer(0.001, 1)
    simulation = start(limiter, region)
    assert Client(simulation, ("127.0.0.1", 1)).call(USUAL).code == 0
    before = stats.traffic(region)
    assert Client(simulation, ("127.0.0.1", 2)).call(USUAL).code != 0
    seen = stats.traffic(region)
    assert seen["received"] - before["received"] > len(USUAL)
    assert seen["useful"] == before["useful"]
    assert (seen["opened"], seen["settled"]) == (2, 1)


def test_a_connection_that_ends_without_a_request_or_with_a_cold_call_is_not_settled(start: Start) -> None:
    region = Region()
    simulation = start(region=region)
    Client(simulation).peer.leave()
    client = Client(simulation)
    client.begin(WATCH, end=True)
    client.peer.leave()
    seen = stats.traffic(region)
    assert (seen["opened"], seen["settled"]) == (2, 0)


def test_a_connection_that_is_closed_for_what_it_did_is_counted_there_alone(start: Start) -> None:
    region = Region()
    simulation = start(region=region)
    simulation.connect(("127.0.0.1", 1)).send(b"GET / HTTP/1.1\r\n\r\n")
    assert simulation.server.listener.close_reasons()["protocol"][0] == 1
    seen = stats.traffic(region)
    assert (seen["opened"], seen["settled"]) == (1, 1)


def test_what_a_packed_message_becomes_counts_too(start: Start) -> None:
    region = Region()
    client = Client(start(region=region))
    stream = client.begin(INFER, [("grpc-encoding", "gzip")])
    client.send(stream, framed(USUAL, compressed=True), end=True)
    client.simulation.settle()
    client.read()
    assert client.replies[stream].code == 0
    seen = stats.traffic(region)
    assert seen["inflated"] == seen["useful"] == len(USUAL)


def test_runs_on_the_loop_are_told_apart(start: Start) -> None:
    region = Region()
    client = Client(start(region=region))
    for _ in range(5):
        assert client.call(USUAL).code == 0
    found = [total for total in stats.models(region).values() if total["runs"]]
    assert all(0 <= total["loop_ns"] <= total["compute_ns"] for total in found)
    assert any(total["loop_ns"] for total in found)
