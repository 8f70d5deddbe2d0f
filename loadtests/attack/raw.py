"""A connection that says whatever it is told to, plain or TLS, and notes how the server ends it."""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import hpack

from loadtests.fuzz.frames import (
    ACK,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    settings,
)

PIECE = 65536
CONNECT_SECONDS = 10.0
HEAD = 9
DEFAULT_WINDOW = 65_535


@dataclass(frozen=True)
class Target:
    """A server to attack: on loopback, of the models that loadtests.attack.arena serves."""

    host: str
    port: int
    tls: bool = False
    source: str = "127.0.0.2"  # not the bystander's: what one peer does counts against no other
    handshake: float = 5.0  # seconds: the server's limits.timeouts
    request: float = 30.0
    stalled: float = 30.0
    admin: int = 0  # port of its admin API, on plain TCP; 0: not known

    def connect(self) -> Raw:
        """Raises OSError where the server refuses."""
        plain = socket.create_connection((self.host, self.port), CONNECT_SECONDS, source_address=(self.source, 0))
        if not self.tls:
            return Raw(plain)
        try:
            return Raw(_context().wrap_socket(plain, server_hostname="localhost"))
        except OSError:
            plain.close()
            raise

    def connect_tcp(self) -> socket.socket:
        """Without a TLS handshake."""
        return socket.create_connection((self.host, self.port), CONNECT_SECONDS, source_address=(self.source, 0))


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class Raw:
    """One HTTP/2 connection. What comes back is read and counted, unless `deaf`."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected
        self.socket.setblocking(False)
        self.deaf = False
        self.closed_at: float | None = None
        self.began = time.monotonic()
        self.sent = 0
        self.frames: Counter[int] = Counter()  # of the server's, by type
        self.goaway: int | None = None  # its error code
        self.resets: Counter[int] = Counter()  # by error code
        self.statuses: Counter[str] = Counter()  # grpc-status, or :status where there is none
        self.messages: list[str] = []  # grpc-message
        self.ended: set[int] = set()  # streams
        self._first_window = DEFAULT_WINDOW  # of each stream, by the server's SETTINGS
        self._opened: Counter[int] = Counter()  # by WINDOW_UPDATE, by stream
        self._received = bytearray()
        self._decoder = hpack.Decoder()

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    @property
    def closed(self) -> bool:
        return self.closed_at is not None

    def greet(self, values: dict[int, int] | None = None) -> None:
        self.send(PREFACE + settings(values) + frame(4, 0, flags=1))

    def room(self, stream: int) -> int:
        """Bytes of payload that the server lets come in all on a stream, or on the connection (0)."""
        return (self._first_window if stream else DEFAULT_WINDOW) + self._opened[stream]

    def send(self, data: bytes, seconds: float = 10.0) -> bool:
        """All of it, reading meanwhile; False once the server has closed or the time is up."""
        view, deadline = memoryview(data), time.monotonic() + seconds
        while view and not self.closed and time.monotonic() < deadline:
            try:
                sent = self.socket.send(view[:PIECE])
            except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
                self._wait(0.05)
                continue
            except OSError:
                self._read_all()  # what the server said last may still be there
                self._close()
                return False
            self.sent += sent
            view = view[sent:]
            self._read_all()
        return not view and not self.closed

    def send_all(self, pieces: Iterable[bytes], seconds: float = 30.0) -> int:
        """Piece by piece, gathered into larger writes; how many went before the server had enough."""
        deadline, count, gathered, waiting = time.monotonic() + seconds, 0, bytearray(), 0
        for piece in pieces:
            gathered += piece
            waiting += 1
            if len(gathered) < PIECE:
                continue
            if not self.send(bytes(gathered), deadline - time.monotonic()):
                return count
            count += waiting
            gathered.clear()
            waiting = 0
        if self.send(bytes(gathered), max(deadline - time.monotonic(), 0.0)):
            count += waiting
        return count

    def read(self, seconds: float) -> None:
        """What comes within that time, or until the server closes."""
        deadline = time.monotonic() + seconds
        while not self.closed and (left := deadline - time.monotonic()) > 0:
            self._wait(min(left, 0.1))

    def read_until_closed(self, seconds: float = 10.0) -> bool:
        self.deaf = False
        self.read(seconds)
        return self.closed

    def read_until_ended(self, streams: int, seconds: float = 10.0) -> bool:
        """Whether `streams` streams are over, or the connection is."""
        deadline = time.monotonic() + seconds
        while len(self.ended) < streams and not self.closed and time.monotonic() < deadline:
            self._wait(0.05)
        return len(self.ended) >= streams or self.closed

    def _wait(self, seconds: float) -> None:
        if self.deaf:
            time.sleep(seconds)
            return
        pending = isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
        if pending or select.select([self.socket], [], [], seconds)[0]:
            self._read_all()

    def _read_all(self) -> None:
        while not self.deaf and not self.closed:
            try:
                data = self.socket.recv(PIECE)
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return
            except OSError:
                data = b""
            if not data:
                self._close()
                return
            self._received += data
            self._count()

    def _close(self) -> None:
        if self.closed_at is None:
            self.closed_at = time.monotonic()

    def _count(self) -> None:
        data, at = self._received, 0
        while len(data) - at >= HEAD:
            size = int.from_bytes(data[at : at + 3], "big")
            if len(data) - at < HEAD + size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", data, at + 3)
            self._take(kind, flags, stream, bytes(data[at + HEAD : at + HEAD + size]))
            at += HEAD + size
        del data[:at]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self.frames[kind] += 1
        if kind == GOAWAY:
            self.goaway = struct.unpack_from(">I", payload, 4)[0]
        elif kind == RST_STREAM:
            self.resets[struct.unpack(">I", payload)[0]] += 1
            self.ended.add(stream)
        elif kind == WINDOW_UPDATE:
            self._opened[stream] += struct.unpack(">I", payload)[0]
        elif kind == SETTINGS and not flags & ACK:
            values = dict(struct.iter_unpack(">HI", payload))
            self._first_window = values.get(INITIAL_WINDOW_SIZE, DEFAULT_WINDOW)
        elif kind == HEADERS:
            fields = {_text(name): _text(value) for name, value in self._decoder.decode(payload)}
            if (status := fields.get("grpc-status")) is not None or flags & 1:
                self.statuses[status or fields.get(":status", "")] += 1
                if message := fields.get("grpc-message"):
                    self.messages.append(message)
        if kind in (0, HEADERS) and flags & 1:
            self.ended.add(stream)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
