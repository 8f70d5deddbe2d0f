"""A client that speaks HTTP/2 frame by frame, for everything that a real gRPC client would never send."""

from __future__ import annotations

import base64
import gzip
import socket
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from google.rpc import error_details_pb2, status_pb2

from tests.e2e.messages import INFER

Headers = Iterable[tuple[str, str]]

PATIENCE = 30.0  # seconds for what comes at once, unless the machine does much else


def framed(message: bytes, *, compressed: bool = False) -> bytes:
    """One gRPC message with its five-byte prefix; compressed: as gzip."""
    if compressed:
        message = gzip.compress(message)
    return struct.pack(">BI", compressed, len(message)) + message


@dataclass
class Reply:
    """What has come on one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    data: bytearray = field(default_factory=bytearray)  # bytes would be copied with every frame
    ended: bool = False
    reset: int | None = None

    @property
    def over(self) -> bool:
        return self.ended or self.reset is not None

    @property
    def ending(self) -> dict[str, str]:
        """Trailers, or the headers of an answer that has nothing else."""
        return self.trailers or self.headers

    @property
    def code(self) -> int:
        return int(self.ending["grpc-status"])

    @property
    def message(self) -> str:
        return unquote(self.ending.get("grpc-message", ""))

    @property
    def reason(self) -> str:
        padded = self.ending["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(base64.b64decode(padded + "=" * (-len(padded) % 4)))
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.domain == "modelward"
        return info.reason

    @property
    def messages(self) -> list[tuple[bool, bytes]]:
        """(compressed flag, bytes as sent) of every complete message."""
        found, at = [], 0
        while at + 5 <= len(self.data):
            flag, size = struct.unpack_from(">BI", self.data, at)
            if at + 5 + size > len(self.data):
                break
            found.append((bool(flag), bytes(memoryview(self.data)[at + 5 : at + 5 + size])))
            at += 5 + size
        return found


class H2Client:
    """One connection. window: bytes the server may send on each stream, never more; None acknowledges at once.

    source: the address to come from. patient: goes on reading behind a GOAWAY without error, as h2 by itself does not.
    silent: even the preface comes with the first call. connected: a socket in place of an address.
    """

    def __init__(
        self,
        address: str,
        *,
        window: int | None = None,
        source: str = "",
        patient: bool = False,
        silent: bool = False,
        connected: socket.socket | None = None,
    ) -> None:
        if connected is None:
            host, port = address.rsplit(":", 1)
            connected = socket.create_connection((host, int(port)), timeout=PATIENCE, source_address=(source, 0))
        self.socket = connected
        config = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
            validate_inbound_headers=True,
        )
        self.h2 = h2.connection.H2Connection(config)
        if window is not None:
            self.h2.local_settings = h2.settings.Settings(
                client=True, initial_values={h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: window}
            )
        self.acknowledge = window is None
        self.patient = patient
        self._unread = b""
        self.replies: dict[int, Reply] = {}
        self.events: list[h2.events.Event] = []
        self.closed = False
        self.h2.initiate_connection()
        if not silent:
            self.flush()

    def __enter__(self) -> H2Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def send_raw(self, data: bytes) -> None:
        """Bytes that h2 knows nothing of."""
        self.flush()
        self.socket.sendall(data)

    def begin(
        self, path: str = INFER, headers: Headers = (), *, replace: Headers | None = None, end: bool = False
    ) -> int:
        """Opens a stream with gRPC's headers and `headers` behind them, or only those of `replace`."""
        stream = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream, [*(_usual(path) if replace is None else replace), *headers], end_stream=end)
        self.replies[stream] = Reply()
        self.flush()
        return stream

    def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Bytes of the body, within the server's windows; what is left when the server has had enough is dropped."""
        while data and not self.replies[stream].over:
            size = min(len(data), self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size)
            if size == 0:
                self.read()
                continue
            self.h2.send_data(stream, data[:size], end_stream=end and size == len(data))
            self.flush()
            data = data[size:]
            if not data:
                return
        if end and not self.replies[stream].over:
            self.h2.end_stream(stream)
            self.flush()

    def reset(self, stream: int, error: int = 8) -> None:
        self.h2.reset_stream(stream, error)
        self.flush()

    def read(self) -> None:
        """One piece from the socket."""
        data = self.socket.recv(65536)
        if not data:
            self.closed = True
            return
        for piece in self._frames(data) if self.patient else (data,):
            for event in self.h2.receive_data(piece):
                self._take(event)
                if self.patient and isinstance(event, h2.events.ConnectionTerminated) and event.error_code == 0:
                    self.h2.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
        self.flush()

    def _frames(self, data: bytes) -> Iterable[bytes]:
        """One whole frame after the other."""
        self._unread += data
        while len(self._unread) >= 9 and len(self._unread) >= (size := 9 + int.from_bytes(self._unread[:3], "big")):
            frame, self._unread = self._unread[:size], self._unread[size:]
            yield frame

    def _take(self, event: h2.events.Event) -> None:
        self.events.append(event)
        reply = self.replies.setdefault(getattr(event, "stream_id", 0) or 0, Reply())
        if isinstance(event, h2.events.ResponseReceived):
            reply.headers = dict(_text(event.headers))
        elif isinstance(event, h2.events.TrailersReceived):
            reply.trailers = dict(_text(event.headers))
        elif isinstance(event, h2.events.DataReceived):
            reply.data += event.data
            if self.acknowledge and event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            reply.ended = True
        elif isinstance(event, h2.events.StreamReset):
            reply.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.closed = self.closed or event.error_code != 0

    def read_until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Reads until the condition holds; fails when the time is up or the server closes before."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert not self.closed, "the server closed the connection"
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            self.read()

    def reply(self, stream: int, seconds: float = PATIENCE) -> Reply:
        self.read_until(lambda: self.replies[stream].over, seconds)
        return self.replies[stream]

    def call(self, body: bytes, path: str = INFER, headers: Headers = ()) -> Reply:
        """A whole request, its prefix included, and the whole answer."""
        stream = self.begin(path, headers)
        self.send(stream, body, end=True)
        return self.reply(stream)

    def calls(self, bodies: Iterable[bytes], path: str = INFER) -> list[Reply]:
        """Whole requests in one write, small enough for the server's windows; their answers in the same order."""
        streams = []
        for body in bodies:
            stream = self.h2.get_next_available_stream_id()
            self.h2.send_headers(stream, _usual(path))
            self.h2.send_data(stream, body, end_stream=True)
            self.replies[stream] = Reply()
            streams.append(stream)
        self.flush()
        return [self.reply(stream) for stream in streams]

    def is_closed(self, seconds: float = PATIENCE) -> bool:
        """The server ends the connection within that time."""
        deadline = time.monotonic() + seconds
        while not self.closed and time.monotonic() < deadline:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                self.read()
            except (ConnectionError, h2.exceptions.ProtocolError):
                return True
            except TimeoutError:
                return False
        return self.closed


def _usual(path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "test"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]


def _text(headers: Iterable[tuple[Any, Any]]) -> list[tuple[str, str]]:
    return [(_str(name), _str(value)) for name, value in headers]


def _str(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value
