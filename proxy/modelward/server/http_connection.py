"""One client of the HTTP listener: requests answered one after the other, and no more of them kept than is answered."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import cast

from msgspec import Struct, field

from modelward.server.http_request import MAX_HEAD_BYTES, Malformed, Received, Request

KEEPALIVE_SECONDS = 75.0
# After an answer, how long and how much of an unread request body is read and thrown away before the connection is cut.
LINGER_SECONDS = 1.0
LINGER_BYTES = 1024 * 1024
# Probes and scrapers ask, wait and ask again. One that sends its next request before it has the answer waits; and no
# connection lasts for ever.
PIPELINED_SECONDS = 0.1
MAX_REQUESTS = 1000
HEADERS = {"Server": "modelward", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

log = logging.getLogger("modelward.http")


class Response(Struct, frozen=True):
    """headers: beside HEADERS, and those that the connection needs."""

    status: HTTPStatus
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "text/plain; charset=utf-8"})

    def written(self, *, is_kept: bool, is_head: bool) -> bytes:
        headers = {
            **HEADERS,
            **self.headers,
            "Date": date(time.gmtime()),
            "Content-Length": str(len(self.body)),
            "Connection": "keep-alive" if is_kept else "close",
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        line = f"HTTP/1.1 {self.status.value} {self.status.phrase}\r\n"
        return f"{line}{head}\r\n".encode("latin-1") + (b"" if is_head else self.body)


def text(status: HTTPStatus, body: str, **headers: str) -> Response:
    return Response(status, f"{body}\n".encode(), {"Content-Type": "text/plain; charset=utf-8", **headers})


def date(at: time.struct_time) -> str:
    """RFC 9110, section 5.6.7; in English whatever the locale is."""
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year:04} {time.strftime('%H:%M:%S', at)} GMT"


Handle = Callable[[Request], Awaitable[Response]]


class HttpConnection(asyncio.Protocol):
    """touched: called for each request; lost: when it has ended."""

    def __init__(
        self, handle: Handle, touched: Callable[[HttpConnection], None], lost: Callable[[HttpConnection], None]
    ) -> None:
        self.transport: asyncio.Transport | None = None
        self._handle = handle
        self._touched = touched
        self._lost = lost
        self._received = Received()
        self._thrown_away = 0  # bytes
        self._answered = 0
        self._is_last = False  # the connection ends with the answer that is under way
        self._answering: asyncio.Task[None] | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._ending: asyncio.TimerHandle | None = None
        self._is_over = False  # what is received from now on is thrown away

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's are of no class of asyncio's
        self._end_after(KEEPALIVE_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_over = True
        if self._ending is not None:
            self._ending.cancel()
        if self._answering is not None:
            self._answering.cancel()
        self._lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def eof_received(self) -> bool:
        """What has been asked is answered first."""
        self._is_last = True
        return self._answering is not None

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if self._is_over:
            self._thrown_away += len(data)
            if self._thrown_away > LINGER_BYTES:
                self.transport.abort()
            return
        self._received += data
        if self._answering is None:
            self._next()
        self._read_if_room()

    def finish(self) -> None:
        """It ends with the answer that is under way, at once where none is."""
        self._is_last = True
        if self._answering is None:
            self._close()

    def _next(self) -> None:
        try:
            request = self._received.take()
        except Malformed:
            self._write(text(HTTPStatus.BAD_REQUEST, HTTPStatus.BAD_REQUEST.phrase), is_kept=False)
            self._linger()
            return
        if request is not None:
            self._touched(self)
            self._answering = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        assert self.transport is not None
        if self._ending is not None:
            self._ending.cancel()
        if self._received and not request.has_body:
            await asyncio.sleep(PIPELINED_SECONDS)
        try:
            response = await self._handle(request)
        except Exception:
            log.exception("HTTP %s failed", request.path)
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            response, is_kept = text(status, status.phrase), False
        else:
            self._answered += 1
            is_kept = request.is_kept and not request.has_body and not self._is_last and self._answered < MAX_REQUESTS
        self._write(response, is_kept=is_kept, is_head=request.method == "HEAD")
        self._end_after(KEEPALIVE_SECONDS)  # a client that does not read holds its page no longer than a silent one
        await self._writable.wait()
        self._answering = None
        if not is_kept:
            if request.has_body:
                self._linger()
            else:
                self._close()
            return
        self._end_after(KEEPALIVE_SECONDS)
        if self._received:
            self._next()
        self._read_if_room()

    def _read_if_room(self) -> None:
        """A client that sends faster than it is answered is not read meanwhile: what is kept of it has a bound."""
        assert self.transport is not None
        if self._is_over:
            return
        if len(self._received) > MAX_HEAD_BYTES:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def _write(self, response: Response, *, is_kept: bool, is_head: bool = False) -> None:
        assert self.transport is not None
        self.transport.write(response.written(is_kept=is_kept, is_head=is_head))

    def _linger(self) -> None:
        """A connection that is closed with unread bytes takes back what was sent."""
        assert self.transport is not None
        self._is_over = True
        self._received.clear()
        try:
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.transport.resume_reading()
        except (OSError, RuntimeError):  # its client has gone
            self.transport.abort()
            return
        self._end_after(LINGER_SECONDS)

    def _end_after(self, seconds: float) -> None:
        if self._ending is not None:
            self._ending.cancel()
        self._ending = asyncio.get_running_loop().call_later(seconds, self._cut)

    def _cut(self) -> None:
        """With what its client has not taken."""
        self._is_over = True
        if self.transport is not None:
            self.transport.abort()

    def _close(self) -> None:
        self._is_over = True
        if self.transport is not None:
            self.transport.close()
