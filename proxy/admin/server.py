"""The admin API's listener: grpc.aio on the supervisor's loop, bound once, for as long as the supervisor lives."""

import os
from typing import Any, Self

import grpc

from proxy.admin.operator import Operator
from proxy.admin.service import Service
from proxy.admin.tls import credentials
from proxy.config.address import Address
from proxy.config.tls import AdminTls
from proxy.problem import Problem, ProblemsFound
from proxy.server.bind import BoundSocket

KEY = "listen.admin"
HOW = f"Stop what listens there, set {KEY} to another address, or to off: --set {KEY}=off"
MOST_CALLS = 16  # at a time, over all connections; a reload waits for the one before it
MOST_CONNECTIONS = 64  # each of which must have said something within 5 s: strangers take no descriptor from workers
MODE = 0o600
OPTIONS = {
    # two servers would share the port, and each answer for the other
    "grpc.so_reuseport": 0,
    "grpc.max_allowed_incoming_connections": MOST_CONNECTIONS,
    "grpc.max_receive_message_length": 64 * 1024,
    "grpc.max_metadata_size": 8 * 1024,
    "grpc.absolute_max_metadata_size": 8 * 1024,
    "grpc.max_concurrent_streams": MOST_CALLS,
    # to whoever connects and says nothing, TLS included
    "grpc.server_handshake_timeout_ms": 5_000,
    "grpc.max_connection_idle_ms": 5 * 60_000,
}


class AdminServer:
    """Use `start`, and `stop` in any case. address: with the real port."""

    def __init__(self, server: Any, service: Service, address: Address) -> None:
        self._server = server
        self._service = service
        self.address = address

    @classmethod
    async def start(cls, address: Address, tls: AdminTls | None, operator: Operator) -> Self:
        """Listens on the running loop. Raises ProblemsFound."""
        encrypted = credentials(tls) if tls is not None else None
        service = Service(operator)
        server = grpc.aio.server(options=[*OPTIONS.items()], maximum_concurrent_rpcs=MOST_CALLS)
        server.add_generic_rpc_handlers((service.handler(),))
        try:
            port = _bind(server, address, encrypted)
            await server.start()
        except BaseException:
            await server.stop(None)
            raise
        return cls(server, service, address if address.is_unix else address.with_port(port))

    async def stop(self) -> None:
        """Ends everything at once; the file of a Unix socket goes too."""
        self._service.stop()
        await self._server.stop(None)


def _bind(server: Any, address: Address, encrypted: Any) -> int:
    """The port. gRPC replaces the socket of a live server and tells no reason when it fails: we look before it."""
    BoundSocket(address, MODE, KEY, HOW).close()
    before = os.umask(0o777 & ~MODE)  # it listens as soon as the file is there
    try:
        if encrypted is not None:
            return int(server.add_secure_port(str(address), encrypted))
        return int(server.add_insecure_port(str(address)))
    except RuntimeError as error:
        raise ProblemsFound([Problem(f"cannot listen on {address}", KEY, "it was taken just now", HOW)]) from error
    finally:
        os.umask(before)
