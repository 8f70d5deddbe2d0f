"""The HTTP listener: metrics and probes. Nothing here reads a body, and no client can hold it against others.

Built on aiohttp's low-level server rather than its application: five fixed GET paths need no router, and only there
can connections be bounded (`http_connections`). Pages of metrics are shared by scrapers (`telemetry.pages`), so
that probes are answered at once while others scrape.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp import hdrs, web

from modelward.config.address import Address
from modelward.models.catalog import Catalog
from modelward.server.bind import BoundSocket, InheritedSocket
from modelward.server.http_connections import Connections
from modelward.server.readiness import Readiness
from modelward.telemetry.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from modelward.telemetry.pages import Pages

KEY = "listen.http"
MODE = 0o755  # of a Unix socket: for this user alone
CLOSE_SECONDS = 1.0
KEEPALIVE_SECONDS = 75.0
# After an answer, how long an unread request body is read and thrown away before the connection is cut.
LINGER_SECONDS = 1.0
# Probes and scrapers ask, wait and ask again. One that sends its next request before it has the answer waits; and no
# connection lasts for ever.
PIPELINED_SECONDS = 0.1
MAX_REQUESTS = 1000
MAX_LINE_BYTES = 2048
MAX_FIELD_BYTES = 4096
MAX_HEADERS = 64

log = logging.getLogger("modelward.http")


@dataclass(frozen=True)
class AppState:
    """What the endpoints report on; `catalog` is called per request because a reload replaces it.

    failing: processes in which a version fails its canary, by model and version; no reason not to be ready for others.
    """

    catalog: Callable[[], Catalog]
    readiness: Readiness
    exposition: Exposition
    failing: Callable[[], Mapping[tuple[str, str], int]] = dict


class HttpServer:
    """Listens from `start` to `stop`. address: with the real port."""

    def __init__(self, bound: BoundSocket | InheritedSocket, state: AppState) -> None:
        """bound: closed by `stop`."""
        self._bound = bound
        self.address = bound.address
        self._server = _Server(_Endpoints(state).handle)
        self._server.places = self._connections = Connections(bound.socket, self._server)

    @classmethod
    async def start(cls, address: Address, state: AppState, inherited: InheritedSocket | None = None) -> HttpServer:
        """On the running loop. Port 0 lets the kernel choose. inherited: stands for the address.

        Raises ProblemsFound where the address cannot be had.
        """
        server = cls(inherited or BoundSocket(address, MODE, KEY), state)
        server._connections.start()
        return server

    async def stop(self) -> None:
        """Closes the listener and its connections, and removes the file of a Unix socket that `start` has bound."""
        self._connections.close()
        self._bound.close()
        await self._server.shutdown(CLOSE_SECONDS)


class _Endpoints:
    def __init__(self, state: AppState) -> None:
        self._state = state
        self._pages = Pages(state.exposition)
        self._paths: dict[str, Callable[[web.BaseRequest], Awaitable[web.Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
            # The paths that Triton's and KServe's probes are configured with.
            "/v2/health/live": self._alive,
            "/v2/health/ready": self._ready,
        }

    async def handle(self, request: web.BaseRequest) -> web.Response:
        endpoint = self._paths.get(request.path)
        if endpoint is None:
            return _text(HTTPStatus.NOT_FOUND, f"no such page; there are {', '.join(self._paths)}")
        if request.method not in (hdrs.METH_GET, hdrs.METH_HEAD):
            response = _text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD")
            response.headers[hdrs.ALLOW] = "GET, HEAD"
            return response
        return await endpoint(request)

    async def _alive(self, request: web.BaseRequest) -> web.Response:
        return _text(HTTPStatus.OK, "alive")

    async def _ready(self, request: web.BaseRequest) -> web.Response:
        """Ready is two things: every model is warm, and the server wants traffic (it does not while it drains)."""
        reasons = self._state.catalog().not_ready()
        if not self._state.readiness.ready:
            reasons.insert(0, self._state.readiness.reason)
        if reasons:
            return _text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n" + "\n".join(reasons))
        failing = [
            f"{m} version {v}: fails its canary, in {n} of the workers" for (m, v), n in self._state.failing().items()
        ]
        return _text(HTTPStatus.OK, "\n".join(("ready", *failing)))

    async def _metrics(self, request: web.BaseRequest) -> web.Response:
        # The header's version is not echoed: both formats have one version here, and old scrapers read it.
        is_openmetrics = "application/openmetrics-text" in request.headers.get(hdrs.ACCEPT, "")
        compressed = _takes_gzip(request.headers.get(hdrs.ACCEPT_ENCODING, ""))
        body = await self._pages.get(is_openmetrics=is_openmetrics, compressed=compressed)
        headers = {hdrs.CONTENT_TYPE: OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE, **_HEADERS}
        headers[hdrs.VARY] = f"{hdrs.ACCEPT}, {hdrs.ACCEPT_ENCODING}"
        if compressed:
            headers[hdrs.CONTENT_ENCODING] = "gzip"
        return web.Response(body=body, headers=headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of nothing (RFC 9110, section 12.5.3)."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" if weight else True
    return False


# An explicit Server header keeps aiohttp from telling its version and Python's.
_HEADERS = {hdrs.SERVER: "modelward", hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}


def _text(status: HTTPStatus, body: str) -> web.Response:
    return web.Response(status=status, text=body + "\n", headers=_HEADERS)


class _Connection(web.RequestHandler):
    """One client. Differs from aiohttp's in what it says on errors: the status and nothing of ours."""

    __slots__ = ("requests",)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.requests = 0  # answered

    @property
    def has_more(self) -> bool:
        """Requests have come behind the one that is being answered."""
        return bool(self._messages)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("HTTP %s failed", request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an error after the answer had begun: the connection is cut")
        response = _text(HTTPStatus(status), HTTPStatus(status).phrase)
        response.force_close()
        return response


class _Server(web.Server):
    """aiohttp's server, whose connections have places."""

    places: Connections

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> None:
        super().__init__(self._paced)
        self._handler = handler

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,
            logger=log,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def _paced(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, _Connection)
        self.places.touch(connection)
        if connection.has_more:
            await asyncio.sleep(PIPELINED_SECONDS)
        response = await self._handler(request)
        connection.requests += 1
        if connection.requests >= MAX_REQUESTS:
            response.force_close()
        return response

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self.places.lost(handler)
        super().connection_lost(handler, exc)
