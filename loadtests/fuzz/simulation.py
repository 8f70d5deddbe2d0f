"""The data plane without sockets or waiting: a loop whose time a test moves, transports that are lists of bytes.

What runs is the real thing from the protocol object down: nghttp2, the pipeline, ONNX Runtime, the cold methods.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Iterable
from typing import Any

from modelward.models.catalog import Catalog, CatalogEntry
from modelward.rpc.protocol import RpcError
from modelward.server import methods
from modelward.server.readiness import Readiness
from modelward.telemetry.native_snapshot import statistics
from modelward.tensors import TensorSpec
from modelward_native.backend.connection import UpstreamConnection
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.route import Directory
from modelward_native.request.served import Served
from modelward_native.request.server import Server
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.call import Call
from modelward_native.wire.connection import Connection

LONGEST_TIMER = 4000.0  # seconds; idle connections are watched for an hour
THREAD_SECONDS = 60.0  # what a run in a worker thread may take before a simulation calls it stuck


class _Selector(selectors.DefaultSelector):
    """Sees what is ready and waits only when told to: simulated timers are nothing to wait for."""

    select_timeout = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return super().select(self.select_timeout)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Runs one iteration at a time. Its clock is the machine's plus what `advance` has added."""

    def __init__(self) -> None:
        self.skew_ns = 0
        self.complaints: list[dict[str, Any]] = []
        self._waiting_selector = _Selector()
        super().__init__(self._waiting_selector)
        self.set_exception_handler(lambda _, context: self.complaints.append(context))

    def now_ns(self) -> int:
        return time.monotonic_ns() + self.skew_ns

    def time(self) -> float:
        return self.now_ns() / 1e9

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.call_soon(self.stop)
            self.run_forever()

    def advance(self, seconds: float) -> None:
        """Moves the clock, and runs what that makes due."""
        self.skew_ns += int(seconds * 1e9)
        self.tick(2)

    def rewind(self) -> None:
        """Back to the machine's time. Cancelled timers, which asyncio keeps until they are due, are gone."""
        self.advance(LONGEST_TIMER)
        self.skew_ns = 0

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits for worker threads, the one thing that takes real time."""
        deadline = time.monotonic() + THREAD_SECONDS
        self._waiting_selector.select_timeout = 0.01
        try:
            while not condition():
                assert time.monotonic() < deadline, "a run in a worker thread does not end"
                self.tick()
        finally:
            self._waiting_selector.select_timeout = 0.0


class SimulatedTransport(asyncio.Transport):
    """What a socket would be to the protocol. `reads` False: the client takes nothing, and the write buffer fills."""

    def __init__(
        self, loop: SimulatedLoop, protocol: Connection | UpstreamConnection, peer: tuple[str, int] | None
    ) -> None:
        super().__init__({"peername": peer})
        self.loop = loop
        self.protocol = protocol
        self.reads = True
        self.taken = bytearray()  # by the client
        self.unsent = bytearray()
        self.reading = True
        self.lost = False
        self.aborted = False
        self._closing = False
        self._paused = False
        self._high = 65536

    def write(self, data: Any) -> None:
        assert not self.lost, "written to after connection_lost"
        if self._closing:
            return
        self.unsent += data
        self._move()
        if len(self.unsent) > self._high and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def _move(self) -> None:
        if self.reads:
            self.taken += self.unsent
            self.unsent.clear()

    def let_read(self, reads: bool) -> None:
        self.reads = reads
        self._move()
        if not self.unsent and self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if not self.unsent and self._closing:
            self._lose()

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high is not None
        self._high = high

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        self._closing = True
        if not self.unsent:
            self._lose()

    def abort(self) -> None:
        self._closing = True
        self.aborted = True
        self.unsent.clear()
        self._lose()

    def _lose(self) -> None:
        self.loop.call_soon(self.lose, None)

    def lose(self, error: Exception | None) -> None:
        """The socket has gone."""
        if not self.lost:
            self.lost = True
            self._closing = True
            self.protocol.connection_lost(error)


class Peer:
    """The other end of one connection, a client's or an upstream's: bytes in, bytes out."""

    def __init__(
        self, simulation: Simulation, protocol: Connection | UpstreamConnection, address: tuple[str, int] | None
    ) -> None:
        self.simulation = simulation
        self.protocol = protocol
        self.transport = SimulatedTransport(simulation.loop, self.protocol, address)
        self.waiting = bytearray()  # sent by the peer, not read by the server yet
        self.protocol.connection_made(self.transport)

    @property
    def taken(self) -> bytearray:
        return self.transport.taken

    @property
    def open(self) -> bool:
        return not self.transport.is_closing()

    def send(self, data: bytes, sizes: Iterable[int] = ()) -> None:
        """Delivers what the server is willing to read; sizes: of the first pieces it comes in."""
        self.waiting += data
        pieces = iter(sizes)
        while self.waiting and self.transport.reading and self.open:
            view = self.protocol.get_buffer(-1)
            size = min(next(pieces, len(view)) or 1, len(view), len(self.waiting))
            view[:size] = self.waiting[:size]
            del self.waiting[:size]
            self.protocol.buffer_updated(size)

    def leave(self) -> None:
        """The peer closes, whatever is under way."""
        self.transport.lose(None)


class Site:
    """What is served: open models, and the cold methods that tell about them. Takes milliseconds; one per loop."""

    def __init__(self, models: list[Served]) -> None:
        self.models = models
        readiness = Readiness()
        readiness.set(True)
        catalog = Catalog(map(_version, models))
        self.dispatcher = methods.Dispatcher(methods.build(lambda: catalog, readiness))


class Simulation:
    """One server on one simulated loop. Models are Served objects, which one simulation after another may use, not two
    at a time: a worker thread tells the scheduler that began it."""

    def __init__(
        self, loop: SimulatedLoop, site: Site, limiter: Limiter | None = None, region: Region | None = None
    ) -> None:
        self.loop = loop
        self.models = site.models
        # a run goes on, and holds its request, when no client waits for it any more
        self.engines = [model.engine for model in site.models]
        self.engines += [shadow.served.engine for model in site.models for shadow, _ in model.shadows]
        self.wheel = Wheel(loop, loop.now_ns)
        self.directory = Directory([[model] for model in site.models])
        self.server = Server(self.wheel, limiter or Limiter(1024), self.directory, region)
        self.peers: list[Peer] = []
        self.ended = False
        dispatcher = site.dispatcher

        async def answer(call: Call) -> None:
            try:
                await dispatcher.dispatch(call.path, call, call, call.send)
            except RpcError as error:
                call.finish(int(error.code), error.message, error.reason)
            else:
                call.finish(0)

        self.server.start(loop, answer, dispatcher.kinds, dispatcher.streaming, dispatcher.client_streaming)

    def connect(self, address: tuple[str, int] | None = ("127.0.0.1", 50000)) -> Peer:
        return self.attach(self.server.listener(), address)

    def attach(self, protocol: Connection | UpstreamConnection, address: tuple[str, int] | None = None) -> Peer:
        """A connection that is not the listener's: an upstream's."""
        peer = Peer(self, protocol, address)
        self.peers.append(peer)
        return peer

    def settle(self) -> None:
        """Runs until nothing is under way that needs no further bytes or time from outside."""
        self.loop.tick(3)
        server, engines = self.server, self.engines
        self.loop.wait_until(
            lambda: not (server.busy or server.mirroring or server.inflater.busy or any(one.running for one in engines))
        )
        self.loop.tick(3)

    def end(self) -> None:
        """Every client leaves; what is left is asserted to be nothing."""
        if self.ended:
            return
        self.ended = True
        for peer in self.peers:
            peer.leave()
        self.settle()
        totals = self.server.totals()
        left = {key: totals[key] for key in ("inflight", "connections", "inflight_bytes") if totals[key]}
        assert not left, f"left behind: {left}"
        assert self.wheel.next_ns() is None, "a timer is left in the wheel"
        tasks = asyncio.all_tasks(self.loop)
        assert not tasks, f"calls left behind: {tasks}"
        self.server.stop()
        self.wheel.close()
        assert not self.loop.complaints, self.loop.complaints


def _version(served: Served) -> CatalogEntry:
    return CatalogEntry(
        name=served.name,
        version=served.version,
        inputs=_specs(served.engine.inputs),
        outputs=_specs(served.engine.outputs),
        statistics=lambda: statistics(served.engine),
        batchable=served.engine.batchable,
        max_batch=64,
        ready=True,
    )


def _specs(seen: list[tuple[str, str, tuple[int, ...]]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, datatype, shape, (None,) * len(shape)) for name, datatype, shape in seen)
