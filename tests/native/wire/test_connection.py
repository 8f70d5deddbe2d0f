"""Whole connections over simulated transports: what arrives how, who lets go when, and what is left afterwards."""

import ctypes
import gc
import struct
from typing import Any

import numpy as np
import pytest

from loadtests.fuzz import frames
from loadtests.fuzz.frames import PREFACE, frame, settings
from loadtests.fuzz.script import REQUEST, TEMPLATES, play
from loadtests.fuzz.simulation import Simulation
from modelward.rpc.protocol import message_class
from modelward_native.limits.limit import Limiter
from modelward_native.request.served import Served
from modelward_native.request.server import Server
from tests.e2e.h2client import framed
from tests.native.simulated import INFER, REFLECTION, STREAM_INFER, WATCH, Client, Start, models, start

__all__ = ["models", "start"]  # fixtures

RESPONSE = message_class("inference.ModelInferResponse")
USUAL, SLOW = TEMPLATES[0], TEMPLATES[3]
KIB = 1024
SECOND = 1_000_000_000
CANCEL = 8
RESETS_OF_ONE, RESETS_AT_ONCE = 400, 20  # a connection may reset a thousand
INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED = 3, 4, 8
ENHANCE_YOUR_CALM = 11
METADATA = "/inference.GRPCInferenceService/ServerMetadata"


def gauge(simulation: Simulation, name: str) -> int:
    return int(simulation.server.totals()[name])


def steep(a: list[int], b: list[int]) -> bytes:
    request = REQUEST(model_name="steep")
    for name, values in (("a", a), ("b", b)):
        request.inputs.add(name=name, datatype="INT64", shape=[1, len(values)])
        request.raw_input_contents.append(np.array(values, np.int64).tobytes())
    return bytes(request.SerializeToString())


# ---- bytes as they come


@pytest.mark.parametrize("size", [1, 2, 3, 9, 100])
def test_a_request_may_arrive_in_pieces_of_any_size(start: Start, size: int) -> None:
    client = Client(start())
    stream = client.begin()
    client.h2.send_data(stream, framed(USUAL), end_stream=True)
    client.flush([size] * 1000)
    client.simulation.settle()
    client.read()
    reply = client.replies[stream]
    assert reply.code == 0
    assert RESPONSE.FromString(reply.messages[0][1]).id == "usual"


def test_requests_of_one_read_are_one_run(start: Start, models: list[Served]) -> None:
    client = Client(start())
    (mlp,) = (m for m in models if m.name == "mlp")
    before = mlp.engine.totals()
    streams = [client.infer(USUAL) for _ in range(8)]
    client.simulation.settle()
    client.read()
    assert [client.replies[s].code for s in streams] == [0] * 8
    assert mlp.engine.totals()["runs"] - before["runs"] == 1


# ---- the fallback chain


@pytest.mark.parametrize(
    ("a", "b", "answer", "source"),
    [
        ([1, 2], [0, 3, 1], 30 - 3, ""),
        ([9, 2], [0, 3, 1], 40 - 9, "model:second"),
        ([-9, 1], [0, 9, 1], 0, "value"),
    ],
)
def test_each_model_of_a_fallback_chain_gets_its_own_inputs(
    start: Start, a: list[int], b: list[int], answer: int, source: str
) -> None:
    # second declares b before a: it looks up b; third, as the first, looks up a
    reply = Client(start()).call(steep(a, b))
    assert reply.code == 0
    response = RESPONSE.FromString(reply.messages[0][1])
    assert struct.unpack("<q", response.raw_output_contents[0]) == (answer,)
    assert response.parameters["modelward_fallback_source"].string_param == source


def test_a_second_model_of_the_chain_is_not_given_what_the_first_was(start: Start, models: list[Served]) -> None:
    (third,) = (m for m in models if m.name == "third")
    before = third.engine.failures
    Client(start()).call(steep([9], [7, 8, 9]))
    # the run of third fails for its own input, a, and not because another's lies in its place
    assert third.engine.failures == before + 1
    assert "idx=9" in (third.engine.last_failure or "")


# ---- what a slow or silent client costs


def test_a_declared_length_takes_little_memory_before_its_bytes_come(start: Start) -> None:
    simulation = start()
    client = Client(simulation)
    for _ in range(100):
        client.send(client.begin(), struct.pack(">BI", 0, 1 << 20))
    assert gauge(simulation, "inflight_bytes") <= 100 * KIB


@pytest.mark.parametrize("path", [INFER, STREAM_INFER, REFLECTION])
def test_a_message_that_drips_is_given_up_after_the_request_timeout(start: Start, path: str) -> None:
    simulation = start()
    simulation.server.listener.set_timeouts(5 * SECOND, 10 * SECOND, 300 * SECOND, 3600 * SECOND, 30 * SECOND)
    client = Client(simulation)
    stream = client.begin(path)
    client.send(stream, struct.pack(">BI", 0, 1000) + b"x")
    simulation.loop.advance(6)
    assert not client.replies[stream].over
    client.send(stream, b"x")
    simulation.loop.advance(6)
    client.read()
    assert client.replies[stream].code == DEADLINE_EXCEEDED
    assert client.replies[stream].reason == "SLOW_REQUEST"
    assert gauge(simulation, "inflight_bytes") == 0


@pytest.mark.parametrize("path", [INFER, METADATA, WATCH])
def test_a_request_without_its_end_is_given_up_after_the_request_timeout(start: Start, path: str) -> None:
    simulation = start()
    simulation.server.listener.set_timeouts(5 * SECOND, 10 * SECOND, 300 * SECOND, 3600 * SECOND, 30 * SECOND)
    client = Client(simulation)
    stream = client.begin(path)
    client.send(stream, framed(b""))
    simulation.loop.advance(6)
    client.read()
    assert not client.replies[stream].over
    simulation.loop.advance(6)
    client.read()
    assert client.replies[stream].reason == "SLOW_REQUEST"


def test_a_stream_may_rest_between_messages(start: Start) -> None:
    simulation = start()
    simulation.server.listener.set_timeouts(5 * SECOND, 10 * SECOND, 300 * SECOND, 3600 * SECOND, 30 * SECOND)
    client = Client(simulation)
    stream = client.begin(STREAM_INFER)
    client.send(stream, framed(USUAL))
    simulation.settle()
    simulation.loop.advance(60)
    client.read()
    assert not client.replies[stream].over
    assert len(client.replies[stream].messages) == 1


def test_a_header_block_that_never_ends_is_given_up(start: Start) -> None:
    simulation = start()
    peer = simulation.connect()
    peer.send(PREFACE + settings())
    peer.send(frame(frames.HEADERS, 1, frames.literals([(b":method", b"POST")])))  # without END_HEADERS
    peer.taken.clear()
    simulation.loop.advance(20)
    assert frame(frames.RST_STREAM, 1, struct.pack(">I", 8)) not in peer.taken
    simulation.loop.advance(20)
    assert frame(frames.RST_STREAM, 1, struct.pack(">I", 8)) in peer.taken


def test_a_client_that_does_not_take_the_last_bytes_is_cut_off(start: Start) -> None:
    simulation = start()
    client = Client(simulation)
    client.peer.transport.let_read(False)
    client.peer.send(frame(frames.DATA, 0, b"no stream"))  # a connection error: GOAWAY, then the end
    simulation.loop.tick(3)
    assert client.peer.transport.is_closing() and not client.peer.transport.lost
    simulation.loop.advance(4)
    assert not client.peer.transport.lost
    simulation.loop.advance(2)
    assert client.peer.transport.aborted and client.peer.transport.lost
    assert gauge(simulation, "connections") == 0


def test_an_idle_connection_that_does_not_read_is_closed_all_the_same(start: Start) -> None:
    simulation = start()
    client = Client(simulation)
    client.call(USUAL)
    client.peer.transport.let_read(False)
    for _ in range(8):
        simulation.loop.advance(900)
    assert client.peer.transport.lost


def test_unread_answers_stop_a_stream_instead_of_piling_up(start: Start) -> None:
    simulation = start()
    client = Client(simulation, window=0)
    stream = client.begin(STREAM_INFER)
    wrong = framed(b"") * 3000
    sent = 0
    for _ in range(400):
        taken = client.send(stream, wrong)
        sent += taken
        simulation.loop.tick()
        client.read()
        if taken == 0:
            break
    assert taken == 0, f"{sent} bytes of requests, none of whose answers was read"
    assert sent < 1 << 20


def test_bytes_withheld_by_a_stream_go_back_to_the_connection_when_it_ends(start: Start) -> None:
    client = Client(start(), window=0)
    whole = client.h2.outbound_flow_control_window
    for _ in range(4):
        stream = client.begin(STREAM_INFER)
        while client.send(stream, framed(b"") * 3000):
            pass
        client.h2.reset_stream(stream)
        client.flush()
        client.read()
    assert client.h2.outbound_flow_control_window >= whole // 2


# ---- cold calls


def test_a_message_to_a_cold_method_is_small(start: Start) -> None:
    client = Client(start())
    stream = client.begin(REFLECTION)
    client.send(stream, struct.pack(">BI", 0, 65537))
    client.read()
    assert client.replies[stream].code == RESOURCE_EXHAUSTED
    assert client.replies[stream].reason == "MESSAGE_TOO_LARGE"


def test_messages_that_a_coroutine_has_not_read_count_as_in_flight(start: Start) -> None:
    simulation = start()
    client = Client(simulation)
    stream = client.begin(REFLECTION)
    client.send(stream, framed(b"") + framed(b"\x0a\x00" * 500))
    held = gauge(simulation, "inflight_bytes")
    assert held >= 1000
    client.peer.leave()
    assert gauge(simulation, "inflight_bytes") == 0


# ---- connections of one peer, resets


def keep_busy(client: Client) -> None:
    """With a call that it is for the server to go on with."""
    client.send(client.begin(WATCH), framed(b""), end=True)


def test_a_host_is_its_ipv6_network_when_its_connections_are_counted(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_per_peer = 3
    for host in range(1, 4):
        keep_busy(Client(simulation, (f"2001:db8::{host}", 50000)))  # no connection has to make room
    assert not simulation.connect(("2001:db8::4", 50000)).open
    assert simulation.connect(("2001:db8:0:1::1", 50000)).open


def close_reasons(simulation: Simulation) -> dict[str, int]:
    return {why: count for why, (count, _) in simulation.server.listener.close_reasons().items() if count}


def test_the_oldest_idle_connection_makes_room(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_connections = 4
    busy, asked = Client(simulation), Client(simulation)
    keep_busy(busy)
    asked.call(USUAL)
    greeted = Client(simulation)
    silent = simulation.connect()
    for loser in (greeted.peer, silent, asked.peer):
        assert loser.open
        newcomer = Client(simulation)
        keep_busy(newcomer)
        assert not loser.open
        assert newcomer.peer.open
    assert not simulation.connect().open, "all of them are busy now"
    assert busy.peer.open
    assert close_reasons(simulation) == {"room": 3, "full": 1}
    assert gauge(simulation, "connections") == 4


def test_a_peer_makes_room_for_its_own_connections_only(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_per_peer = 2
    other = simulation.connect(("127.0.0.9", 1))
    first, second = simulation.connect(), simulation.connect()
    assert simulation.connect().open
    assert (first.open, second.open, other.open) == (False, True, True)


def test_the_peer_that_holds_the_most_makes_room_for_others(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_connections = 5
    few = Client(simulation, ("127.0.0.9", 1))  # has been idle for longer than all others
    few.call(USUAL)
    many = [Client(simulation) for _ in range(4)]
    for client in many:
        client.call(USUAL)
    for i, loser in enumerate(many[:-1]):
        newcomer = Client(simulation, (f"127.0.1.{i}", 1))
        assert newcomer.call(USUAL).code == 0
        assert not loser.peer.open
    assert few.peer.open
    assert many[-1].peer.open


def test_where_the_largest_peer_is_busy_the_next_makes_room(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_connections = 5
    busy = [Client(simulation) for _ in range(3)]
    for client in busy:
        keep_busy(client)
    idle = [Client(simulation, ("127.0.0.9", 1)) for _ in range(2)]
    for client in idle:
        client.call(USUAL)
    assert Client(simulation, ("127.0.0.8", 1)).call(USUAL).code == 0
    assert [client.peer.open for client in (*busy, *idle)] == [True, True, True, False, True]


@pytest.mark.parametrize("path", [INFER, STREAM_INFER, WATCH, REFLECTION, METADATA])
@pytest.mark.parametrize("sent", [b"", framed(bytes(9))[:-1]], ids=["nothing", "a part"])
def test_calls_whose_messages_do_not_arrive_hold_no_place(start: Start, path: str, sent: bytes) -> None:
    simulation = start()
    simulation.server.listener.max_connections = 2
    first, second = (Client(simulation, ("127.0.0.9", 1)) for _ in range(2))
    for client in (first, second):
        client.send(client.begin(path), sent)
    simulation.settle()
    newcomer = Client(simulation)
    assert newcomer.call(USUAL).code == 0
    assert [client.peer.open for client in (first, second, newcomer)] == [False, True, True]


def test_streams_between_their_messages_and_unread_answers_hold_no_connection(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_connections = 2
    deaf, resting = Client(simulation, window=0), Client(simulation)
    deaf.infer(USUAL)
    resting.send(resting.begin(STREAM_INFER), framed(USUAL))
    simulation.settle()
    for _ in range(2):
        keep_busy(Client(simulation, ("127.0.0.9", 1)))
    assert [client.peer.open for client in (deaf, resting)] == [False, False]
    assert not simulation.connect().open


def test_users_of_a_unix_socket_are_peers_of_their_own(start: Start) -> None:
    listener = start().server.listener
    listener.max_per_peer = 1
    ours, theirs, another = (listener() for _ in range(3))
    assert ours.arrive(1000) and theirs.arrive(0)
    assert not listener.leaving
    assert another.arrive(1000)
    assert listener.leaving == 1
    for connection in (ours, theirs, another):
        connection.depart()


def test_a_process_has_no_more_connections_than_descriptors_for_them(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_here = 2
    first, second, third = (Client(simulation) for _ in range(3))
    assert (first.peer.open, second.peer.open, third.peer.open) == (False, True, True)
    second.infer(SLOW)
    third.infer(SLOW)
    assert not simulation.connect().open
    assert close_reasons(simulation) == {"room": 1, "full": 1}


def test_without_a_descriptor_an_idle_connection_makes_room(start: Start) -> None:
    simulation = start()
    busy, idle = Client(simulation), Client(simulation)
    keep_busy(busy)
    assert simulation.server.listener.shed()
    assert (busy.peer.open, idle.peer.open) == (True, False)
    assert not simulation.server.listener.shed()
    assert close_reasons(simulation) == {"descriptors": 2, "room": 1}


# ---- what a peer is


def busy_places(simulation: Simulation, addresses: list[str]) -> list[bool]:
    """Whether each of these, one after the other, has a place for one busy connection."""
    places = []
    for address in addresses:
        client = Client(simulation, (address, 50000))
        places.append(client.peer.open)
        if client.peer.open:
            keep_busy(client)
    return places


def test_networks_of_one_site_have_budgets_for_a_few_and_one_for_the_rest(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_per_peer = 1
    home = [f"2001:db8:0:{i:x}::1" for i in range(8)]  # of one /56
    assert busy_places(simulation, home) == [True] * 4 + [True] + [False] * 3
    others = [f"2001:db8:0:{i:x}00::1" for i in range(1, 16)]  # of other /56 of the /48
    assert busy_places(simulation, others) == [True] * 11 + [True] + [False] * 3
    assert busy_places(simulation, ["2001:db8:1::1", "2001:db8:1::2"]) == [True, False]


def test_a_host_that_goes_from_network_to_network_gets_no_new_budgets(start: Start) -> None:
    simulation = start()
    simulation.server.listener.set_arrivals(0.001)  # one, and no more for the rest of this test
    came = 0
    for i in range(200):
        client = simulation.connect((f"2001:db8:0:{i:x}::1", 50000))
        came += client.open
        client.leave()
    assert came == 5


def let_through(simulation: Simulation, told: list[list[str]]) -> list[bool]:
    """Whether each of these requests, of which a trusted proxy tells so, is within its peer's limit of one."""
    proxy = Client(simulation)
    headers = [[("x-forwarded-for", address) for address in addresses] for addresses in told]
    return [proxy.call(USUAL, each).trailers.get("grpc-status") == "0" for each in headers]


def test_networks_of_one_site_behind_a_proxy_have_few_budgets(start: Start) -> None:
    limiter = Limiter(4096)
    limiter.set_peer(0.001, 1)
    simulation = start(limiter)
    simulation.server.listener.set_proxies([(b"\0" * 10 + b"\xff\xff" + bytes([127, 0, 0, 1]), 128)], False)
    home = [[f"2001:db8:0:{i:x}::1"] for i in range(8)]  # of one /56
    assert let_through(simulation, home) == [True] * 4 + [True] + [False] * 3
    others = [[f"2001:db8:0:{i:x}00::1"] for i in range(1, 16)]  # of other /56 of the /48
    assert let_through(simulation, others) == [True] * 11 + [True] + [False] * 3
    assert let_through(simulation, [["2001:db8:1::1"], ["2001:db8:1:1::1"]]) == [True, True]


def test_what_a_client_writes_before_the_proxy_takes_no_place_of_a_network(start: Start) -> None:
    limiter = Limiter(4096)
    limiter.set_peer(0.001, 1)
    simulation = start(limiter)
    simulation.server.listener.set_proxies([(b"\0" * 10 + b"\xff\xff" + bytes([127, 0, 0, 1]), 128)], False)
    let_through(simulation, [[f"2001:db8:0:{i:x}::1", f"192.0.2.{i}"] for i in range(8)])
    assert let_through(simulation, [[f"2001:db8:0:1{i:x}::1"] for i in range(8)]) == [True] * 5 + [False] * 3


def test_requests_of_other_proxies_between_the_headers_of_one_free_no_budget(start: Start) -> None:
    limiter = Limiter(4096)
    limiter.set_peer(0.001, 1)
    simulation = start(limiter)
    simulation.server.listener.set_proxies([(b"\0" * 10 + b"\xff\xff" + bytes([127, 0, 0, 1]), 128)], False)
    proxy, other = Client(simulation), Client(simulation)
    came = 0
    for i in range(8):
        last = ("x-last", str(i) * 200)  # the block is cut in the middle of it
        stream = proxy.begin(INFER, [("x-forwarded-for", f"2001:db8:0:{i:x}::1"), last], withheld=50)
        assert other.call(USUAL, [("x-forwarded-for", f"2001:db9:{i:x}::1")]).code == 0
        proxy.send(stream, framed(USUAL), end=True)
        simulation.settle()
        proxy.read()
        came += proxy.replies[stream].code == 0
    assert came == 5


def test_how_much_of_an_address_is_a_peer_is_configured(start: Start) -> None:
    simulation = start()
    listener = simulation.server.listener
    listener.max_per_peer = 1
    listener.set_ipv6(128, 1000)
    assert busy_places(simulation, ["2001:db8::1", "2001:db8::2", "2001:db8::2"]) == [True, True, False]
    listener.set_ipv6(56, 1000)
    assert busy_places(simulation, ["2001:db9::1", "2001:db9:0:ff::1", "2001:db9:0:100::1"]) == [True, False, True]


def test_addresses_that_hold_an_ipv4_address_are_that_peer(start: Start) -> None:
    simulation = start()
    simulation.server.listener.max_per_peer = 1
    nat64 = ["64:ff9b::192.0.2.1", "64:ff9b::192.0.2.2", "192.0.2.1", "::ffff:192.0.2.2"]
    assert busy_places(simulation, nat64) == [True, True, False, False]
    to4 = ["2002:c000:203::1", "2002:c000:203:1::1", "192.0.2.3", "2002:c000:204::1"]
    assert busy_places(simulation, to4) == [True, False, False, True]


def test_resets_of_a_peer_add_up_over_its_connections(start: Start) -> None:
    simulation = start()
    provoked, began = 0, simulation.loop.time()
    client = Client(simulation)
    while client.terminated is None and provoked < 20_000:
        first = provoked % RESETS_OF_ONE
        if first == 0:
            client.peer.leave()
            client = Client(simulation)
        for i in range(first, first + RESETS_AT_ONCE):
            stream = 2 * i + 1
            client.peer.waiting += frames.headers(stream, frames.request_headers(INFER.encode()))
            client.peer.waiting += frame(frames.RST_STREAM, stream, struct.pack(">I", CANCEL))
        client.peer.send(b"")  # in one read, which takes the machine no time in which budgets come back
        client.read()
        provoked += RESETS_AT_ONCE
    assert client.terminated == ENHANCE_YOUR_CALM
    assert close_reasons(simulation) == {"peer_resets": 1}
    earned = 500 * (simulation.loop.time() - began)  # the budget comes back while the test runs
    assert 5000 <= provoked <= 5000 + earned + RESETS_AT_ONCE
    honest = Client(simulation)  # of the same peer, and a single cancellation of its own
    honest.h2.reset_stream(honest.begin())
    honest.flush()
    assert honest.call(USUAL).code == 0
    assert Client(simulation, ("127.0.0.9", 1)).call(USUAL).code == 0


def test_a_connection_on_which_only_slow_requests_are_is_given_up_with_them(start: Start) -> None:
    simulation = start()
    slow, mixed = Client(simulation), Client(simulation)
    for client in (slow, mixed):
        stream = client.begin()
        client.send(stream, framed(USUAL)[:10])
    simulation.loop.advance(29)
    assert mixed.call(USUAL).code == 0
    simulation.loop.advance(3)
    slow.read()
    mixed.read()
    assert slow.replies[1].reason == mixed.replies[1].reason == "SLOW_REQUEST"
    assert (slow.peer.open, mixed.peer.open) == (False, True)
    assert slow.terminated == ENHANCE_YOUR_CALM
    assert close_reasons(simulation) == {"slow": 1}


def test_a_connection_that_takes_no_answer_is_given_up(start: Start) -> None:
    simulation = start()
    client = Client(simulation, window=0)
    client.infer(USUAL)
    simulation.settle()
    simulation.loop.advance(32)
    client.read()
    assert not client.peer.open
    assert close_reasons(simulation) == {"stalled": 1}


def test_resets_that_a_client_provokes_end_its_connection(start: Start) -> None:
    client = Client(start())
    for _ in range(120):
        if client.terminated is not None:
            break
        stream = client.begin()
        client.peer.send(frame(frames.WINDOW_UPDATE, stream, struct.pack(">I", 2**31 - 1)))  # too wide: a stream error
        client.simulation.loop.tick()
        client.read()
    assert client.terminated == ENHANCE_YOUR_CALM
    client.simulation.loop.advance(2)
    assert not client.peer.open


# ---- who lets go when


@pytest.mark.parametrize("model", [USUAL, SLOW], ids=["loop", "thread"])
@pytest.mark.parametrize("ticks", range(4))
@pytest.mark.parametrize("how", ["reset", "leave", "abort"])
def test_a_client_may_let_go_at_any_point(start: Start, model: bytes, ticks: int, how: str) -> None:
    simulation = start()
    client, other = Client(simulation), Client(simulation)
    stream = client.infer(model)
    streaming = client.begin(STREAM_INFER)
    client.send(streaming, framed(model) * 3)
    kept = other.infer(model, [("grpc-timeout", "30S")])
    simulation.loop.tick(ticks)
    if how == "reset":
        for each in (stream, streaming):
            client.peer.send(frame(frames.RST_STREAM, each, struct.pack(">I", 8)))
    elif how == "leave":
        client.peer.leave()
    else:
        client.peer.protocol.abort()
    simulation.settle()
    other.read()
    assert other.replies[kept].over


def test_a_run_that_was_given_up_in_its_worker_thread_does_not_harm_the_next(
    start: Start, models: list[Served]
) -> None:
    simulation = start()
    (slow,) = (m for m in models if m.name == "slow")
    for _ in range(3):
        client = Client(simulation)
        client.infer(SLOW)
        simulation.loop.tick(2)
        client.peer.leave()
        simulation.settle()
    slow.set_deadline(60 * SECOND)  # whatever the run takes on a busy machine
    try:
        assert Client(simulation).call(SLOW).code == 0
    finally:
        slow.set_deadline(50_000_000)


def test_a_stopped_server_is_let_go_of_at_once(start: Start, models: list[Served]) -> None:
    simulation = start()
    client = Client(simulation)
    client.infer(SLOW)
    client.begin(WATCH)
    simulation.loop.tick(2)
    assert isinstance(simulation.server, Server)
    simulation.server.stop()
    assert gauge(simulation, "inflight") == gauge(simulation, "connections") == 0
    simulation.loop.tick(3)  # the transports tell their protocols only now
    assert client.peer.transport.lost


def test_deadlines_of_answered_requests_leave_the_wheel(start: Start) -> None:
    simulation = start()
    client = Client(simulation)
    for _ in range(50):
        assert client.call(USUAL, [("grpc-timeout", "1H")]).code == 0
    client.peer.leave()
    assert simulation.wheel.next_ns() is None


# ---- memory


class Mallinfo2(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks",
                                                     "fsmblks", "uordblks", "fordblks", "keepcost")]  # fmt: skip


def allocated() -> int:
    """Bytes that the C heap has given out; under AddressSanitizer by its own count."""
    libc: Any = ctypes.CDLL(None)
    try:
        count = libc.__sanitizer_get_current_allocated_bytes
    except AttributeError:
        libc.mallinfo2.restype = Mallinfo2
        info = libc.mallinfo2()
        return int(info.uordblks + info.hblkhd)
    count.restype = ctypes.c_size_t
    return int(count())


def test_what_connections_take_from_the_heap_they_give_back(models: list[Served]) -> None:
    from loadtests.fuzz.seeds import programs  # noqa: PLC0415 - needs clients that only this test imports
    from loadtests.fuzz.simulation import SimulatedLoop, Site  # noqa: PLC0415

    loop, site = SimulatedLoop(), Site(models)
    seeds = list(programs().values())

    def round_of_all() -> None:
        for seed in seeds:
            play(seed, loop, site)
        loop.rewind()
        gc.collect()

    for _ in range(3):
        round_of_all()  # pools, caches of ONNX Runtime and Python fill
    before = allocated()
    rounds = 4
    for _ in range(rounds):
        round_of_all()
    grown = allocated() - before
    loop.close()
    assert grown < rounds * len(seeds) * 128, f"{grown} bytes in {rounds * len(seeds)} servers with their connections"
