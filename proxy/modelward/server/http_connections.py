"""Connections of the HTTP listener: accepted in bounded turns, with places in all and of each peer.

A newcomer always finds a place: the idlest connection of the peer that holds the most makes way for it. So neither
silent nor busy clients keep a probe out.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
from collections.abc import Callable

from modelward.server.exhaustion import OUT_OF_RESOURCES
from modelward.server.http_connection import HttpConnection
from modelward_native.wire.peer_index import PeerIndex

MOST = 64
MOST_OF_PEER = 16
# far fewer than a peer may have: a newcomer is read, a turn or two later, before others of its peer take its place
AT_ONCE = 4
PAUSE_SECONDS = 0.1
BACKLOG = 128
POLL_SECONDS = 0.01
IPV6_BYTES = 8

log = logging.getLogger("modelward.http")


class Connections:
    """Owns a listening socket and what is accepted from it; `make` makes the protocols. Use `start`, then `close`."""

    def __init__(self, bound: socket.socket, make: Callable[[], HttpConnection]) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = bound
        self._make = make
        self._places = PeerIndex()
        self._peers: dict[HttpConnection, str] = {}
        self._sockets: dict[HttpConnection, socket.socket] = {}
        self._setting_up: set[asyncio.Task[None]] = set()
        self._resume: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """The socket must be bound and non-blocking."""
        self._socket.listen(BACKLOG)
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def close(self) -> None:
        """No new connections."""
        if self._resume is not None:
            self._resume.cancel()
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())

    async def ended(self, seconds: float) -> None:
        """After `close`: connections end with their answers, which have so many seconds; what is left is cut."""
        for handler in [*self._peers]:
            handler.finish()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self._peers:
                    await asyncio.sleep(POLL_SECONDS)
        for handler in [*self._peers]:
            self._dismiss(handler)

    def touch(self, handler: HttpConnection) -> None:
        """It has asked for something."""
        if handler in self._peers:
            self._places.touch(self._peers[handler], handler)

    def lost(self, handler: HttpConnection) -> None:
        peer = self._peers.pop(handler, None)
        if peer is not None:
            self._places.leave(peer, handler)
            del self._sockets[handler]

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
                self._make_room()
                self._loop.remove_reader(self._socket.fileno())
                self._resume = self._loop.call_later(PAUSE_SECONDS, self._go_on)
                return
            accepted.setblocking(False)
            self._enter(accepted, _peer(address))

    def _go_on(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _enter(self, accepted: socket.socket, peer: str) -> None:
        own = self._places.of(peer)
        if len(own) >= MOST_OF_PEER:
            self._dismiss(next(iter(own)))
        elif self._places.taken >= MOST:
            self._make_room()
        handler = self._make()
        self._places.enter(peer, handler)
        self._peers[handler], self._sockets[handler] = peer, accepted
        task = self._loop.create_task(self._set_up(handler, accepted))
        self._setting_up.add(task)
        task.add_done_callback(self._setting_up.discard)

    async def _set_up(self, handler: HttpConnection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: handler, accepted)
        except OSError as error:
            log.debug("a connection was not set up: %s", error)
            self.lost(handler)

    def _make_room(self) -> None:
        for peer in self._places.largest(1):
            self._dismiss(next(iter(self._places.of(peer))))

    def _dismiss(self, handler: HttpConnection) -> None:
        """Cut, not closed: a client that does not read would hold a closing connection with what is buffered for it."""
        accepted, transport = self._sockets[handler], handler.transport
        self.lost(handler)
        if transport is not None:
            transport.abort()
        else:  # it is being set up, which the end of its socket ends
            with contextlib.suppress(OSError):
                accepted.shutdown(socket.SHUT_RDWR)


def _peer(address: object) -> str:
    """Who has places together: an IPv4 address, a /64, or everybody on a Unix socket."""
    if not isinstance(address, tuple):
        return "unix:"
    host = ipaddress.ip_address(str(address[0]).partition("%")[0])
    if isinstance(host, ipaddress.IPv6Address):
        mapped = host.ipv4_mapped
        return str(mapped) if mapped is not None else host.packed[:IPV6_BYTES].hex()
    return str(host)
