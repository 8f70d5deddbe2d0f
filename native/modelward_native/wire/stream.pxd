# One gRPC call on an HTTP/2 stream: its life. wire/receive.pxd has its messages, wire/send.pxd its answers. Nothing here raises;
# what changes a stream marks its connection for the tick's flush.
from libc.stdint cimport int32_t, uint64_t

from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.types cimport Conn, Stream

cdef enum:
    STREAM_DEPTH = 32             # requests of one ModelStreamInfer under way before no more are read, nor its window opened
    RELAYED_DEPTH = 256           # messages that an upstream's model has not answered, likewise
    UNSENT_CAP = 1048576          # bytes that the client of a stream has not taken yet, or its upstream, likewise


cdef inline bint congested(const Stream *s) noexcept:
    return (s.attempt != NULL or s.packed != NULL or s.inflight >= STREAM_DEPTH or s.out.size - s.out_sent > UNSENT_CAP
            or s.outward > UNSENT_CAP or s.waiting != NULL or s.unanswered >= RELAYED_DEPTH)


cdef inline uint64_t sticky_of(const Stream *s) noexcept:
    """What the choice of a version sticks to: hash of the header, else of the caller's name; 0: each request is one by itself."""
    return s.sticky if s.sticky or s.caller == NULL else s.caller.sticky


cdef Stream *stream_new(Conn *c, int32_t stream_id) noexcept  # NULL for want of memory
cdef void stream_free(Stream *s) noexcept

# Answers a refusal; the rest of the request is dropped.
cdef void refuse(Stream *s, Verdict *verdict) noexcept
# The same by the wire itself, which the server is told. text with `limit`, where it has a %zu.
cdef void refuse_for(Stream *s, int reason, const char *text) noexcept
cdef void refuse_size(Stream *s, int reason, const char *text, size_t limit) noexcept
cdef void refuse_second(Stream *s) noexcept   # message of a call that takes one
cdef void reset(Stream *s, int error) noexcept
