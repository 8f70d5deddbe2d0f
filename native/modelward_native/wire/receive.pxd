# The messages of a stream, as they arrive.
from libc.stdint cimport uint8_t

from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.types cimport Stream

# for the session: bytes of a stream, and its END_STREAM
cdef void receive(Stream *s, const uint8_t *data, size_t size) noexcept
cdef void end_request(Stream *s) noexcept

cdef void open_window(Stream *s) noexcept     # unless congested: reads held bytes, and opens the client's window
cdef void proceed(Stream *s) noexcept         # reads on, once the caller is known or a message inflated
cdef void inflation_verdict(Verdict *v, int state, size_t limit) noexcept   # state: a failure of wire.compression.Inflated
