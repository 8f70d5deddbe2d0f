"""Accepts connections, each counted against its peer's limits before anything is spent on it, TLS above all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from msgspec import Struct

from modelward.certificate import is_http2
from modelward.server.exhaustion import OUT_OF_RESOURCES
from modelward.server.handshake_log import NO_HTTP2, HandshakeLog, reason_of
from modelward.server.hellos import Hellos
from modelward.server.peercred import user_of
from modelward.server.tls import LiveMaterial
from modelward.telemetry.snapshot import TlsSnapshot
from modelward_native.region.region import Region
from modelward_native.wire.connection import BufferedConnection
from modelward_native.wire.listener import Listener
from modelward_native.wire.peer_index import PeerIndex

if TYPE_CHECKING:
    from modelward.access.credential_checker import CredentialChecker

AT_ONCE = 64
# to a process with fewer connections, which is awake as well if it can
LEAVE_SECONDS = 0.002
# of waiting for descriptors or memory, where the system has none left; meanwhile this many idle connections make way
PAUSE_SECONDS = 0.1
SHED_AT_ONCE = 8
# of the connections that there may be, and of those that a peer may have, those that may be shaking hands
SHAKING_PART = 4
LEAST_SHAKING = 8
# a peer that never says goodbye is not waited for any longer
GOODBYE_SECONDS = 5.0


class SecureConnection(BufferedConnection):
    """A connection that is HTTP/2 by agreement (ALPN); any other is closed before a byte of it is read."""

    __slots__ = ("_checker", "_hellos")

    def __init__(self, listener: Listener, checker: CredentialChecker | None, hellos: Hellos) -> None:
        # the listener is taken where the compiled half is made, in __cinit__: there is no __init__ to call
        self._checker = checker
        self._hellos = hellos

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        tls = transport.get_extra_info("ssl_object")
        if not is_http2(tls):
            cast(asyncio.Transport, transport).abort()
            return
        self._hellos.done += 1
        super().connection_made(transport)
        if self._checker is not None:
            self._checker.meet(self, tls)


class Handshakes(Struct, frozen=True):
    """Of connections that begin with TLS. seconds: that one may take. checker: told whose certificates clients show."""

    material: LiveMaterial
    seconds: float
    checker: CredentialChecker | None = None


class Acceptor:
    """Owns a listening socket, which other processes may listen on too, and the handshakes under way.

    `close` ends the first, `abandon` the others. A process that has more connections than another leaves the next one
    to it for a moment, so that few connections are spread evenly over many processes.
    """

    def __init__(
        self, listener: Listener, bound: socket.socket, region: Region, handshakes: Handshakes | None = None
    ) -> None:
        """handshakes: None for plain text."""
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._socket = bound
        self._region = region
        self._handshakes = handshakes
        self._met: set[asyncio.Task[bool]] = set()  # connections that are being set up
        self._shaking = PeerIndex()  # those of them that begin with TLS, by peer
        self._resume: asyncio.TimerHandle | None = None
        self._overdue = 1  # connections that are taken after a pause, even if another process is less busy
        self.failures = HandshakeLog()
        self._hellos = Hellos()

    def start(self, backlog: int) -> None:
        """Listens; the socket must be bound and non-blocking."""
        self._socket.listen(backlog)
        self._region.accept(True)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """No new connections; those that are still shaking hands go on."""
        if self._socket.fileno() < 0:
            return
        if self._resume is not None:
            self._resume.cancel()
        self._region.accept(False)
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    @property
    def shaking_hands(self) -> bool:
        return bool(self._met)

    def abandon(self) -> None:
        """Gives up those that are still shaking hands."""
        for meeting in self._met:
            meeting.cancel()

    def stats(self) -> TlsSnapshot | None:
        """What there is to count, and until when the certificate is good; None for plain text."""
        if self._handshakes is None:
            return None
        material = self._handshakes.material
        end = material.current.certificate.not_after.timestamp()
        return TlsSnapshot(end, material.reloads, material.failures, self.failures.count, self._hellos.unfinished)

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            # those that have made way still have their descriptors
            if self._region.has_less_busy() or self._listener.leaving >= AT_ONCE:
                self._pause(LEAVE_SECONDS)
                return
            if not self._accept_one():
                self._overdue = 1
                return

    def _accept_one(self) -> bool:
        """False if no connection is left to accept, or nothing to do it with."""
        try:
            accepted, address = self._socket.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except ConnectionAbortedError:
            return True
        except OSError as error:
            if error.errno not in OUT_OF_RESOURCES:
                raise
            for _ in range(SHED_AT_ONCE):
                self._listener.shed()
            self._pause(PAUSE_SECONDS)
            return False
        accepted.setblocking(False)
        connection = BufferedConnection(self._listener)
        if self._handshakes is not None:
            connection = SecureConnection(self._listener, self._handshakes.checker, self._hellos)
        if not connection.arrive(address if (uid := user_of(accepted)) is None else uid):
            accepted.close()
            return True
        if self._handshakes is not None:
            self._make_room_for_handshake(connection)
            self._shaking.enter(connection.peer_key, connection)
        meeting = self._loop.create_task(self._meet(accepted, connection))
        # the event loops do not close a socket whose set-up is cancelled: its end ends the set-up
        connection.shut = partial(_shut, accepted)
        self._met.add(meeting)
        meeting.add_done_callback(partial(self._end_meeting, connection))
        return True

    def _end_meeting(self, connection: BufferedConnection, meeting: asyncio.Task[bool]) -> None:
        """Also of one that was cancelled before it began."""
        self._met.discard(meeting)
        self._shaking.leave(connection.peer_key, connection)
        if meeting.cancelled() or not meeting.result():
            connection.depart()

    def _make_room_for_handshake(self, connection: BufferedConnection) -> None:
        """The oldest of its own peer gives way where that has its share; else the oldest of the peer with the most."""
        own = self._shaking.of(connection.peer_key)
        if len(own) >= max(self._listener.max_per_peer // SHAKING_PART, LEAST_SHAKING):
            self._give_up(next(iter(own)))
        elif self._shaking.taken >= max(self._listener.max_connections // SHAKING_PART, LEAST_SHAKING):
            (largest,) = self._shaking.largest(1)
            self._give_up(next(iter(self._shaking.of(largest))))

    def _give_up(self, connection: BufferedConnection) -> None:
        self._shaking.leave(connection.peer_key, connection)
        connection.give_way()

    def _pause(self, seconds: float) -> None:
        self._loop.remove_reader(self._socket.fileno())
        self._resume = self._loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        """A client may be waiting whom no other process has taken: one is taken in any case.

        Each time that there are more, twice as many: a long queue does not wait for the sake of an even spread.
        """
        self._loop.add_reader(self._socket.fileno(), self._accept)
        for _ in range(self._overdue):
            if not self._accept_one():
                self._overdue = 1
                return
        self._overdue = min(2 * self._overdue, AT_ONCE)

    async def _meet(self, accepted: socket.socket, connection: BufferedConnection) -> bool:
        """Whether it has become a connection."""
        try:
            transport, _ = await self._loop.connect_accepted_socket(lambda: connection, accepted, **self._tls())
        except (OSError, ValueError) as error:
            # ssl.SSLError and the timeout are OSErrors too, names that are no text ValueErrors; strangers decide how
            # often: no line of its own for each
            self.failures.add(reason_of(error), connection.peer)
            return False
        if self._handshakes is not None and not is_http2(transport.get_extra_info("ssl_object")):
            self.failures.add(NO_HTTP2, connection.peer)  # it closes itself
        return True

    def _tls(self) -> dict[str, Any]:
        if self._handshakes is None:
            return {}
        context = self._handshakes.material.current.context
        self._hellos.count(context)
        return {
            "ssl": context,
            "ssl_handshake_timeout": self._handshakes.seconds,
            "ssl_shutdown_timeout": GOODBYE_SECONDS,
        }


def _shut(accepted: socket.socket) -> None:
    with contextlib.suppress(OSError):  # its peer has gone
        accepted.shutdown(socket.SHUT_RDWR)
