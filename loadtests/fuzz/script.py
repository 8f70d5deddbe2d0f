"""A byte string read as what one or two clients do to a server: the input language of the connection fuzzer.

The first byte chooses the server, every further step begins with a byte that chooses what happens. Whatever the bytes
are, they mean something, so that mutations stay programs; recordings of real clients are RAW steps (seeds.py).
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable

import numpy as np

from loadtests.fuzz import frames
from loadtests.fuzz.simulation import Peer, SimulatedLoop, Simulation, Site
from modelward.access.rules import Rules
from modelward.config.access import Rule
from modelward.config.proxies import networks
from modelward.rpc.protocol import message_class
from modelward.server.health import prepared
from modelward_native.access.access import Access
from modelward_native.access.attempts import Attempt
from modelward_native.limits.limit import Limiter
from modelward_native.wire.connection import Connection

STEPS = 256  # of one input
OUTPUT_CAP = 64 << 20  # bytes towards the clients of one input
MESSAGE_SIZE = 1 << 20
SECOND = 1_000_000_000

REQUEST = message_class("inference.ModelInferRequest")
INFERENCE = b"/inference.GRPCInferenceService/"
PATHS = [
    INFERENCE + b"ModelInfer", INFERENCE + b"ModelStreamInfer", INFERENCE + b"ServerLive", INFERENCE + b"ModelMetadata",
    INFERENCE + b"ModelConfig", INFERENCE + b"ModelStatistics", INFERENCE + b"RepositoryIndex",
    b"/grpc.health.v1.Health/Check", b"/grpc.health.v1.Health/Watch",
    b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", b"/nothing/Here", b"*",
]  # fmt: skip
HEADERS: list[frames.Header] = [
    (b"grpc-timeout", b"50m"), (b"grpc-timeout", b"0n"), (b"grpc-timeout", b"99999999H"), (b"grpc-timeout", b"1x"),
    (b"grpc-encoding", b"gzip"), (b"grpc-encoding", b"snappy"), (b"grpc-encoding", b"identity"),
    (b"grpc-accept-encoding", b"gzip"), (b"grpc-accept-encoding", b"identity, deflate, gzip"),
    (b"grpc-encoding", b"deflate"), (b"content-type", b"text/plain"),
    (b"x-long", b"v" * 4000), (b"cookie", b"a=b"), (b"key-bin", b"AAEC"),
    (b"authorization", b"Bearer one"), (b"authorization", b"bearer mw_two"), (b"authorization", b"Basic YTpi"),
    (b"x-api-key", b"mw_two"), (b"authorization", b"Bearer " + b"t" * 9000), (b"modelward-shadow", b"1"),
    (b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"), (b"x-request-id", b""),
    (b"forwarded", b"for=192.0.2.1"),
]  # fmt: skip
ERRORS = [0, 1, 2, 5, 7, 8, 11, 0xFFFFFFFF]
RULES = Rules(
    tuple(map(Rule.model_validate, ({"identity": "*", "models": ["mlp", "steep"]}, {"anonymous": True, "models": "*"})))
)
CLIENTS = [("127.0.0.1", 50000), ("2001:db8::1", 50001)]
PROXIES = networks(tuple(host for host, _ in CLIENTS))
PROBES = prepared(True)


def _tensors(model: str, id: str = "", outputs: tuple[str, ...] = (), **arrays: np.ndarray) -> bytes:
    request = REQUEST(model_name=model, id=id)
    for name, array in arrays.items():
        text = array.dtype == object
        datatype = "BYTES" if text else {"f": "FP", "i": "INT"}[array.dtype.kind] + str(8 * array.itemsize)
        request.inputs.add(name=name, datatype=datatype, shape=array.shape)
        items = array.ravel().tolist() if text else []
        raw = b"".join(struct.pack("<I", len(item)) + item for item in items) if text else array.tobytes()
        request.raw_input_contents.append(raw)
    for name in outputs:
        request.outputs.add(name=name)
    return bytes(request.SerializeToString())


def _typed() -> bytes:
    request = REQUEST(model_name="two", id="typed")
    request.inputs.add(name="a", datatype="FP32", shape=[1, 3]).contents.fp32_contents.extend([1, 2, 3])
    request.inputs.add(name="b", datatype="INT64", shape=[1, 2]).contents.int64_contents.extend([4, 5])
    request.parameters["timeout"].int64_param = 20_000
    return bytes(request.SerializeToString())


def _extended() -> bytes:
    """What Triton's extensions add."""
    request = REQUEST(model_name="plain", id="extended")
    request.parameters["priority"].uint64_param = 2
    request.parameters["sequence_id"].int64_param = 7
    shared = request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    shared.parameters["shared_memory_region"].string_param = "region"
    request.outputs.add(name="y").parameters["classification"].int64_param = 3
    return bytes(request.SerializeToString())


def _row(rows: int, value: float, columns: int = 6) -> np.ndarray:
    return np.full((rows, columns), value, np.float32)


TEMPLATES = [
    _tensors("mlp", "usual", input=_row(1, 0.1)),
    _tensors("mlp", "strange", input=_row(3, 1e6)),
    _tensors("guarded", "tagged", ("label",), input=_row(2, 50.0)),
    _tensors("slow", x=_row(1, 0.5, 4)),
    _tensors("steep", "ok", a=np.array([[1, 2]]), b=np.array([[0, 3, 1]])),
    _tensors("steep", "second", a=np.array([[9, 2]]), b=np.array([[0, 3, 1]])),
    _tensors("steep", "value", a=np.array([[9, 2]] * 2), b=np.array([[0, 9, 1]] * 2)),
    _tensors("anything", x=np.zeros((1 << 40, 0), np.float32)),
    _tensors("anything", "x" * 300, x=_row(5, 2.0, 7)),
    _tensors("fixed", x=_row(2, 1.0, 4)),
    _tensors("strings", text=np.array([[b"one", b""], [b"\xff" * 40, b"x"]], object)),
    _tensors("two", "", ("negated", "total"), a=_row(4, 1.5, 3), b=np.arange(8).reshape(4, 2)),
    _typed(),
    _tensors("mlq"),
    b"",
    b"\x0a\x03mlp\x2a\xff\xff\xff\xff\x07",
    b"\x0a\x03mlp",  # as a metadata request: one model's name
    b"\x0a\x1cinference.GRPCInferenceService",  # as a probe: one service's
    _extended(),
    b"\x0a\x05plain\x1a\x02id\x22\x0f\x0a\x07timeout\x12\x04\x10\xa0\x9c\x01\x2a\x03\xff\xff\xff\x12\x0231",
]


class Script:
    """Reads and plays one input."""

    def __init__(self, data: bytes, simulation: Simulation) -> None:
        self.data = data
        self.at = 1
        self.simulation = simulation
        self.peers: list[Peer] = []
        self.attempts: list[Attempt] = []
        self.withheld: dict[Peer, bytes] = {}
        self.steps: list[Callable[[Peer], None]] = [
            self.raw, self.open, self.infer, self.infer, self.message, self.body, self.reset, self.window,
            self.settings, self.ping, self.odd_frame, self.tick, self.advance, self.deafen, self.leave, self.drain,
            self.packed, self.begin, self.decide,
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

    def number(self, size: int) -> int:
        return int.from_bytes(bytes(self.byte() for _ in range(size)), "big")

    def take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        self.at += size
        return taken

    def stream(self) -> int:
        """Small and mostly odd, as clients number theirs."""
        choice = self.byte()
        return 2 * (choice & 15) + 1 if choice < 240 else choice - 240

    # ---- playing

    def play(self) -> None:
        for _ in range(STEPS):
            if self.over:
                return
            choice = self.byte()
            peer = self.peer(choice >> 7)
            peer.send(self.withheld.pop(peer, b""))
            self.steps[(choice & 127) % len(self.steps)](peer)

    def peer(self, which: int) -> Peer:
        """The first or second client, connected when first used, and again where the server has closed."""
        while len(self.peers) <= which:
            self.peers.append(self.connect())
        if not self.peers[which].open:
            self.peers[which] = self.connect()
        return self.peers[which]

    def connect(self) -> Peer:
        peer = self.simulation.connect(CLIENTS[len(self.peers) % 2])
        if self.data[0] & 1 == 0:  # else the script brings its own preface, or none
            peer.send(frames.PREFACE + frames.settings())
        return peer

    def raw(self, peer: Peer) -> None:
        """Bytes as they are, all at once or in pieces of one size."""
        size, piece = self.number(2), self.byte()
        data = self.take(size)
        peer.send(data, [piece] * (len(data) // piece + 1) if piece else ())

    def open(self, peer: Peer) -> None:
        self.headers(peer, self.stream())

    def begin(self, peer: Peer) -> None:
        """As open, but the end of its headers comes when the client does something again."""
        stream, last = self.stream(), self.byte() + 1
        whole = self.request(stream)
        peer.send(whole[:-last])
        self.withheld[peer] = whole[-last:]

    def headers(self, peer: Peer, stream: int) -> None:
        peer.send(self.request(stream))

    def request(self, stream: int) -> bytes:
        path, more, flags = PATHS[self.byte() % len(PATHS)], list[frames.Header](), self.byte()
        if flags & 8:
            more.append((b"x-forwarded-for", self.forwarded()))
        for _ in range(flags & 7):
            more.append(HEADERS[self.byte() % len(HEADERS)])
        return frames.headers(stream, frames.request_headers(path, more), end=flags & 128 != 0)

    def forwarded(self) -> bytes:
        """Whom a proxy tells of: one of many networks of a site, of many IPv4 peers, or anything."""
        choice = self.byte()
        if choice < 128:
            return b"2001:db8:0:%x::1" % choice
        return b"9.9.9.9, 192.0.2.%d, 127.0.0.1" % choice if choice < 192 else self.take(choice & 63)

    def infer(self, peer: Peer) -> None:
        """Headers and one whole message: what nearly every honest call is."""
        stream = self.stream()
        self.headers(peer, stream)
        peer.send(frames.data(stream, frames.message(self.payload()), end=True))

    def payload(self) -> bytes:
        """A template, one byte of it changed."""
        payload = bytearray(TEMPLATES[self.byte() % len(TEMPLATES)])
        change = self.byte()
        if change and payload:
            payload[self.byte() % len(payload)] ^= change
        return bytes(payload)

    def message(self, peer: Peer) -> None:
        """A message in pieces: compressed or said to be, of its size or another, ending the stream or not."""
        stream, flags = self.stream(), self.byte()
        payload = self.payload()
        if flags & 1:
            payload *= 1 << (flags >> 4)
            payload = zlib.compress(payload) if flags & 16 else gzip.compress(payload, mtime=0)
        size = self.number(4) if flags & 4 else None
        whole = frames.message(payload, compressed=flags & 2 != 0, size=size)
        peer.send(frames.data(stream, whole * (1 + (flags >> 6)), end=flags & 8 != 0, size=(self.byte() << 6) + 1))

    def packed(self, peer: Peer) -> None:
        """A message compressed, and then damaged or cut, in pieces."""
        stream, flags = self.stream(), self.byte()
        payload = self.payload() * (1 << (flags & 15))
        data = bytearray(zlib.compress(payload) if flags & 16 else gzip.compress(payload, mtime=0))
        if flags & 32:
            data[self.number(2) % len(data)] ^= self.byte()
        if flags & 64:
            del data[self.number(2) % len(data) :]
        whole = frames.message(bytes(data), compressed=True)
        peer.send(frames.data(stream, whole, end=flags & 128 != 0, size=(self.byte() << 6) + 1))

    def body(self, peer: Peer) -> None:
        """Anything as DATA."""
        stream, size, flags = self.stream(), self.byte(), self.byte()
        peer.send(frames.frame(frames.DATA, stream, self.take(size), flags & (frames.END_STREAM | frames.PADDED)))

    def reset(self, peer: Peer) -> None:
        peer.send(frames.frame(frames.RST_STREAM, self.stream(), struct.pack(">I", ERRORS[self.byte() & 7])))

    def window(self, peer: Peer) -> None:
        stream = self.stream()
        peer.send(
            frames.frame(frames.WINDOW_UPDATE, stream if stream < 31 else 0, struct.pack(">I", 1 << (self.byte() & 31)))
        )

    def settings(self, peer: Peer) -> None:
        key, shift = self.byte() & 7, self.byte()
        peer.send(frames.settings({key: 0 if shift & 128 else 1 << (shift & 31)}))

    def ping(self, peer: Peer) -> None:
        peer.send(frames.frame(frames.PING, 0, bytes(8)) * (self.byte() + 1))

    def odd_frame(self, peer: Peer) -> None:
        kind, stream, flags, size = self.byte() & 15, self.stream(), self.byte(), self.byte()
        peer.send(frames.frame(kind, stream if flags & 64 else 0, self.take(size), flags & 45))

    def tick(self, peer: Peer) -> None:
        self.simulation.loop.tick(1 + (self.byte() & 3))

    def advance(self, peer: Peer) -> None:
        """1 ms to 9 hours."""
        self.simulation.loop.advance((1 << (self.byte() & 24)) / 1000)

    def deafen(self, peer: Peer) -> None:
        """The client stops reading from its socket, or goes on."""
        peer.transport.let_read(self.byte() & 1 == 0)
        peer.send(b"")

    def leave(self, peer: Peer) -> None:
        choice = self.byte() & 3
        if choice == 0:
            peer.leave()
        elif choice == 1:
            peer.protocol.eof_received()
            peer.transport.close()
        elif choice == 2:
            peer.protocol.abort()
        elif isinstance(peer.protocol, Connection):
            peer.protocol.drain()

    def decide(self, peer: Peer) -> None:
        """On the credential that has waited for longest."""
        choice = self.byte()
        if not self.attempts:
            return
        attempt = self.attempts.pop(0)
        if choice & 3 == 0:
            attempt.postpone()
        elif choice & 3 == 1:
            attempt.reject(choice & 4 != 0)
        else:
            attempt.accept("key" if attempt.is_key else "jwt", f"caller-{choice >> 4}", SECOND if choice & 4 else None)

    def drain(self, peer: Peer) -> None:
        if self.byte() == 255:
            self.simulation.server.drain()


def play(data: bytes, loop: SimulatedLoop, site: Site) -> None:
    """One input on a server of its own. AssertionError where something is left behind or too much was answered."""
    if not data:
        return
    limiter = Limiter(1024, b"0123456789abcdef")
    choice = data[0]
    if choice & 2:
        limiter.set_peer(100, 20)
        limiter.set_total(1000, 30)
    loop.skew_ns = 0
    simulation = Simulation(loop, site, limiter)
    listener = simulation.server.listener
    listener.set_sizes(200 if choice & 4 else MESSAGE_SIZE, 4096 if choice & 8 else 64 << 20, 4 if choice & 16 else 128)
    listener.set_timeouts(5 * SECOND, 30 * SECOND, 300 * SECOND, 3600 * SECOND, 30 * SECOND)
    if choice & 32:
        listener.set_arrivals(2)
    if choice & 64:
        listener.set_proxies(PROXIES, False)
    simulation.server.set_probes(PROBES)
    script = Script(data, simulation)
    if choice & 128:
        access = Access(listener, RULES, identities=8, tokens=8, key=b"0123456789abcdef")
        access.verify = script.attempts.append
        simulation.server.guard(access)
    script.play()
    simulation.loop.tick(2)
    written = sum(len(peer.taken) + len(peer.transport.unsent) for peer in simulation.peers)
    assert written <= OUTPUT_CAP, f"{written} bytes of answers to {len(data)} bytes"
    simulation.end()
