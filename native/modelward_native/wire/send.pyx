"""The answer of a stream as it leaves: headers, messages, trailers."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, strlen

from modelward_native.request.streams cimport on_drained
from modelward_native.outputs.guard_names cimport GUARD_TEXT, guard_names
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.compression cimport ENCODING_UNSUPPORTED, deflate_message
from modelward_native.wire.flood cimport mw_flood_message, mw_flood_sent
from modelward_native.wire.grpc cimport ending_clear
from modelward_native.wire.holders cimport mw_holder
from modelward_native.wire.holding cimport count_bytes, make_room, release
from modelward_native.wire.nghttp2 cimport *
from modelward_native.wire.stream cimport reset
from modelward_native.wire.transport cimport mark
from modelward_native.wire.types cimport Stream, Wire

cdef enum:
    KEEP_BYTES = 4096             # an output buffer up to this size is kept for the stream's next message
    GZIP_CAP = 32768              # larger answers go uncompressed: gzip takes up to 0.5 ms for these, up to 4 ms for 256 KiB
    TRAILERS = 8                  # most fields of an ending, without an upstream's metadata
    HEADERS = 64                  # most fields of metadata that are passed on, in either direction


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
    mark(&s.conn.transport)


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
    mark(&s.conn.transport)


cdef void finish(Stream *s, Ending *ending) noexcept:
    cdef nghttp2_nv nv[3 + <int>TRAILERS + <int>HEADERS]
    cdef char digits[96 + <int>GUARD_TEXT]
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
    mark(&s.conn.transport)


cdef ssize_t read_out(nghttp2_session *session, int32_t stream_id, uint8_t *to, size_t room, uint32_t *flags,
                      nghttp2_data_source *source, void *user) noexcept:
    cdef Stream *s = <Stream *>source.ptr
    cdef nghttp2_nv nv[<int>TRAILERS + <int>HEADERS]
    cdef char digits[96 + <int>GUARD_TEXT]
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


cdef size_t trailers(Stream *s, nghttp2_nv *nv, char *digits) noexcept:
    """Writes at most TRAILERS + HEADERS fields; digits: 176 bytes that outlive nv. nghttp2 copies all values at submission."""
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
    if e.restricted != NULL:
        nv[n] = header("modelward-restricted", 20, e.restricted, strlen(e.restricted), STATIC_NAME)
        n += 1
    if e.guards:
        size = <int>guard_names(e.guards, digits + 96)
        nv[n] = header("modelward-output-guard", 22, digits + 96, size, STATIC_NAME)
        n += 1
    if e.has_anomaly_score:
        size = snprintf(digits + 48, 32, "%.6g", e.anomaly_score)
        nv[n] = header("modelward-anomaly-score", 23, digits + 48, size, STATIC_NAME)
        n += 1
    return n + kept_headers(&e.metadata, nv + n, HEADERS)


cdef size_t kept_headers(const Buffer *kept, nghttp2_nv *nv, size_t room) noexcept:
    """Fields that wire.headers.keep_header has kept, at most `room` of them. They point into `kept`."""
    cdef size_t at = 0, n = 0
    cdef uint32_t sizes[2]
    while at + 8 <= kept.size and n < room:
        memcpy(sizes, kept.data + at, 8)
        nv[n] = header(<const char *>kept.data + at + 8, sizes[0], kept.data + at + 8 + sizes[0], sizes[1], 0)
        at += 8 + sizes[0] + sizes[1]
        n += 1
    return n
