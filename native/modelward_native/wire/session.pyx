"""A connection's HTTP/2 session: callbacks of libnghttp2, which turn frames into gRPC calls, and the writing of frames."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from modelward_native.limits.limit cimport MW_ADMITTED, Limiter
from modelward_native.request.streams cimport on_headers
from modelward_native.request.verdict cimport REASON_HEADERS_TOO_LARGE, REASON_UNSUPPORTED_ENCODING
from modelward_native.stages.admit cimport on_room
from modelward_native.timer.deadline cimport mw_timer_due_ns
from modelward_native.wire.close_reason cimport (
    CLOSE_HEADERS, CLOSE_NONE, CLOSE_PEER_RESETS, CLOSE_PROTOCOL, CLOSE_RESETS)
from modelward_native.wire.compression cimport ENCODING_GZIP, ENCODING_UNSUPPORTED
from modelward_native.wire.connection cimport close_connection, connection_of, go_away, patrol
from modelward_native.wire.flood cimport (
    MW_RESET_BURST, MW_RESET_FAULT, mw_flood_request, mw_flood_reset, mw_flood_resets)
from modelward_native.wire.forwarded cimport enter_network
from modelward_native.wire.headers cimport read_header
from modelward_native.wire.nghttp2 cimport *
from modelward_native.wire.parking cimport note_stuck
from modelward_native.wire.receive cimport end_request, receive
from modelward_native.wire.send cimport STATIC, header
from modelward_native.wire.stream cimport congested, refuse_for, stream_free, stream_new
from modelward_native.wire.transport cimport WRITE_SIZE, abort, mark, watch, write_out
from modelward_native.wire.types cimport METHOD_REFUSED, Conn, Stream, Transport, Wire

cdef enum:
    HEADER_BYTES = 16384          # decoded: name, value and 32 for each field, as HPACK counts
    HEADER_COUNT = 100
    HEADER_ABORT_FACTOR = 4       # over either limit a request is refused; over this many times it, the connection ends
    STREAM_WINDOW = 262144
    CONNECTION_WINDOW = 1048576
    PEER_RESET_OWN = 10           # with more resets of its own, a connection ends once its peer has too many on all of them


cdef void count_resets(Conn *c, int weight) noexcept:
    """Resets that a client makes us send cost as much as those it sends, and so do those on its other connections."""
    cdef Limiter resets = connection_of(c).listener.resets
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
    # an idle connection is checked rarely; a request must not wait that long for its timeout
    if mw_timer_due_ns(&c.transport.timer) > c.wire.now + 2 * patrol(c.wire):
        watch(&c.transport, c.wire.now + patrol(c.wire))
    return 0


cdef bint oversize(const Stream *s, uint32_t times) noexcept:
    return s.headers > times * HEADER_COUNT or s.header_bytes > times * HEADER_BYTES


cdef int on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_size,
                           const uint8_t *value, size_t value_size, uint8_t flags, void *user) noexcept:
    """Refuses the request. nghttp2 would drop the field and go on, and a dropped authorization field changes who calls."""
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
        # one byte may name a long table entry, and a block may be long: so only part of it is decoded
        if oversize(s, HEADER_ABORT_FACTOR):
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
        # not gRPC: a plain HTTP status, as other gRPC servers answer
        s.finished = True
        s.answered = True
        if s.is_post:
            nv[0] = header(":status", 7, <const char *>"415", 3, STATIC)
        else:
            nv[0] = header(":status", 7, <const char *>"405", 3, STATIC)
        s.method = METHOD_REFUSED
        nghttp2_submit_response(c.session, s.id, nv, 1, NULL)
        mark(&c.transport)
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
        c.transport.handshaken = True
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
    """When an answer ends before its request, resets the stream: the rest of the request is not needed.

    The reset is submitted only now. nghttp2 drops the pending output of a closing stream, so an earlier reset would
    overtake the status. Output is written at the end of a tick, so a request that ends within the tick gets no reset.
    """
    cdef Conn *c = <Conn *>user
    cdef Stream *s
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        s = <Stream *>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if s != NULL and not s.remote_ended:
            nghttp2_submit_rst_stream(session, 0, s.id, NGHTTP2_NO_ERROR)
    elif frame.hd.type == NGHTTP2_RST_STREAM and frame.rst_stream.error_code not in (
            NGHTTP2_NO_ERROR, NGHTTP2_CANCEL, NGHTTP2_REFUSED_STREAM):
        count_resets(c, MW_RESET_FAULT)  # REFUSED_STREAM is not counted: a stream over the limit costs nothing, and may be honest
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
# nghttp2's own limiter of resets answers INTERNAL_ERROR: ours must act first
nghttp2_option_set_stream_reset_rate_limit(OPTIONS, 2 * MW_RESET_BURST, 100)


def nghttp2_release() -> str:
    """Release of the libnghttp2 that is loaded."""
    return nghttp2_version(0).version_str.decode()


# ---- the session -----------------------------------------------------------------------------------------------

cdef bint open_session(Conn *c) noexcept:
    cdef nghttp2_settings_entry settings[3]
    if nghttp2_session_server_new2(&c.session, CALLBACKS, c, OPTIONS) != 0:
        c.session = NULL
        return False
    settings[0].settings_id = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS
    settings[0].value = c.wire.max_streams
    settings[1].settings_id = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE
    settings[1].value = STREAM_WINDOW
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = HEADER_BYTES
    nghttp2_submit_settings(c.session, 0, settings, 3)
    nghttp2_session_set_local_window_size(c.session, 0, 0, CONNECTION_WINDOW)
    return True


cdef void flush_session(Transport *t) noexcept:
    cdef Conn *c = <Conn *>t
    cdef uint8_t *buffer = c.wire.write_buffer
    cdef const uint8_t *piece
    cdef size_t used = 0
    cdef ssize_t n = 0
    if c.session == NULL or t.closing:
        return
    while not t.paused:
        n = nghttp2_session_mem_send(c.session, &piece)
        if n <= 0:
            break
        if used + n > WRITE_SIZE:
            write_out(t, buffer, used)
            used = 0
            if c.session == NULL:
                return
        memcpy(buffer + used, piece, n)
        used += n
    if used:
        write_out(t, buffer, used)
    if c.session == NULL:
        return
    if n == 0 and not t.paused:
        note_stuck(c)
    if n < 0:
        t.closing = True
        abort(t)
    elif not t.paused and not nghttp2_session_want_read(c.session) and not nghttp2_session_want_write(c.session):
        close_connection(c)
    elif c.parked_first != NULL:
        on_room(c, c.wire.now)
