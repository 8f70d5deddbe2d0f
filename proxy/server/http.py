"""The HTTP listener: metrics and probes. Nothing here reads a body, and no client can hold it against others.

Built on aiohttp's low-level server rather than its application: four fixed GET paths need no router, and only there
can the number of connections be bounded.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from aiohttp import hdrs, web

from proxy.config.address import Address
from proxy.models.catalog import Catalog
from proxy.server.readiness import Readiness
from proxy.telemetry.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition

# Prometheus, a probe and a curious human need a handful. The oldest makes way for a new one, so silent, dripping or
# never-reading clients cannot keep a probe out.
MAX_CONNECTIONS = 64
KEEPALIVE_SECONDS = 75.0
# After an answer, how long an unread request body is read and thrown away before the connection is cut.
LINGER_SECONDS = 1.0
MAX_LINE_BYTES = 2048
MAX_FIELD_BYTES = 4096
MAX_HEADERS = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AppState:
    """What the endpoints report on; `catalog` is called per request because a reload replaces it.

    failing: processes in which a version fails its canary, by model and version; no reason not to be ready for others.
    """

    catalog: Callable[[], Catalog]
    readiness: Readiness
    exposition: Exposition
    failing: Callable[[], Mapping[tuple[str, str], int]] = dict


async def start(address: Address, state: AppState, inherited: socket.socket | None = None) -> web.ServerRunner:
    """Listens on the running loop until `stop`. Raises OSError where the address cannot be bound.

    Port 0 lets the kernel choose: `bound_address` tells. inherited: listens already, and stands for the address.
    """
    runner = web.ServerRunner(_BoundedServer(_Endpoints(state).handle))
    await runner.setup()
    site: web.BaseSite
    if inherited is not None:
        site = web.SockSite(runner, inherited)
    elif address.is_unix:
        site = web.UnixSite(runner, address.path)
    else:
        site = web.TCPSite(runner, address.host, address.port)
    try:
        await site.start()
    except BaseException:
        await runner.cleanup()
        raise
    return runner


def bound_address(runner: web.ServerRunner) -> Address:
    """The address that a started runner listens on, with the real port."""
    bound = runner.addresses[0]
    return Address(path=bound) if isinstance(bound, str) else Address(host=bound[0], port=bound[1])


async def stop(runner: web.ServerRunner) -> None:
    """Closes the listener and its connections, and removes the file of a Unix socket that `start` has bound."""
    address, ours = bound_address(runner), not any(isinstance(site, web.SockSite) for site in runner.sites)
    await runner.cleanup()
    if address.is_unix and ours:
        Path(address.path).unlink(missing_ok=True)


class _Endpoints:
    def __init__(self, state: AppState) -> None:
        self._state = state
        self._paths: dict[str, Callable[[web.BaseRequest], web.Response]] = {
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
        return endpoint(request)

    def _alive(self, request: web.BaseRequest) -> web.Response:
        return _text(HTTPStatus.OK, "alive")

    def _ready(self, request: web.BaseRequest) -> web.Response:
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

    def _metrics(self, request: web.BaseRequest) -> web.Response:
        # The header's version is not echoed: both formats have one version here, and old scrapers read it.
        if "application/openmetrics-text" in request.headers.get(hdrs.ACCEPT, ""):
            body, kind = self._state.exposition.openmetrics(), OPENMETRICS_TYPE
        else:
            body, kind = self._state.exposition.text(), TEXT_TYPE
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: kind, **_HEADERS})


# An explicit Server header keeps aiohttp from telling its version and Python's.
_HEADERS = {hdrs.SERVER: "modelward", hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"}


def _text(status: HTTPStatus, body: str) -> web.Response:
    return web.Response(status=status, text=body + "\n", headers=_HEADERS)


class _Connection(web.RequestHandler):
    """One client. Differs from aiohttp's in what it says on errors: the status and nothing of ours."""

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


class _BoundedServer(web.Server):
    """aiohttp's server with at most MAX_CONNECTIONS connections, the oldest of which is cut when one more arrives."""

    def __init__(self, handler: Callable[[web.BaseRequest], object]) -> None:
        super().__init__(handler)  # type: ignore[arg-type]
        self._open: dict[web.RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            logger=log,
            keepalive_timeout=KEEPALIVE_SECONDS,
            lingering_time=LINGER_SECONDS,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_FIELD_BYTES,
            max_headers=MAX_HEADERS,
        )

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        while len(self._open) >= MAX_CONNECTIONS:
            # Abort, not close: a client that does not read would hold a closing connection open with what is buffered.
            self._open.pop(next(iter(self._open))).abort()
        self._open[handler] = transport

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)
