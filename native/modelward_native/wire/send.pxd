# The answer of a stream, as it leaves.
from libc.stdint cimport uint8_t

from modelward_native.wire.buffer cimport Buffer, Ending
from modelward_native.wire.nghttp2 cimport nghttp2_nv
from modelward_native.wire.types cimport Stream

cdef enum:
    STATIC = 6                    # NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
    STATIC_NAME = 2               # NGHTTP2_NV_FLAG_NO_COPY_NAME


cdef inline nghttp2_nv header(const char *name, size_t name_size, const void *value, size_t value_size, uint8_t flags) noexcept:
    cdef nghttp2_nv nv
    nv.name = <uint8_t *>name
    nv.namelen = name_size
    nv.value = <uint8_t *>value
    nv.valuelen = value_size
    nv.flags = flags
    return nv


cdef void begin_answer(Stream *s, const Buffer *metadata) noexcept  # metadata: NULL for none. Only the first call sends
cdef void send_message(Stream *s, Buffer *framed) noexcept    # takes the buffer: a message with its prefix, counted as in flight
cdef void finish(Stream *s, Ending *ending) noexcept          # takes the ending
