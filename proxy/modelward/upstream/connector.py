"""Keeps one connection to each endpoint of a pool: made at once, made again with jittered, growing pauses."""

import asyncio
import logging
import random
import ssl
from typing import Any, cast

from modelward.certificate import is_http2
from modelward.config.upstream import UpstreamAddress, resolve
from modelward.problem import ProblemsFound
from modelward.upstream.credentials import client_context
from modelward_native.backend.connection import BufferedUpstream
from modelward_native.backend.pool import Endpoint
from modelward_native.wire.listener import Listener

log = logging.getLogger("modelward.upstream")

CONNECT_SECONDS = 5.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
# A peer that does not answer our goodbye is not waited for any longer.
GOODBYE_SECONDS = 5.0


class SecureUpstream(BufferedUpstream):
    """A connection that is HTTP/2 by agreement (ALPN); any other carries no request."""

    __slots__ = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not is_http2(transport.get_extra_info("ssl_object")):
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)


class Silent(ConnectionError):
    """A connection that ended before its server said anything. With TLS 1.3 that is how one shows that it dislikes our
    certificate: the handshake has ended by then."""


class Connector:
    """Owns the task that connects one endpoint; `close` ends both."""

    def __init__(self, listener: Listener, address: UpstreamAddress, endpoint: Endpoint) -> None:
        self.address = address
        self.endpoint = endpoint
        # set when the first attempt has succeeded or failed
        self.tried = asyncio.Event()
        self._listener = listener
        self._secure = address.tls is not None
        self._lost = asyncio.Event()
        self._upstream: BufferedUpstream | None = None
        self._usable: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.endpoint.on_ready = self._ready
        self.endpoint.on_lost = self._gone
        self._task = asyncio.get_running_loop().create_task(self._keep())

    def _ready(self) -> None:
        if not self._usable.done():
            self._usable.set_result(True)

    def _gone(self) -> None:
        self._lost.set()
        if not self._usable.done():
            self._usable.set_result(False)

    async def _keep(self) -> None:
        loop = asyncio.get_running_loop()
        pause = FIRST_PAUSE
        said = False
        while True:
            self._lost.clear()
            self._usable = loop.create_future()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connect()
            except (OSError, TimeoutError, ProblemsFound) as error:
                self._abort()
                self.endpoint.unconnected += 1
                self.endpoint.untrusted = isinstance(error, ssl.SSLError | ProblemsFound | Silent) and self._secure
                if not said:
                    why = str(error) or f"it has not answered within {CONNECT_SECONDS:.0f} s"
                    log.warning("upstream %s cannot be reached: %s; trying on", self.address.text, why)
                    said = True
                self.tried.set()
                pause = await _rest(pause)
                continue
            log.info("upstream %s is connected", self.address.text)
            said = False
            since = loop.time()
            self.tried.set()
            await self._lost.wait()
            # an upstream that dislikes our certificate says so only after the handshake, by closing
            pause = await _rest(pause) if loop.time() - since < LONGEST_PAUSE else FIRST_PAUSE

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        # resolved again for every connection: where a name moves, the next connection follows
        host = (await resolve(self.address))[0]

        tls = self.address.tls

        def protocol() -> BufferedUpstream:
            return (BufferedUpstream if tls is None else SecureUpstream)(self._listener, self.endpoint)

        secure: dict[str, Any] = {}
        if tls is not None:
            secure = {
                "ssl": client_context(tls),
                "server_hostname": self.address.server_name,
                "ssl_shutdown_timeout": GOODBYE_SECONDS,
            }
        transport: asyncio.Transport
        if self.address.path:
            transport, self._upstream = await loop.create_unix_connection(protocol, host, **secure)
        else:
            transport, self._upstream = await loop.create_connection(protocol, host, self.address.port, **secure)
        if tls is not None and not is_http2(transport.get_extra_info("ssl_object")):
            raise ConnectionError("it does not speak HTTP/2 over TLS (no ALPN h2)")
        # connected is what the kernel says: the server itself may be frozen, or no HTTP/2 server at all
        if not await self._usable:
            perhaps = "; it may not accept our certificate, or want one" if self._secure else ""
            raise Silent(f"it closed the connection before it said anything of HTTP/2{perhaps}")

    def close(self) -> None:
        self._task.cancel()
        self.endpoint.on_ready = self.endpoint.on_lost = None
        self._abort()

    def _abort(self) -> None:
        if self._upstream is not None:
            self._upstream.abort()


async def _rest(pause: float) -> float:
    """Waits about as long; how long to wait the next time."""
    await asyncio.sleep(pause * random.uniform(0.5, 1.5))
    return min(2 * pause, LONGEST_PAUSE)
