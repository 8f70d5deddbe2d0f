"""Admission in front of a real upstream: as many at a time as it can do, the others in turn."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
import pytest

from loadtests.tools import client
from modelward.config.schema import Config
from modelward.rpc.protocol import INFERENCE_SERVICE, message_class
from modelward.server.embedded import in_thread
from tests.support import Server, wait_until

MODEL = "m"
GRANTED = {"limits": {"identity": {"priority": "1-9"}}}  # every caller may ask for any


@dataclass
class Backend:
    """Counts how many requests it has at once; each is held until `gate` is set, then for `seconds`."""

    seconds: float = 0.0
    decoded: bool = True  # it tells its signature
    slow: dict[str, float] = field(default_factory=dict)  # seconds of requests whose id begins so
    held: dict[str, threading.Semaphore] = field(default_factory=dict)  # what ends those whose id begins so
    gate: threading.Event = field(default_factory=threading.Event)
    now: int = 0
    most: int = 0
    ids: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def infer(self, message: bytes, _context: Any) -> bytes:
        request: Any = message_class("inference.ModelInferRequest").FromString(message)
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            self.ids.append(request.id)
        self.gate.wait(60)
        whose = request.id.partition("-")[0]
        if whose in self.held:
            self.held[whose].acquire(timeout=60)
        # the service time of this backend, not a wait for anything
        time.sleep(self.slow.get(whose, self.seconds))
        with self.lock:
            self.now -= 1
        answer: Any = message_class("inference.ModelInferResponse")(model_name=MODEL, id=request.id)
        answer.outputs.add(name="y", datatype="FP32", shape=[1])
        answer.raw_output_contents.append(bytes(4))
        encoded: bytes = answer.SerializeToString()
        return encoded

    def metadata(self, _message: bytes, _context: Any) -> bytes:
        answer: Any = message_class("inference.ModelMetadataResponse")(name=MODEL, versions=["1"])
        answer.inputs.add(name="x", datatype="FP32", shape=[-1, 1])
        answer.outputs.add(name="y", datatype="FP32", shape=[-1])
        encoded: bytes = answer.SerializeToString()
        return encoded

    def ready(self, _message: bytes, _context: Any) -> bytes:
        return b"\x08\x01"


@contextmanager
def guarded(backend: Backend, around: dict[str, Any] | None = None, **settings: Any) -> Iterator[int]:
    """The port of a Modelward in front of the backend. around: settings beside `models`."""
    with guarding(backend, around, **settings) as server:
        yield int(server.grpc.rpartition(":")[2])


@contextmanager
def guarding(backend: Backend, around: dict[str, Any] | None = None, **settings: Any) -> Iterator[Server]:
    behaviours = {"ModelInfer": backend.infer, "ModelMetadata": backend.metadata, "ServerReady": backend.ready}
    if not backend.decoded:
        del behaviours["ModelMetadata"]
    handlers = {n: grpc.unary_unary_rpc_method_handler(b) for n, b in behaviours.items()}
    with futures.ThreadPoolExecutor(64) as threads:
        server = grpc.server(threads)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(INFERENCE_SERVICE, handlers),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            config = Config.model_validate({
                "listen": {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"},
                **(around or {}),
                "models": {MODEL: {"upstreams": [f"127.0.0.1:{port}"], **settings}},
            })  # fmt: skip
            with in_thread(config) as running:
                yield Server(str(running.grpc_address), str(running.http_address))
        finally:
            backend.gate.set()
            for held in backend.held.values():
                held.release(1_000)
            server.stop(0).wait()


def message(name: str, priority: int = 0) -> bytes:
    request = client.request(MODEL, {"x": np.ones((1, 1), np.float32)})
    request.id = name
    if priority:
        request.parameters["priority"].uint64_param = priority
    encoded: bytes = request.SerializeToString()
    return encoded


class Caller:
    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.use_local_subchannel_pool", 1)])
        self.infer = self.channel.unary_unary(client.INFER)

    def begin(self, name: str, priority: int = 0, timeout: float = 60.0, address: str = "") -> Any:
        """address: the caller's, by the word of a trusted proxy."""
        metadata = (("x-forwarded-for", address),) if address else None
        return self.infer.future(message(name, priority), timeout=timeout, metadata=metadata)


@pytest.fixture
def backend() -> Backend:
    return Backend()


def test_no_more_than_its_places_reach_the_backend_and_all_are_answered(backend: Backend) -> None:
    with guarded(backend, admission={"concurrency": 3}) as port:
        calls = [Caller(port).begin(str(i)) for i in range(20)]
        wait_until(lambda: backend.now == 3, "the backend to have them")
        backend.gate.set()
        assert [len(call.result()) > 0 for call in calls] == [True] * 20
    assert backend.most == 3


def test_a_higher_priority_goes_first_and_equals_in_turn(backend: Backend) -> None:
    with guarded(backend, GRANTED, admission={"concurrency": 1}) as port:
        caller = Caller(port)
        first = caller.begin("first")
        wait_until(lambda: backend.now == 1, "the backend to have them")
        names = ["low", "ordinary", "high"]
        calls = []
        for name, priority in zip(names, (9, 0, 1), strict=True):
            calls.append(caller.begin(name, priority))
            # one after the other reaches the queue: each call on one connection, in order
        caller.channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(b"", timeout=60)
        backend.gate.set()
        for call in [first, *calls]:
            call.result()
    assert backend.ids == ["first", "high", "ordinary", "low"]


def test_a_full_queue_refuses_at_once_and_says_not_to_come_back(backend: Backend) -> None:
    with guarded(backend, GRANTED, admission={"concurrency": 1, "queue": 2}) as port:
        caller = Caller(port)
        calls = [caller.begin("0")]
        wait_until(lambda: backend.now == 1, "the backend to have them")
        calls += [caller.begin(str(i)) for i in (1, 2)]
        with pytest.raises(grpc.RpcError) as refused:
            caller.begin("3").result()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE
        assert "do not retry at once" in refused.value.details()
        assert ("grpc-retry-pushback-ms", "-1") in refused.value.trailing_metadata()
        # one of higher priority takes the place of the last
        urgent = caller.begin("urgent", priority=1)
        with pytest.raises(grpc.RpcError, match="took the place"):
            calls[2].result()
        backend.gate.set()
        for call in (calls[0], calls[1], urgent):
            call.result()
    assert backend.ids == ["0", "urgent", "1"]


def test_who_cannot_be_served_in_time_is_told_at_once(backend: Backend) -> None:
    backend.seconds = 0.05
    backend.gate.set()
    with guarded(backend, admission={"concurrency": 1}) as port:
        caller = Caller(port)
        for call in [caller.begin(str(i)) for i in range(20)]:  # what a turn takes is learned
            call.result()
        backend.gate.clear()
        calls = [caller.begin(str(i)) for i in range(100)]
        wait_until(lambda: backend.now == 1, "the backend to have them")
        with pytest.raises(grpc.RpcError) as refused:
            caller.begin("hopeless", timeout=2.5).result()
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE, "DEADLINE_EXCEEDED would be the client's own"
        assert "before this model's turn comes" in refused.value.details()
        backend.seconds = 0.0
        backend.gate.set()
        for call in calls:
            call.result()
    assert "hopeless" not in backend.ids


def test_slow_requests_of_one_caller_do_not_make_deadlines_of_others_hopeless() -> None:
    backend = Backend(0.005, slow={"bob0": 0.8, "bob1": 1.1, "bob2": 1.3})  # with 16 places one gets free every 70 ms
    backend.gate.set()
    with guarded(backend, {"trusted_proxies": ["127.0.0.1"]}, admission={"concurrency": 16}) as port:
        alice, bob = Caller(port), Caller(port)
        slow: list[Any] = []
        number = itertools.count()

        def keep_slow_ones() -> bool:
            slow[:] = [call for call in slow if not call.done()]
            while len(slow) < 40:
                slow.append(bob.begin(f"bob{next(number) % 3}-", address="10.0.0.66"))
            return len(backend.ids) > 48

        wait_until(keep_slow_ones, "what the backend usually takes to be what bob's take")
        codes = []
        for _ in range(20):
            keep_slow_ones()
            call = alice.begin("alice-", timeout=1.0, address="10.0.0.1")
            codes.append(grpc.StatusCode.OK if call.exception() is None else call.code())
        for call in slow:
            call.cancel()
    assert codes.count(grpc.StatusCode.UNAVAILABLE) <= 1, "none of hers is known before the first"
    assert codes.count(grpc.StatusCode.OK) >= 10, "a busy machine may make some of them late"


def test_a_fallback_answers_who_is_refused_for_want_of_a_place(backend: Backend) -> None:
    fallback = {"value": {"y": [0.5]}}
    with guarded(backend, admission={"concurrency": 1, "queue": 0}, fallback=[fallback]) as port:
        caller = Caller(port)
        first = caller.begin("first")
        wait_until(lambda: backend.now == 1, "the backend to have them")
        answer: Any = message_class("inference.ModelInferResponse").FromString(caller.begin("second").result())
        assert answer.parameters["modelward_fallback"].string_param == "overload"
        backend.gate.set()
        first.result()


def test_who_waits_and_goes_away_leaves_the_queue(backend: Backend) -> None:
    with guarding(backend, admission={"concurrency": 1, "queue": 1}) as server:

        def wait_for_waiting(count: int) -> None:
            wait_until(lambda: server.metric("modelward_waiting", model=MODEL) == count, f"{count} to wait")

        caller = Caller(int(server.grpc.rpartition(":")[2]))
        first = caller.begin("first")
        wait_until(lambda: backend.now == 1, "the backend to have them")
        gone = caller.begin("gone")
        wait_for_waiting(1)
        assert gone.cancel()
        wait_for_waiting(0)
        second = caller.begin("second")
        wait_for_waiting(1)
        assert "too many requests wait" in caller.begin("third").exception().details()
        backend.gate.set()
        first.result()
        second.result()
    assert backend.ids == ["first", "second"]


def test_places_of_who_was_cancelled_with_the_backend_are_given_on(backend: Backend) -> None:
    with guarded(backend, admission={"concurrency": 2}) as port:
        caller = Caller(port)
        stuck = [caller.begin(f"stuck{i}") for i in range(2)]
        wait_until(lambda: backend.now == 2, "the backend to have them")
        patient = caller.begin("patient")
        for call in stuck:
            call.cancel()
        wait_until(lambda: "patient" in backend.ids, "the backend to have them")
        backend.gate.set()
        patient.result()


def test_off_lets_all_through(backend: Backend) -> None:
    with guarded(backend, admission={"concurrency": "off"}) as port:
        calls = [Caller(port).begin(str(i)) for i in range(10)]
        wait_until(lambda: backend.now == 10, "the backend to have them")
        backend.gate.set()
        assert Counter(len(call.result()) > 0 for call in calls) == {True: 10}
