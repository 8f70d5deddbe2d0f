"""The admin API's listener, bound once, for as long as the supervisor lives.

It is the data plane's own listener, without models, on the supervisor's loop. Connections have places in all and of
each peer, silent ones make way first, and handshakes have a share: strangers do not lock operators out.
"""

import asyncio
import socket
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from native.call import Call
from native.deadline import Wheel
from native.limit import Limiter
from native.pipeline import Server
from native.region import Region
from native.route import Directory
from proxy.admin.operator import Operator
from proxy.admin.service import Service
from proxy.admin.tls import SECTION, server_side
from proxy.config.address import Address
from proxy.config.tls import AdminTls
from proxy.config.units import SECOND
from proxy.server.accept import Acceptor, Handshakes
from proxy.server.bind import BoundSocket
from proxy.server.methods import MAX_REQUEST_BYTES, Dispatcher
from proxy.server.protocol import Code, RpcError
from proxy.server.tls import LiveMaterial
from proxy.telemetry.partings import PartingLog

KEY = "listen.admin"
HOW = f"Stop what listens there, set {KEY} to another address, or to off: --set {KEY}=off"
MOST_CALLS = 16  # at a time, over all connections; a reload waits for the one before it
MOST_CONNECTIONS = 64
MOST_OF_PEER = 16
ARRIVALS = 200.0  # new connections of a peer per second: a handshake costs the loop a millisecond
MODE = 0o600
BACKLOG = 128
INFLIGHT_BYTES = 4 * 2**20
HANDSHAKE = 5 * SECOND
REQUEST = 10 * SECOND
IDLE_STREAM = 24 * 60 * 60 * SECOND  # a restart of many workers says little
IDLE_CONNECTION = 5 * 60 * SECOND
EVENTS_SECONDS = 1.0
PEERS = 1024
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Context:
    """What a method may know of the client that calls it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def peer(self) -> str:
        """Its address, as gRPC writes it."""
        return self._call.peer

    def uid(self) -> int | None:
        """Of the process that opened a Unix socket's connection (SO_PEERCRED, unix(7)); None of any other."""
        transport = self._call.transport
        found = transport.get_extra_info("socket") if transport is not None else None
        if found is None or found.family != socket.AF_UNIX:
            return None
        credentials = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        return int(_CREDENTIALS.unpack(credentials)[1])

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """Names in its certificate, as gRPC calls them; empty without TLS."""
        transport = self._call.transport
        certificate = (transport.get_extra_info("peercert") if transport is not None else None) or {}
        names = [value.encode() for _, value in certificate.get("subjectAltName", ())]
        subject = [field for part in certificate.get("subject", ()) for field in part]
        common = [value.encode() for name, value in subject if name == "commonName"]
        return {"x509_subject_alternative_name": names, "x509_common_name": common}


class AdminServer:
    """Use `start`, and `stop` in any case. address: with the real port."""

    def __init__(self, bound: BoundSocket, tls: LiveMaterial | None, operator: Operator) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self._service = Service(operator)
        self._calls = 0
        self._dispatcher = Dispatcher(self._service.methods())
        region = Region()
        self._wheel = Wheel(self._loop)
        self._server = Server(self._wheel, Limiter(PEERS, region=region), Directory([]), region)
        listener = self._server.listener
        listener.max_connections, listener.max_per_peer = MOST_CONNECTIONS, MOST_OF_PEER
        listener.set_arrivals(ARRIVALS)
        listener.set_sizes(MAX_REQUEST_BYTES, INFLIGHT_BYTES, MOST_CALLS)
        listener.set_timeouts(HANDSHAKE, REQUEST, IDLE_STREAM, IDLE_CONNECTION, HANDSHAKE)
        self._server.start(self._loop, self._answer, self._dispatcher.kinds)
        handshakes = Handshakes(tls, HANDSHAKE / SECOND) if tls is not None else None
        self._acceptor = Acceptor(listener, bound.socket, region, handshakes)
        self._partings = PartingLog(KEY)
        self._tasks = [self._loop.create_task(self._log_partings())]
        if tls is not None:
            self._tasks.append(self._loop.create_task(tls.watch()))
        self.address = bound.address

    @classmethod
    async def start(cls, address: Address, tls: AdminTls | None, operator: Operator) -> Self:
        """Listens on the running loop. Raises ProblemsFound."""
        material = LiveMaterial(server_side(tls), section=SECTION) if tls is not None else None
        server = cls(BoundSocket(address, MODE, KEY, HOW), material, operator)
        server._acceptor.start(BACKLOG)
        return server

    async def stop(self) -> None:
        """Ends everything at once; the file of a Unix socket goes too."""
        self._service.stop()
        for task in self._tasks:
            task.cancel()
        self._acceptor.close()
        self._acceptor.abandon()
        self._server.stop()
        self._wheel.close()
        self._bound.close()

    async def _answer(self, call: Call) -> None:
        if self._calls >= MOST_CALLS:
            call.finish(int(Code.RESOURCE_EXHAUSTED), f"{MOST_CALLS} calls are under way; ask again when one has ended")
            return
        self._calls += 1
        try:
            await self._dispatcher.dispatch(call.path, call, cast(Any, Context(call)), call.send)
        except RpcError as error:
            call.finish(int(error.code), error.message, error.reason)
        else:
            call.finish(0)
        finally:
            self._calls -= 1

    async def _log_partings(self) -> None:
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            self._partings.take(self._server.listener.partings())
