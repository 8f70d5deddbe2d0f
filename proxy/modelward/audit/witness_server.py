"""A witness served over HTTP, or HTTPS: two paths, bounded bodies and connections, no state but what it remembers."""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from aiohttp import web

from modelward.audit.witness import UNPROVED, Answer, Witness
from modelward.config.address import Address

log = logging.getLogger("modelward.audit")

READ_SECONDS = 10.0
KEEPALIVE_SECONDS = 75.0
MOST_CONNECTIONS = 256
MOST_AT_ONCE = 64
QUIET_SECONDS = 10.0
_LATEST = re.compile(r"/([0-9a-f]{64})/checkpoint")


class _Bounded(web.Server):
    """A newcomer always finds a place: the connection that was made first makes way. A request takes moments."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(handler, access_log=None, keepalive_timeout=KEEPALIVE_SECONDS)
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if len(self._open) > MOST_CONNECTIONS:
            self._open.pop(next(iter(self._open))).abort()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)


class WitnessServer:
    """Listens from `start` to `stop`. address: with the real port."""

    def __init__(self, witness: Witness) -> None:
        self.address: Address | None = None
        self._witness = witness
        self._busy = 0
        self._quiet_until = 0.0
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
        if self._busy >= MOST_AT_ONCE:
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE)
        self._busy += 1
        try:
            if request.path == "/add-checkpoint" and request.method == "POST":
                async with asyncio.timeout(READ_SECONDS):
                    body = await request.read()
                return await self._add(body)
            if (found := _LATEST.fullmatch(request.path)) and request.method == "GET":
                return _response(await asyncio.to_thread(self._witness.latest, found[1]))
            return web.Response(status=HTTPStatus.NOT_FOUND)
        except TimeoutError:
            return web.Response(status=HTTPStatus.REQUEST_TIMEOUT)
        except OSError as error:
            log.error("a checkpoint cannot be kept or read, and none is cosigned: %s", error)
            return web.Response(status=HTTPStatus.INTERNAL_SERVER_ERROR)
        finally:
            self._busy -= 1

    async def _add(self, body: bytes) -> web.Response:
        answer = await asyncio.to_thread(self._witness.add, body, int(time.time()))
        if answer.status == UNPROVED and time.monotonic() >= self._quiet_until:
            # who knows a checkpoint may send it with a wrong proof, as often as they like
            self._quiet_until = time.monotonic() + QUIET_SECONDS
            words = "%s does not go on from what was seen of it, and is not cosigned; was it rewritten? %s"
            log.error(words, _origin(body), answer.body.strip())
        return _response(answer)


def _response(answer: Answer) -> web.Response:
    # the header as it stands: aiohttp would add a charset to text/x.tlog.size
    return web.Response(status=answer.status, body=answer.body.encode(), headers={"Content-Type": answer.type})


def _origin(body: bytes) -> str:
    """Of a request whose log is known, and so its name."""
    return body.partition(b"\n\n")[2].partition(b"\n")[0].decode("utf-8", "replace")
