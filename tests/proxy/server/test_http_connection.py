"""One client of the HTTP listener: what is kept of it has a bound, and its end is quiet."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from errno import ENOTCONN
from http import HTTPStatus
from typing import Any

import pytest

from modelward.server import http_connection
from modelward.server.http_connection import LINGER_BYTES, HttpConnection, Response, text
from modelward.server.http_request import MAX_HEAD_BYTES, Request

PROBE = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNK = 64 * 1024  # that an event loop reads at once


class Transport(asyncio.Transport):
    """With a client at its end that has `gone`, or not."""

    def __init__(self, *, gone: bool = False) -> None:
        super().__init__()
        self.written = b""
        self.reads, self.aborted, self.ended = True, False, False
        self._gone = gone

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if self._gone:
            raise OSError(ENOTCONN, "socket is not connected")
        self.ended = True

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        pass


async def alive(request: Request) -> Response:
    return text(HTTPStatus.OK, "alive")


def connected(transport: Transport) -> HttpConnection:
    connection = HttpConnection(alive, lambda _: None, lambda _: None)
    connection.connection_made(transport)
    return connection


def run(body: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(body, timeout=20))


def test_a_client_that_sends_faster_than_it_is_answered_is_not_read_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "PIPELINED_SECONDS", 0)
    many = PROBE * (CHUNK // len(PROBE))

    async def body() -> None:
        transport = Transport()
        connection = connected(transport)
        sent, most = 0, 0
        while (answered := transport.written.count(b"alive\n")) < 200:
            if transport.reads:
                connection.data_received(many)
                sent += len(many)
            most = max(most, sent - answered * len(PROBE))
            await asyncio.sleep(0)
        assert most <= MAX_HEAD_BYTES + 2 * CHUNK

    run(body())


def test_a_client_that_was_not_read_is_read_again_once_it_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection, "PIPELINED_SECONDS", 0)
    count = MAX_HEAD_BYTES // len(PROBE) + 10

    async def body() -> None:
        transport = Transport()
        connected(transport).data_received(PROBE * count)
        assert not transport.reads
        while transport.written.count(b"alive\n") < count:
            await asyncio.sleep(0)
        assert transport.reads

    run(body())


@pytest.mark.parametrize("kept", ["keep-alive", "close"])
def test_a_client_that_takes_no_answer_is_cut_after_a_while(monkeypatch: pytest.MonkeyPatch, kept: str) -> None:
    monkeypatch.setattr(http_connection, "KEEPALIVE_SECONDS", 0.05)

    async def body() -> None:
        transport = Transport()
        connection = connected(transport)
        connection.pause_writing()
        connection.data_received(f"GET /metrics HTTP/1.1\r\nConnection: {kept}\r\n\r\n".encode())
        while not transport.aborted:
            await asyncio.sleep(0.001)

    run(body())


@pytest.mark.parametrize("data", [b"\r\n" * 500, b"\x16\x03\x01 not http\r\n\r\n"], ids=["empty lines", "TLS"])
def test_what_is_no_request_is_refused_and_no_more_than_a_bound_of_it_is_read(data: bytes) -> None:
    async def body() -> None:
        transport = Transport()
        connection = connected(transport)
        connection.data_received(data)
        assert transport.written.startswith(b"HTTP/1.1 400 ")
        assert transport.ended
        for _ in range(LINGER_BYTES // CHUNK):
            connection.data_received(bytes(CHUNK))
        assert not transport.aborted
        connection.data_received(b"\r\n")
        assert transport.aborted

    run(body())


def test_a_client_that_has_gone_before_its_answer_is_no_error() -> None:
    async def body() -> None:
        failures: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
        transport = Transport(gone=True)
        connection = connected(transport)
        connection.data_received(b"POST /healthz HTTP/1.1\r\nContent-Length: 5\r\n\r\n")
        while not transport.written:
            await asyncio.sleep(0)
        for _ in range(5):  # its answer ends
            await asyncio.sleep(0)
        assert transport.aborted
        assert not failures

    run(body())
