"""A byte string read as what the model servers behind us do: the input language of the fuzzer of outgoing connections.

A client asks for models of two upstreams, in calls and in streams, with hedging, retries and fallbacks between them;
the bytes say what each upstream answers, breaks, withholds and closes, and when.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from loadtests.fuzz import frames
from loadtests.fuzz.simulation import Peer, SimulatedLoop, Simulation, Site
from modelward.rpc.protocol import message_class
from modelward_native.backend.breaker import Policy
from modelward_native.backend.connection import BufferedUpstream
from modelward_native.backend.engine import Engine, Remote
from modelward_native.backend.pool import Endpoint, Pool
from modelward_native.limits.limit import Limiter
from modelward_native.request.last_good import LastGoodAnswers
from modelward_native.request.served import Served
from modelward_native.shadow.shadow import Shadow, link_shadow

STEPS = 256  # of one input
OUTPUT_CAP = 64 << 20  # bytes towards clients and upstreams of one input
SECOND = 1_000_000_000
NAME = "add"

REQUEST = message_class("inference.ModelInferRequest")
RESPONSE = message_class("inference.ModelInferResponse")
STREAM_RESPONSE = message_class("inference.ModelStreamInferResponse")
SIGNATURE = ((("x", "FP32", (-1, 4)),), (("y", "FP32", (-1, 4)),))
VALUE: list[tuple[tuple[int, ...], bytes, bool]] = [((1, 4), bytes(16), True)]
PATHS = [
    b"/inference.GRPCInferenceService/ModelInfer",
    b"/inference.GRPCInferenceService/ModelStreamInfer",
    b"/nothing/Here",
]
MODELS = ["bare", NAME, "second", "hedged", "kept"]
ERRORS = [0, 1, 2, 5, 7, 8, 11, 0xFFFFFFFF]
HEADERS: list[list[frames.Header]] = [
    [(b":status", b"200"), (b"content-type", b"application/grpc")],
    [(b":status", b"200"), (b"content-type", b"text/html")],
    [(b":status", b"503")],
    [(b":status", b"100")],
    [(b":status", b"9999")],
    [(b"content-type", b"application/grpc")],
    [(b":status", b"200"), (b"grpc-encoding", b"gzip"), (b"x-long", b"v" * 9000)],
    [(b":status", b"200"), *((b"x-%d" % i, b"v" * 200) for i in range(100))],
    [(b"grpc-status", b"0")],
    [(b"grpc-status", b"14"), (b"grpc-message", b"not%20now%0A%ff")],
    [(b"grpc-status", b"13"), (b"grpc-status-details-bin", b"AAEC"), (b"grpc-message", b"m" * 9000)],
    [(b"grpc-status", b"3"), (b"grpc-status", b"17"), (b"grpc-message", b"one"), (b"grpc-message", b"two")],
    [(b"grpc-status", b"-1")],
    [(b"grpc-status", b"")],
    [(b":status", b"200"), (b"grpc-status", b"0"), (b"modelward-fallback", b"forged")],
    [],
]


METADATA: list[list[frames.Header]] = [
    [],
    [(b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01")],
    [(b"x-request-id", b""), (b"traceparent", b"x")],
    [(b"x-%d" % i, b"v" * 100) for i in range(60)],
    [(b"x-long", b"v" * 12_000)],
    [(b"authorization", b"Bearer t"), (b"cookie", b"a=b"), (b"x-forwarded-for", b"192.0.2.1"), (b"key-bin", b"AAEC")],
    [(b"grpc-accept-encoding", b"gzip"), (b"modelward-shadow", b"1"), (b"modelward-identity", b"forged")],
    [(b"proxy-x", b"1"), (b"x-\xc3\xa9".lower(), b"\xff\x80")],
]


def _request(model: str, rows: int = 1, **parameters: int) -> bytes:
    request = REQUEST(model_name=model, id="" if model == "kept" else "1")
    request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    request.raw_input_contents.append(np.ones((rows, 4), np.float32).tobytes())
    for key, value in parameters.items():
        request.parameters[key].int64_param = value
    return bytes(request.SerializeToString())


def _answer(rows: int = 1, name: str = NAME) -> bytes:
    response = RESPONSE(model_name=name, model_version="1", id="1", raw_output_contents=[bytes(16 * rows)])
    response.outputs.add(name="y", datatype="FP32", shape=[rows, 4])
    return bytes(response.SerializeToString())


REQUESTS = [
    *(_request(model) for model in MODELS),
    _request(NAME, 3000),
    _request("hedged", timeout=20_000),
    _request("kept", sequence_id=7),
]
ANSWERS = [
    _answer(),
    _answer(3000),
    b"",
    b"\xff" * 40,
    _answer(name="n" * 300),
    STREAM_RESPONSE(infer_response=RESPONSE.FromString(_answer())).SerializeToString(),
    STREAM_RESPONSE(error_message="no").SerializeToString(),
]


def _served(name: str, pool: Pool) -> Served:
    return Served(Engine(name, "1", Remote(*SIGNATURE, pool)))


class RemoteSite(Site):
    """Models of two upstreams: plain, with a fallback chain to another of them and a value, hedged, with last good
    answers; three are shadowed by other versions on the same upstreams."""

    def __init__(self) -> None:
        self.pools = [Pool([]), Pool([], 0.5, True)]
        first, second = self.pools
        bare, add, fallback = (_served(name, first) for name in ("bare", NAME, "second"))
        hedged, kept = (_served(name, second) for name in ("hedged", "kept"))
        add.set_fallbacks([fallback, VALUE])
        hedged.set_fallbacks([VALUE])
        kept.set_fallbacks([LastGoodAnswers(16, SECOND, 2**24)])
        add.set_deadline(50_000_000)
        for shadowed, pool, deadline in ((add, second, SECOND), (hedged, first, 20_000_000), (kept, second, SECOND)):
            shadow = Served(Engine(shadowed.name, "2", Remote((), (), pool)))
            link_shadow(shadowed, Shadow(shadow, "2", b"fingerprint", deadline=deadline, permits=4), b"content")
        super().__init__([bare, add, fallback, hedged, kept])


class Script:
    """Reads and plays one input."""

    def __init__(self, data: bytes, simulation: Simulation, endpoints: list[Endpoint]) -> None:
        self.data = data
        self.at = 1
        self.simulation = simulation
        self.endpoints = endpoints
        self.client = self.connect_client()
        self.upstreams = [self.connect(endpoint) for endpoint in endpoints]
        self.calls = 0
        self.steps: list[Callable[[int], None]] = [
            self.infer, self.infer, self.stream, self.message, self.raw, self.answer, self.answer,
            self.headers, self.data_frame, self.reset, self.goaway, self.control, self.lose, self.tick,
            self.advance, self.client_step,
        ]  # fmt: skip

    # ---- reading

    @property
    def over(self) -> bool:
        return self.at >= len(self.data)

    def byte(self) -> int:
        if self.over:
            return 0
        self.at += 1
        return self.data[self.at - 1]

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def stream_id(self) -> int:
        """Small and mostly odd, as we number ours."""
        choice = self.byte()
        return 2 * (choice & 15) + 1 if choice < 240 else choice - 240

    # ---- playing

    def play(self) -> None:
        for _ in range(STEPS):
            if self.over:
                return
            choice = self.byte()
            self.steps[choice & 15](choice >> 7)

    def connect_client(self) -> Peer:
        peer = self.simulation.connect()
        peer.send(frames.PREFACE + frames.settings())
        return peer

    def connect(self, endpoint: Endpoint) -> Peer:
        protocol = BufferedUpstream(self.simulation.server.listener, endpoint)
        peer = self.simulation.attach(protocol)
        if self.data[0] & 1 == 0:  # else the script brings the server's settings itself, or none
            peer.send(frames.settings())
        return peer

    def upstream(self, which: int) -> Peer:
        """Connected again where either side has closed."""
        if not self.upstreams[which].open:
            self.upstreams[which] = self.connect(self.endpoints[which])
        return self.upstreams[which]

    def open_client(self) -> Peer:
        if not self.client.open:
            self.client, self.calls = self.connect_client(), 0
        return self.client

    def begin(self, path: bytes, more: list[frames.Header]) -> int:
        """A call of the client's: its stream."""
        client = self.open_client()
        stream = 2 * self.calls + 1
        self.calls += 1
        client.send(frames.headers(stream, frames.request_headers(path, more)))
        return stream

    def infer(self, which: int) -> None:
        flags = self.byte()
        timeout = [(b"grpc-timeout", b"30m")] if flags & 128 else []
        stream = self.begin(PATHS[0], [*METADATA[flags >> 3 & 7], *timeout])
        self.client.send(frames.data(stream, frames.message(REQUESTS[flags % len(REQUESTS)]), end=True))

    def stream(self, which: int) -> None:
        """Opens a stream, or an unknown method's, with a first message."""
        flags = self.byte()
        timeout = [(b"grpc-timeout", b"30m")] if flags & 64 else []
        stream = self.begin(PATHS[1 + (flags >> 7)], [*METADATA[flags >> 3 & 7], *timeout])
        self.client.send(frames.data(stream, frames.message(REQUESTS[(flags & 63) % len(REQUESTS)])))

    def message(self, which: int) -> None:
        """One more message on a stream, or its end."""
        stream, flags = self.stream_id(), self.byte()
        payload = frames.message(REQUESTS[(flags & 63) % len(REQUESTS)]) if flags & 64 else b""
        self.open_client().send(frames.data(stream, payload, end=flags & 128 != 0))

    def raw(self, which: int) -> None:
        """Bytes as they are, all at once or in pieces of one size."""
        size, piece = self.byte() << 8 | self.byte(), self.byte()
        data = self.take(size)
        self.upstream(which).send(data, [piece] * (len(data) // piece + 1) if piece else ())

    def answer(self, which: int) -> None:
        """What a sound server sends, as a whole."""
        stream, choice = self.stream_id(), self.byte()
        head = frames.headers(stream, HEADERS[0])
        body = frames.data(stream, frames.message(ANSWERS[(choice & 15) % len(ANSWERS)]) * (1 + (choice >> 6)))
        self.upstream(which).send(head + body + frames.headers(stream, HEADERS[8], end=True))

    def headers(self, which: int) -> None:
        stream, choice = self.stream_id(), self.byte()
        self.upstream(which).send(frames.headers(stream, HEADERS[choice & 15], end=choice & 128 != 0))

    def data_frame(self, which: int) -> None:
        """A message whole, cut, padded, or of another size than it says."""
        stream, flags, cut = self.stream_id(), self.byte(), self.byte()
        size = struct.unpack(">I", (self.take(4) + bytes(4))[:4])[0] if flags & 32 else None
        payload = frames.message(ANSWERS[(flags & 7) % len(ANSWERS)], compressed=flags & 16 != 0, size=size)
        payload = payload[: len(payload) - cut % len(payload)]
        end = flags & 128 != 0
        if flags & 64:
            payload = bytes([cut & 15]) + payload[:16000] + bytes(cut & 15)
            frame = frames.frame(frames.DATA, stream, payload, frames.PADDED | (frames.END_STREAM if end else 0))
        else:
            frame = frames.data(stream, payload, end=end)
        self.upstream(which).send(frame)

    def reset(self, which: int) -> None:
        code = struct.pack(">I", ERRORS[self.byte() & 7])
        self.upstream(which).send(frames.frame(frames.RST_STREAM, self.stream_id(), code))

    def goaway(self, which: int) -> None:
        last, code = self.stream_id(), ERRORS[self.byte() & 7]
        self.upstream(which).send(frames.frame(frames.GOAWAY, 0, struct.pack(">II", last, code)))

    def control(self, which: int) -> None:
        """SETTINGS, PING and its answer, WINDOW_UPDATE, or any other frame."""
        kind, flags = self.byte(), self.byte()
        upstream = self.upstream(which)
        if kind & 3 == 0:
            upstream.send(frames.settings({flags & 7: 0 if flags & 128 else 1 << (self.byte() & 31)}))
        elif kind & 3 == 1:
            upstream.send(frames.frame(frames.PING, 0, bytes(8), flags & frames.ACK) * (1 + (flags >> 3)))
        elif kind & 3 == 2:
            upstream.send(
                frames.frame(frames.WINDOW_UPDATE, self.stream_id() ^ 1, struct.pack(">I", 1 << (flags & 31)))
            )
        else:
            stream = self.stream_id() if flags & 64 else 0
            upstream.send(frames.frame(kind >> 4, stream, self.take(self.byte()), flags & 45))

    def lose(self, which: int) -> None:
        """The connection goes, stops being read, or is read again."""
        choice = self.byte() & 3
        upstream = self.upstream(which)
        if choice == 0:
            upstream.leave()
        elif choice == 1:
            upstream.protocol.eof_received()
            upstream.transport.close()
        else:
            upstream.transport.let_read(choice == 2)

    def tick(self, which: int) -> None:
        self.simulation.loop.tick(1 + (self.byte() & 3))

    def advance(self, which: int) -> None:
        """1 ms to a minute."""
        self.simulation.loop.advance((1 << (self.byte() & 15)) / 1000)

    def client_step(self, which: int) -> None:
        """The client lets go of a call, opens or shuts its windows, stops reading, leaves."""
        choice, client = self.byte(), self.open_client()
        if choice & 3 == 0:
            client.send(frames.frame(frames.RST_STREAM, self.stream_id(), struct.pack(">I", 8)))
        elif choice & 3 == 1:
            client.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0 if choice & 4 else 1 << 20}))
        elif choice & 3 == 2:
            client.transport.let_read(choice & 4 == 0)
            client.send(b"")
        else:
            client.leave()


def play(data: bytes, loop: SimulatedLoop, site: RemoteSite) -> None:
    """One input on a server of its own. AssertionError where something is left behind or too much was written."""
    if not data:
        return
    loop.skew_ns = 0
    simulation = Simulation(loop, site, Limiter(1024, b"0123456789abcdef"))
    choice = data[0]
    simulation.server.listener.set_sizes(300 if choice & 4 else 1 << 20, 8192 if choice & 8 else 64 << 20, 128)
    policy = Policy(max_inflight=2) if choice & 16 else Policy()
    endpoints = [Endpoint(f"127.0.0.1:{port}", f"127.0.0.1:{port}", policy) for port in (1, 2)]
    for pool in site.pools:
        pool.replace(endpoints)
    if choice & 2:
        simulation.server.serve(simulation.directory, site.pools[0])
    script = Script(data, simulation, endpoints)
    script.play()
    simulation.loop.tick(2)
    written = sum(len(peer.taken) + len(peer.transport.unsent) for peer in simulation.peers)
    assert written <= OUTPUT_CAP, f"{written} bytes of answers to {len(data)} bytes"
    simulation.end()
    assert not any(endpoint.inflight for endpoint in endpoints), "calls are left on an upstream"
    assert not any(endpoint.connected for endpoint in endpoints), "an upstream that has gone is still connected"
    for pool in site.pools:
        pool.replace([])
