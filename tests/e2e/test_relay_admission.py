"""Messages of a stream to an upstream's model: each holds a permit of that model until it is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from tests.e2e.messages import INFER, REQUEST, RESPONSE, STREAM_RESPONSE, Stub
from tests.e2e.test_relay import TIMEOUT, Behaviour, Peer, answer, asked, ids, in_front, listening, relayed, stream
from tests.support import EmbeddedServer, wait_until

SERVICE = 0.004
MESSAGES = 300
ROW_OUT = bytes(16)


class OneAtATime(Peer):
    """A server with one instance of its model: what comes, on streams or not, is done in the order in which it came."""

    def __init__(self) -> None:
        super().__init__(self.each)
        self.done: list[str] = []
        self.instance = ThreadPoolExecutor(1)
        self.going_on = threading.Event()
        self.going_on.set()

    def run(self, id: str) -> None:
        self.going_on.wait(TIMEOUT)
        time.sleep(SERVICE)
        self.done.append(id)

    def each(self, messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        """Takes every message at once, as Triton does."""
        runs = []

        def take() -> None:
            for message in messages:
                id = REQUEST.FromString(message).id
                runs.append((id, self.instance.submit(self.run, id)))

        taker = threading.Thread(target=take)
        taker.start()
        at = 0
        while taker.is_alive() or at < len(runs):
            if at == len(runs):
                time.sleep(0.001)
                continue
            id, run = runs[at]
            run.result()
            at += 1
            yield answer(id)

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self.unary) if details.method == INFER else super().service(details)

    def unary(self, message: bytes, context: grpc.ServicerContext) -> bytes:
        id = REQUEST.FromString(message).id
        self.instance.submit(self.run, id).result()
        response = RESPONSE(model_name="decoupled", id=id, raw_output_contents=[ROW_OUT])
        response.outputs.add(name="y", datatype="FP32", shape=[1, 4])
        return bytes(response.SerializeToString())


def messages_sent(sent: list[int], done: threading.Event, count: int = MESSAGES) -> Iterator[Any]:
    for i in range(count):
        sent[0] += 1
        yield asked(i)
    done.wait(TIMEOUT)


def unanswered(server: EmbeddedServer) -> int:
    return server.application.upstreams[0].messages


def test_a_stream_of_many_messages_leaves_the_backend_to_other_callers() -> None:
    peer, sent, done = OneAtATime(), [0], threading.Event()
    settings = {"models__decoupled__admission": "{concurrency: 2}", "trusted_proxies": "['127.0.0.1']"}
    with listening(peer) as (address, _), in_front(models__decoupled__upstreams=f"[{address}]", **settings) as server:
        with grpc.insecure_channel(server.grpc) as channel, Stub(server.grpc) as stub:
            call = stream(channel)(messages_sent(sent, done), timeout=60, metadata=[("x-forwarded-for", "10.0.0.1")])
            wait_until(lambda: sent[0] == MESSAGES and len(peer.done) > 3, "the stream to be under way")
            peer.going_on.clear()
            other = stub.future(asked("other"), metadata=[("x-forwarded-for", "10.0.0.2")])
            stub.ask("ServerLive")  # on the same connection: when this is answered, the one before it waits
            before = len(peer.done)
            peer.going_on.set()
            other.result()
            assert peer.done.index("other") < before + MESSAGES // 4
            done.set()
            assert ids(call) == [str(i) for i in range(MESSAGES)], "the stream gets all its answers, in its order"
        wait_until(lambda: unanswered(server) == 0, "the permits to be given back")


def test_messages_of_a_stream_are_charged_what_they_took() -> None:
    peer, done = OneAtATime(), threading.Event()
    done.set()
    settings = {"limits__identity": "{time: 1ms/s, burst: 40ms}", "trusted_proxies": "['127.0.0.1']"}
    with (
        listening(peer) as (address, _),
        in_front(models__decoupled__upstreams=f"[{address}]", **settings) as server,
        grpc.insecure_channel(server.grpc) as channel,
    ):
        refused: list[str] = []
        while not refused and len(peer.done) < 40:  # four at a time, answered before the next come
            call = stream(channel)(messages_sent([0], done, 4), timeout=TIMEOUT)
            refused = [r.error_message for r in call if r.error_message]
        assert "1 ms of backend time" in refused[0]
        assert len(peer.done) < 30


def flagged(id: str, *, final: bool) -> bytes:
    response = RESPONSE(model_name="decoupled", id=id)
    response.parameters["triton_final_response"].bool_param = final
    return bytes(STREAM_RESPONSE(infer_response=response).SerializeToString())


def test_a_message_is_unanswered_until_the_answer_that_says_it_is_the_last() -> None:
    last = threading.Event()

    def many(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        id = REQUEST.FromString(next(messages)).id
        while not last.is_set():
            yield flagged(id, final=False)
            time.sleep(0.002)
        yield flagged(id, final=True)
        yield from (answer("end") for _ in messages)

    done = threading.Event()
    with relayed(many) as (_, server, channel):
        call = stream(channel)(messages_sent([0], done, 1), timeout=TIMEOUT)
        seen = [unanswered(server) for _, _ in zip(range(50), call, strict=False)]
        assert any(seen[10:])
        wait_until(lambda: server.metric("modelward_upstream_messages") == 1, "the metric to tell of it")
        last.set()
        assert any(r.infer_response.parameters["triton_final_response"].bool_param for r in call)
        wait_until(lambda: unanswered(server) == 0, "the permit to be given back")
        done.set()


def in_parts(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    """Two answers to each message, which do not say which is the last."""
    for message in messages:
        id = REQUEST.FromString(message).id
        yield answer(id)
        yield answer(id)


def without_answers(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    count = sum(1 for _ in messages)
    yield answer(str(count))


def test_messages_whose_last_answer_cannot_be_told_hold_their_permits_for_a_bounded_time() -> None:
    count = 20

    def check(behaviour: Behaviour, expected: list[str]) -> None:
        done = threading.Event()
        done.set()
        with relayed(behaviour, models__decoupled__admission="{concurrency: 8}") as (_, _, channel):
            assert ids(stream(channel)(messages_sent([0], done, count), timeout=TIMEOUT)) == expected

    check(without_answers, [str(count)])
    check(in_parts, [str(i) for i in range(count) for _ in range(2)])


def test_a_stream_that_ends_gives_its_permits_back() -> None:
    def silent(messages: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for _ in messages:
            arrived.release()
        yield from ()

    arrived, done = threading.Semaphore(0), threading.Event()
    with relayed(silent, models__decoupled__admission="{concurrency: 2}") as (_, server, channel):
        for _ in range(3):
            call = stream(channel)(messages_sent([0], done, 3), timeout=TIMEOUT)
            for _ in range(2):
                assert arrived.acquire(timeout=TIMEOUT)
            call.cancel()
            wait_until(lambda: unanswered(server) == 0, "the permits to be given back")
        done.set()
