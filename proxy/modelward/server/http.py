"""The HTTP listener: metrics and probes. Nothing here reads a body, and no client can hold it against others.

Five fixed GET paths need no library: aiohttp, which they were built on before, took 10 MiB and 110 ms of CPU of every
start. Pages of metrics are shared by scrapers (`telemetry.pages`), so that probes are answered at once while others
scrape.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from msgspec import Struct

from modelward.config.address import Address
from modelward.models.catalog import Catalog
from modelward.server.bind import BoundSocket, InheritedSocket
from modelward.server.http_connection import HttpConnection, Response, text
from modelward.server.http_connections import Connections
from modelward.server.http_request import Request
from modelward.server.readiness import Readiness
from modelward.telemetry.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Exposition
from modelward.telemetry.pages import Pages

KEY = "listen.http"
MODE = 0o755  # of a Unix socket: for this user alone
CLOSE_SECONDS = 1.0


class AppState(Struct, frozen=True):
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
        handle = _Endpoints(state).handle
        self._connections = Connections(bound.socket, lambda: self._connection(handle))

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
        await self._connections.ended(CLOSE_SECONDS)

    def _connection(self, handle: Callable[[Request], Awaitable[Response]]) -> HttpConnection:
        return HttpConnection(handle, self._connections.touch, self._connections.lost)


class _Endpoints:
    def __init__(self, state: AppState) -> None:
        self._state = state
        self._pages = Pages(state.exposition)
        self._paths: dict[str, Callable[[Request], Awaitable[Response]]] = {
            "/metrics": self._metrics,
            "/healthz": self._alive,
            "/readyz": self._ready,
            # The paths that Triton's and KServe's probes are configured with.
            "/v2/health/live": self._alive,
            "/v2/health/ready": self._ready,
        }

    async def handle(self, request: Request) -> Response:
        endpoint = self._paths.get(request.path)
        if endpoint is None:
            return text(HTTPStatus.NOT_FOUND, f"no such page; there are {', '.join(self._paths)}")
        if request.method not in ("GET", "HEAD"):
            return text(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD", Allow="GET, HEAD")
        return await endpoint(request)

    async def _alive(self, request: Request) -> Response:
        return text(HTTPStatus.OK, "alive")

    async def _ready(self, request: Request) -> Response:
        """Ready is two things: every model is warm, and the server wants traffic (it does not while it drains)."""
        reasons = self._state.catalog().not_ready()
        if not self._state.readiness.ready:
            reasons.insert(0, self._state.readiness.reason)
        if reasons:
            return text(HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n" + "\n".join(reasons))
        failing = [
            f"{m} version {v}: fails its canary, in {n} of the workers" for (m, v), n in self._state.failing().items()
        ]
        return text(HTTPStatus.OK, "\n".join(("ready", *failing)))

    async def _metrics(self, request: Request) -> Response:
        # The header's version is not echoed: both formats have one version here, and old scrapers read it.
        is_openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
        compressed = _takes_gzip(request.headers.get("accept-encoding", ""))
        body = await self._pages.get(is_openmetrics=is_openmetrics, compressed=compressed)
        headers = {
            "Content-Type": OPENMETRICS_TYPE if is_openmetrics else TEXT_TYPE,
            "Vary": "Accept, Accept-Encoding",
            **({"Content-Encoding": "gzip"} if compressed else {}),
        }
        return Response(HTTPStatus.OK, body, headers)


def _takes_gzip(accepted: str) -> bool:
    """Whether an Accept-Encoding names gzip, and not with a weight of nothing (RFC 9110, section 12.5.3)."""
    for coding in accepted.lower().split(","):
        name, _, weight = coding.partition(";")
        if name.strip() == "gzip":
            return weight.replace(" ", "").removeprefix("q=").strip("0.") != "" if weight else True
    return False
