"""Clients that dawdle, hoard, drop things or never read: the server gives up on them and keeps its memory."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from loadtests.attack.raw import Target
from loadtests.fuzz.frames import PING, frame
from tests import models
from tests.conftest import Serve
from tests.e2e.h2client import H2Client, framed
from tests.e2e.messages import INFER, STREAM_INFER, Stub, arrays, request
from tests.support import EmbeddedServer, ServerProcess, serve_process, wait_until

MiB = 2**20
ROW = np.ones((1, 4), np.float32)
ENHANCE_YOUR_CALM = 11  # RFC 9113, section 7
COLUMNS = 65_536  # of an answer: 256 KiB for a request of 60 bytes

resident = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""),
    reason="AddressSanitizer keeps freed memory for a while: it counts as resident",
)


def amplifier() -> bytes:
    """x FP32 [batch, 1] -> y FP32 [batch, COLUMNS], the same number over and over."""
    return models.model(
        [helper.make_node("Tile", ["x", "repeats"], ["y"])],
        [models.tensor("x", TensorProto.FLOAT, ["batch", 1])],
        [models.tensor("y", TensorProto.FLOAT, ["batch", COLUMNS])],
        [numpy_helper.from_array(np.array([1, COLUMNS], np.int64), "repeats")],
    ).SerializeToString()


def good() -> bytes:
    return framed(request("add", {"x": ROW}).SerializeToString())


def amplified() -> bytes:
    return framed(request("amplifier", {"x": ROW[:, :1]}).SerializeToString())


def connect(server: EmbeddedServer) -> socket.socket:
    host, port = server.grpc.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=30)


def is_closed(peer: socket.socket) -> bool:
    """Waits for the end of the stream, or for the reset that says the same."""
    try:
        while peer.recv(4096):
            pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


def test_a_connection_that_never_speaks_is_closed(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__timeouts__handshake="200ms")
    with connect(server) as silent, connect(server) as dripping:
        dripping.sendall(b"PRI * HTTP")
        assert is_closed(silent)
        assert is_closed(dripping)
    wait_until(lambda: server.metric("modelward_connections") == 0, "the connections to be forgotten")


def test_a_connection_without_a_stream_is_closed_in_the_end(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__timeouts__idle_connection="1s")
    with H2Client(server.grpc) as client:
        assert client.call(good()).code == 0
        assert client.is_closed()


def test_a_stream_on_which_nothing_moves_is_reset(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__timeouts__idle_stream="1s")
    with H2Client(server.grpc) as client:
        stream = client.begin(STREAM_INFER)
        client.send(stream, good())
        reply = client.reply(stream)
        assert reply.reset is not None
        assert len(reply.messages) == 1
        assert client.call(good()).code == 0


def test_one_peer_has_so_many_connections_and_no_more(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__connections="{per_peer: 5}")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2Client(server.grpc)) for _ in range(5)]
        for client in clients:
            assert client.call(good()).code == 0
            client.send(
                client.begin("/grpc.health.v1.Health/Watch"), framed(b""), end=True
            )  # busy: it need not make room
            client.call(good())
        assert is_closed(stack.enter_context(connect(server)))
        clients[0].socket.close()
        wait_until(lambda: server.metric("modelward_connections") == 4, "the closed connection to be forgotten")
        assert stack.enter_context(H2Client(server.grpc)).call(good()).code == 0
    assert server.metric("modelward_connections_refused_total", reason="peer_full") == 1


def test_connections_that_make_way_before_they_are_set_up_are_closed(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__connections="{total: 5}")
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(connect(server)) for _ in range(200)]  # faster than they are set up
        wait_until(lambda: server.metric("modelward_connections_closed_total", reason="room") == 195, "all to be there")
        assert sum(is_closed(connection) for connection in silent[:-5]) == 195
        assert server.metric("modelward_connections") == 5


def test_all_peers_together_have_so_many_connections(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__connections="{total: 3}")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2Client(server.grpc)) for _ in range(3)]
        assert all(client.call(good()).code == 0 for client in clients)
        newcomer = stack.enter_context(H2Client(server.grpc))
        assert newcomer.call(good()).code == 0
        assert clients[0].is_closed(), "the one that has been idle for longest makes room"
        assert [client.call(good()).code for client in clients[1:]] == [0, 0]
    assert server.metric("modelward_connections_closed_total", reason="room") == 1


def test_connections_may_not_come_faster_than_their_rate(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__connections='{rate_per_peer: "2/s"}')
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(H2Client(server.grpc)) for _ in range(2)]
        assert all(client.call(good()).code == 0 for client in clients)

        def is_refused() -> bool:
            """One more comes, sooner than it may."""
            stack.enter_context(connect(server))
            return server.metric("modelward_connections_refused_total", reason="peer_rate") > 0

        wait_until(is_refused, "one to be refused")

        def welcome() -> bool:
            with H2Client(server.grpc) as client, contextlib.suppress(AssertionError, ConnectionError):
                return client.call(good()).code == 0
            return False

        wait_until(welcome, "a later connection to be let in")


def test_a_connection_has_so_many_streams(serve: Serve) -> None:
    server = serve({"add": models.add_one()}, limits__streams=4)
    with H2Client(server.grpc) as client:
        client.call(good())
        assert client.h2.remote_settings.max_concurrent_streams == 4
        last = [client.begin() for _ in range(4)][-1]
        # h2 keeps the rule itself, so a fifth HEADERS frame is written past it: :method POST, :scheme http, :path /
        client.send_raw(b"\0\0\3\1\4" + struct.pack(">I", last + 2) + b"\x83\x86\x84")
        assert client.is_closed()


def test_open_calls_of_one_peer_keep_no_other_peers_health_check_out(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    watch, check = "/grpc.health.v1.Health/Watch", "/grpc.health.v1.Health/Check"
    with contextlib.ExitStack() as stack:
        for _ in range(10):
            client = stack.enter_context(H2Client(server.grpc))
            client.call(good())
            streams = [client.begin(watch) for _ in range(120)]
            for stream in streams:
                client.send(stream, framed(b""), end=True)
            client.read_until(lambda: all(client.replies[s].messages or client.replies[s].over for s in streams))  # noqa: B023
        refused = client.call(framed(b""), watch)
        assert (refused.code, refused.reason) == (14, "QUEUE_FULL")
        assert client.call(framed(b""), check).code == 0
        other = stack.enter_context(H2Client(server.grpc, source="127.0.0.2"))
        assert other.call(framed(b""), check).code == 0
    with H2Client(server.grpc) as client:
        wait_until(lambda: client.call(framed(b""), check).code == 0, "room after the watches have gone")


def test_a_client_that_opens_and_resets_without_end_is_cut_off(serve: Serve) -> None:
    """CVE-2023-44487."""
    server = serve({"add": models.add_one()})
    with H2Client(server.grpc) as client:
        with contextlib.suppress(ConnectionError):
            for _ in range(5000):
                client.reset(client.begin())
        assert client.is_closed()
    with H2Client(server.grpc) as client:
        assert client.call(good()).code == 0


def test_a_peer_that_is_cut_off_is_told_why_and_not_read_for_a_second(serve: Serve) -> None:
    server = serve({"add": models.add_one()})
    host, port = server.grpc.rsplit(":", 1)
    with Target(host, int(port)).connect() as raw:
        raw.greet()
        raw.send_all(frame(PING, 0, b"pingpong") for _ in range(100_000))
        assert raw.read_until_closed()
        assert raw.goaway == ENHANCE_YOUR_CALM
        assert raw.closed_at is not None and raw.closed_at - raw.began >= 1.0
        assert raw.frames[PING] < 10_000  # answers: what came after was not read
    wait_until(lambda: server.metric("modelward_connections") == 0, "the connection to be forgotten")


def test_a_server_stops_while_it_holds_somebody(tmp_path: Path) -> None:
    (tmp_path / "add.onnx").write_bytes(models.add_one())
    with serve_process(str(tmp_path / "add.onnx")) as server:
        host, port = server.grpc.rsplit(":", 1)
        with Target(host, int(port)).connect() as raw:
            raw.greet()
            raw.send_all(frame(PING, 0, b"pingpong") for _ in range(100_000))
            assert server.terminate() == 0


def test_requests_in_flight_hold_only_so_many_bytes(serve: Serve) -> None:
    server = serve(
        {"add": models.add_one()},
        limits__inflight_bytes="450KiB",
        limits__message_size="200KiB",
        limits__inflight_share="1",
    )
    with H2Client(server.grpc) as client:
        body = framed(request("add", {"x": np.ones((12_000, 4), np.float32)}).SerializeToString())
        first, second, third = client.begin(), client.begin(), client.begin()
        for stream in (first, second, third):
            client.send(stream, body[:-1])
        reply = client.reply(third)
        assert (reply.code, reply.reason) == (8, "INFLIGHT_BYTES")
        assert int(reply.ending["grpc-retry-pushback-ms"]) > 0
        client.reset(second)
        client.send(first, body[-1:], end=True)
        assert client.reply(first).code == 0
        assert client.call(body).code == 0
    wait_until(lambda: server.application.server.totals()["inflight_bytes"] == 0, "all bytes to be given back")


def test_cancelled_requests_leave_nothing_behind(serve: Serve) -> None:
    server = serve({"add": models.add_one(), "slow": models.slow_loop(3_000)})
    with H2Client(server.grpc) as client:
        for i in range(100):
            stream = client.begin(STREAM_INFER if i % 3 == 0 else INFER)
            body = framed(request("slow" if i % 2 else "add", {"x": ROW}).SerializeToString())
            client.send(stream, body[: len(body) - i % 20], end=False)
            client.reset(stream)
        whole = client.begin()
        client.send(whole, framed(request("slow", {"x": ROW}).SerializeToString()), end=True)
        client.reset(whole)
        assert client.call(good()).code == 0
    totals = server.application.server.totals
    wait_until(lambda: (totals()["inflight"], totals()["inflight_bytes"]) == (0, 0), "everything to be let go")
    wait_until(lambda: server.metric("modelward_requests_total", model="slow", code="CANCELLED") >= 1, "a count")


def test_a_connection_killed_under_its_requests_harms_no_other(serve: Serve) -> None:
    server = serve({"add": models.add_one(), "slow": models.slow_loop(3_000)})
    with Stub(server.grpc) as stub:
        for _ in range(20):
            with H2Client(server.grpc) as client:
                client.call(good())
                for _ in range(10):
                    client.send(client.begin(), framed(request("slow", {"x": ROW}).SerializeToString()), end=True)
                client.send(client.begin(), good()[:-1])
                client.send(client.begin(STREAM_INFER), good() * 100)
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST on close
            assert (arrays(stub.infer(request("add", {"x": ROW})))["y"] == 2).all()
    totals = server.application.server.totals
    wait_until(lambda: (totals()["inflight"], totals()["inflight_bytes"]) == (0, 0), "everything to be let go")


# ---- clients that do not read --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    root: Path = models.repository(
        tmp_path_factory.mktemp("armour"), {"amplifier": amplifier(), "add": models.add_one()}
    )
    with serve_process(root, "--set", "limits.inflight_bytes=64MiB") as running:
        work(running, 5)  # grown once, as by any day's work
        with H2Client(running.grpc) as client:
            client.calls([amplified()] * 128)
        running.baseline = running.resident_bytes()
        yield running


def work(process: ServerProcess, rounds: int) -> None:
    with H2Client(process.grpc) as client:
        for _ in range(rounds):
            client.calls([good()] * 100)
            client.calls([amplified()] * 20)
            client.call(framed(b"garbage"))
            client.call(good(), "/no/such")
            client.reset(client.begin())


def grown(process: ServerProcess) -> float:
    """MiB of resident memory since the server was warm."""
    return (process.resident_bytes() - process.baseline) / MiB


def send_all(client: H2Client, stream: int, data: bytes, seconds: float) -> int:
    """Sends while the server's windows and socket let it, for at most so long; the bytes that went."""
    sent, deadline = 0, time.monotonic() + seconds
    client.socket.settimeout(seconds)
    with contextlib.suppress(TimeoutError):
        while sent < len(data) and time.monotonic() < deadline:
            piece = data[sent : sent + 8192]
            client.send(stream, piece)
            sent += len(piece)
    return sent


def test_a_stream_whose_client_reads_no_answers_is_not_read_either(process: ServerProcess) -> None:
    with H2Client(process.grpc, window=0) as client:
        data = amplified() * 20_000  # 5 GB of answers
        assert send_all(client, client.begin(STREAM_INFER), data, 2) < len(data)
        assert grown(process) < 100
        with Stub(process.grpc) as stub:
            assert (arrays(stub.infer(request("add", {"x": ROW})))["y"] == 2).all()


@resident
def test_unread_answers_are_bounded_over_all_connections(process: ServerProcess) -> None:
    def ended() -> float:
        """Answered, or refused for want of room in their peer's share."""
        codes = ("OK", "RESOURCE_EXHAUSTED")
        return sum(process.metric("modelward_requests_total", model="amplifier", code=code) for code in codes)

    before = ended()
    with contextlib.ExitStack() as stack:
        for _ in range(10):  # 1280 answers, 320 MB
            client = stack.enter_context(H2Client(process.grpc, window=0))
            for _ in range(128):
                client.send(client.begin(), amplified(), end=True)
        wait_until(lambda: ended() + process.metric("modelward_inflight") - before == 1280, "all requests to be there")
        assert grown(process) < 80


def test_a_socket_that_its_client_does_not_read_is_written_no_further(process: ServerProcess) -> None:
    before = process.resident_bytes()
    with H2Client(process.grpc, window=2**31 - 1) as client:
        client.h2.increment_flow_control_window(2**31 - 65_536)
        client.flush()
        data = amplified() * 20_000
        client.read_until(lambda: client.h2.remote_settings.max_concurrent_streams == 128)
        stream = client.begin(STREAM_INFER)
        client.socket.settimeout(1)
        with contextlib.suppress(TimeoutError):
            for start in range(0, len(data), 8192):  # without ever reading, windows or not
                client.socket.sendall(data_frame(stream, data[start : start + 8192]))
        assert process.resident_bytes() - before < 60 * MiB
        with Stub(process.grpc) as stub:
            assert (arrays(stub.infer(request("add", {"x": ROW})))["y"] == 2).all()


def data_frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">I", len(data))[1:] + b"\0\0" + struct.pack(">I", stream) + data


def test_gigabytes_announced_and_not_sent_cost_nothing(process: ServerProcess) -> None:
    before = process.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(8):
            client = stack.enter_context(H2Client(process.grpc))
            for _ in range(100):
                client.send(client.begin(), struct.pack(">BI", 0, 16 * MiB))
        assert process.resident_bytes() - before < 50 * MiB


@resident
def test_many_requests_later_memory_is_what_it_was(process: ServerProcess) -> None:
    before = process.resident_bytes()
    work(process, 20)
    assert process.resident_bytes() - before < 8 * MiB


@resident
def test_memory_of_large_uploads_is_given_back(tmp_path: Path) -> None:
    size = 12 * MiB
    root = models.repository(tmp_path, {"add": models.add_one()})
    # a busy machine may take longer for all of them than one may take
    with serve_process(root, "--set", "limits.timeouts.request=10m") as process:
        work(process, 1)
        process.baseline = process.resident_bytes()
        with contextlib.ExitStack() as stack:
            for client in [stack.enter_context(H2Client(process.grpc)) for _ in range(10)]:
                client.send(client.begin(), b"\0" + size.to_bytes(4) + b"\0" * (size - 1))
            wait_until(lambda: process.metric("modelward_inflight_bytes") > 100 * MiB, "the uploads")
            assert grown(process) > 90
        wait_until(lambda: grown(process) < 40, "their memory to be given back")
