"""A real HTTP/2 client (h2) at the other end of a simulated transport; fixtures that end every simulation cleanly."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterable, Iterator

import h2.config
import h2.connection
import h2.events
import pytest
from h2.settings import SettingCodes, Settings

from loadtests.fuzz.models import open_models
from loadtests.fuzz.simulation import Peer, SimulatedLoop, Simulation, Site
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.served import Served
from tests.e2e.h2client import Reply, framed

INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM_INFER = "/inference.GRPCInferenceService/ModelStreamInfer"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
WATCH = "/grpc.health.v1.Health/Watch"

Start = Callable[..., Simulation]


@pytest.fixture(scope="module")
def models() -> list[Served]:
    return open_models()


@pytest.fixture
def start(models: list[Served]) -> Iterator[Start]:
    """Starts servers; at the end nothing may be left of any, and no error may have been raised unseen."""
    loop, site = SimulatedLoop(), Site(models)
    running: list[Simulation] = []
    unheard: list[object] = []
    before, sys.unraisablehook = sys.unraisablehook, unheard.append

    def simulation(limiter: Limiter | None = None, region: Region | None = None) -> Simulation:
        running[:] = [each for each in running if not each.ended]
        running.append(Simulation(loop, site, limiter, region))
        return running[-1]

    yield simulation
    for each in running:
        each.end()
    gc.collect()
    sys.unraisablehook = before
    loop.close()
    assert not unheard


class Client:
    """One connection. Nothing moves but in `send` and `read`."""

    def __init__(
        self, simulation: Simulation, address: tuple[str, int] | None = ("127.0.0.1", 50000), window: int = 65535
    ) -> None:
        self.simulation = simulation
        self.peer: Peer = simulation.connect(address)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=True, initial_values={SettingCodes.INITIAL_WINDOW_SIZE: window})
        self.replies: dict[int, Reply] = {}
        self.terminated: int | None = None
        self.withheld = b""  # until the next flush
        self.h2.initiate_connection()
        self.read()

    def flush(self, sizes: Iterable[int] = ()) -> None:
        data, self.withheld = self.withheld + self.h2.data_to_send(), b""
        self.peer.send(data, sizes)

    def begin(
        self, path: str = INFER, headers: Iterable[tuple[str, str]] = (), *, end: bool = False, withheld: int = 0
    ) -> int:
        """withheld: this many bytes of its headers are held back until there is more to send."""
        stream = self.h2.get_next_available_stream_id()
        usual = [
            (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "test"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        self.h2.send_headers(stream, [*usual, *headers], end_stream=end)
        self.replies[stream] = Reply()
        data = self.withheld + self.h2.data_to_send()
        self.withheld = data[len(data) - withheld :]
        self.peer.send(data[: len(data) - withheld])
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> int:
        """As much of it as the server's window allows; how much that was."""
        sent = 0
        while sent < len(data):
            size = min(len(data) - sent, self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size == 0:
                return sent
            self.h2.send_data(stream, data[sent : sent + size], end_stream=end and sent + size == len(data))
            sent += size
            self.flush()
            self.read()
        return sent

    def infer(self, message: bytes, headers: Iterable[tuple[str, str]] = ()) -> int:
        stream = self.begin(INFER, headers)
        self.send(stream, framed(message), end=True)
        return stream

    def call(self, message: bytes, headers: Iterable[tuple[str, str]] = ()) -> Reply:
        """A whole request and its whole answer."""
        stream = self.infer(message, headers)
        self.simulation.settle()
        self.read()
        assert self.replies[stream].over
        return self.replies[stream]

    def read(self) -> None:
        """Everything that has come, acknowledged."""
        while self.peer.taken:
            data = bytes(self.peer.taken)
            self.peer.taken.clear()
            for event in self.h2.receive_data(data):
                self.take(event)
            self.flush()

    def take(self, event: h2.events.Event) -> None:
        reply = self.replies.get(getattr(event, "stream_id", 0) or 0, Reply())
        match event:
            case h2.events.ResponseReceived():
                reply.headers = dict(event.headers)
            case h2.events.TrailersReceived():
                reply.trailers = dict(event.headers)
            case h2.events.DataReceived():
                reply.data += event.data
                if event.flow_controlled_length and not reply.over:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2.events.StreamEnded():
                reply.ended = True
            case h2.events.StreamReset():
                reply.reset = event.error_code
            case h2.events.ConnectionTerminated():
                self.terminated = event.error_code
