"""The admin API's listener, bound once, for as long as the supervisor lives.

It is the data plane's own listener, without models, on the supervisor's loop. Connections have places in all and of
each peer, and those for which nothing is to be done make way; handshakes and calls have shares: strangers do not lock
operators out.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Self, cast

from modelward.admin.authorization import Authorization
from modelward.admin.context import Context
from modelward.admin.operator import Operator
from modelward.admin.service import Service
from modelward.admin.tls import SECTION, server_side
from modelward.audit.recorder import NoTrail, Recorder
from modelward.config.address import Address
from modelward.config.operators import Operators
from modelward.config.tls import AdminTls
from modelward.config.units import SECOND
from modelward.rpc.protocol import Code
from modelward.server.accept import Acceptor, Handshakes
from modelward.server.bind import BoundSocket
from modelward.server.methods import MAX_REQUEST_BYTES, Dispatcher
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
OPEN_MODE = 0o666  # where bindings of users and groups say who may do what
BACKLOG = 128
INFLIGHT_BYTES = 4 * 2**20
HANDSHAKE = 5 * SECOND
REQUEST = 2 * SECOND  # a message is a few bytes
IDLE_STREAM = 24 * 60 * 60 * SECOND  # a restart of many workers says little
IDLE_CONNECTION = 5 * 60 * SECOND
EVENTS_SECONDS = 1.0
PEERS = 1024
NO_TRAIL = NoTrail()


class AdminServer:
    """Use `start`, and `stop` in any case. address: with the real port. authorization: says who may do what."""

    def __init__(
        self, bound: BoundSocket, tls: LiveMaterial | None, operator: Operator, authorization: Authorization
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._bound = bound
        self.authorization = authorization
        self._service = Service(operator, authorization)
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
    async def start(
        cls,
        address: Address,
        tls: AdminTls | None,
        operator: Operator,
        operators: Operators | None = None,
        recorder: Recorder = NO_TRAIL,
    ) -> Self:
        """Listens on the running loop. Raises ProblemsFound."""
        tokens = operators is not None and bool(operators.tokens)
        material = LiveMaterial(server_side(tls, tokens=tokens), section=SECTION) if tls is not None else None
        authorization = Authorization(operators, recorder)
        server = cls(BoundSocket(address, _mode(operators), KEY, HOW), material, operator, authorization)
        server._acceptor.start(BACKLOG)
        return server

    def prepare(self, operators: Operators | None) -> Callable[[], None]:
        """What makes calls from then on be judged by `operators`. Reads files. Raises ProblemsFound."""
        follow = self.authorization.prepare(operators)

        def follow_all() -> None:
            follow()
            if self.address.is_unix:
                os.chmod(self.address.path, _mode(operators))

        return follow_all

    async def stop(self) -> None:
        """Ends everything at once; the file of a Unix socket goes too."""
        self._service.stop()
        self.authorization.denials.stop()
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


def _mode(operators: Operators | None) -> int:
    """Of a Unix socket's file. Bindings of users and groups are for others than this server's user too."""
    kinds = {binding.kind for binding in operators.bindings} if operators is not None else set()
    return OPEN_MODE if kinds & {"user", "group"} else MODE
