"""Channels for the control plane's own questions to upstreams; requests never use them.

A small client of gRPC: unary calls over one connection, which is made again when it was lost. grpcio would do the same
with 14 MiB and seven threads in each worker.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Self
from urllib.parse import unquote

from modelward.certificate import is_http2
from modelward.config.upstream import UpstreamAddress, resolve
from modelward.rpc.protocol import message_class
from modelward.status import Code, clip
from modelward.upstream.credentials import client_context
from modelward_native.backend.questions import LOST, Answer, Session

Metadata = Iterable[tuple[str, str]]

READ_BYTES = 1 << 16
PREFIX = 5  # of a message: whether it is compressed, and its size
LONGEST_WORDS = 500  # of a server that refuses: they go to the log
NO_HTTP2 = "the server does not speak HTTP/2 over TLS"
OF_STATUS = {str(int(code)): code for code in Code}
# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
OF_HTTP = {
    "400": Code.INTERNAL, "401": Code.UNAUTHENTICATED, "403": Code.PERMISSION_DENIED, "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE, "502": Code.UNAVAILABLE, "503": Code.UNAVAILABLE, "504": Code.UNAVAILABLE,
}  # fmt: skip
# PROTOCOL-HTTP2.md, "Errors"; of others INTERNAL
REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM, INADEQUATE_SECURITY = 7, 8, 11, 12
OF_STREAMS = {
    LOST: Code.UNAVAILABLE,
    REFUSED_STREAM: Code.UNAVAILABLE,
    CANCEL: Code.CANCELLED,
    ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class CallError(Exception):
    """The upstream has answered with a status other than OK, or not at all. details: its words, or ours."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


class Channel:
    """To one upstream. Use it as a context, or `close` it. context: of TLS; None for plain text."""

    def __init__(self, address: UpstreamAddress, context: ssl.SSLContext | None) -> None:
        self._address = address
        self._context = context
        self._connection: _Connection | None = None
        self._connecting = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Calls under way fail."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def call(self, path: str, message: bytes, timeout: float, metadata: Metadata = ()) -> bytes:
        """The answer's message. timeout: seconds. Raises CallError."""
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connected()
                return _message(await connection.ask(self._headers(path, timeout, metadata), _framed(message)))
        except TimeoutError:
            raise CallError(Code.DEADLINE_EXCEEDED, f"no answer within {timeout:g} s") from None

    async def _connected(self) -> _Connection:
        async with self._connecting:
            if self._connection is None or not self._connection.is_usable:
                await self.close()
                try:
                    self._connection = await self._connect()
                except (OSError, ValueError) as error:  # ValueError: of a host name that is none
                    raise CallError(Code.UNAVAILABLE, f"cannot connect: {error}") from None
            return self._connection

    async def _connect(self) -> _Connection:
        """To the first address behind the name that takes a connection."""
        failed: OSError | None = None
        for host in await resolve(self._address):
            secure: dict[str, Any] = {}
            if self._context is not None:
                secure = {"ssl": self._context, "server_hostname": self._address.server_name}
            try:
                if self._address.path:
                    reader, writer = await asyncio.open_unix_connection(host, **secure)
                else:
                    reader, writer = await asyncio.open_connection(host, self._address.port, **secure)
            except OSError as error:
                failed = error
                continue
            if self._context is not None and not is_http2(writer.get_extra_info("ssl_object")):
                writer.transport.abort()
                raise OSError(NO_HTTP2)
            return _Connection(reader, writer)
        raise failed or OSError("the name stands for no address")

    def _headers(self, path: str, timeout: float, metadata: Metadata) -> list[tuple[bytes, bytes]]:
        fields = [
            (":method", "POST"),
            (":scheme", "http" if self._context is None else "https"),
            (":path", path),
            (":authority", self._address.authority),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "modelward"),
            ("grpc-timeout", f"{max(1, min(99_999_999, round(timeout * 1e3)))}m"),
            ("grpc-accept-encoding", "identity"),
            *metadata,
        ]
        return [(name.encode(), value.encode()) for name, value in fields]


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._session = Session()
        self._waiting: dict[int, asyncio.Future[Answer]] = {}
        self._is_lost = False
        self._reading = asyncio.get_running_loop().create_task(self._read())

    @property
    def is_usable(self) -> bool:
        return not self._is_lost and self._session.is_usable

    async def ask(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Answer:
        try:
            stream = self._session.ask(headers, body)
        except ValueError:
            return _lost()
        self._waiting[stream] = asyncio.get_running_loop().create_future()
        self._send()
        try:
            return await self._waiting[stream]
        finally:
            del self._waiting[stream]
            if not self._is_lost:
                self._session.cancel(stream)
                self._send()

    def close(self) -> None:
        self._reading.cancel()
        self._lose()

    async def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while not self._session.is_over and (data := await self._reader.read(READ_BYTES)):
                for stream, answer in self._session.receive(data):
                    if stream in self._waiting and not self._waiting[stream].done():
                        self._waiting[stream].set_result(answer)
                self._send()
        self._lose()

    def _send(self) -> None:
        try:
            self._writer.write(self._session.take())
        except ValueError:
            self._lose()

    def _lose(self) -> None:
        self._is_lost = True
        self._writer.transport.abort()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_result(_lost())


def _lost() -> Answer:
    answer = Answer()
    answer.error = LOST
    return answer


def _framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def _message(answer: Answer) -> bytes:
    """Raises CallError."""
    fields = {name: value.decode("latin-1") for name, value in answer.headers}
    if answer.is_large:
        raise CallError(Code.RESOURCE_EXHAUSTED, "the answer is larger than answers to these questions may be")
    http = fields.get(b":status", "")
    # beside a page of a web server that adds its trailer to every page, HTTP's status counts
    is_page = http != "200" and bool(answer.data)
    if (status := fields.get(b"grpc-status")) is not None and not is_page:
        if (code := OF_STATUS.get(status, Code.UNKNOWN)) is not Code.OK:
            raise CallError(code, clip(unquote(fields.get(b"grpc-message", "")), LONGEST_WORDS))
    elif answer.error:
        words = "the connection was lost" if answer.error == LOST else f"the stream was reset (code {answer.error})"
        raise CallError(OF_STREAMS.get(answer.error, Code.INTERNAL), words)
    else:
        raise CallError(OF_HTTP.get(http, Code.UNKNOWN), f"no gRPC status, HTTP status {http or 'absent'}")
    data = answer.data
    if len(data) < PREFIX or data[0] != 0 or int.from_bytes(data[1:PREFIX], "big") != len(data) - PREFIX:
        raise CallError(Code.INTERNAL, "the answer is not one message as it was asked for")
    return bytes(data[PREFIX:])


def open_channel(address: UpstreamAddress) -> Channel:
    """Which the caller closes; it connects with the first call. Raises ProblemsFound of files of upstream_tls."""
    return Channel(address, client_context(address.tls) if address.tls is not None else None)


def method(channel: Channel, path: str, request: str, response: str) -> Callable[..., Any]:
    """A unary method by its path and the full names of its messages."""

    async def ask(timeout: float, **fields: Any) -> Any:
        message = message_class(request)(**fields).SerializeToString()
        return parsed(response, await channel.call(path, message, timeout))

    return ask


def parsed(name: str, data: bytes) -> Any:
    """A message of that full name. Raises CallError where it is none."""
    try:
        return message_class(name).FromString(data)
    except Exception as error:  # noqa: BLE001 - protobuf's DecodeError, whose import is not needed otherwise
        raise CallError(Code.INTERNAL, f"the answer cannot be read: {error}") from None
