"""Keeps one connection to each endpoint of a pool: made at once, made again with jittered, growing pauses."""

import asyncio
import logging
import random

from native.h2 import Listener
from native.pool import Endpoint
from native.upstream import BufferedUpstream
from proxy.config.upstream import UpstreamAddress, resolve

log = logging.getLogger("modelward.upstream")

CONNECT_SECONDS = 5.0
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0


class Connector:
    """Owns the task that connects one endpoint; `close` ends both."""

    def __init__(self, listener: Listener, address: UpstreamAddress, endpoint: Endpoint) -> None:
        self.address = address
        self.endpoint = endpoint
        # set when the first attempt has succeeded or failed
        self.tried = asyncio.Event()
        self._listener = listener
        self._lost = asyncio.Event()
        self._upstream: BufferedUpstream | None = None
        self.endpoint.on_lost = self._lost.set
        self._task = asyncio.get_running_loop().create_task(self._keep())

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        said = False
        while True:
            self._lost.clear()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await self._connect()
            except (OSError, TimeoutError) as error:
                if not said:
                    log.warning("upstream %s cannot be reached: %s; trying on", self.address.text, error)
                    said = True
                self.tried.set()
                await asyncio.sleep(pause * random.uniform(0.5, 1.5))
                pause = min(2 * pause, LONGEST_PAUSE)
                continue
            log.info("upstream %s is connected", self.address.text)
            pause, said = FIRST_PAUSE, False
            self.tried.set()
            await self._lost.wait()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        # resolved anew for every connection: where a name moves, the next connection follows
        host = (await resolve(self.address))[0]

        def protocol() -> BufferedUpstream:
            return BufferedUpstream(self._listener, self.endpoint)

        if self.address.path:
            _, self._upstream = await loop.create_unix_connection(protocol, host)
        else:
            _, self._upstream = await loop.create_connection(protocol, host, self.address.port)

    def close(self) -> None:
        self._task.cancel()
        self.endpoint.on_lost = None
        if self._upstream is not None:
            self._upstream.abort()
