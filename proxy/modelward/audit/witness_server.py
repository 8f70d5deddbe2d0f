"""A witness served over HTTP, or HTTPS: two fixed paths, bounded bodies, no state but what it remembers of logs."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time

from aiohttp import web

from modelward.audit.witness import LARGEST_REQUEST, Answer, Witness
from modelward.config.address import Address

log = logging.getLogger("modelward.audit")

READ_SECONDS = 10.0
MOST_AT_ONCE = 64
INTERNAL = 500
BUSY = 503


class WitnessServer:
    """Listens from `start` to `stop`. address: with the real port."""

    def __init__(self, witness: Witness) -> None:
        self.address: Address | None = None
        self._witness = witness
        self._busy = 0
        application = web.Application(client_max_size=LARGEST_REQUEST)
        application.router.add_post("/add-checkpoint", self._add)
        application.router.add_get("/{origin:[0-9a-f]{64}}/checkpoint", self._latest)
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=75.0)

    async def start(self, address: Address, context: ssl.SSLContext | None = None) -> None:
        """Raises OSError."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, address.host, address.port, ssl_context=context, backlog=128)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.address = Address(host=host, port=port)

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _add(self, request: web.Request) -> web.Response:
        if self._busy >= MOST_AT_ONCE:
            return web.Response(status=BUSY)
        self._busy += 1
        try:
            async with asyncio.timeout(READ_SECONDS):
                body = await request.read()
            answer = await asyncio.to_thread(self._witness.add, body, int(time.time()))
            if answer.status == web.HTTPUnprocessableEntity.status_code:
                log.error("a log was REWRITTEN, and is not cosigned: %s: %s", _origin(body), answer.body.strip())
            return _response(answer)
        except TimeoutError:
            return web.Response(status=web.HTTPRequestTimeout.status_code)
        except OSError as error:
            log.error("a checkpoint cannot be kept, and is not cosigned: %s", error)
            return web.Response(status=INTERNAL)
        finally:
            self._busy -= 1

    async def _latest(self, request: web.Request) -> web.Response:
        try:
            return _response(await asyncio.to_thread(self._witness.latest, request.match_info["origin"]))
        except OSError as error:
            log.error("a checkpoint cannot be read: %s", error)
            return web.Response(status=INTERNAL)


def _response(answer: Answer) -> web.Response:
    # the header as it stands: aiohttp would add a charset to text/x.tlog.size
    return web.Response(status=answer.status, body=answer.body.encode(), headers={"Content-Type": answer.type})


def _origin(body: bytes) -> str:
    """Of a request whose log is known."""
    return body.partition(b"\n\n")[2].partition(b"\n")[0].decode("utf-8", "replace")
