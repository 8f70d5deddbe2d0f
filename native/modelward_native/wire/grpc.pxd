# gRPC over HTTP/2: what is not HTTP/2 (gRPC's PROTOCOL-HTTP2.md) and not a message.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.request.verdict cimport Verdict

cdef enum:
    PREFIX = 5                    # bytes before a message: whether it is compressed, and its size


cdef inline void write_prefix(uint8_t *to, bint compressed, uint32_t size) noexcept nogil:
    to[0] = compressed
    to[1] = size >> 24
    to[2] = (size >> 16) & 255
    to[3] = (size >> 8) & 255
    to[4] = size & 255


cdef inline uint32_t size_in(const uint8_t *prefix) noexcept nogil:
    return (<uint32_t>prefix[1] << 24) | (<uint32_t>prefix[2] << 16) | (<uint32_t>prefix[3] << 8) | prefix[4]


cdef int64_t parse_timeout(const uint8_t *text, size_t size) noexcept nogil
cdef void ending_of(Ending *ending, Verdict *verdict) noexcept
cdef void ending_with(Ending *ending, int code, const char *text, const char *reason) noexcept nogil
cdef void ending_clear(Ending *ending) noexcept nogil
cdef bint wants_gzip(const uint8_t *text, size_t size, bint *accepts) noexcept nogil

cdef int buffer_reserve(Buffer *b, size_t capacity) noexcept nogil
cdef void buffer_free(Buffer *b) noexcept nogil
