"""Accepts connections that begin with TLS, each counted against its peer's limits before a handshake costs anything."""

import asyncio
import errno
import logging
import socket
from typing import cast

from native.h2 import BufferedConnection, Listener
from proxy.access.gate import Gate
from proxy.certificate import is_http2
from proxy.server.tls import LiveMaterial
from proxy.telemetry.snapshot import TlsSnapshot

log = logging.getLogger("modelward.tls")

AT_ONCE = 64
# of waiting for descriptors or memory, where the system has none left
PAUSE_SECONDS = 1.0
OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# a peer that never says goodbye is not waited for any longer
GOODBYE_SECONDS = 5.0


class SecureConnection(BufferedConnection):
    """A connection that is HTTP/2 by agreement (ALPN); any other is closed before a byte of it is read."""

    __slots__ = ("_gate",)

    def __init__(self, listener: Listener, gate: Gate | None) -> None:
        # the listener is taken where the compiled half is made, in __cinit__: there is no __init__ to call
        self._gate = gate

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if not is_http2(tls):
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)
        if self._gate is not None:
            self._gate.meet(self, tls)


class TlsAcceptor:
    """Owns a listening socket and the handshakes under way on it. `close` ends the first, `abandon` the others."""

    def __init__(
        self,
        listener: Listener,
        bound: socket.socket,
        material: LiveMaterial,
        handshake: float,
        gate: Gate | None = None,
    ) -> None:
        """handshake: seconds. gate: told whose certificates clients show."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._socket = bound
        self._material = material
        self._gate = gate
        self._handshake_seconds = handshake
        self._handshakes: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None
        self.failures = 0

    def start(self, backlog: int) -> None:
        """Listens; the socket must be bound and non-blocking."""
        self._socket.listen(backlog)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """No new connections; those that are still shaking hands go on."""
        if self._socket.fileno() < 0:
            return
        if self._resume is not None:
            self._resume.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    @property
    def shaking_hands(self) -> bool:
        return bool(self._handshakes)

    def abandon(self) -> None:
        """Gives up those that are still shaking hands."""
        for handshake in self._handshakes:
            handshake.cancel()

    def figures(self) -> TlsSnapshot:
        """What there is to count, and until when the certificate is good."""
        material = self._material
        end = material.current.certificate.not_after.timestamp()
        return TlsSnapshot(end, material.reloads, material.failures, self.failures)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                accepted, address = self._socket.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in OUT_OF_RESOURCES:
                    raise
                log.error("no more connections for %.0f s: %s", PAUSE_SECONDS, error.strerror)
                self._loop.remove_reader(self._socket.fileno())
                self._resume = self._loop.call_later(
                    PAUSE_SECONDS, self._loop.add_reader, self._socket.fileno(), self._accept
                )
                return
            accepted.setblocking(False)
            connection = SecureConnection(self._listener, self._gate)
            if not connection.arrive(address):
                accepted.close()
                continue
            handshake = self._loop.create_task(self._shake_hands(accepted, connection))
            connection.handshake = handshake
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, accepted: socket.socket, connection: SecureConnection) -> None:
        shaken = False
        try:
            await self._loop.connect_accepted_socket(
                lambda: connection,
                accepted,
                ssl=self._material.current.context,
                ssl_handshake_timeout=self._handshake_seconds,
                ssl_shutdown_timeout=GOODBYE_SECONDS,
            )
            shaken = True
        except OSError as error:
            # ssl.SSLError and the timeout are OSErrors too; strangers decide how often: no line of its own for each
            self.failures += 1
            log.debug("TLS handshake with %s failed: %s", connection.peer, error)
        finally:
            if not shaken:
                connection.depart()
