"""A model server that speaks HTTP/2 frame by frame, for everything that a real one does only when it is broken."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

from modelward.rpc.protocol import message_class
from tests.e2e.h2client import framed
from tests.e2e.messages import INFER, RESPONSE

METADATA = "/inference.GRPCInferenceService/ModelMetadata"
INDEX = "/inference.GRPCInferenceService/RepositoryIndex"
UNIMPLEMENTED = "12"

HEADERS = ((":status", "200"), ("content-type", "application/grpc"))
OK = (("grpc-status", "0"),)


def answer_message(values: bytes = b"\0\0\x80\x3f" * 4) -> bytes:
    """The framed answer of the model "add": y FP32 [1, 4], four times 1.0 unless told."""
    message: Any = RESPONSE(model_name="add", model_version="1", raw_output_contents=[values])
    message.outputs.add(name="y", datatype="FP32", shape=[1, len(values) // 4])
    return framed(message.SerializeToString())


@dataclass
class Request:
    """One request for an inference, complete. number: 0 for the first that this server got. body: framed."""

    connection: Connection
    stream: int
    number: int
    headers: dict[str, str]
    body: bytes

    def headers_out(self, *headers: tuple[str, str], end: bool = False) -> None:
        self.connection.h2.send_headers(self.stream, list(headers or HEADERS), end_stream=end)

    def data(self, data: bytes, *, end: bool = False) -> None:
        """Within the windows that the other side has opened: no test sends more."""
        size = self.connection.h2.max_outbound_frame_size
        pieces = [data[i : i + size] for i in range(0, len(data), size)]
        for i, piece in enumerate(pieces):
            self.connection.h2.send_data(self.stream, piece, end_stream=end and i == len(pieces) - 1)

    def trailers(self, *trailers: tuple[str, str]) -> None:
        self.connection.h2.send_headers(self.stream, list(trailers or OK), end_stream=True)

    def answer(self, data: bytes | None = None) -> None:
        """As a sound server does."""
        self.headers_out()
        self.data(answer_message() if data is None else data)
        self.trailers()

    def reset(self, error: int) -> None:
        self.connection.h2.reset_stream(self.stream, error)


Behaviour = Callable[[Request], None]


@dataclass
class Connection:
    """One connection that the server under test has opened."""

    server: RawUpstream
    socket: socket.socket
    h2: h2.connection.H2Connection
    headers: dict[int, dict[str, str]] = field(default_factory=dict)
    bodies: dict[int, bytes] = field(default_factory=dict)
    given_up: set[int] = field(default_factory=set)  # streams that the other side has reset
    lock: threading.RLock = field(default_factory=threading.RLock)  # for tests that answer later

    def serve(self) -> None:
        """Until either side has had enough."""
        with self.socket, contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            self.h2.initiate_connection()
            while True:
                self.flush()
                data = self.socket.recv(65536)
                if not data:
                    return
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self._take(event)

    def flush(self) -> None:
        with self.lock:
            self.socket.sendall(self.h2.data_to_send())

    def send_raw(self, data: bytes) -> None:
        """Bytes that h2 knows nothing of."""
        self.flush()
        self.socket.sendall(data)

    def close(self) -> None:
        """Without a word of HTTP/2."""
        self.socket.shutdown(socket.SHUT_RDWR)

    def _take(self, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self.headers[event.stream_id] = {_text(k): _text(v) for k, v in event.headers}
        elif isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
            self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
            if self.server.window is None:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamReset):
            self.server.resets.append(int(event.error_code))
            self.given_up.add(event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            self.server.pongs.append(event.ping_data)
        elif isinstance(event, h2.events.StreamEnded):
            headers, body = self.headers.pop(event.stream_id), self.bodies.pop(event.stream_id, b"")
            if headers[":path"] == INFER:
                self.server.behave(Request(self, event.stream_id, self.server.count(), headers, body))
            else:
                self._describe(event.stream_id, headers[":path"])

    def _describe(self, stream: int, path: str) -> None:
        if path == INDEX:
            message = message_class("inference.RepositoryIndexResponse")()
            message.models.add(name="add", version="1", state="READY")
        elif path == METADATA:
            message = message_class("inference.ModelMetadataResponse")(name="add", versions=["1"])
            message.inputs.add(name="x", datatype="FP32", shape=[-1, 4])
            message.outputs.add(name="y", datatype="FP32", shape=[-1, 4])
        else:
            self.h2.send_headers(stream, [*HEADERS, ("grpc-status", UNIMPLEMENTED)], end_stream=True)
            return
        self.h2.send_headers(stream, HEADERS)
        self.h2.send_data(stream, framed(message.SerializeToString()))
        self.h2.send_headers(stream, OK, end_stream=True)


class RawUpstream:
    """Listens on a port of its own. behave: what becomes of each ModelInfer; it runs on the connection's thread.

    window: bytes that are taken on each stream, never more; None takes everything.
    """

    def __init__(self, behave: Behaviour, window: int | None = None) -> None:
        self.behave = behave
        self.window = window
        self.requests = 0
        self.resets: list[int] = []
        self.pongs: list[bytes] = []
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"

    def count(self) -> int:
        with self._lock:
            self.requests += 1
            return self.requests - 1

    def accept(self, threads: list[threading.Thread], sockets: list[socket.socket]) -> None:
        with contextlib.suppress(OSError):  # it is closed to end this
            while True:
                accepted, _ = self._listening.accept()
                accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                config = h2.config.H2Configuration(client_side=False, validate_outbound_headers=False)
                session = h2.connection.H2Connection(config)
                if self.window is not None:
                    values = {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self.window}
                    session.local_settings = h2.settings.Settings(client=False, initial_values=values)
                thread = threading.Thread(target=Connection(self, accepted, session).serve, daemon=True)
                sockets.append(accepted)
                threads.append(thread)
                thread.start()

    def close(self) -> None:
        # shutdown wakes the thread that accepts; closing alone does not
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextlib.contextmanager
def raw_upstream(behave: Behaviour, window: int | None = None) -> Iterator[RawUpstream]:
    """A listening RawUpstream; closed on leaving with all its connections."""
    server = RawUpstream(behave, window)
    threads: list[threading.Thread] = []
    sockets: list[socket.socket] = []
    accepting = threading.Thread(target=server.accept, args=(threads, sockets), daemon=True)
    accepting.start()
    try:
        yield server
    finally:
        server.close()
        accepting.join()
        for one in sockets:
            with contextlib.suppress(OSError):  # its thread may have closed it
                one.shutdown(socket.SHUT_RDWR)
        for thread in threads:
            thread.join()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
