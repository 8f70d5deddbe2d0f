"""One HTTP/2 connection, server side: libnghttp2 reads and writes the frames, this file reads the gRPC calls in them."""
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.buffer cimport PyBUF_WRITE
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.errno cimport EAGAIN, EINTR, errno
from libc.limits cimport INT_MAX
from cpython.object cimport PyObject
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

import asyncio
import ipaddress
from collections import OrderedDict

from modelward_native.stages.admit cimport on_permits, on_room
from modelward_native.request.streams cimport on_check, on_headers, on_working
from modelward_native.backend.client cimport mw_client_done, mw_client_write
from modelward_native.wire.close_reason cimport (
    CLOSE_DESCRIPTORS, CLOSE_FRAMES, CLOSE_FULL, CLOSE_HANDSHAKE, CLOSE_HEADERS, CLOSE_IDLE, CLOSE_NONE, CLOSE_PEER_FULL,
    CLOSE_PEER_RATE, CLOSE_PEER_RESETS, CLOSE_PROTOCOL, CLOSE_REASONS, CLOSE_REFUSED_END, CLOSE_RESETS, CLOSE_ROOM, CLOSE_SLOW,
    CLOSE_STALLED, close_reason_name)
from modelward_native.wire.flood cimport (
    MW_RESET_BURST, MW_RESET_FAULT, mw_flood_init, mw_flood_read, mw_flood_request, mw_flood_reset, mw_flood_resets)
from modelward_native.timer.deadline cimport Wheel, mw_timer, mw_timer_due_ns, mw_timer_init, timer_add, timer_cancel
from modelward_native.request.exchange cimport (
    METHOD_NONE, METHOD_REFUSED, METHOD_STREAM_INFER, Conn, Stream, Wire, mw_sites, mw_sites_new)
from modelward_native.wire.compression cimport ENCODING_GZIP, ENCODING_UNSUPPORTED
from modelward_native.wire.forwarded cimport enter_network, limit_of, mw_address_budget, mw_address_within, networks_of
from modelward_native.wire.headers cimport read_header
from modelward_native.wire.holders cimport (
    MW_HOLDER_BUCKETS, MW_HOLDER_WAYS, mw_holder, mw_holder_factor, mw_holder_leave, mw_holders
)
from modelward_native.limits.limit cimport MW_ADMITTED, MW_LEVEL_IDENTITY, MW_LEVEL_PEER, Limiter
from modelward_native.wire.networks cimport Networks
from modelward_native.wire.nghttp2 cimport *
from modelward_native.wire.parking cimport note_stuck
from modelward_native.wire.peer_index cimport PeerIndex
from modelward_native.region.region cimport Region
from modelward_native.wire.stream cimport (
    STATIC, congested, end_request, header, mark, receive, refuse_for, reset, stream_free, stream_new)
from modelward_native.request.verdict cimport REASON_HEADERS_TOO_LARGE, REASON_SLOW_REQUEST, REASON_UNSUPPORTED_ENCODING

cdef extern from "<sys/socket.h>" nogil:
    ssize_t send(int, const void *, size_t, int)
    enum:
        MSG_DONTWAIT
        MSG_NOSIGNAL

cdef extern from "<malloc.h>" nogil:
    int mallopt(int, int)
    enum:
        M_MMAP_THRESHOLD
        M_TRIM_THRESHOLD

cdef extern from "clock.h" nogil:
    int64_t mw_now_ns()

cdef enum:
    PEER_KEYS = 65536             # peers whose new connections and whose resets are counted
    READ_SIZE = 262144
    WRITE_SIZE = 262144
    QUEUE_CAP = 1048576           # bytes towards one slow client before it is read no more
    HEADER_BYTES = 16384          # decoded, names and values and 32 each, as HPACK counts
    HEADER_COUNT = 100
    HEADER_PATIENCE = 4           # a request of so many times either is answered; a block that goes on ends its connection
    STREAM_WINDOW = 262144
    KEPT_BYTES = 33554432
    CONNECTION_WINDOW = 1048576
    PEER_RESET_RATE = 500         # over all connections of a peer; flood.h has those of one
    PEER_RESET_BURST = 5000
    PEER_RESET_OWN = 10           # of its own that a connection owes before its peer's others are held against it
    IDLE_SAMPLE = 128             # connections looked at to find the one that has brought nothing for longest
    STREAM_SAMPLE = 1024          # and their open streams; connections with more count as busy
    LARGEST_PEERS = 8             # of those that hold the most, looked at for one that is idle
    IPV6_BITS = 64
    TOO_MANY_CONTINUATIONS = -905  # NGHTTP2_ERR_TOO_MANY_CONTINUATIONS, which releases before 1.61 do not name

# What is freed is kept up to here. The C library would give an answer's mebibyte back to the kernel and take it again with the
# next: page faults were a third of the CPU of an answer of 1 MiB (1.9 ms; 1.2 with this).
mallopt(M_MMAP_THRESHOLD, KEPT_BYTES)
# And it would give the end of the heap back within a free(), all of it: 37 ms for 386 MiB (modelward/server/memory.py does it).
mallopt(M_TRIM_THRESHOLD, INT_MAX)

cdef int64_t SECOND = 1000000000
cdef int64_t NEVER = INT64_MAX // 2   # longer than anything else is ago
cdef bytes MAPPED = b"\0" * 10 + b"\xff\xff"
cdef int64_t GOODBYE = 5 * SECOND  # until a client that does not take the last bytes is cut off
cdef int64_t HOLD = SECOND        # from the GOAWAY to the end, for who was cut off for what he did


# ---- connections that have to go -----------------------------------------------------------------------------

cdef void go_away(Conn *c, int why, uint32_t error) noexcept:
    """GOAWAY, and the end of the connection once that is written; the first reason counts."""
    cdef Connection connection = <Connection>c.owner
    if c.close_reason == CLOSE_NONE:
        c.close_reason = why
        connection.listener.note(connection, why)
    nghttp2_session_terminate_session(c.session, error)
    mark(c)


cdef void count_resets(Conn *c, int weight) noexcept:
    """nghttp2 limits the resets that a client sends; those that it makes us send cost as much, and so do its others'."""
    cdef Limiter resets = (<Connection>c.owner).listener.resets
    cdef int64_t retry = 0, now = c.wire.now
    if mw_flood_reset(&c.flood, weight, now):
        go_away(c, CLOSE_RESETS, NGHTTP2_ENHANCE_YOUR_CALM)
    elif (resets.admit_peer(c.peer, weight, now, &retry) != MW_ADMITTED
            and mw_flood_resets(&c.flood, now) > PEER_RESET_OWN):
        go_away(c, CLOSE_PEER_RESETS, NGHTTP2_ENHANCE_YOUR_CALM)


# ---- callbacks of nghttp2: they return codes, never exceptions ------------------------------------------------

cdef int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user) noexcept:
    cdef Conn *c = <Conn *>user
    cdef Stream *s
    if frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    s = stream_new(c, frame.hd.stream_id)
    if s == NULL:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    nghttp2_session_set_stream_user_data(session, frame.hd.stream_id, s)
    # the next check is far away on an idle connection; a request must not wait that long for its timeout
    if mw_timer_due_ns(&c.timer) > c.wire.now + 2 * patrol(c.wire):
        watch(c, c.wire.now + patrol(c.wire))
    return 0


cdef inline int64_t patrol(const Wire *wire) noexcept:
    """Between two looks at open streams. What lets their callers in may end: they follow within a second."""
    return SECOND if wire.access == NULL else SECOND // 2


cdef bint oversize(const Stream *s, uint32_t times) noexcept:
    return s.headers > times * HEADER_COUNT or s.header_bytes > times * HEADER_BYTES


cdef int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                           const uint8_t *value, size_t value_size, uint8_t flags, void *user) noexcept:
    """nghttp2 would leave the field out and go on: an authorization that is not there is worse than a request that is not."""
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE


cdef int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                   const uint8_t *value, size_t value_size, uint8_t flags, void *user) noexcept:
    cdef Conn *c = <Conn *>user
    cdef Stream *s = <Stream *>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if s == NULL:
        return 0
    s.headers += 1
    s.header_bytes += <uint32_t>(name_size + value_size + 32)
    if oversize(s, 1):
        # a table's entry costs one byte to name, and a block may go on: only so much of it is decoded
        if oversize(s, HEADER_PATIENCE):
            go_away(c, CLOSE_HEADERS, NGHTTP2_ENHANCE_YOUR_CALM)
            return NGHTTP2_ERR_CALLBACK_FAILURE
        return 0
    if frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    if read_header(s, name, name_size, value, value_size, c.wire.keep_metadata) < 0:
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    return 0


cdef void on_request_headers(Conn *c, Stream *s, size_t block) noexcept:
    cdef nghttp2_nv nv[1]
    cdef Wire *wire = c.wire
    s.entered = wire.now
    if c.trusted:
        enter_network(s)
    if oversize(s, 1):
        count_resets(c, MW_RESET_FAULT)
        refuse_for(s, REASON_HEADERS_TOO_LARGE, "the request's metadata is over 16384 bytes or 100 fields")
        return
    mw_flood_request(&c.flood, block)
    if not s.is_post or not s.content_type_seen:
        # not gRPC: plain HTTP status, as gRPC's own servers answer
        s.finished = True
        s.answered = True
        if s.is_post:
            nv[0] = header(":status", 7, <const char *>"415", 3, STATIC)
        else:
            nv[0] = header(":status", 7, <const char *>"405", 3, STATIC)
        s.method = METHOD_REFUSED
        nghttp2_submit_response(c.session, s.id, nv, 1, NULL)
        mark(c)
        return
    s.gzip_reply = s.accepts_gzip and (s.prefers_gzip or s.encoding == ENCODING_GZIP)
    if s.encoding == ENCODING_UNSUPPORTED:
        refuse_for(s, REASON_UNSUPPORTED_ENCODING, "grpc-encoding is not supported; use identity, deflate or gzip")
        return
    on_headers(s, wire.now)


cdef int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user) noexcept:
    cdef Conn *c = <Conn *>user
    cdef Stream *s
    if frame.hd.type == NGHTTP2_HEADERS or frame.hd.type == NGHTTP2_DATA:
        s = <Stream *>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if s == NULL:
            return 0
        if frame.hd.type == NGHTTP2_HEADERS and frame.headers.cat == NGHTTP2_HCAT_REQUEST:
            on_request_headers(c, s, frame.hd.length)
        if frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
            end_request(s)
    elif frame.hd.type == NGHTTP2_SETTINGS and not frame.hd.flags & NGHTTP2_FLAG_ACK:
        c.handshaken = True
    elif frame.hd.type == NGHTTP2_RST_STREAM and nghttp2_session_get_stream_user_data(session, frame.hd.stream_id) != NULL:
        count_resets(c, 1)
    return 0


cdef int on_chunk(nghttp2_session *session, uint8_t flags, int32_t stream_id, const uint8_t *data, size_t size,
                  void *user) noexcept:
    cdef Conn *c = <Conn *>user
    cdef Stream *s = <Stream *>nghttp2_session_get_stream_user_data(session, stream_id)
    if s == NULL or s.method == METHOD_REFUSED:
        nghttp2_session_consume(session, stream_id, size)
        return 0
    s.active = c.wire.now
    receive(s, data, size)
    if congested(s) or s.held.size:
        s.withheld += size
    else:
        nghttp2_session_consume(session, stream_id, size)
    return 0


cdef int on_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user) noexcept:
    """An answer has ended before its request has: the rest of the request is not wanted.

    Only now: a reset that is submitted any earlier overtakes the status, for nghttp2 drops what a closing stream still
    has to send. Writing happens at the end of a tick, so a request that ends in the tick that refused it is spared.
    """
    cdef Conn *c = <Conn *>user
    cdef Stream *s
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        s = <Stream *>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if s != NULL and not s.remote_ended:
            nghttp2_submit_rst_stream(session, 0, s.id, NGHTTP2_NO_ERROR)
    elif frame.hd.type == NGHTTP2_RST_STREAM and frame.rst_stream.error_code not in (
            NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM):
        count_resets(c, MW_RESET_FAULT)  # one stream too many is refused before it costs anything, and may be honest
    elif frame.hd.type == NGHTTP2_GOAWAY and frame.goaway.error_code != NGHTTP2_NO_ERROR and c.close_reason == CLOSE_NONE:
        go_away(c, CLOSE_PROTOCOL, frame.goaway.error_code)
    return 0


cdef int on_close(nghttp2_session *session, int32_t stream_id, uint32_t error, void *user) noexcept:
    cdef Stream *s = <Stream *>nghttp2_session_get_stream_user_data(session, stream_id)
    if s != NULL:
        nghttp2_session_set_stream_user_data(session, stream_id, NULL)
        stream_free(s)
    return 0


cdef nghttp2_session_callbacks *CALLBACKS = NULL
cdef nghttp2_option *OPTIONS = NULL

if nghttp2_session_callbacks_new(&CALLBACKS) != 0 or nghttp2_option_new(&OPTIONS) != 0:
    raise MemoryError
nghttp2_session_callbacks_set_on_begin_headers_callback(CALLBACKS, on_begin_headers)
nghttp2_session_callbacks_set_on_header_callback(CALLBACKS, on_header)
nghttp2_session_callbacks_set_on_invalid_header_callback(CALLBACKS, on_invalid_header)
nghttp2_session_callbacks_set_on_frame_recv_callback(CALLBACKS, on_frame)
nghttp2_session_callbacks_set_on_data_chunk_recv_callback(CALLBACKS, on_chunk)
nghttp2_session_callbacks_set_on_frame_send_callback(CALLBACKS, on_sent)
nghttp2_session_callbacks_set_on_stream_close_callback(CALLBACKS, on_close)
nghttp2_option_set_no_auto_window_update(OPTIONS, 1)
nghttp2_option_set_no_closed_streams(OPTIONS, 1)
nghttp2_option_set_max_outbound_ack(OPTIONS, 256)
# its own limiter of resets, which answers INTERNAL_ERROR, stays behind ours
nghttp2_option_set_stream_reset_rate_limit(OPTIONS, 2 * MW_RESET_BURST, 100)


def nghttp2_release() -> str:
    """Release of the libnghttp2 that is loaded."""
    return nghttp2_version(0).version_str.decode()


# ---- writing -----------------------------------------------------------------------------------------------

cdef void write_out(Conn *c, const uint8_t *data, size_t size) noexcept:
    """Straight to the socket while it takes everything; what it does not take goes through the transport."""
    cdef Connection connection = <Connection>c.owner
    cdef ssize_t sent = 0
    if connection.transport is None:
        return
    if c.queued and connection.transport.get_write_buffer_size() == 0:
        c.queued = False
    if c.fd >= 0 and not c.queued:
        sent = send(c.fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                connection.transport.abort()
                return
            sent = 0
        if <size_t>sent == size:
            return
    c.queued = True
    connection.transport.write(PyBytes_FromStringAndSize(<const char *>data + sent, size - sent))


cdef void flush(Conn *c) noexcept:
    cdef Connection connection = <Connection>c.owner
    cdef uint8_t *buffer = connection.listener.write_buffer
    cdef const uint8_t *piece
    cdef size_t used = 0
    cdef ssize_t n = 0
    if c.client != NULL:
        flush_upstream(c)
        return
    if c.session == NULL or c.closing:
        return
    while not c.paused:
        n = nghttp2_session_mem_send(c.session, &piece)
        if n <= 0:
            break
        if used + n > WRITE_SIZE:
            write_out(c, buffer, used)
            used = 0
            if c.session == NULL:
                return
        memcpy(buffer + used, piece, n)
        used += n
    if used:
        write_out(c, buffer, used)
    if c.session == NULL:
        return
    if n == 0 and not c.paused:
        note_stuck(c)
    if n < 0:
        c.closing = True
        connection.transport.abort()
    elif not c.paused and not nghttp2_session_want_read(c.session) and not nghttp2_session_want_write(c.session):
        close_soon(c)
    elif c.parked_first != NULL:
        on_room(c, c.wire.now)


cdef void flush_upstream(Conn *c) noexcept:
    cdef uint8_t *buffer = (<Connection>c.owner).listener.write_buffer
    cdef size_t n
    while not c.paused and not c.closing:
        n = mw_client_write(c.client, buffer, WRITE_SIZE)
        if n == 0:
            break
        write_out(c, buffer, n)
    if not c.paused and mw_client_done(c.client):
        close_soon(c)


cdef void flush_all(Wire *wire) noexcept:
    cdef Conn *c
    while True:
        if wire.permits:
            wire.permits = False
            on_permits(wire.server, wire.now)
        if wire.dirty == NULL:
            return
        c = wire.dirty
        wire.dirty = c.next_dirty
        c.next_dirty = NULL
        c.dirty = False
        flush(c)


# ---- connections -------------------------------------------------------------------------------------------

cdef void watch(Conn *c, int64_t due) noexcept:
    cdef Connection connection = <Connection>c.owner
    timer_cancel(connection.listener.wheel, &c.timer)
    timer_add(connection.listener.wheel, &c.timer, due)


cdef bint is_busy(const Conn *c, int *most) noexcept:
    """We work for its client, or it has too many streams to tell: so many are looked at."""
    cdef Stream *s = c.streams
    while s != NULL:
        most[0] -= 1
        if most[0] < 0 or on_working(s):
            return True
        s = s.next
    return False


cdef bint at_fault(const Conn *c) noexcept:
    return c.close_reason in (CLOSE_RESETS, CLOSE_PEER_RESETS, CLOSE_FRAMES, CLOSE_HEADERS)


cdef void close_soon(Conn *c) noexcept:
    """The transport writes what it holds and closes; a client that does not take it is cut off in time.

    Who was cut off for what he did is held first, unread: one who would come back at once, to do it again, cost more by
    coming than by what he does.
    """
    cdef Connection connection = <Connection>c.owner
    if not c.closing and at_fault(c) and not c.wire.draining:
        c.closing = True
        connection.transport.pause_reading()
        watch(c, c.wire.now + HOLD)
    elif not c.closing:
        c.closing = True
        watch(c, c.wire.now + min(c.wire.stall_timeout, GOODBYE))
        # closed with something unread, a socket takes back even what it had sent: the client would miss the GOAWAY
        if c.wire.draining and c.fd >= 0:
            connection.transport.write_eof()
        else:
            connection.transport.close()


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
    cdef Connection connection = <Connection>c.owner
    cdef Wire *wire = c.wire
    cdef int why = CLOSE_NONE
    if c.session == NULL:
        return
    wire.now = now
    if not c.closing and not c.handshaken and now - c.opened >= wire.handshake_timeout:
        why = CLOSE_HANDSHAKE
    elif not c.closing and c.paused and now - c.stalled >= wire.stall_timeout:
        why = CLOSE_STALLED
    if c.closing or why != CLOSE_NONE:
        if why != CLOSE_NONE and c.close_reason == CLOSE_NONE:
            c.close_reason = why
            connection.listener.note(connection, why)
        connection.transport.abort()
        return
    why = check_streams(c, now)
    if why != CLOSE_NONE:
        flush(c)                  # a session that is being terminated sends nothing but its GOAWAY
        if c.session == NULL or c.closing:
            return
        go_away(c, why, NGHTTP2_ENHANCE_YOUR_CALM)
        watch(c, now + SECOND)
    elif c.open_streams == 0 and c.handshaken and now - c.active >= wire.idle_connection_timeout:
        go_away(c, CLOSE_IDLE, NGHTTP2_NO_ERROR)
        watch(c, now + SECOND)    # until it is written, and the connection closes
    elif not c.handshaken:
        watch(c, c.opened + wire.handshake_timeout)
    elif c.open_streams or c.paused:
        watch(c, now + patrol(wire))
    else:
        watch(c, c.active + wire.idle_connection_timeout)
    flush_all(wire)


cdef class Connection:
    """asyncio.BufferedProtocol of one downstream connection."""

    def __cinit__(self, Listener listener, *rest):
        self.listener = listener
        self.conn.wire = &listener.wire
        self.conn.owner = <PyObject *>self
        self.conn.fd = -1
        mw_timer_init(&self.conn.timer, <void (*)(mw_timer *, int64_t) noexcept nogil>on_watch)

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
        c.opened = c.active = c.progress = c.wire.now
        why = self.listener.admit(self, key)
        self.arrived = why == CLOSE_NONE
        self.listener.sockets += self.arrived
        if not self.arrived:
            self.listener.note(self, why)
            self.leave_networks()
        else:
            c.peer = self.listener.limiter.hash(MW_LEVEL_PEER, <const char *>key, len(key))
            c.identity = self.listener.limiter.hash(MW_LEVEL_IDENTITY, <const char *>key, len(key))
            c.fleet = self.listener.limiter.fleet(<const char *>key, len(key))
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
        cdef nghttp2_settings_entry settings[3]
        cdef Conn *c = &self.conn
        cdef Wire *wire = c.wire
        self.transport = transport
        wire.now = mw_now_ns()
        if self.dismissed:
            transport.abort()
            return
        if not self.arrived and not self.arrive(transport.get_extra_info("peername")):
            transport.abort()
            return
        c.opened = c.active = c.progress = wire.now     # anew: a TLS handshake had a time of its own
        self.shut = None
        mw_flood_init(&c.flood, wire.now)
        if transport.get_extra_info("sslcontext") is None:
            socket = transport.get_extra_info("socket")
            c.fd = socket.fileno() if socket is not None else -1
        transport.set_write_buffer_limits(high=QUEUE_CAP)
        if nghttp2_session_server_new2(&c.session, CALLBACKS, c, OPTIONS) != 0:
            c.session = NULL
            transport.abort()
            return
        settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
        settings[0].value = wire.max_streams
        settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
        settings[1].value = STREAM_WINDOW
        settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
        settings[2].value = HEADER_BYTES
        nghttp2_submit_settings(c.session, 0, settings, 3)
        nghttp2_session_set_local_window_size(c.session, 0, 0, CONNECTION_WINDOW)
        watch(c, c.opened + wire.handshake_timeout)
        if wire.draining:         # accepted in the last moment: nobody is refused
            self.warn()
        flush(c)

    def get_buffer(self, sizehint):
        return self.listener.read_view

    def buffer_updated(self, Py_ssize_t size):
        cdef Conn *c = &self.conn
        cdef Wire *wire = c.wire
        cdef ssize_t bad
        if c.session == NULL or c.closing:
            return
        wire.now = mw_now_ns()
        c.active = wire.now
        mark(c)
        if mw_flood_read(&c.flood, self.listener.read_buffer, size, wire.now):
            bad = NGHTTP2_ERR_FLOODED
        else:
            bad = nghttp2_session_mem_recv(c.session, self.listener.read_buffer, size)
        if bad < 0:
            if bad == NGHTTP2_ERR_FLOODED:
                go_away(c, CLOSE_FRAMES, NGHTTP2_ENHANCE_YOUR_CALM)
            elif bad == TOO_MANY_CONTINUATIONS:
                go_away(c, CLOSE_HEADERS, NGHTTP2_ENHANCE_YOUR_CALM)
            else:
                go_away(c, CLOSE_PROTOCOL, NGHTTP2_PROTOCOL_ERROR)
            flush_all(wire)
            if self.transport is not None:
                close_soon(c)
            return
        if c.leaving and c.handshaken:
            c.leaving = False
            self.take_no_more()
        # with a batch to come in this tick, its answers and everything else leave in one write per connection
        if not wire.batch_pending:
            flush_all(wire)

    def eof_received(self):
        return False

    def pause_writing(self):
        cdef Conn *c = &self.conn
        c.paused = True
        c.stalled = c.wire.now
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        if c.session != NULL:
            watch(c, c.wire.now + SECOND)

    def resume_writing(self):
        cdef Conn *c = &self.conn
        c.paused = False
        if self.transport is not None and not self.transport.is_closing() and not c.closing:
            self.transport.resume_reading()
            mark(c)
            if not c.wire.batch_pending:
                flush_all(c.wire)

    def connection_lost(self, exc):
        cdef Conn *c = &self.conn
        cdef Conn **link = &c.wire.dirty
        if c.dirty:
            while link[0] != c:
                link = &link[0].next_dirty
            link[0] = c.next_dirty
            c.dirty = False
        timer_cancel(self.listener.wheel, &c.timer)
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
        self.transport = None
        self.end()

    def warn(self):
        """Tells the client to open no more streams here; those that are on their way are still taken (RFC 9113, 6.8)."""
        if self.conn.session != NULL:
            nghttp2_submit_shutdown_notice(self.conn.session)
            mark(&self.conn)

    def drain(self):
        """Takes no more streams; the connection closes when the open ones are done.

        A client that has not said a word yet comes with its preface, and with the streams that it sends together with that.
        """
        if self.conn.handshaken:
            self.take_no_more()
        else:
            self.conn.leaving = True

    cdef void take_no_more(self) noexcept:
        if self.conn.session != NULL:
            nghttp2_session_terminate_session(self.conn.session, NGHTTP2_NO_ERROR) if self.conn.open_streams == 0 else \
                nghttp2_submit_goaway(self.conn.session, 0, nghttp2_session_get_last_proc_stream_id(self.conn.session),
                                      NGHTTP2_NO_ERROR, NULL, 0)
            mark(&self.conn)

    cdef int make_way(self) except -1:
        """Not busy, and another needs its place."""
        if self.conn.session != NULL:
            go_away(&self.conn, CLOSE_ROOM, NGHTTP2_NO_ERROR)
            if self.conn.paused:
                self.transport.abort()     # its client takes nothing, and would not take a GOAWAY
            else:
                flush(&self.conn)
            return 0
        self.listener.note(self, CLOSE_ROOM)
        self.dismissed = True
        if self.shut is not None:
            self.shut()
        return 0

    def abort(self):
        """Closes at once, whatever is under way."""
        if self.transport is not None:
            self.transport.abort()


cdef class Listener:
    """What the connections of one listening socket share. Call it to get a protocol for a new connection."""

    def __cinit__(self, Wheel wheel, Limiter limiter, Region region=None):
        self.region = Region() if region is None else region
        self.wire.gauges, self.wire.slots = self.region.own, self.region.header
        self.wheel = wheel
        self.limiter = limiter
        self.wire.limiter = <PyObject *>limiter
        self.max_connections = 20000
        self.max_per_peer = 1000
        self.max_here = 1 << 30
        self.wire.peer_bits = IPV6_BITS
        self.wire.message_size = 16 << 20
        self.wire.inflight_limit = 256 << 20
        self.wire.share_factor = mw_holder_factor(0.5)
        self.wire.holders = <mw_holders *>calloc(1, sizeof(mw_holders))
        self.wire.max_streams = 128
        self.wire.handshake_timeout = 5 * SECOND
        self.wire.request_timeout = 30 * SECOND
        self.wire.idle_stream_timeout = 300 * SECOND
        self.wire.idle_connection_timeout = 3600 * SECOND
        self.wire.stall_timeout = 30 * SECOND
        self.read_buffer = <uint8_t *>malloc(READ_SIZE)
        self.write_buffer = <uint8_t *>malloc(WRITE_SIZE)
        if self.read_buffer == NULL or self.write_buffer == NULL or self.wire.holders == NULL:
            raise MemoryError
        self.read_view = PyMemoryView_FromMemory(<char *>self.read_buffer, READ_SIZE, PyBUF_WRITE)
        self.connections = OrderedDict()
        self.peers = PeerIndex()
        self.networks = Networks()
        self.last_peers = [""] * <int>CLOSE_REASONS
        self.resets = Limiter(PEER_KEYS, region=self.region, name="resets")
        self.resets.set_peer(PEER_RESET_RATE, PEER_RESET_BURST)

    def __dealloc__(self):
        free(self.wire.holders)
        free(self.wire.proxies)
        free(self.wire.limited)
        free(self.wire.sites)
        free(self.read_buffer)
        free(self.write_buffer)

    def __call__(self):
        return BufferedConnection(self)

    def set_sizes(self, size_t message_size, size_t inflight_bytes, uint32_t streams, double share=0.5):
        """Largest message, messages held over all connections of all processes (both bytes), streams per connection.

        share: of the messages held, 0 to 1, that one peer or identity may have while no other has any.
        """
        self.wire.message_size = message_size
        self.wire.inflight_limit = inflight_bytes
        self.wire.share_factor = mw_holder_factor(share)
        self.wire.max_streams = streams

    def set_arrivals(self, double per_second):
        """New connections of one peer address: a rate, and a second's worth at once."""
        if self.arrivals is None:
            self.arrivals = Limiter(PEER_KEYS, region=self.region, name="arrivals")
        self.arrivals.set_peer(per_second, max(<int>per_second, 1))

    def set_proxies(self, list networks not None, bint unix):
        """Whose x-forwarded-for counts, of connections from now on: networks as (16 bytes, bits); unix: any Unix socket's."""
        proxies = networks_of(networks)
        free(self.wire.proxies)
        self.wire.proxies = proxies
        self.wire.proxy_count = <uint32_t>len(networks)
        self.trusts_unix = unix
        self.make_sites()

    def set_limited(self, list networks not None):
        """Whose peers the limiter's overrides 1, 2, ... are for; the most specific come first."""
        cdef Connection connection
        cdef Conn *c
        cdef Stream *s
        limited = networks_of(networks)
        free(self.wire.limited)
        self.wire.limited = limited
        self.wire.limited_count = <uint32_t>len(networks)
        for connection in self.connections:
            c = &connection.conn
            c.peer_limit = limit_of(&self.wire, c.address)
            s = c.streams
            while s != NULL:
                # of one whose peer a proxy has told, the address is not known any more
                s.peer_limit = c.peer_limit if s.peer == c.peer else 0
                s = s.next

    def set_timeouts(self, int64_t handshake, int64_t request, int64_t idle_stream, int64_t idle_connection, int64_t stalled):
        """All in ns."""
        self.wire.handshake_timeout = handshake
        self.wire.request_timeout = request
        self.wire.idle_stream_timeout = idle_stream
        self.wire.idle_connection_timeout = idle_connection
        self.wire.stall_timeout = stalled

    def set_ipv6(self, int bits, int peers):
        """Bits of an IPv6 address that are one peer, 48 to 128; peers of one /48 that have budgets of their own."""
        if not 48 <= bits <= 128:
            raise ValueError(f"{bits} bits of an address are no peer")
        self.wire.peer_bits = bits
        self.networks.most = peers
        self.make_sites()

    cdef int make_sites(self) except -1:
        cdef mw_sites *sites = self.wire.sites
        if not self.wire.proxy_count and not self.trusts_unix or sites != NULL and <int>sites.most == self.networks.most:
            return 0
        sites = mw_sites_new(<uint32_t>self.networks.most)
        if sites == NULL:
            raise MemoryError
        free(self.wire.sites)
        self.wire.sites = sites
        return 0

    @property
    def leaving(self) -> int:
        """Connections that have made way for others, and are not closed yet."""
        return self.sockets - <int>self.wire.connections

    def shed(self):
        """Frees a descriptor, where a connection is idle; False where none is. To be called where there are no more."""
        self.wire.close_reasons[<int>CLOSE_DESCRIPTORS] += 1
        return self.make_room_for_all()

    def holders(self) -> list:
        """Bytes in flight by peer and by identity, the most first; an identity's are its peer's too."""
        cdef const mw_holder *cell = &self.wire.holders.cell[0][0]
        cdef Py_ssize_t i
        found = []
        if self.wire.holders.live:
            found = [cell[i].bytes for i in range(<Py_ssize_t>MW_HOLDER_BUCKETS * MW_HOLDER_WAYS) if cell[i].key]
        return sorted(found, reverse=True)

    def close_reasons(self) -> dict:
        """Connections refused and closed since the start, by why, and the last peer of each: {why: (count, peer)}."""
        return {close_reason_name(i).decode(): (self.wire.close_reasons[i], self.last_peers[i])
                for i in range(1, <int>CLOSE_REASONS) if i != CLOSE_REFUSED_END}

    cdef int note(self, Connection connection, int why) except -1:
        self.wire.close_reasons[why] += 1
        self.last_peers[why] = connection.peer_name
        return 0

    cdef int admit(self, Connection connection, bytes key) except -1:
        """CLOSE_NONE, or why there is no place for it."""
        cdef int64_t retry = 0
        cdef uint64_t peer = self.hash_of(key)
        of_peer = self.peers.of(key)
        if self.arrivals is not None and self.arrivals.admit_peer(peer, 1, self.wire.now, &retry) != MW_ADMITTED:
            return CLOSE_PEER_RATE
        if not self.has_place(peer, len(of_peer)) and not self.make_room(of_peer):
            return CLOSE_PEER_FULL
        if (self.region.connections() >= <uint64_t>self.max_connections
                or <int64_t>self.wire.connections >= self.max_here) and not self.make_room_for_all():
            return CLOSE_FULL
        self.peers.enter(key, connection)
        self.region.count_peer(peer, len(self.peers.of(key)))
        self.connections[connection] = None
        self.wire.connections += 1
        self.region.own.connections = self.wire.connections
        return CLOSE_NONE

    cdef uint64_t hash_of(self, bytes key) noexcept:
        """The region's hash: the same in every process."""
        return self.resets.hash(MW_LEVEL_PEER, <const char *>key, len(key))

    cdef bint has_place(self, uint64_t peer, int own) noexcept:
        """Whether a peer with `own` connections here may have one more, over all processes.

        One whom no table has room for has an equal share of the limit with each: whoever fills a table gains nothing by it.
        """
        cdef int most = self.max_per_peer
        if not self.region.sees_peer(peer):
            most = max(most // <int>self.region.header.opened, 1)
        return own + <int64_t>self.region.peer_elsewhere(peer) < most

    cdef bint make_room(self, object connections) except -1:
        cdef Connection idlest = self.idlest(connections)
        return idlest is not None and self.dismiss(idlest)

    cdef bint make_room_for_all(self) except -1:
        """Closes a connection that is not busy, so that there is a place, or a descriptor, for another.

        First one that has been silent for a second since it came. Then the idlest of the peer that holds the most, so that what
        one peer holds never keeps another out; where its are all busy, that of the next.
        """
        cdef Connection idlest, any_idle = self.idlest(self.connections)
        if any_idle is not None and not any_idle.conn.handshaken and self.wire.now - any_idle.conn.opened > SECOND:
            return self.dismiss(any_idle)
        if self.peers.most > 1:
            for key in self.peers.largest(LARGEST_PEERS):
                idlest = self.idlest(self.peers.of(key))
                if idlest is not None:
                    return self.dismiss(idlest)
        return any_idle is not None and self.dismiss(any_idle)

    cdef Connection idlest(self, object connections):
        """Of those that are not busy the one that has brought nothing for longest: first of those that never have.

        What counts is a whole message, or an answer that was taken. Handshakes, pings and calls whose messages do not arrive
        cost a client nothing, so that strangers could hold every place with them.
        Of a sample that goes round, so that a full house costs newcomers no more than a small one.
        """
        cdef Connection connection, idlest = None
        cdef const Conn *c
        cdef int64_t since, earliest = INT64_MAX
        cdef int streams = STREAM_SAMPLE
        for _ in range(min(len(connections), <int>IDLE_SAMPLE)):
            connection = next(iter(connections))
            connections.move_to_end(connection)
            c = &connection.conn
            since = c.progress if c.progress > c.opened else c.opened - NEVER
            if since < earliest and not c.closing and not is_busy(c, &streams):
                earliest = since
                idlest = connection
        return idlest

    cdef int dismiss(self, Connection connection) except -1:
        """It makes way for another, whose place or descriptor this is from now on."""
        self.forget(connection)
        connection.make_way()
        return 1

    cdef int forget(self, Connection connection) except -1:
        if connection not in self.connections:
            return 0
        del self.connections[connection]
        self.wire.connections -= 1
        self.region.own.connections = self.wire.connections
        self.peers.leave(connection.peer_key, connection)
        self.region.count_peer(self.hash_of(connection.peer_key), len(self.peers.of(connection.peer_key)))
        connection.leave_networks()
        return 0


class BufferedConnection(Connection, asyncio.BufferedProtocol):
    __slots__ = ()
