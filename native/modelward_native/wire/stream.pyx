"""The life of a stream: begun by a client's headers, and ended by an answer, a refusal or a reset."""
from cpython.ref cimport Py_XDECREF, PyObject
from libc.stdint cimport int32_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc
from libc.string cimport memset

from modelward_native.region.spare cimport mw_spare_keep, mw_spare_take, mw_spares
from modelward_native.request.streams cimport on_gone, on_refused
from modelward_native.request.verdict cimport REASON_REQUEST_CARDINALITY, VERDICT_TEXT, Verdict, refusal, set_reason
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.grpc cimport buffer_free, ending_clear, ending_of
from modelward_native.wire.holding cimport forget_holder, release, unlink_sender
from modelward_native.wire.nghttp2 cimport nghttp2_session_consume_connection, nghttp2_submit_rst_stream
from modelward_native.wire.send cimport finish
from modelward_native.wire.transport cimport mark
from modelward_native.wire.types cimport METHOD_REFUSED, Conn, Stream

cdef enum:
    SPARE_STREAMS = 4096
    KEEP_METADATA = 512           # bytes that a spare stream keeps for the headers of the next request

cdef mw_spares SPARES             # freed streams


cdef Stream *stream_new(Conn *c, int32_t stream_id) noexcept:
    cdef Stream *s = <Stream *>mw_spare_take(&SPARES)
    cdef Buffer metadata
    if s != NULL:
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
    s.shared_key = c.shared_key
    s.next = c.streams
    if s.next != NULL:
        s.next.previous = s
    c.streams = s
    c.open_streams += 1
    return s


cdef void stream_free(Stream *s) noexcept:
    """The client lets go: everyone who points at the stream is told, then it is freed."""
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
    if s.metadata.capacity > KEEP_METADATA or SPARES.count >= SPARE_STREAMS:
        buffer_free(&s.metadata)
    ending_clear(&s.ending)
    forget_holder(s)
    Py_XDECREF(<PyObject *>s.call)
    mw_spare_keep(&SPARES, s, SPARE_STREAMS)


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


cdef void refuse_for(Stream *s, int reason, const char *text) noexcept:
    cdef Verdict v
    refusal(&v, reason, text)
    on_refused(s, &v)
    refuse(s, &v)


cdef void refuse_size(Stream *s, int reason, const char *text, size_t limit) noexcept:
    cdef Verdict v
    set_reason(&v, reason)
    snprintf(v.text, VERDICT_TEXT, text, limit)
    on_refused(s, &v)
    refuse(s, &v)


cdef void refuse_second(Stream *s) noexcept:
    """As the coroutines do (modelward/server/methods.py)."""
    refuse_for(s, REASON_REQUEST_CARDINALITY, "this method takes one request message")


cdef void reset(Stream *s, int error) noexcept:
    s.finished = True
    s.method = METHOD_REFUSED
    unlink_sender(s)
    if s.conn.session != NULL:
        nghttp2_submit_rst_stream(s.conn.session, 0, s.id, error)
        mark(&s.conn.transport)
