"""Callers behind one proxy that is trusted, each of which sends one request: more than there is room to remember."""

from __future__ import annotations

import socket
import struct
from itertools import islice

import hpack
import numpy as np

from tests.e2e.h2client import framed
from tests.e2e.messages import INFER, request

OF_CONNECTION, AT_ONCE = 50_000, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD = struct.Struct(">BHBBI")  # of a frame: bytes (the highest eight bits, and the others), type, flags, stream
DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY = 0, 1, 3, 4, 6, 7
END_STREAM, ACK, END_HEADERS = 1, 1, 4
ASKED = ((":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "crowd"),
         ("content-type", "application/grpc"), ("te", "trailers"))  # fmt: skip
NO_STREAM = b"\xff\xff\xff\xff"
FORWARDED = b"\0\x0fx-forwarded-for\x0f"  # a literal that is not indexed, and the length of its value
ADDRESS = 15  # characters: each number has three digits
WIDE = np.ones((1, 5), np.float32)  # too wide for the model: an answer of headers alone


def crowd(address: str, model: str, callers: int) -> None:
    """One request of each of so many addresses. address: of a server that trusts this one as a proxy."""
    host, _, port = address.rpartition(":")
    for first in range(0, callers, OF_CONNECTION):
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            _Connection(connection, model).ask(range(first, min(first + OF_CONNECTION, callers)))


class _Connection:
    def __init__(self, connection: socket.socket, model: str) -> None:
        self._socket = connection
        self._left = b""
        self._stream = 1
        encoder = hpack.Encoder()
        body = framed(request(model, {"x": WIDE}).SerializeToString())
        self._first, self._other = (_asked(encoder.encode(ASKED, huffman=False), body) for _ in range(2))
        connection.sendall(PREFACE + _frame(SETTINGS, 0, 0, b""))

    def ask(self, callers: range) -> None:
        numbers = iter(callers)
        self._exchange(self._first, [*islice(numbers, 1)])
        while some := [*islice(numbers, AT_ONCE)]:
            self._exchange(self._other, some)

    def _exchange(self, asked: bytes, callers: list[int]) -> None:
        """Returns when all are answered."""
        sent = []
        for caller in callers:
            address = ".".join(str(100 + caller // 100**place % 100) for place in range(4)).encode()
            stream = struct.pack(">I", self._stream)
            sent.append(asked.replace(NO_STREAM, stream).replace(b"#" * ADDRESS, address))
            self._stream += 2
        self._socket.sendall(b"".join(sent))
        left = len(callers)
        while left:
            left -= self._take(self._socket.recv(1 << 16))

    def _take(self, data: bytes) -> int:
        """How many streams have ended."""
        assert data, "the server has closed the connection"
        data, at, ended = self._left + data, 0, 0
        while len(data) - at >= HEAD.size:
            high, low, kind, flags, _ = HEAD.unpack_from(data, at)
            size = (high << 16) + low
            if len(data) - at < HEAD.size + size:
                break
            if kind in (SETTINGS, PING) and not flags & ACK:
                self._socket.sendall(
                    _frame(kind, ACK, 0, data[at + HEAD.size : at + HEAD.size + size] if kind == PING else b"")
                )
            assert kind != GOAWAY, data[at:]
            ended += kind == RESET or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
            at += HEAD.size + size
        self._left = data[at:]
        return ended


def _asked(block: bytes, body: bytes) -> bytes:
    """With room for the stream and the address."""
    headers = block + FORWARDED + b"#" * ADDRESS
    return _frame(HEADERS, END_HEADERS, int.from_bytes(NO_STREAM), headers) + _frame(
        DATA, END_STREAM, int.from_bytes(NO_STREAM), body
    )


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return HEAD.pack(len(payload) >> 16, len(payload) & 0xFFFF, kind, flags, stream) + payload
