"""One gRPC call on an HTTP/2 stream: its messages coming in, its answers and its ending going out."""
from cpython.ref cimport Py_XDECREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset, strlen

from modelward_native.wire.flood cimport mw_flood_message, mw_flood_sent
from modelward_native.request.streams cimport on_drained, on_ended, on_gone, on_message, on_refused
from modelward_native.request.exchange cimport METHOD_COLD, METHOD_INFER, METHOD_REFUSED, Conn, Stream, Wire
from modelward_native.wire.compression cimport ENCODING_IDENTITY, ENCODING_UNSUPPORTED
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.compression cimport (
    INFLATED_MALFORMED, INFLATED_OVER_RATIO, INFLATED_TOO_LARGE, INFLATED_WHOLE, RATIO, RATIO_FREE, deflate_message,
    inflate_message)
from modelward_native.wire.grpc cimport buffer_free, buffer_reserve, ending_clear, ending_of, ending_with
from modelward_native.wire.holders cimport mw_holder, mw_holder_held
from modelward_native.wire.holding cimport count_bytes, forget_holder, holder_of, may_take, note_sender, pay_for, unlink_sender
from modelward_native.wire.nghttp2 cimport *
from modelward_native.request.verdict cimport (
    CODE_UNIMPLEMENTED, REASON_INFLATED_TOO_LARGE, REASON_INFLIGHT_BYTES, REASON_MALFORMED_FRAMING,
    REASON_MESSAGE_TOO_LARGE, REASON_OUT_OF_MEMORY, VERDICT_TEXT, Verdict)

cdef enum:
    FIRST_BYTES = 1024            # taken for a message before its bytes have come, however long it says it is
    COLD_BYTES = 65536            # of one message to a cold method: they hold names only
    KEEP_BYTES = 4096             # an output buffer up to this size is kept for the stream's next message
    GZIP_CAP = 32768              # larger answers go uncompressed: these take 0.1 to 0.5 ms of the loop, 256 KiB took up to 4 ms
    SPARE_STREAMS = 4096
    KEEP_METADATA = 512           # bytes that a spare stream keeps for the headers of the next request
    SENDERS_SEEN = 64             # of those in the middle of a message, that are looked at to make room for another

cdef int64_t SECOND = 1000000000
cdef const char *INFLIGHT_TEXT = "requests in flight hold %zu bytes already; retry shortly"
cdef const char *SHARE_TEXT = "your requests in flight hold their share of %zu bytes already; retry shortly"
cdef const char *GIVEN_UP_TEXT = (
    "the request came too slowly while requests in flight held %zu bytes, and others needed the room; retry shortly")
cdef Stream *SPARE = NULL         # freed streams for reuse, chained by next; the loop's thread alone
cdef int SPARES = 0


# ---- streams -----------------------------------------------------------------------------------------------

cdef Stream *stream_new(Conn *c, int32_t stream_id) noexcept:
    global SPARE, SPARES
    cdef Stream *s = SPARE
    cdef Buffer metadata
    if s != NULL:
        SPARE = s.next
        SPARES -= 1
        metadata = s.metadata
        memset(s, 0, sizeof(Stream))
        s.metadata.data = metadata.data
        s.metadata.capacity = metadata.capacity
    else:
        s = <Stream *>calloc(1, sizeof(Stream))
        if s == NULL:
            return NULL
    s.conn = c
    s.id = stream_id
    s.entered = c.wire.now
    s.active = c.wire.now
    s.peer = c.peer
    s.peer_limit = c.peer_limit
    s.budget = c.identity
    s.fleet = c.fleet
    s.next = c.streams
    if s.next != NULL:
        s.next.previous = s
    c.streams = s
    c.open_streams += 1
    return s


cdef void stream_free(Stream *s) noexcept:
    """The client lets go: everyone who points at the stream is told, then it is freed."""
    global SPARE, SPARES
    cdef Conn *c = s.conn
    on_gone(s)
    if s.previous != NULL:
        s.previous.next = s.next
    else:
        c.streams = s.next
    if s.next != NULL:
        s.next.previous = s.previous
    c.open_streams -= 1
    c.unsent -= s.out.size
    unlink_sender(s)
    if s.withheld and c.session != NULL:
        nghttp2_session_consume_connection(c.session, s.withheld)
    release(c.wire, &s.message)
    release(c.wire, &s.held)
    release(c.wire, &s.out)
    if s.metadata.capacity > KEEP_METADATA or SPARES >= SPARE_STREAMS:
        buffer_free(&s.metadata)
    ending_clear(&s.ending)
    forget_holder(s)
    Py_XDECREF(<PyObject *>s.call)
    if SPARES < SPARE_STREAMS:
        s.next = SPARE
        SPARE = s
        SPARES += 1
    else:
        free(s)


cdef int grow(Wire *wire, Buffer *b, size_t capacity) noexcept:
    """Room in a buffer that counts as in flight. 0, -1 over the budget of all or of its holder, -2 no memory."""
    return reserve(wire, b, capacity, wire.message_size)


cdef int grow_beside(Wire *wire, Buffer *b, size_t capacity) noexcept:
    """As `grow`, for what a message that has come needs beside itself: its contents made raw, and its answer."""
    return reserve(wire, b, capacity, 2 * wire.message_size)


cdef int reserve(Wire *wire, Buffer *b, size_t capacity, size_t least) noexcept:
    cdef size_t before = b.capacity
    if capacity <= before:
        return 0
    if (not may_take(wire, b.holder, capacity - before, least)
            and not make_way(wire, b.holder, capacity - before, least)):
        return -1
    if buffer_reserve(b, capacity) < 0:
        return -2
    count_bytes(wire, b.holder, <int64_t>(capacity - before))
    return 0


cdef void release(Wire *wire, Buffer *b) noexcept:
    cdef size_t size = b.capacity
    if size == 0:                 # most are: a request has buffers for all that some requests need
        b.size = 0
        return
    buffer_free(b)
    count_bytes(wire, b.holder, -<int64_t>size)


cdef bint make_way(Wire *wire, const mw_holder *holder, size_t more, size_t least) noexcept:
    """Ends requests that have stopped in the middle of their message, of callers who hold more than this one would."""
    cdef Stream *s = wire.stalest
    cdef Stream *after
    cdef int _
    if holder == NULL:
        return False
    for _ in range(<int>SENDERS_SEEN):
        if s == NULL:
            break
        after = s.fresher
        if s.message.holder != NULL and mw_holder_held(s.message.holder) > mw_holder_held(holder) + more:
            refuse_size(s, REASON_INFLIGHT_BYTES, GIVEN_UP_TEXT, wire.inflight_limit)
            if may_take(wire, holder, more, least):
                return True
        s = after
    return False


cdef void refuse_bytes(Stream *s, const mw_holder *holder) noexcept:
    """There is no room for what it sends: of all, or of its caller's share."""
    cdef Wire *wire = s.conn.wire
    if holder == NULL or mw_holder_held(holder) < wire.message_size:
        refuse_size(s, REASON_INFLIGHT_BYTES, INFLIGHT_TEXT, wire.inflight_limit)
    else:
        refuse_size(s, REASON_INFLIGHT_BYTES, SHARE_TEXT, mw_holder_held(holder))


# ---- answers -----------------------------------------------------------------------------------------------

cdef size_t trailers(Stream *s, nghttp2_nv *nv, char *digits) noexcept:
    """Writes at most TRAILERS + HEADERS fields; digits: 96 bytes that outlive nv. nghttp2 copies all values at submission."""
    cdef Ending *e = &s.ending
    cdef size_t n = 1
    cdef int size
    if e.code == 0:
        nv[0] = header("grpc-status", 11, <const char *>"0", 1, STATIC)
    else:
        size = snprintf(digits, 8, "%d", e.code)
        nv[0] = header("grpc-status", 11, digits, size, STATIC_NAME)
    if e.message != NULL:
        nv[n] = header("grpc-message", 12, e.message, strlen(e.message), STATIC_NAME)
        n += 1
    if e.details != NULL:
        nv[n] = header("grpc-status-details-bin", 23, e.details, strlen(e.details), STATIC_NAME)
        n += 1
    if e.pushback_ms != 0:
        size = snprintf(digits + 16, 24, "%lld", <long long>e.pushback_ms)
        nv[n] = header("grpc-retry-pushback-ms", 22, digits + 16, size, STATIC_NAME)
        n += 1
    if e.fallback != NULL:
        nv[n] = header("modelward-fallback", 18, e.fallback, strlen(e.fallback), STATIC_NAME)
        n += 1
    if e.has_anomaly_score:
        size = snprintf(digits + 48, 32, "%.6g", e.anomaly_score)
        nv[n] = header("modelward-anomaly-score", 23, digits + 48, size, STATIC_NAME)
        n += 1
    return n + kept_headers(&e.metadata, nv + n, HEADERS)


cdef ssize_t read_out(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room, uint32_t *flags,
                      nghttp2_data_source *source, void *user) noexcept:
    cdef Stream *s = <Stream *>source.ptr
    cdef nghttp2_nv nv[<int>TRAILERS + <int>HEADERS]
    cdef char digits[96]
    cdef size_t n = min(room, s.out.size - s.out_sent)
    if n:
        memcpy(to, s.out.data + s.out_sent, n)
        s.out_sent += n
        s.active = s.conn.wire.now
        mw_flood_sent(&s.conn.flood, n)
    if s.out_sent < s.out.size:
        return n
    if n:
        s.conn.progress = s.conn.wire.now
    s.conn.unsent -= s.out.size
    s.out.size = 0
    s.out_sent = 0
    if s.out.capacity > KEEP_BYTES:
        release(s.conn.wire, &s.out)
    if s.finished:
        flags[0] = NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
        nghttp2_submit_trailer(session, stream_id, nv, trailers(s, nv, digits))
        return n
    if n == 0:
        s.deferred = True
        return NGHTTP2_ERR_DEFERRED
    on_drained(s)
    return n


cdef bint make_room(Wire *wire, Buffer *out, size_t *sent, size_t size) noexcept:
    """What is sent already makes room, or a stream that is never idle would grow."""
    cdef size_t left = out.size - sent[0]
    if sent[0] > left:
        memcpy(out.data, out.data + sent[0], left)
        out.size = left
        sent[0] = 0
    return out.size + size <= out.capacity or grow(
        wire, out, max(out.size + size, out.capacity + out.capacity // 2)) == 0


cdef size_t kept_headers(const Buffer *kept, nghttp2_nv *nv, size_t room) noexcept:
    cdef size_t at = 0, n = 0
    cdef uint32_t sizes[2]
    while at + 8 <= kept.size and n < room:
        memcpy(sizes, kept.data + at, 8)
        nv[n] = header(<const char *>kept.data + at + 8, sizes[0], kept.data + at + 8 + sizes[0], sizes[1], 0)
        at += 8 + sizes[0] + sizes[1]
        n += 1
    return n


cdef void begin_answer(Stream *s, const Buffer *metadata) noexcept:
    cdef nghttp2_nv nv[3 + <int>HEADERS]
    cdef nghttp2_data_provider provider
    cdef size_t n = 2
    if s.answered or s.conn.session == NULL:
        return
    s.answered = True
    nv[0] = header(":status", 7, <const char *>"200", 3, STATIC)
    nv[1] = header("content-type", 12, <const char *>"application/grpc", 16, STATIC)
    if s.gzip_reply:
        nv[2] = header("grpc-encoding", 13, <const char *>"gzip", 4, STATIC)
        n = 3
    if metadata != NULL:
        n += kept_headers(metadata, nv + n, HEADERS)
    provider.source.ptr = s
    provider.read_callback = read_out
    nghttp2_submit_response(s.conn.session, s.id, nv, n, &provider)
    mark(s.conn)


cdef void send_message(Stream *s, Buffer *framed) noexcept:
    cdef Wire *wire = s.conn.wire
    cdef mw_holder *holder
    cdef size_t size
    if s.finished or s.conn.session == NULL:
        release(wire, framed)
        return
    if s.gzip_reply and framed.size <= GZIP_CAP:
        holder, size = framed.holder, framed.capacity
        deflate_message(framed)
        framed.holder = holder
        count_bytes(wire, holder, <int64_t>framed.capacity - <int64_t>size)
    s.conn.unsent -= s.out.size
    if s.out.size == 0:
        release(wire, &s.out)
        s.out = framed[0]
    elif make_room(wire, &s.out, &s.out_sent, framed.size):
        memcpy(s.out.data + s.out.size, framed.data, framed.size)
        s.out.size += framed.size
        release(wire, framed)
    else:
        s.conn.unsent += s.out.size
        release(wire, framed)
        reset(s, NGHTTP2_INTERNAL_ERROR)
        return
    s.conn.unsent += s.out.size
    s.active = s.conn.wire.now
    mw_flood_message(&s.conn.flood)
    if not s.answered:
        begin_answer(s, NULL)
    elif s.deferred:
        s.deferred = False
        nghttp2_session_resume_data(s.conn.session, s.id)
    mark(s.conn)


cdef void finish(Stream *s, Ending *ending) noexcept:
    cdef nghttp2_nv nv[3 + <int>TRAILERS + <int>HEADERS]
    cdef char digits[96]
    cdef size_t n = 2
    if s.finished or s.conn.session == NULL:
        ending_clear(ending)
        return
    s.ending = ending[0]
    s.finished = True
    if s.answered:
        if s.deferred:
            s.deferred = False
            nghttp2_session_resume_data(s.conn.session, s.id)
    else:
        s.answered = True
        nv[0] = header(":status", 7, <const char *>"200", 3, STATIC)
        nv[1] = header("content-type", 12, <const char *>"application/grpc", 16, STATIC)
        if s.encoding == ENCODING_UNSUPPORTED:
            nv[2] = header("grpc-accept-encoding", 20, <const char *>"identity,deflate,gzip", 21, STATIC)
            n = 3
        n += trailers(s, nv + n, digits)
        nghttp2_submit_response(s.conn.session, s.id, nv, n, NULL)
    mark(s.conn)


cdef void refuse(Stream *s, Verdict *verdict) noexcept:
    cdef Ending ending
    memset(&ending, 0, sizeof(ending))
    ending_of(&ending, verdict)
    turn_away(s, &ending)


cdef void turn_away(Stream *s, Ending *ending) noexcept:
    finish(s, ending)
    s.method = METHOD_REFUSED
    unlink_sender(s)
    release(s.conn.wire, &s.message)
    release(s.conn.wire, &s.held)


cdef void refuse_second(Stream *s) noexcept:
    """As the coroutines do (modelward/server/methods.py)."""
    cdef Ending ending
    memset(&ending, 0, sizeof(ending))
    ending_with(&ending, CODE_UNIMPLEMENTED, "this method takes one request message", "REQUEST_CARDINALITY")
    turn_away(s, &ending)


cdef void reset(Stream *s, int error) noexcept:
    s.finished = True
    s.method = METHOD_REFUSED
    unlink_sender(s)
    if s.conn.session != NULL:
        nghttp2_submit_rst_stream(s.conn.session, 0, s.id, error)
        mark(s.conn)


cdef void open_window(Stream *s) noexcept:
    if s.conn.session == NULL or congested(s):
        return
    if s.held.size:
        resume(s)
    if s.withheld and s.held.size == 0 and not congested(s):
        nghttp2_session_consume(s.conn.session, s.id, s.withheld)
        s.withheld = 0
        mark(s.conn)


cdef void proceed(Stream *s) noexcept:
    open_window(s)
    if s.held_end and s.held.size == 0:
        s.held_end = False
        end_request(s)


cdef void refuse_for(Stream *s, int reason, const char *text) noexcept:
    cdef Verdict v
    v.reason = reason
    v.retry_ns = 0
    snprintf(v.text, VERDICT_TEXT, "%s", text)
    on_refused(s, &v)
    refuse(s, &v)


cdef void refuse_size(Stream *s, int reason, const char *text, size_t limit) noexcept:
    cdef Verdict v
    v.reason = reason
    v.retry_ns = 0
    if reason == REASON_INFLIGHT_BYTES:
        v.retry_ns = SECOND // 10
    snprintf(v.text, VERDICT_TEXT, text, limit)
    on_refused(s, &v)
    refuse(s, &v)


# ---- messages ----------------------------------------------------------------------------------------------

cdef bint begin_message(Stream *s) noexcept:
    """The five bytes before a message are complete: is the message welcome?"""
    cdef Wire *wire = s.conn.wire
    s.expected = (<uint32_t>s.prefix[1] << 24) | (<uint32_t>s.prefix[2] << 16) | (<uint32_t>s.prefix[3] << 8) | s.prefix[4]
    s.compressed = s.prefix[0] == 1
    if s.prefix[0] > 1:
        refuse_for(s, REASON_MALFORMED_FRAMING, "message prefix: the first byte must be 0 or 1 (is the body gRPC-framed?)")
    elif s.compressed and s.encoding == ENCODING_IDENTITY:
        refuse_for(s, REASON_MALFORMED_FRAMING, "a message is marked as compressed, but the call has no grpc-encoding header")
    elif s.expected > wire.message_size:
        refuse_size(s, REASON_MESSAGE_TOO_LARGE,
                    "message is larger than the limit of %zu bytes; send smaller batches or raise limits.message_size",
                    wire.message_size)
    elif s.method == METHOD_COLD and s.expected > COLD_BYTES:
        refuse_size(s, REASON_MESSAGE_TOO_LARGE, "message is larger than the %zu bytes that this method takes", COLD_BYTES)
    elif s.whole and s.method == METHOD_COLD:
        refuse_second(s)
    elif s.whole:
        refuse_for(s, REASON_MALFORMED_FRAMING, "a unary call carries more than one message")
    else:
        return True
    return False


cdef void inflation_verdict(Verdict *v, int state, size_t limit) noexcept:
    v.retry_ns = 0
    if state == INFLATED_MALFORMED:
        v.reason = REASON_MALFORMED_FRAMING
        snprintf(v.text, VERDICT_TEXT, "a message is marked as compressed, and is not what grpc-encoding says")
    elif state == INFLATED_TOO_LARGE:
        v.reason = REASON_INFLATED_TOO_LARGE
        snprintf(v.text, VERDICT_TEXT,
                 "compressed message inflates beyond the limit of %zu bytes", limit)
    elif state == INFLATED_OVER_RATIO:
        v.reason = REASON_INFLATED_TOO_LARGE
        snprintf(v.text, VERDICT_TEXT,
                 "compressed message inflates to more than %d times its size and %d bytes; send it uncompressed",
                 RATIO, RATIO_FREE)
    else:
        v.reason = REASON_OUT_OF_MEMORY
        v.retry_ns = SECOND // 10
        snprintf(v.text, VERDICT_TEXT, "no room to inflate the message; retry shortly")


cdef bint end_message(Stream *s) noexcept:
    """All bytes of a message are here."""
    cdef Wire *wire = s.conn.wire
    cdef Verdict v
    cdef size_t before = s.message.capacity, limit = min(wire.message_size, <size_t>COLD_BYTES)
    cdef mw_holder *holder = s.message.holder
    cdef int state
    s.prefix_size = 0
    unlink_sender(s)
    if s.compressed and s.method == METHOD_COLD:
        # the others' are inflated behind admission (pipeline.pyx); these are small, and paid for with the headers
        state = inflate_message(&s.message, s.encoding, limit)
        s.message.holder = holder
        count_bytes(wire, holder, <int64_t>s.message.capacity - <int64_t>before)
        if state != INFLATED_WHOLE:
            inflation_verdict(&v, state, limit)
            on_refused(s, &v)
            refuse(s, &v)
            return False
    s.messages += 1
    s.conn.progress = wire.now
    mw_flood_message(&s.conn.flood)
    if s.unary:
        s.whole = True
    else:
        on_message(s, &s.message, wire.now)
    return s.method != METHOD_REFUSED


cdef size_t feed(Stream *s, const uint8_t *data, size_t size) noexcept:
    """Reads messages; returns how many bytes, which is fewer than size only where the stream has become congested."""
    cdef Wire *wire = s.conn.wire
    cdef const uint8_t *end = data + size
    cdef size_t n
    cdef int bad
    while data < end:
        if s.prefix_size < 5:
            if s.prefix_size == 0:
                if congested(s):
                    break
                s.begun = wire.now
            n = min(<size_t>(end - data), <size_t>(5 - s.prefix_size))
            memcpy(s.prefix + s.prefix_size, data, n)
            s.prefix_size += n
            data += n
            if s.prefix_size < 5:
                break
            if not begin_message(s):
                return size
            pay_for(&s.message, holder_of(s))
            if s.expected and grow(wire, &s.message, min(<size_t>s.expected, max(<size_t>(end - data), <size_t>FIRST_BYTES))) < 0:
                refuse_bytes(s, s.holder)
                return size
        n = min(<size_t>(end - data), s.expected - s.message.size)
        if s.message.size + n > s.message.capacity:
            bad = grow(wire, &s.message, min(<size_t>s.expected, max(2 * s.message.capacity, s.message.size + n)))
            if bad < 0:
                refuse_bytes(s, s.message.holder)
                return size
        if n:
            memcpy(s.message.data + s.message.size, data, n)
            s.message.size += n
            data += n
        if s.message.size == s.expected and not end_message(s):
            return size
    if s.prefix_size == 5:
        note_sender(s)
    return size - (end - data)


cdef void receive(Stream *s, const uint8_t *data, size_t size) noexcept:
    """Reads, or holds what a congested stream must not read yet: at most its window, which stays shut meanwhile.

    A window of small requests may ask for gigabytes of answers: not even what has arrived is read before there is room.
    """
    cdef size_t n = 0
    if s.held.size == 0:
        n = feed(s, data, size)
    if n == size:
        return
    pay_for(&s.held, holder_of(s))
    if grow(s.conn.wire, &s.held, s.held.size + (size - n)) < 0:
        refuse_bytes(s, s.held.holder)
        return
    memcpy(s.held.data + s.held.size, data + n, size - n)
    s.held.size += size - n


cdef void resume(Stream *s) noexcept:
    """Reads what was held, as far as there is room again."""
    if s.resuming:
        return
    s.resuming = True
    s.held_at += feed(s, s.held.data + s.held_at, s.held.size - s.held_at)
    s.resuming = False
    if s.held_at < s.held.size:
        return
    release(s.conn.wire, &s.held)
    s.held_at = 0
    if s.held_end:
        s.held_end = False
        end_request(s)


cdef void end_request(Stream *s) noexcept:
    cdef Wire *wire = s.conn.wire
    if s.held.size or s.attempt != NULL or s.packed != NULL:
        s.held_end = True
        return
    s.remote_ended = True
    if s.method == METHOD_REFUSED:
        return
    if s.prefix_size:
        refuse_for(s, REASON_MALFORMED_FRAMING, "the request ended in the middle of a message")
    elif s.method == METHOD_INFER:
        if s.whole:
            on_message(s, &s.message, wire.now)
        else:
            refuse_for(s, REASON_MALFORMED_FRAMING, "a unary call without a message")
    else:
        if s.whole:
            on_message(s, &s.message, wire.now)
        on_ended(s, wire.now)
