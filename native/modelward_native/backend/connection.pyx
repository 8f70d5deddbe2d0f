"""A connection to an upstream: requests of all clients go over it, and its silence is looked into."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t

import asyncio

from modelward_native.backend.client cimport *
from modelward_native.backend.pool cimport Endpoint
from modelward_native.backend.upstream cimport resend_all
from modelward_native.timer.clock cimport mw_now_ns
from modelward_native.timer.deadline cimport MW_TICK_NS, mw_timer, mw_timer_due_ns, mw_timer_init, timer_add
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.tick cimport flush_all
from modelward_native.wire.transport cimport WRITE_SIZE, abort, close_soon, is_open, mark, watch, wheel_of, write_out
from modelward_native.wire.types cimport Transport, Wire

cdef enum:
    RECEIVE_WINDOW = 1048576      # of one answer
    CONNECTION_WINDOW = 16777216
    PINGS = 3                     # answered ones, with nothing between them, after which the next comes no sooner than in:
    LONGEST_DOUBLING = 5          # doublings of KEEPALIVE, 320 s
    PING_SHARE = 2                # a PING is waited for half as long as an answer: it costs its server nothing

cdef int64_t SECOND = 1000000000
cdef int64_t KEEPALIVE = 10 * SECOND
cdef int64_t PING_TIMEOUT = 5 * SECOND


# ---- what the client tells -------------------------------------------------------------------------------------

cdef void on_settings(void *context) noexcept:
    cdef UpstreamConnection upstream = upstream_of(<PyObject *>context)
    upstream.transport.handshaken = True
    upstream.join()


cdef void on_ping_answered(void *context) noexcept:
    cdef UpstreamConnection upstream = upstream_of(<PyObject *>context)
    if upstream.last_frame < upstream.ping_sent:
        upstream.ping_answers = min(upstream.ping_answers + 1, PINGS)
    upstream.ping_sent = 0


cdef void on_goaway(void *context) noexcept:
    """It finishes what it has begun; what comes next goes over a new connection."""
    upstream_of(<PyObject *>context).leave()


cdef mw_client_hooks HOOKS
HOOKS.settings = on_settings
HOOKS.ping_answered = on_ping_answered
HOOKS.goaway = on_goaway


# ---- the connection ------------------------------------------------------------------------------------------

cdef void flush_client(Transport *t) noexcept:
    cdef UpstreamConnection upstream = upstream_of(t.owner)
    cdef uint8_t *buffer = t.wire.write_buffer
    cdef size_t n
    while not t.paused and not t.closing:
        n = mw_client_write(upstream.client, buffer, WRITE_SIZE)
        if n == 0:
            break
        write_out(t, buffer, n)
    if not t.paused and mw_client_done(upstream.client):
        close_soon(t)


cdef class UpstreamConnection(Protocol):
    """asyncio.BufferedProtocol of a connection to an upstream."""

    def __cinit__(self, Listener listener, Endpoint endpoint):
        self.listener = listener
        self.endpoint = endpoint
        self.begin(&self.own, &listener.wire)
        self.own.flush = flush_client
        mw_timer_init(&self.own.timer, on_keepalive)

    def __dealloc__(self):
        mw_client_free(self.client)

    def connection_made(self, transport):
        cdef Transport *t = self.transport
        cdef bytes authority = self.endpoint.authority
        self.open(transport)
        self.client = mw_client_new(
            &HOOKS, <void *>self, authority, len(authority), transport.get_extra_info("sslcontext") is not None, RECEIVE_WINDOW,
            CONNECTION_WINDOW)
        if self.client == NULL:
            transport.abort()
            return
        watch(t, t.opened + KEEPALIVE)
        mark(t)
        if not t.wire.batch_pending:
            flush_all(t.wire)

    def buffer_updated(self, Py_ssize_t size):
        cdef Transport *t = self.transport
        cdef Wire *wire = t.wire
        if self.client == NULL or t.closing:
            return
        wire.now = mw_now_ns()
        t.active = wire.now
        mark(t)
        if mw_client_receive(self.client, wire.read_buffer, size) < 0:
            self.leave()
            flush_all(wire)
            if is_open(t):
                close_soon(t)
            return
        if not wire.batch_pending:
            flush_all(wire)

    def pause_writing(self):
        """Answers are read on: an upstream that waits for them to be taken would never read what it is sent."""
        self.transport.paused = True
        self.transport.stalled = self.transport.wire.now

    def resume_writing(self):
        if self.resume() and not self.transport.wire.batch_pending:
            flush_all(self.transport.wire)

    def connection_lost(self, exc):
        cdef Wire *wire = self.transport.wire
        self.leave()
        wire.now = mw_now_ns()
        if self.client != NULL:
            mw_client_lose(self.client)
        self.lose()
        mw_client_free(self.client)
        self.client = NULL
        if not wire.batch_pending:
            flush_all(wire)

    cdef void join(self) noexcept:
        """The server has spoken. The kernel accepts connections for one that is frozen, too."""
        self.endpoint.upstream = self
        self.endpoint.joins += 1
        self.endpoint.restored = max(self.endpoint.restored, self.transport.active)
        if self.endpoint.has_canary:
            self.endpoint.passes_canary = False       # who answers now is to be asked
            if self.endpoint.on_joined is not None:
                self.endpoint.on_joined()
        if self.endpoint.on_ready is not None:
            self.endpoint.on_ready()

    cdef void leave(self) noexcept:
        if self.endpoint.upstream is self:
            self.endpoint.upstream = None
        elif self.transport.handshaken:
            return                # it has left before
        if self.endpoint.on_lost is not None:
            self.endpoint.on_lost()

    cdef void end_pause(self) noexcept:
        cdef int64_t now = self.transport.active
        if self.calls:
            self.endpoint.measure_pause(now - max(self.last_frame, self.began))
        self.last_frame = now
        self.ping_answers = 0


# ---- its silence -----------------------------------------------------------------------------------------------

cdef int64_t given_up(UpstreamConnection upstream) noexcept:
    """When a connection whose PING is not answered ends. A server may be too busy: that it was asked early does not shorten its
    time."""
    return max(upstream.ping_sent, max(upstream.transport.active, upstream.began) + KEEPALIVE) + PING_TIMEOUT


cdef int64_t next_check(UpstreamConnection upstream, int64_t now) noexcept:
    """When its silence is next to be looked into, if it lasts.

    gRPC servers count pings between which they sent nothing, and close after three in five minutes but the first (gRFC A8):
    only the first comes early, and each that was all that came makes the next wait twice as long.
    """
    cdef int64_t since = max(upstream.transport.active, upstream.began)
    if upstream.ping_sent:
        return min(upstream.last_resend + upstream.endpoint.silence_limit() // PING_SHARE, given_up(upstream))
    if upstream.calls and upstream.ping_answers == 0:
        return since + upstream.endpoint.silence_limit()
    if mw_client_busy(upstream.client):
        return since + (KEEPALIVE << (upstream.ping_answers if upstream.ping_answers < PINGS else LONGEST_DOUBLING))
    return now + KEEPALIVE


cdef void listen_for(UpstreamConnection upstream, int64_t now) noexcept:
    """A request is on its way: whether anything comes is looked at in time. Touches the wheel once per patience at most."""
    cdef int64_t due = next_check(upstream, now)
    if mw_timer_due_ns(&upstream.transport.timer) > due + 2 * MW_TICK_NS:
        watch(upstream.transport, due)


cdef void on_keepalive(mw_timer *timer, int64_t now) noexcept:
    """Silence while requests wait. First the endpoint is asked for a sign of life and gets no requests until it gives one, then
    what it has is sent elsewhere where that is wanted, and in the end its connection is given up."""
    cdef Transport *t = <Transport *>timer
    cdef UpstreamConnection upstream = upstream_of(t.owner)
    cdef int64_t due
    if upstream.client == NULL:
        return
    t.wire.now = now
    if t.paused and now - t.stalled >= t.wire.stall_timeout:
        abort(t)
        return
    if upstream.ping_sent and t.active >= upstream.ping_sent:
        upstream.ping_sent = 0       # not the answer, but a sign of life
    due = next_check(upstream, now)
    if now < due:
        upstream.looked_again = False
        timer_add(wheel_of(t.wire), timer, due)
        return
    if not upstream.looked_again:
        # timers come before sockets: after a pause of our own the bytes may be there and not read yet
        upstream.looked_again = True
        timer_add(wheel_of(t.wire), timer, now + MW_TICK_NS)
        return
    upstream.looked_again = False
    if not upstream.ping_sent:
        mw_client_ping(upstream.client)
        upstream.ping_sent = now
        upstream.last_resend = now
        upstream.counted_silent = False
        upstream.endpoint.silent_since = now
        upstream.endpoint.silences += 1
        mark(t)
    elif now < given_up(upstream):
        upstream.last_resend = now
        if (resend_all(upstream, now) or now - upstream.ping_sent >= SECOND) and not upstream.counted_silent:
            upstream.counted_silent = True
            upstream.endpoint.unanswered += 1
    else:
        abort(t)
        return
    timer_add(wheel_of(t.wire), timer, next_check(upstream, now))


class BufferedUpstream(UpstreamConnection, asyncio.BufferedProtocol):
    __slots__ = ()
