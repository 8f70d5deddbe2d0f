"""Many raw HTTP/2 connections held open by one process: the other half of the idle test.

    python -m loadtests.tools.connections PORT SOURCE_ADDRESS COUNT MESSAGE_FILE

Opens COUNT connections from SOURCE_ADDRESS and completes each handshake, then obeys lines on stdin: "request" sends the
framed message on every connection and reads the whole answer, anything else ends. Each step is confirmed by a line.
Plain sockets and frames by hand (RFC 9113), so that twenty thousand of them fit beside the server.
"""

from __future__ import annotations

import socket
import struct
import sys
from pathlib import Path

import hpack

from loadtests.tools import client

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, GOAWAY = 0, 1, 4, 7
ACK = END_STREAM = 1
END_HEADERS = 4
FIRST_STREAM = 1
WAIT_SECONDS = 30.0


class Broken(RuntimeError):
    """The server ended a connection, or the stream with something else than status 0."""


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


class Connection:
    """One connection with its handshake done; one request at a time, on stream 1 only."""

    def __init__(self, port: int, source: str) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_SECONDS, source_address=(source, 0))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0))
        seen = {False: False, True: False}  # the server's SETTINGS, and its acknowledgement of ours
        while not all(seen.values()):
            kind, flags, _, _ = self.read()
            if kind == SETTINGS:
                seen[bool(flags & ACK)] = True
        self.socket.sendall(frame(SETTINGS, ACK, 0))

    def read(self) -> tuple[int, int, int, bytes]:
        """One frame: type, flags, stream, payload. Raises Broken."""
        head = self._exactly(9)
        kind, flags, stream = struct.unpack(">BBI", head[3:])
        payload = self._exactly(int.from_bytes(head[:3], "big"))
        if kind == GOAWAY:
            raise Broken(f"GOAWAY: {payload!r}")
        return kind, flags, stream, payload

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise Broken("the server closed an idle connection")
            data += piece
        return data

    def request(self, headers: bytes, body: bytes) -> None:
        """Sends it and reads the answer to its end. Raises Broken unless the status is OK."""
        asked = frame(HEADERS, END_HEADERS, FIRST_STREAM, headers) + frame(DATA, END_STREAM, FIRST_STREAM, body)
        self.socket.sendall(asked)
        decoder, ended = hpack.Decoder(), False
        fields: dict[str, str] = {}
        while not ended:
            kind, flags, _, payload = self.read()
            if kind == HEADERS:
                fields.update((str(name), str(value)) for name, value in decoder.decode(payload))
            ended = kind in (DATA, HEADERS) and bool(flags & END_STREAM)
        if fields.get("grpc-status") != "0":
            raise Broken(f"answered with {fields}")


def request_headers() -> bytes:
    """A header block that every connection's first request can use: its tables are as new as the encoder's."""
    encoded: bytes = hpack.Encoder().encode([
        (":method", "POST"),
        (":scheme", "http"),
        (":path", client.INFER),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ])  # fmt: skip
    return encoded


def main(port: int, source: str, count: int, message: Path) -> None:
    headers, body = request_headers(), client.framed(message.read_bytes())
    connections = [Connection(port, source) for _ in range(count)]
    print("open", flush=True)
    for line in sys.stdin:
        if line.strip() != "request":
            return
        for connection in connections:
            connection.request(headers, body)
        print("answered", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
