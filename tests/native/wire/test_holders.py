"""The holders of bytes in flight: none keeps others out by holding its own, and every byte is given back."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Callable

import pytest

from loadtests.fuzz.script import TEMPLATES
from loadtests.fuzz.simulation import Simulation
from tests.native.simulated import STREAM_INFER, WATCH, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

KIB = 1024
MESSAGE, BUDGET = 100 * KIB, 1600 * KIB
USUAL = TEMPLATES[0]


@pytest.fixture
def server(start: Start) -> Simulation:
    simulation = start()
    simulation.server.listener.set_sizes(MESSAGE, BUDGET, 100)
    return simulation


class Holder:
    """A peer with a connection of its own, which keeps requests a byte short."""

    def __init__(self, server: Simulation, number: int) -> None:
        self.client = Client(server, (f"127.0.0.{number}", 50000))
        self.streams: list[int] = []

    def hold(self, size: int = MESSAGE) -> bool:
        """One more; whether it was let in."""
        stream = self.client.begin()
        rest = struct.pack(">BI", 0, size) + bytes(size - 1)
        while rest and not self.client.replies[stream].over:
            self.client.send(stream, rest[:4096])
            rest = rest[4096:]
        self.streams.append(stream)
        return not self.client.replies[stream].over

    def hold_all(self, most: int = 32) -> int:
        """As many as it is let."""
        held = 0
        while held < most and self.hold():
            held += 1
        return held

    def ended(self) -> int:
        """Requests that it was let begin and that were then given up for others."""
        self.client.read()
        replies = [self.client.replies[stream] for stream in self.streams]
        return sum(reply.over and "others needed the room" in reply.message for reply in replies)


def held(server: Simulation) -> int:
    return int(server.server.totals()["inflight_bytes"])


def is_answered(server: Simulation, number: int) -> bool:
    """An honest bystander's request."""
    return Client(server, (f"127.0.0.{number}", 50000)).call(USUAL).code == 0


def test_one_peer_that_sits_on_all_it_can_get_has_half_and_others_are_answered(server: Simulation) -> None:
    greedy = Holder(server, 2)
    assert greedy.hold_all() == 8
    assert BUDGET * 0.4 < held(server) <= BUDGET / 2
    assert is_answered(server, 3)
    assert Holder(server, 4).hold()
    assert greedy.ended() == 0


@pytest.mark.parametrize("peers", [1, 8, 40])
def test_a_large_message_is_let_in_whatever_others_sit_on(server: Simulation, peers: int) -> None:
    greedy = [Holder(server, 2 + i) for i in range(peers)]
    for holder in greedy:
        holder.hold_all()
    assert held(server) <= BUDGET
    honest = Holder(server, 100)
    assert honest.hold()
    assert is_answered(server, 101)
    if peers == 40:  # the budget was full: who had not moved for longest gave way
        assert sum(holder.ended() for holder in greedy) > 0
    assert honest.ended() == 0


def test_who_has_not_moved_for_longest_gives_way_first(server: Simulation) -> None:
    greedy = [Holder(server, 2 + i) for i in range(16)]
    for holder in greedy:  # one message each is all that there is room for
        assert holder.hold()
    greedy[0].client.send(greedy[0].streams[0], b"")
    assert Holder(server, 100).hold(MESSAGE // 4)
    assert [holder.ended() for holder in greedy] == [1, *[0] * 15]


def in_the_middle(client: Client) -> None:
    client.send(client.begin(), struct.pack(">BI", 0, 9000) + bytes(5000))


def answered(client: Client) -> None:
    assert client.call(USUAL).code == 0


def inflated(client: Client) -> None:
    packed = gzip.compress(USUAL)
    stream = client.begin(headers=[("grpc-encoding", "gzip")])
    client.send(stream, struct.pack(">BI", 1, len(packed)) + packed, end=True)
    client.simulation.settle()
    client.read()
    assert client.replies[stream].code == 0


def unread(client: Client) -> None:
    stream = client.begin(WATCH)
    client.send(stream, 2 * (struct.pack(">BI", 0, 1000) + b"\x0a\x00" * 500))


def streamed(client: Client) -> None:
    stream = client.begin(STREAM_INFER)
    client.send(stream, 3 * (struct.pack(">BI", 0, len(USUAL)) + USUAL))
    client.simulation.settle()
    client.read()


def refused(client: Client) -> None:
    stream = client.begin()
    client.send(stream, struct.pack(">BI", 0, MESSAGE + 1) + bytes(100))


@pytest.mark.parametrize("what", [in_the_middle, answered, inflated, unread, streamed, refused])
@pytest.mark.parametrize("reset", [False, True])
def test_every_byte_is_of_its_peer_and_given_back(
    server: Simulation, what: Callable[[Client], None], reset: bool
) -> None:
    client = Client(server, ("127.0.0.2", 50000))
    what(client)
    assert sum(server.server.listener.holders()) == held(server)
    if reset:
        for stream, reply in client.replies.items():
            if not reply.over:
                client.h2.reset_stream(stream)
        client.flush()
        server.settle()
        assert sum(server.server.listener.holders()) == held(server)
    client.peer.leave()
    server.settle()
    assert held(server) == 0
    assert server.server.listener.holders() == []
