"""The admin API's listener, bound once, for as long as the supervisor lives.

It is the data plane's own listener, without models, on the supervisor's loop. Connections have places in all and of
each peer, and those for which nothing is to be done make way; handshakes and calls have shares: strangers do not lock
operators out.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Self, cast

from modelward.admin.operator import Operator
from modelward.admin.service import Service
from modelward.admin.tls import SECTION, server_side
from modelward.config.address import Address
from modelward.config.tls import AdminTls
from modelward.config.units import SECOND
from modelward.rpc.protocol import Code
from modelward.server.accept import Acceptor, Handshakes
from modelward.server.bind import BoundSocket
from modelward.server.methods import MAX_REQUEST_BYTES, Dispatcher
from modelward.server.peercred import user_of
from modelward.server.tls import LiveMaterial
from modelward.telemetry.close_reasons import CloseReasonLog
from modelward_native.limits.limit import Limiter
from modelward_native.region.region import Region
from modelward_native.request.route import Directory
from modelward_native.request.server import Server
from modelward_native.timer.deadline import Wheel
from modelward_native.wire.call import Call
from modelward_native.wire.peer_index import PeerIndex

KEY = "listen.admin"
HOW = f"Stop what listens there, set {KEY} to another address, or to off: --set {KEY}=off"
# at a time, over all connections, of those that may take long: a reload waits for the one before it. Of a peer, no
# more than are free
MOST_CALLS = 16
MOST_CONNECTIONS = 64
MOST_OF_PEER = 16
ARRIVALS = 200.0  # new connections of a peer per second: a handshake costs the loop a millisecond
MODE = 0o600
BACKLOG = 128
INFLIGHT_BYTES = 4 * 2**20
HANDSHAKE = 5 * SECOND
REQUEST = 2 * SECOND  # a message is a few bytes
IDLE_STREAM = 24 * 60 * 60 * SECOND  # a restart of many workers says little
IDLE_CONNECTION = 5 * 60 * SECOND
EVENTS_SECONDS = 1.0
PEERS = 1024


class Context:
    """What a method may know of the client that calls it."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def peer(self) -> str:
        """Its address, as gRPC writes it."""
        return self._call.peer

    def uid(self) -> int | None:
        """Of the process that opened a Unix socket's connection; None of any other."""
        transport = self._call.transport
        found = transport.get_extra_info("socket") if transport is not None else None
        return user_of(found) if found is not None else None

    def ends(self) -> tuple[tuple[str, int], tuple[str, int]] | None:
        """Host and port of the client's end of the connection, and of ours; None where it has no addresses."""
        transport = self._call.transport
        names = [transport.get_extra_info(name) for name in ("peername", "sockname")] if transport is not None else []
        if len(names) < 2 or not all(isinstance(name, tuple) and len(name) >= 2 for name in names):
            return None
        theirs, ours = ((str(name[0]), int(name[1])) for name in names)
        return theirs, ours

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
        self._calls = PeerIndex()
        self._dispatcher = Dispatcher(self._service.methods())
        region = Region()
        self._wheel = Wheel(self._loop)
        self._server = Server(self._wheel, Limiter(PEERS, region=region), Directory([]), region)
        listener = self._server.listener
        listener.max_connections, listener.max_per_peer = MOST_CONNECTIONS, MOST_OF_PEER
        listener.set_arrivals(ARRIVALS)
        listener.set_sizes(MAX_REQUEST_BYTES, INFLIGHT_BYTES, MOST_CALLS)
        listener.set_timeouts(HANDSHAKE, REQUEST, IDLE_STREAM, IDLE_CONNECTION, HANDSHAKE)
        self._server.start(
            self._loop,
            self._answer,
            self._dispatcher.kinds,
            self._dispatcher.streaming,
            self._dispatcher.client_streaming,
        )
        handshakes = Handshakes(tls, HANDSHAKE / SECOND) if tls is not None else None
        self._acceptor = Acceptor(listener, bound.socket, region, handshakes)
        self._close_reasons = CloseReasonLog(KEY)
        self._tasks = [self._loop.create_task(self._log_close_reasons())]
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
        context = Context(call)
        uid = context.uid()
        peer = call.peer.rpartition(":")[0] if uid is None else uid  # without its port
        if call.path not in self._service.at_once:
            held, taken = len(self._calls.of(peer)), self._calls.taken
            # whatever a few take leaves as much for another
            if held >= MOST_CALLS - taken:
                told = f"{taken} calls are under way, {held} of them yours; ask again when one has ended"
                call.finish(int(Code.RESOURCE_EXHAUSTED), told)
                return
            self._calls.enter(peer, call)
        try:
            await self._dispatcher.answer(call, cast(Any, context))
        finally:
            self._calls.leave(peer, call)

    async def _log_close_reasons(self) -> None:
        while True:
            await asyncio.sleep(EVENTS_SECONDS)
            self._close_reasons.take(self._server.listener.close_reasons())
