# The answers of the upstream that a client's stream is bound to. Nothing here raises.
from libc.stdint cimport uint8_t, uint32_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.wire.types cimport Stream

cdef void relay_drained(Stream *s) noexcept           # the client has taken what was queued for it

# mw_client_calls
cdef int on_field(mw_client_stream *stream, const uint8_t *name, size_t name_size, const uint8_t *value, size_t size) noexcept
cdef void on_data(mw_client_stream *stream, const uint8_t *data, size_t size) noexcept
cdef void on_frame(mw_client_stream *stream, bint headers, bint end) noexcept
cdef void on_closed(mw_client_stream *stream, uint32_t error) noexcept
