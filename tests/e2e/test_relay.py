"""Streams end to end: an upstream of the tests' own that answers as often as it likes, or Modelward as the upstream."""

from __future__ import annotations

import contextlib
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from modelward.config.load import load
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward.server.embedded import in_thread
from tests.e2e.messages import REQUEST, RESPONSE, ROUNDED_UP, STREAM_INFER, STREAM_RESPONSE, refusal, request
from tests.models import add_one, repository
from tests.support import ANYWHERE, EmbeddedServer, reloadable, serve_process, wait_until

ROW = np.array([[1.0, 2.0, 3.0, 4.0]], np.float32)
TIMEOUT = 20.0
METADATA = f"/{INFERENCE_SERVICE}/ModelMetadata"
INDEX = f"/{INFERENCE_SERVICE}/RepositoryIndex"
CONFIG = f"/{INFERENCE_SERVICE}/ModelConfig"
UNKNOWN = f"/{INFERENCE_SERVICE}/SystemSharedMemoryStatus"
MiB = 2**20
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

Behaviour = Callable[[Iterator[bytes], grpc.ServicerContext], Iterator[bytes]]


class Peer(grpc.GenericRpcHandler):
    """An upstream with one model, whose streams do as the test says. ended: set when a stream of it has, in any way."""

    def __init__(self, behaviour: Behaviour, model: str = "decoupled") -> None:
        self.behaviour = behaviour
        self.model = model
        self.ended = threading.Event()
        self.seen: dict[str, str] = {}
        self.remaining: float | None = None

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        if details.method == METADATA:
            return grpc.unary_unary_rpc_method_handler(lambda message, context: self._metadata())
        if details.method == INDEX:
            return grpc.unary_unary_rpc_method_handler(lambda message, context: self._index())
        if details.method == CONFIG:
            return None
        return grpc.stream_stream_rpc_method_handler(self._stream)

    def _metadata(self) -> bytes:
        answer = message_class("inference.ModelMetadataResponse")(name=self.model, versions=["1"])
        answer.inputs.add(name="x", datatype="FP32", shape=[-1, -1])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1, -1])
        return bytes(answer.SerializeToString())

    def _index(self) -> bytes:
        answer = message_class("inference.RepositoryIndexResponse")()
        answer.models.add(name=self.model, version="1", state="READY")
        return bytes(answer.SerializeToString())

    def _stream(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.add_callback(self.ended.set)
        self.seen = dict(context.invocation_metadata())
        self.remaining = context.time_remaining()
        yield from self.behaviour(messages, context)


@contextlib.contextmanager
def listening(peer: Peer, threads: int = 16) -> Iterator[tuple[str, grpc.Server]]:
    server = grpc.server(ThreadPoolExecutor(threads), handlers=[peer], options=UNLIMITED)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", server
    finally:
        server.stop(None).wait()


@contextlib.contextmanager
def in_front(**settings: Any) -> Iterator[EmbeddedServer]:
    dotted = ANYWHERE | {key.replace("__", "."): value for key, value in settings.items()}
    with in_thread(load(sets=[f"{key}={value}" for key, value in dotted.items()], environ={})) as application:
        yield EmbeddedServer(str(application.grpc_address), str(application.http_address), application)


@contextlib.contextmanager
def relayed(
    behaviour: Behaviour, threads: int = 16, **settings: Any
) -> Iterator[tuple[Peer, EmbeddedServer, grpc.Channel]]:
    """A peer, Modelward in front of it, and a channel to Modelward; nothing may be left behind in it."""
    peer = Peer(behaviour)
    with listening(peer, threads) as (address, _), in_front(upstreams=f"[{address}]", **settings) as server:
        with grpc.insecure_channel(server.grpc, UNLIMITED) as channel:
            yield peer, server, channel
        nothing_is_left(server)


def nothing_is_left(server: EmbeddedServer) -> None:
    data_plane = server.application.server
    assert data_plane is not None
    wait_until(lambda: data_plane.totals()["inflight"] == 0, "every call to end")
    wait_until(lambda: data_plane.totals()["inflight_bytes"] == 0, "every byte to be given back")
    wait_until(lambda: all(e.inflight == 0 for e in server.application.upstreams), "every upstream stream to close")


def stream(channel: grpc.Channel) -> grpc.StreamStreamMultiCallable:
    return channel.stream_stream(
        STREAM_INFER, request_serializer=REQUEST.SerializeToString, response_deserializer=STREAM_RESPONSE.FromString
    )


def asked(i: int = 0, model: str = "decoupled", row: Any = ROW) -> Any:
    return request(model, {"x": row}, id=str(i))


def answer(id: str, raw: bytes = b"") -> bytes:
    message = STREAM_RESPONSE(infer_response=RESPONSE(model_name="decoupled", id=id))
    if raw:
        message.infer_response.raw_output_contents.append(raw)
    return bytes(message.SerializeToString())


def thrice(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """A decoupled model: three answers to each request."""
    for message in messages:
        id = REQUEST.FromString(message).id
        yield from (answer(f"{id}.{i}") for i in range(3))


def ids(responses: Any) -> list[str]:
    return [r.infer_response.id for r in responses]


def test_a_decoupled_model_answers_as_often_as_it_likes() -> None:
    with relayed(thrice) as (_, server, channel):
        call = stream(channel)(iter([asked(1), asked(2)]), timeout=TIMEOUT)
        assert ids(call) == ["1.0", "1.1", "1.2", "2.0", "2.1", "2.2"]
        assert call.code() is grpc.StatusCode.OK
        assert server.metric("modelward_requests_total", model="decoupled", code="OK") >= 2


def test_answers_come_while_the_client_still_sends() -> None:
    with relayed(thrice) as (_, _, channel):
        go_on = threading.Semaphore(1)

        def requests() -> Iterator[Any]:
            for i in range(3):
                assert go_on.acquire(timeout=TIMEOUT)
                yield asked(i)

        seen = []
        for response in stream(channel)(requests(), timeout=TIMEOUT):
            seen.append(response.infer_response.id)
            if seen[-1].endswith(".2"):
                go_on.release()
        assert seen == [f"{i}.{j}" for i in range(3) for j in range(3)]


def test_what_the_client_says_at_its_end_of_stream_is_answered() -> None:
    def count(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield answer(str(sum(1 for _ in messages)))

    with relayed(count) as (_, _, channel):
        assert ids(stream(channel)((asked(i) for i in range(5)), timeout=TIMEOUT)) == ["5"]


def test_metadata_and_trailers_pass_both_ways() -> None:
    def telling(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        context.send_initial_metadata([("served-by", "peer")])
        next(messages)
        yield answer("1")
        context.set_trailing_metadata([("spent", "12"), ("raw-bin", b"\0\xff")])

    with relayed(telling) as (peer, _, channel):
        metadata = (("authorization", "Bearer x"), ("modelward-fallback", "forged"))
        call = stream(channel)(iter([asked(1)]), timeout=TIMEOUT, metadata=metadata)
        assert dict(call.initial_metadata())["served-by"] == "peer"
        assert ids(call) == ["1"]
        trailers = dict(call.trailing_metadata())
        assert (trailers["spent"], trailers["raw-bin"]) == ("12", b"\0\xff")
        assert peer.seen["authorization"] == "Bearer x"
        assert "modelward-fallback" not in peer.seen
        assert "traceparent" in peer.seen
        assert peer.remaining is not None and 0.0 < peer.remaining <= TIMEOUT + ROUNDED_UP


def test_the_upstreams_status_is_the_clients_with_its_words_and_details() -> None:
    def failing(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(messages)
        yield answer("1")
        context.set_trailing_metadata([("grpc-status-details-bin", b"\x08\x09")])
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "prefer 100% ä")

    with relayed(failing) as (_, server, channel):
        call = stream(channel)(iter([asked(1)]), timeout=TIMEOUT)
        assert next(call).infer_response.id == "1"
        with pytest.raises(grpc.RpcError) as error:
            next(call)
        assert error.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert error.value.details() == "prefer 100% ä"
        assert dict(error.value.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x09"
        assert server.metric("modelward_requests_total", model="decoupled", code="FAILED_PRECONDITION") == 1


def test_an_upstream_that_ends_early_ends_the_clients_call() -> None:
    def early(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(messages)
        yield answer("only")

    with relayed(early) as (_, _, channel):
        done = threading.Event()

        def requests() -> Iterator[Any]:
            yield asked(1)
            done.wait(TIMEOUT)

        call = stream(channel)(requests(), timeout=TIMEOUT)
        assert ids(call) == ["only"]
        assert call.code() is grpc.StatusCode.OK
        done.set()


def test_a_refused_message_is_answered_and_the_stream_goes_on() -> None:
    with relayed(thrice) as (_, server, channel):
        wrong = asked(7, row=ROW.astype(np.float64))
        responses = list(stream(channel)(iter([wrong, asked(1)]), timeout=TIMEOUT))
        assert "FP32" in responses[0].error_message
        assert responses[0].infer_response.id == "7"
        assert ids(responses[1:]) == ["1.0", "1.1", "1.2"]
        assert server.metric("modelward_refusals_total", model="decoupled", reason="INVALID_INPUT") == 1


def test_every_message_is_charged_against_the_models_limit() -> None:
    with relayed(thrice, models__decoupled__limit="{rate: 1/h, burst: 2}") as (_, _, channel):
        responses = list(stream(channel)((asked(i) for i in range(4)), timeout=TIMEOUT))
        assert sum("limit of" in r.error_message for r in responses) == 2
        assert sorted(i for i in ids(r for r in responses if not r.error_message)) == [
            f"{i}.{j}" for i in range(2) for j in range(3)
        ]


def test_models_that_run_here_are_answered_on_the_same_stream(tmp_path: Path) -> None:
    root = repository(tmp_path, {"add": add_one()})
    with relayed(thrice, repository=root) as (_, _, channel):
        responses = list(stream(channel)(iter([asked(1), asked(2, "add"), asked(3)]), timeout=TIMEOUT))
        found = ids(responses)
        assert sorted(found) == ["1.0", "1.1", "1.2", "2", "3.0", "3.1", "3.2"]


def test_a_model_of_other_upstreams_is_refused_on_a_stream_that_is_bound() -> None:
    peers = [Peer(thrice, "one"), Peer(thrice, "two")]
    with (
        listening(peers[0]) as (first, _),
        listening(peers[1]) as (second, _),
        in_front(models__one__upstreams=f"[{first}]", models__two__upstreams=f"[{second}]") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        responses = list(stream(channel)(iter([asked(1, "one"), asked(2, "two")]), timeout=TIMEOUT))
        assert [r.error_message for r in responses if r.infer_response.id == "2"] == [
            "this stream is bound to the upstreams of another model; open one for this model"
        ]
        assert len(responses) == 4


def test_a_client_that_cancels_cancels_the_upstream() -> None:
    def waiting(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        yield answer("begun")
        yield from (answer("more") for _ in messages)

    with relayed(waiting) as (peer, server, channel):
        gate = threading.Event()

        def requests() -> Iterator[Any]:
            yield asked(1)
            gate.wait(TIMEOUT)

        call = stream(channel)(requests(), timeout=TIMEOUT)
        next(call)
        assert server.application.upstreams[0].inflight == 1
        call.cancel()
        assert peer.ended.wait(TIMEOUT)
        gate.set()
        nothing_is_left(server)
        assert server.metric("modelward_requests_total", model="decoupled", code="CANCELLED") == 1


def test_the_deadline_of_the_call_ends_both_sides() -> None:
    def silent(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        arrived.set()
        over.wait(3 * TIMEOUT)
        yield from ()

    arrived, over = threading.Event(), threading.Event()
    with relayed(silent) as (peer, _, channel):
        call = stream(channel)(iter([asked(1)]), timeout=2.0)
        assert arrived.wait(TIMEOUT)
        with pytest.raises(grpc.RpcError) as error:
            next(call)
        assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert peer.ended.wait(TIMEOUT), "it answers nothing before that"
        over.set()


def test_an_upstream_that_is_lost_makes_the_call_unavailable(tmp_path: Path) -> None:
    root = repository(tmp_path, {"add": add_one()})
    with serve_process(root) as upstream, in_front(models__add__upstreams=f"[{upstream.grpc}]") as server:
        with grpc.insecure_channel(server.grpc) as channel:
            gate = threading.Event()

            def requests() -> Iterator[Any]:
                yield asked(1, "add")
                gate.wait(TIMEOUT)

            call = stream(channel)(requests(), timeout=TIMEOUT)
            assert next(call).infer_response.id == "1"
            upstream.signal_all(signal.SIGKILL)
            with pytest.raises(grpc.RpcError) as error:
                next(call)
            assert error.value.code() is grpc.StatusCode.UNAVAILABLE
            assert "upstream" in error.value.details()
            gate.set()
        nothing_is_left(server)


def test_with_no_upstream_to_be_had_each_message_is_answered_so(tmp_path: Path) -> None:
    root = repository(tmp_path, {"add": add_one()})
    with serve_process(root) as upstream, in_front(models__add__upstreams=f"[{upstream.grpc}]") as server:
        upstream.signal_all(signal.SIGKILL)
        wait_until(lambda: not server.application.upstreams[0].connected, "the loss to be seen")
        with grpc.insecure_channel(server.grpc) as channel:
            responses = list(stream(channel)(iter([asked(1, "add")]), timeout=TIMEOUT))
        assert "upstream" in responses[0].error_message


def test_an_answer_beyond_the_size_limit_ends_the_call() -> None:
    def large(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(messages)
        yield answer("1", bytes(2 * MiB))

    with relayed(large, limits__message_size="1MiB") as (_, _, channel):
        with pytest.raises(grpc.RpcError) as error:
            next(stream(channel)(iter([asked(1)]), timeout=TIMEOUT))
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "limits.message_size" in error.value.details()


def test_a_compressed_stream_is_read_by_the_guards_and_answered_compressed() -> None:
    with relayed(thrice) as (peer, _, channel):
        call = stream(channel)(iter([asked(1)]), timeout=TIMEOUT, compression=grpc.Compression.Gzip)
        assert ids(call) == ["1.0", "1.1", "1.2"]
        assert "grpc-encoding" not in peer.seen


def test_an_upstream_that_stops_ends_the_calls_on_it() -> None:
    peer = Peer(thrice)
    with listening(peer) as (address, upstream), in_front(upstreams=f"[{address}]") as server:
        with grpc.insecure_channel(server.grpc) as channel:
            gate = threading.Event()

            def requests() -> Iterator[Any]:
                yield asked(1)
                gate.wait(TIMEOUT)

            call = stream(channel)(requests(), timeout=TIMEOUT)
            next(call)
            upstream.stop(None)
            with pytest.raises(grpc.RpcError) as error:
                list(call)
            # it resets the call and closes the connection at once: the first of them that arrives tells the status
            assert error.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
            gate.set()
        nothing_is_left(server)


def test_a_server_that_stops_lets_go_of_both_sides() -> None:
    peer, gate = Peer(thrice), threading.Event()

    def requests() -> Iterator[Any]:
        yield asked(1)
        gate.wait(TIMEOUT)

    with listening(peer) as (address, _):
        with in_front(upstreams=f"[{address}]") as server:
            channel = grpc.insecure_channel(server.grpc)
            call = stream(channel)(requests(), timeout=TIMEOUT)
            next(call)
        with channel, pytest.raises(grpc.RpcError) as error:
            list(call)
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE
        assert peer.ended.wait(TIMEOUT)
        gate.set()


TOTAL, PIECE = 64 * MiB, 256 * 1024
# two of UNSENT_CAP and windows, messages that are being put together, and buffers that grow by half
BOUND = 8 * MiB


def watched(server: EmbeddedServer, done: threading.Event) -> list[int]:
    """The most bytes in flight that were seen until `done`."""
    data_plane = server.application.server
    assert data_plane is not None
    most = [0]

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], data_plane.totals()["inflight_bytes"])

    threading.Thread(target=watch, daemon=True).start()
    return most


def test_a_slow_client_holds_its_upstream_back() -> None:
    sent = [0]

    def much(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        next(messages)
        for _ in range(TOTAL // PIECE):
            sent[0] += PIECE
            yield answer("1", bytes(PIECE))

    done = threading.Event()
    with relayed(much) as (_, server, channel):
        most = watched(server, done)
        call = stream(channel)(iter([asked(1)]), timeout=60)
        received = len(next(call).infer_response.raw_output_contents[0])
        stands_still(sent)
        assert sent[0] < TOTAL / 2
        for response in call:
            received += len(response.infer_response.raw_output_contents[0])
        done.set()
        assert received == TOTAL
        assert most[0] < BOUND


def test_a_slow_upstream_holds_its_client_back() -> None:
    sent, gate = [0], threading.Event()

    def slow(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        gate.wait(TIMEOUT)
        yield answer(str(sum(len(m) for m in messages)))

    def requests() -> Iterator[Any]:
        row = np.zeros((1, PIECE // 4), np.float32)
        for _ in range(TOTAL // PIECE):
            sent[0] += PIECE
            yield asked(1, row=row)

    done = threading.Event()
    with relayed(slow) as (_, server, channel):
        most = watched(server, done)
        call = stream(channel)(requests(), timeout=60)
        stands_still(sent)
        assert sent[0] < TOTAL / 2
        gate.set()
        assert int(next(call).infer_response.id) > TOTAL
        done.set()
        assert most[0] < BOUND


def test_clients_that_do_not_read_stall_no_other_client() -> None:
    def much(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        if REQUEST.FromString(next(messages)).id == "quick":
            yield answer("quick")
            return
        for _ in range(16 * MiB // PIECE):
            sent[0] += PIECE
            yield answer("slow", bytes(PIECE))

    sent = [0]
    with relayed(much, threads=32) as (_, _, channel):
        slow = [stream(channel)(iter([asked(i)]), timeout=60) for i in range(20)]
        for call in slow:
            next(call)
        stands_still(sent)
        quick = stream(channel)(iter([request("decoupled", {"x": ROW}, id="quick")]), timeout=TIMEOUT)
        assert ids(quick) == ["quick"]
        for call in slow:
            call.cancel()


def stands_still(count: list[int]) -> None:
    """Waits until a counter has not moved for a quarter of a second."""
    last, since = -1, 0.0

    def still() -> bool:
        nonlocal last, since
        if count[0] != last:
            last, since = count[0], time.monotonic()
        return count[0] > 0 and time.monotonic() - since > 0.25

    wait_until(still, "the sender to be held back")


def test_a_hundred_cancelled_streams_leave_nothing_behind() -> None:
    with relayed(thrice) as (_, server, channel):
        for i in range(100):
            call = stream(channel)(iter([asked(i)]), timeout=TIMEOUT)
            if i % 2:
                next(call)
            call.cancel()
        nothing_is_left(server)


def echo(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from messages


def test_methods_that_are_not_known_here_pass_through_unread() -> None:
    with relayed(echo, passthrough="true") as (peer, _, channel):
        both = channel.stream_stream(UNKNOWN)(iter([b"\xff\xfe", b"", b"x" * 100_000]), timeout=TIMEOUT)
        assert list(both) == [b"\xff\xfe", b"", b"x" * 100_000]
        assert channel.unary_unary(UNKNOWN)(b"ask", timeout=TIMEOUT, metadata=(("who", "me"),)) == b"ask"
        assert peer.seen["who"] == "me"


def test_a_call_keeps_the_upstreams_that_a_reload_takes_away_until_it_has_ended(tmp_path: Path) -> None:
    with (
        listening(Peer(echo)) as (address, _),
        reloadable(tmp_path / "r", {"add": add_one()}, upstreams=f"[{address}]", passthrough="true") as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        assert server.application.server is not None
        pool = server.application.server.passthrough
        assert pool is not None
        sent: queue.Queue[Any] = queue.Queue()
        sent.put(b"one")
        before = sys.getrefcount(pool)
        call = channel.stream_stream(UNKNOWN)(iter(sent.get, None), timeout=TIMEOUT)
        assert next(call) == b"one"
        wait_until(lambda: sys.getrefcount(pool) == before + 1, "a reference of the call's own")
        server.reload(upstreams=None, passthrough=None)
        assert server.application.server.passthrough is None
        kept = sys.getrefcount(pool)
        sent.put(b"two")
        sent.put(None)
        assert list(call) == [b"two"]
        wait_until(lambda: sys.getrefcount(pool) == kept - 1, "it to be given back")


def test_without_passthrough_they_are_refused() -> None:
    with relayed(echo) as (_, _, channel):
        with pytest.raises(grpc.RpcError) as error:
            channel.unary_unary(UNKNOWN)(b"", timeout=TIMEOUT)
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_what_passes_through_is_limited_message_by_message() -> None:
    with relayed(echo, passthrough="true", limits__peer="{rate: 1/h, burst: 3}") as (_, _, channel):
        call = channel.stream_stream(UNKNOWN)(iter([b"a"] * 5), timeout=TIMEOUT)
        with pytest.raises(grpc.RpcError) as error:
            list(call)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def held_open(channel: grpc.Channel, peer: str, method: str = STREAM_INFER) -> tuple[grpc.Call, threading.Event]:
    """One more stream of this client, whose first request has its answer; and what ends it."""
    done = threading.Event()

    def messages() -> Iterator[bytes]:
        yield asked().SerializeToString() if method == STREAM_INFER else b"x"
        done.wait(TIMEOUT)

    return channel.stream_stream(method)(messages(), timeout=TIMEOUT, metadata=(("x-forwarded-for", peer),)), done


@pytest.mark.parametrize("method", [STREAM_INFER, UNKNOWN])
def test_one_callers_streams_leave_the_upstreams_to_others(method: str) -> None:
    """Of eight the first has four. They are free again once they have ended."""

    def each(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in messages:
            yield answer("0")

    settings = {"breaker": "{max_inflight: 8}", "trusted_proxies": "['127.0.0.1']", "passthrough": "true"}
    with relayed(each, **settings) as (_, server, channel):
        for _ in range(2):
            opened = []

            def let_in(peer: str) -> str:
                """Empty, or why not."""
                call, done = held_open(channel, peer, method)
                opened.append((call, done))  # noqa: B023 - a call that nothing refers to is cancelled
                try:
                    message = STREAM_RESPONSE.FromString(next(call))
                except grpc.RpcError as error:
                    told = refusal(error)
                    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RELAYED_STREAMS")
                    assert (told.retry_seconds, told.pushback_ms) == (0.1, 100), "after the delay in the answer"
                    return told.message
                return str(message.error_message)

            refused = [let_in("10.0.0.1") for _ in range(8)]
            assert [bool(each) for each in refused] == [False] * 4 + [True] * 4
            assert "their share of the upstream's" in refused[4]
            assert [bool(let_in("10.0.0.2")) for _ in range(4)] == [False, False, True, True]
            assert not let_in("10.0.0.3"), "there is room for a third"
            for _, done in opened:
                done.set()
            nothing_is_left(server)
