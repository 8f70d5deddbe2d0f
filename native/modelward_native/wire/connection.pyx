"""A client's connection: its peer, what it may not do, and its end. wire/session has its frames."""
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy

import asyncio
import ipaddress

from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_PEER
from modelward_native.request.streams cimport on_check
from modelward_native.request.verdict cimport REASON_SLOW_REQUEST
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init
from modelward_native.wire.close_reason cimport (
    CLOSE_FRAMES, CLOSE_HANDSHAKE, CLOSE_HEADERS, CLOSE_IDLE, CLOSE_NONE, CLOSE_PEER_RESETS, CLOSE_PROTOCOL, CLOSE_RESETS,
    CLOSE_ROOM, CLOSE_SLOW, CLOSE_STALLED)
from modelward_native.wire.flood cimport MW_RESET_FAULT, mw_flood_init, mw_flood_read
from modelward_native.wire.forwarded cimport limit_of, mw_address_budget, mw_address_within
from modelward_native.wire.holders cimport mw_holder_leave
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.nghttp2 cimport *
from modelward_native.wire.session cimport count_resets, flush_session, open_session
from modelward_native.wire.stream cimport refuse_for, reset, stream_free
from modelward_native.wire.tick cimport flush_all
from modelward_native.wire.transport cimport abort, close_soon, is_open, mark, watch
from modelward_native.wire.types cimport METHOD_NONE, METHOD_REFUSED, METHOD_STREAM_INFER, Conn, Stream, Transport, Wire

cdef enum:
    QUEUE_CAP = 1048576           # bytes towards one slow client before it is read no more
    TOO_MANY_CONTINUATIONS = -905  # NGHTTP2_ERR_TOO_MANY_CONTINUATIONS, which releases before 1.61 do not name

cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"
cdef int64_t SECOND = 1000000000
cdef int64_t HOLD = SECOND        # from the GOAWAY to the end, for a client that was cut off for what it did


# ---- connections that have to go -----------------------------------------------------------------------------

cdef void go_away(Conn *c, int why, uint32_t error) noexcept:
    """GOAWAY, and the end of the connection once that is written; the first reason counts."""
    if c.close_reason == CLOSE_NONE:
        c.close_reason = why
        connection_of(c).listener.note(connection_of(c), why)
    nghttp2_session_terminate_session(c.session, error)
    mark(&c.transport)


cdef bint at_fault(const Conn *c) noexcept:
    return c.close_reason in (CLOSE_RESETS, CLOSE_PEER_RESETS, CLOSE_FRAMES, CLOSE_HEADERS)


cdef void close_connection(Conn *c) noexcept:
    """A client that was cut off for what it did is held first, unread: one that would come back at once, to do it again, costs
    more by coming than by what it does."""
    cdef Transport *t = &c.transport
    if t.closing or not at_fault(c) or c.wire.draining:
        close_soon(t)
        return
    t.closing = True
    connection_of(c).asyncio.pause_reading()
    watch(t, c.wire.now + HOLD)


# ---- what is looked at in time ---------------------------------------------------------------------------------

cdef bint overdue(const Stream *s, const Wire *wire, int64_t now) noexcept:
    """The request, or a message of its stream, is taking too long to arrive, and not because we keep the window shut."""
    if s.remote_ended or s.withheld:
        return False
    if s.method == METHOD_STREAM_INFER or (s.messages and not s.unary):
        return s.prefix_size and now - s.begun > wire.request_timeout
    return now - s.entered > wire.request_timeout


cdef int check_streams(Conn *c, int64_t now) noexcept:
    """Gives up streams that do not move; why the connection has to go, where nothing else moved on it meanwhile."""
    cdef Stream *s = c.streams
    cdef Stream *after
    cdef int why = CLOSE_NONE
    while s != NULL:
        after = s.next
        if c.wire.access != NULL and not on_check(s, now):
            s = after
            continue
        if s.method == METHOD_REFUSED or s.finished or s.out.size > s.out_sent:
            # its answer is ready, and the client takes none of it
            if now - s.active > c.wire.stall_timeout:
                if c.progress <= s.active:
                    why = CLOSE_STALLED
                count_resets(c, MW_RESET_FAULT)
                reset(s, NGHTTP2_CANCEL)
        elif overdue(s, c.wire, now):
            if c.progress <= s.entered:
                why = CLOSE_SLOW
            count_resets(c, MW_RESET_FAULT)
            if s.method == METHOD_NONE:
                reset(s, NGHTTP2_CANCEL)
            else:
                refuse_for(s, REASON_SLOW_REQUEST, "the request did not arrive in time")
        elif now - s.active > c.wire.idle_stream_timeout:
            reset(s, NGHTTP2_CANCEL)
        s = after
    return why


cdef void on_watch(mw_timer *timer, int64_t now) noexcept:
    """Handshake, stalled writes, slow requests, idle streams and connections; a second apart while something is open."""
    cdef Conn *c = <Conn *>timer
    cdef Connection connection = connection_of(c)
    cdef Wire *wire = c.wire
    cdef int why = CLOSE_NONE
    if c.session == NULL:
        return
    wire.now = now
    if not c.transport.closing and not c.transport.handshaken and now - c.transport.opened >= wire.handshake_timeout:
        why = CLOSE_HANDSHAKE
    elif not c.transport.closing and c.transport.paused and now - c.transport.stalled >= wire.stall_timeout:
        why = CLOSE_STALLED
    if c.transport.closing or why != CLOSE_NONE:
        if why != CLOSE_NONE and c.close_reason == CLOSE_NONE:
            c.close_reason = why
            connection.listener.note(connection, why)
        abort(&c.transport)
        return
    why = check_streams(c, now)
    if why != CLOSE_NONE:
        flush_session(&c.transport)   # a session that is being terminated sends nothing but its GOAWAY
        if c.session == NULL or c.transport.closing:
            return
        go_away(c, why, NGHTTP2_ENHANCE_YOUR_CALM)
        watch(&c.transport, now + SECOND)
    elif c.open_streams == 0 and c.transport.handshaken and now - c.transport.active >= wire.idle_connection_timeout:
        go_away(c, CLOSE_IDLE, NGHTTP2_NO_ERROR)
        watch(&c.transport, now + SECOND)    # until it is written, and the connection closes
    elif not c.transport.handshaken:
        watch(&c.transport, c.transport.opened + wire.handshake_timeout)
    elif c.open_streams or c.transport.paused:
        watch(&c.transport, now + patrol(wire))
    else:
        watch(&c.transport, c.transport.active + wire.idle_connection_timeout)
    flush_all(wire)


cdef class Connection(Protocol):
    """asyncio.BufferedProtocol of a client's connection."""

    def __cinit__(self, Listener listener, *rest):    # subclasses in Python take more
        self.listener = listener
        self.begin(&self.conn.transport, &listener.wire)
        self.conn.wire = &listener.wire
        self.conn.transport.flush = flush_session
        mw_timer_init(&self.conn.transport.timer, on_watch)

    @property
    def peer(self) -> str:
        """The peer's address as gRPC writes it, for example ipv4:127.0.0.1:50000."""
        return self.peer_name

    def arrive(self, name):
        """Counts the connection against the limits of its peer; False where there is no room for it.

        name: the peer's address as sockets tell it; on a Unix socket the user id, where it is known. Called before a TLS
        handshake, which costs more than all that a refusal is to spare; where there is none, `connection_made` calls it.
        """
        cdef Conn *c = &self.conn
        cdef bytes key, whole
        cdef uint8_t[16] budget
        cdef size_t length
        cdef int why
        if isinstance(name, tuple):
            address = ipaddress.ip_address(name[0].partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            whole = address.packed if address.version == 6 else MAPPED + address.packed
            c.trusted = mw_address_within(<const uint8_t *><const char *>whole, c.wire.proxies, c.wire.proxy_count)
            memcpy(c.address, <const char *>whole, 16)
            length = mw_address_budget(c.address, c.wire.peer_bits, budget)
            key = budget[:length]
            if length > 4:
                key, self.networks = self.listener.networks.enter(whole, key, mw_now_ns())
            c.peer_limit = limit_of(c.wire, c.address)
            self.peer_name = f"ipv{address.version}:{name[0]}:{name[1]}"
        else:
            # not four bytes, as an address would be
            key = b"unix:%d" % name if isinstance(name, int) else b"unix:"
            self.peer_name = "unix:"
            c.trusted = self.listener.trusts_unix
        self.peer_key = key
        c.wire.now = mw_now_ns()
        c.transport.opened = c.transport.active = c.progress = c.wire.now
        why = self.listener.admit(self, key)
        self.arrived = why == CLOSE_NONE
        self.listener.sockets += self.arrived
        if not self.arrived:
            self.listener.note(self, why)
            self.leave_networks()
        else:
            c.peer = self.listener.limiter.hash(MW_LEVEL_PEER, <const char *>key, len(key))
            c.identity = self.listener.limiter.hash(MW_LEVEL_IDENTITY, <const char *>key, len(key))
            c.shared_key = self.listener.limiter.shared_key(<const char *>key, len(key))
        return self.arrived

    cdef int leave_networks(self) except -1:
        if self.networks is not None:
            self.listener.networks.leave(self.networks, mw_now_ns())
            self.networks = None
        return 0

    def give_way(self):
        """Another connection needs what this one holds; it has to be idle, or shaking hands."""
        self.listener.dismiss(self)

    def depart(self):
        """Gives back what `arrive` took, for a connection whose TLS handshake failed."""
        self.end()

    cdef int end(self) except -1:
        """Its socket is closed."""
        self.listener.forget(self)
        self.listener.sockets -= self.arrived
        self.arrived = False
        return 0

    def connection_made(self, transport):
        cdef Conn *c = &self.conn
        cdef Transport *t = &c.transport
        cdef Wire *wire = c.wire
        self.open(transport)
        if self.dismissed:
            transport.abort()
            return
        if not self.arrived and not self.arrive(transport.get_extra_info("peername")):
            transport.abort()
            return
        t.opened = t.active = c.progress = wire.now     # again: a TLS handshake had a time of its own
        self.shut = None
        mw_flood_init(&c.flood, wire.now)
        transport.set_write_buffer_limits(high=QUEUE_CAP)
        if not open_session(c):
            transport.abort()
            return
        wire.traffic.opened += 1
        watch(t, t.opened + wire.handshake_timeout)
        if wire.draining:         # accepted in the last moment: no client is refused
            self.warn()
        flush_session(t)

    def buffer_updated(self, Py_ssize_t size):
        cdef Conn *c = &self.conn
        cdef Transport *t = &c.transport
        cdef Wire *wire = c.wire
        cdef ssize_t bad
        if c.session == NULL or t.closing:
            return
        wire.now = mw_now_ns()
        t.active = wire.now
        wire.traffic.received += size
        mark(t)
        if mw_flood_read(&c.flood, wire.read_buffer, size, wire.now):
            bad = NGHTTP2_ERR_FLOODED
        else:
            bad = nghttp2_session_mem_recv(c.session, wire.read_buffer, size)
        if bad < 0:
            if bad == NGHTTP2_ERR_FLOODED:
                go_away(c, CLOSE_FRAMES, NGHTTP2_ENHANCE_YOUR_CALM)
            elif bad == TOO_MANY_CONTINUATIONS:
                go_away(c, CLOSE_HEADERS, NGHTTP2_ENHANCE_YOUR_CALM)
            else:
                go_away(c, CLOSE_PROTOCOL, NGHTTP2_PROTOCOL_ERROR)
            flush_all(wire)
            if is_open(t):
                close_connection(c)
            return
        if c.leaving and t.handshaken:
            c.leaving = False
            self.take_no_more()
        # with a batch to come in this tick, its answers and everything else leave in one write per connection
        if not wire.batch_pending:
            flush_all(wire)

    def pause_writing(self):
        """A client that does not take its answers is not read either."""
        cdef Transport *t = &self.conn.transport
        t.paused = True
        t.stalled = t.wire.now
        if is_open(t) and not self.asyncio.is_closing():
            self.asyncio.pause_reading()
        if self.conn.session != NULL:
            watch(t, t.wire.now + SECOND)

    def resume_writing(self):
        if self.resume() and not self.transport.wire.batch_pending:
            flush_all(self.transport.wire)

    def connection_lost(self, exc):
        cdef Conn *c = &self.conn
        cdef bint known = c.session != NULL   # not so where the server has stopped and lost it before
        if known:
            c.wire.now = mw_now_ns()
        self.lose()
        while c.streams != NULL:
            stream_free(c.streams)
        if c.session != NULL:
            nghttp2_session_del(c.session)
            c.session = NULL
        if c.caller != NULL:
            c.caller.references -= 1
            c.caller = NULL
        if c.holder != NULL:
            mw_holder_leave(c.wire.holders, c.holder)
            c.holder = NULL
        self.end()
        # permits have come back, and upstreams are told what is not waited for any more
        if known and not c.wire.batch_pending:
            flush_all(c.wire)

    def warn(self):
        """Tells the client to open no more streams here; those that are on their way are still taken (RFC 9113, 6.8)."""
        if self.conn.session != NULL:
            nghttp2_submit_shutdown_notice(self.conn.session)
            mark(&self.conn.transport)

    def drain(self):
        """Takes no more streams; the connection closes when the open ones are done.

        A client that has not said a word yet comes with its preface, and with the streams that it sends together with that.
        """
        if self.conn.transport.handshaken:
            self.take_no_more()
        else:
            self.conn.leaving = True

    cdef void take_no_more(self) noexcept:
        if self.conn.session != NULL:
            nghttp2_session_terminate_session(self.conn.session, NGHTTP2_NO_ERROR) if self.conn.open_streams == 0 else \
                nghttp2_submit_goaway(self.conn.session, 0, nghttp2_session_get_last_proc_stream_id(self.conn.session),
                                      NGHTTP2_NO_ERROR, NULL, 0)
            mark(&self.conn.transport)

    cdef int make_way(self) except -1:
        """Not busy, and another needs its place."""
        if self.conn.session != NULL:
            go_away(&self.conn, CLOSE_ROOM, NGHTTP2_NO_ERROR)
            if self.conn.transport.paused:
                abort(&self.conn.transport)     # its client takes nothing, and would not take a GOAWAY
            else:
                flush_session(&self.conn.transport)
            return 0
        self.listener.note(self, CLOSE_ROOM)
        self.dismissed = True
        if self.shut is not None:
            self.shut()
        return 0


class BufferedConnection(Connection, asyncio.BufferedProtocol):
    __slots__ = ()
