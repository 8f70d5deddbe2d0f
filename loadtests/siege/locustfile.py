"""The siege's Locust users: `locust -f loadtests/siege/locustfile.py --headless --host 127.0.0.1:PORT HonestTenant`.

Calls are grpcio's under gevent. A call is a Locust request named after what it asks; its failure is its gRPC status.
With SIEGE_LOG set, every call is also a line of that file: wall time in seconds, user, milliseconds, status.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any, TextIO

import gevent
import grpc
import grpc.experimental.gevent
import numpy as np
from locust import User, constant, constant_throughput, events, task

from loadtests.siege import tenants
from loadtests.siege.backend import FEATURES
from loadtests.tools import client

grpc.experimental.gevent.init_gevent()

DEADLINE_SECONDS = 1.0
GARBAGE_BYTES = 600
METADATA_KEY = "authorization"
KEYS = tenants.keys()


class Caller(User):
    """A client with a connection of its own, known by an API key."""

    abstract = True
    key: str | None = None

    def on_start(self) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channel = grpc.insecure_channel(self.host, options=options)
        self.infer = self.channel.unary_unary(client.INFER)

    def on_stop(self) -> None:
        self.channel.close()

    def call(self, name: str, message: bytes, timeout: float = DEADLINE_SECONDS, key: str | None = None) -> str:
        """The status that the call ends with."""
        key = key or self.key
        metadata = [(METADATA_KEY, f"Bearer {key}")] if key else []
        before, failed, size, status = time.perf_counter(), None, 0, "OK"
        try:
            size = len(self.infer(message, timeout=timeout, metadata=metadata))
        except grpc.RpcError as error:
            failed, status = error, str(error.code().name)
        milliseconds = (time.perf_counter() - before) * 1e3
        self.environment.events.request.fire(
            request_type="grpc", name=name, response_time=milliseconds, response_length=size, exception=failed,
            context={"user": type(self).__name__, "status": status},
        )  # fmt: skip
        return status


def rows(count: int, model: str = "light") -> bytes:
    values = np.random.default_rng().normal(size=(count, FEATURES)).astype(np.float32)
    encoded: bytes = client.request(model, {"x": values}).SerializeToString()
    return encoded


class HonestTenant(Caller):
    """Five requests a second, each of one ordinary row; one user in turn of every honest tenant.

    Each call is at a random moment around its turn: users that keep time fall into step under gevent, all twenty call
    at once, and wait for each other before the model server.
    """

    turn = 0
    pace = staticmethod(constant_throughput(5))

    def wait_time(self) -> float:
        seconds: float = self.pace(self) * random.uniform(0.5, 1.5)
        return seconds

    def on_start(self) -> None:
        super().on_start()
        self.key = KEYS.honest[HonestTenant.turn % len(KEYS.honest)]
        HonestTenant.turn += 1

    @task
    def ask(self) -> None:
        self.call("honest", rows(1))


class Flood(Caller):
    """One tenant's key, as many calls as the machine gives, from many connections."""

    wait_time = constant(0)
    key = KEYS.greedy

    @task
    def ask(self) -> None:
        if self.call("flood", rows(1)) != "OK":
            gevent.sleep(0.002)  # so that one core is not spent on refusals that the client makes itself


class Burst(Caller):
    """Nothing for a second, then a hundred calls at once."""

    wait_time = constant(1)
    key = KEYS.greedy

    @task
    def ask(self) -> None:
        message = rows(1)
        gevent.joinall([gevent.spawn(self.call, "burst", message) for _ in range(100)])


class SlowClient(Caller):
    """A large body that is sent in pieces, the stream left open in between."""

    wait_time = constant(0.1)
    key = KEYS.greedy

    @task
    def ask(self) -> None:
        def pieces() -> Any:
            for _ in range(10):
                yield rows(64)
                gevent.sleep(1)

        stream = self.channel.stream_stream(client.STREAM_INFER)
        before, failed, status = time.perf_counter(), None, "OK"
        try:
            for _ in stream(pieces(), timeout=15, metadata=[(METADATA_KEY, f"Bearer {self.key}")]):
                gevent.sleep(0.5)
        except grpc.RpcError as error:
            failed, status = error, str(error.code().name)
        self.environment.events.request.fire(
            request_type="grpc", name="slow", response_time=(time.perf_counter() - before) * 1e3, response_length=0,
            exception=failed, context={"user": type(self).__name__, "status": status},
        )  # fmt: skip


class BadInput(Caller):
    """Wrong shapes, wrong names, NaN, infinities, lies about lengths, garbage."""

    wait_time = constant_throughput(50)
    key = KEYS.greedy

    @task
    def ask(self) -> None:
        self.call("bad", random.choice((self.garbage, self.lie, self.strange, self.other))())

    def garbage(self) -> bytes:
        return os.urandom(GARBAGE_BYTES)

    def lie(self) -> bytes:
        request = client.request("light", {"x": np.ones((1, FEATURES), np.float32)})
        request.inputs[0].shape[:] = [2**40, FEATURES]
        encoded: bytes = request.SerializeToString()
        return encoded

    def strange(self) -> bytes:
        values = np.full((1, FEATURES), random.choice((np.nan, np.inf, -np.inf, 1e-45)), np.float32)
        encoded: bytes = client.request("light", {"x": values}).SerializeToString()
        return encoded

    def other(self) -> bytes:
        encoded: bytes = client.request(
            f"model-{random.random()}", {"x": np.ones((1, 1), np.float32)}
        ).SerializeToString()
        return encoded


class ExpensiveModel(Caller):
    """Few requests, each of which costs the backend twenty times as much."""

    wait_time = constant_throughput(10)
    key = KEYS.greedy

    @task
    def ask(self) -> None:
        self.call("expensive", rows(1, "expensive"))


class Rotation(Caller):
    """Another key with every call: none of them is anybody's."""

    wait_time = constant_throughput(100)

    @task
    def ask(self) -> None:
        self.call("rotation", rows(1), key=f"mw_{random.getrandbits(128):032x}")


_log: TextIO | None = None  # closed with the process, which flushes it


@events.init.add_listener
def _open_log(**_: object) -> None:
    global _log  # noqa: PLW0603 (Locust's listeners have no object of ours)
    path = os.environ.get("SIEGE_LOG")
    if path:
        _log = open(path, "w")  # noqa: SIM115 (open as long as the process is)


@events.request.add_listener
def _note(response_time: float, context: dict[str, str], **_: object) -> None:
    if _log is not None and "status" in context:
        _log.write(f"{time.time():.3f} {context['user']} {response_time:.3f} {context['status']}\n")
