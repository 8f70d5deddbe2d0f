# One gRPC call on an HTTP/2 stream. Nothing here raises; what changes a stream marks its connection for the tick's flush.
from libc.stdint cimport int32_t, uint8_t

from modelward_native.request.exchange cimport Conn, Stream, Wire
from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.nghttp2 cimport nghttp2_nv
from modelward_native.request.verdict cimport Verdict

cdef enum:
    STATIC = 6                    # NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    STATIC_NAME = 2               # NGHTTP2_NV_FLAG_NO_COPY_NAME
    TRAILERS = 6                  # fields of an ending at most, but for an upstream's metadata
    HEADERS = 64                  # fields of metadata, at most, that are passed on, either way

cdef inline nghttp2_nv header(const char *name, size_t name_size, const void *value, size_t value_size, uint8_t flags) noexcept:
    cdef nghttp2_nv nv
    nv.name = <uint8_t *>name
    nv.namelen = name_size
    nv.value = <uint8_t *>value
    nv.valuelen = value_size
    nv.flags = flags
    return nv


cdef enum:
    STREAM_DEPTH = 32             # requests of one ModelStreamInfer under way before no more are read, nor its window opened
    RELAYED_DEPTH = 256           # messages that an upstream's model has not answered, likewise
    UNSENT_CAP = 1048576          # bytes that the client of a stream has not taken yet, or its upstream, likewise


cdef inline bint congested(const Stream *s) noexcept:
    return (s.attempt != NULL or s.packed != NULL or s.inflight >= STREAM_DEPTH or s.out.size - s.out_sent > UNSENT_CAP
            or s.outward > UNSENT_CAP or s.waiting != NULL or s.unanswered >= RELAYED_DEPTH)


cdef inline void mark(Conn *c) noexcept:
    if not c.dirty:
        c.dirty = True
        c.next_dirty = c.wire.dirty
        c.wire.dirty = c


# for h2: the life of a stream, its bytes, its END_STREAM
cdef Stream *stream_new(Conn *c, int32_t stream_id) noexcept
cdef void stream_free(Stream *s) noexcept
cdef void receive(Stream *s, const uint8_t *data, size_t size) noexcept
cdef void end_request(Stream *s) noexcept
cdef void refuse_for(Stream *s, int reason, const char *text) noexcept

# for the pipeline
cdef void send_message(Stream *s, Buffer *framed) noexcept    # takes a message with its 5-byte prefix, counted as in flight
cdef void begin_answer(Stream *s, const Buffer *metadata) noexcept  # NULL for none; only the first call does anything
cdef void finish(Stream *s, Ending *ending) noexcept          # takes the ending
cdef void refuse(Stream *s, Verdict *verdict) noexcept  # answers a refusal; the rest of the request is dropped
cdef void reset(Stream *s, int error) noexcept
cdef void inflation_verdict(Verdict *v, int state, size_t limit) noexcept   # state: wire.compression.Inflated, but whole
cdef void open_window(Stream *s) noexcept                     # reads on, and gives back what was withheld, unless congested
cdef void proceed(Stream *s) noexcept                         # the caller is known, or a message inflated: reads on
cdef int grow(Wire *wire, Buffer *b, size_t capacity) noexcept  # 0; -1 over the budget of all; -2 no memory
cdef int grow_beside(Wire *wire, Buffer *b, size_t capacity) noexcept
# Room for size more bytes behind those of out that wait from *sent on; False over the budget of all.
cdef bint make_room(Wire *wire, Buffer *out, size_t *sent, size_t size) noexcept
# What modelward_native.wire.headers.keep_header has kept, at most `room` fields, which point into it.
cdef size_t kept_headers(const Buffer *kept, nghttp2_nv *nv, size_t room) noexcept
cdef void release(Wire *wire, Buffer *b) noexcept             # frees a buffer that counts as in flight
