"""A witness served over HTTP, or HTTPS: two paths, bounded bodies and connections, no state but what it remembers.

A body takes a place of its address until it is there, and only then one of those that work: who sends slowly holds up
nobody else. Where an address, or all of them, have too many under way, the one that began first makes way.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from modelward.audit.witness import LARGEST_REQUEST, UNPROVED, Answer, Witness
from modelward.config.address import Address

log = logging.getLogger("modelward.audit")

READ_SECONDS = 10.0
KEEPALIVE_SECONDS = 75.0
LINGER_SECONDS = 1.0  # that more of a refused body is thrown away
MOST_CONNECTIONS = 256
MOST_BODIES = 64
MOST_BODIES_OF_ONE = 16  # address, or network of IPv6 addresses
MOST_AT_ONCE = 64
MOST_HEADERS = 64
QUIET_SECONDS = 10.0
_LATEST = re.compile(r"/([0-9a-f]{64})/checkpoint")


class _Seldom:
    """Of one kind of line: whether it is to be told now. count: of all, since the start."""

    def __init__(self) -> None:
        self.count = 0
        self._until = 0.0

    def __call__(self) -> bool:
        self.count += 1
        now = time.monotonic()
        if now < self._until:
            return False
        self._until = now + QUIET_SECONDS
        return True


class _Connection(web.RequestHandler):
    """Says little on errors, in answers and in the log: strangers cause them."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        server = self._manager
        assert isinstance(server, _Bounded)
        if server.tells_errors():
            failed = status >= HTTPStatus.INTERNAL_SERVER_ERROR
            words = "a request of %s %s: %s (%d such requests so far)"
            how = "failed" if failed else "cannot be read"
            level = logging.ERROR if failed else logging.WARNING
            kind, count = type(exc).__name__, server.tells_errors.count
            log.log(level, words, request.remote, how, kind, count, exc_info=exc if failed else None)
        if request.writer.output_size > 0:
            raise ConnectionError("an error after the answer had begun: the connection is cut")
        return _ended(HTTPStatus(status))


class _Bounded(web.Server):
    """A newcomer always finds a place: the connection that was made first makes way. A request takes moments."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(
            handler,
            access_log=None,
            logger=log,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_headers=MOST_HEADERS,
            auto_decompress=False,
        )
        self.tells_errors = _Seldom()
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if len(self._open) > MOST_CONNECTIONS:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)


class _Bodies:
    """Those that are under way, the oldest first, each with whose it is."""

    def __init__(self) -> None:
        self._of: dict[asyncio.Timeout, str] = {}

    @asynccontextmanager
    async def place(self, owner: str) -> AsyncIterator[None]:
        """Raises TimeoutError after READ_SECONDS, and where it had to make way."""
        async with asyncio.timeout(READ_SECONDS) as limit:
            self._of[limit] = owner
            if Counter(self._of.values())[owner] > MOST_BODIES_OF_ONE:
                self._end(next(each for each, of in self._of.items() if of == owner))
            elif len(self._of) > MOST_BODIES:
                self._end(next(iter(self._of)))
            try:
                yield
            finally:
                self._of.pop(limit, None)

    def _end(self, limit: asyncio.Timeout) -> None:
        del self._of[limit]
        limit.reschedule(0.0)


class WitnessServer:
    """Listens from `start` to `stop`. address: with the real port."""

    def __init__(self, witness: Witness) -> None:
        self.address: Address | None = None
        self._witness = witness
        self._bodies = _Bodies()
        self._busy = 0
        self._tells_unproved = _Seldom()
        self._tells_failures = _Seldom()
        self._runner = web.ServerRunner(_Bounded(self._handle))

    async def start(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        """Raises OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address.host, address.port, ssl_context=context, backlog=128)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host=host, port=port)

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        if request.path == "/add-checkpoint" and request.method == "POST":
            if request.headers.get(hdrs.CONTENT_ENCODING, "identity").lower() != "identity":
                return _ended(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
            try:
                async with self._bodies.place(_owner(request.remote or "")):
                    body = await _read(request)
            except TimeoutError:
                return _ended(HTTPStatus.REQUEST_TIMEOUT)
            except (web.RequestPayloadError, ConnectionError):
                return _ended(HTTPStatus.BAD_REQUEST)
            if body is None:
                return _ended(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return await self._work(self._add, body)
        if (found := _LATEST.fullmatch(request.path)) and request.method == "GET":
            return await self._work(self._latest, found[1])
        return web.Response(status=HTTPStatus.NOT_FOUND)

    async def _work(self, method: Callable[[Any], Awaitable[web.Response]], given: bytes | str) -> web.Response:
        if self._busy >= MOST_AT_ONCE:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        self._busy += 1
        try:
            return await method(given)
        except OSError as error:
            if self._tells_failures():
                log.error("a checkpoint cannot be kept or read, and none is cosigned: %s", error)
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._busy -= 1

    async def _latest(self, log_hash: str) -> web.Response:
        return _response(await asyncio.to_thread(self._witness.latest, log_hash))

    async def _add(self, body: bytes) -> web.Response:
        answer = await asyncio.to_thread(self._witness.add, body, int(time.time()))
        if answer.status == UNPROVED and self._tells_unproved():
            # who knows a checkpoint may send it with a wrong proof, as often as they like
            words = "%s does not go on from what was seen of it, and is not cosigned; was it rewritten? %s"
            log.error(words, _origin(body), answer.body.strip())
        return _response(answer)


async def _read(request: web.BaseRequest) -> bytes | None:
    """The body; None where it is larger than any request."""
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > LARGEST_REQUEST:
            return None
    return bytes(body)


def _owner(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one, which one party has whole."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _ended(status: HTTPStatus) -> web.Response:
    """And the connection with it."""
    response = web.Response(status=status)
    response.force_close()
    return response


def _response(answer: Answer) -> web.Response:
    # the header as it stands: aiohttp would add a charset to text/x.tlog.size
    return web.Response(status=answer.status, body=answer.body.encode(), headers={"Content-Type": answer.type})


def _origin(body: bytes) -> str:
    """Of a request whose log is known, and so its name."""
    return body.partition(b"\n\n")[2].partition(b"\n")[0].decode("utf-8", "replace")
