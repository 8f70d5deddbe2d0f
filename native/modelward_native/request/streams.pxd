# The events of a stream, which the wire reports, and what it asks.
from libc.stdint cimport int64_t

from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.buffer cimport Buffer

cdef void on_headers(Stream *s, int64_t now) noexcept
cdef void on_identified(Stream *s, int64_t now) noexcept                # its caller is known now; it had to be checked
cdef void on_message(Stream *s, Buffer *message, int64_t now) noexcept  # takes the buffer
cdef void on_ended(Stream *s, int64_t now) noexcept
cdef void on_gone(Stream *s) noexcept                 # the client let go; the stream is freed on return
cdef void on_drained(Stream *s) noexcept              # all queued output is with nghttp2
cdef void on_refused(Stream *s, Verdict *verdict) noexcept              # counts a refusal before there is an exchange
cdef bint on_check(Stream *s, int64_t now) noexcept   # while access is on; False: its caller must stop
cdef bint on_working(Stream *s) noexcept              # whether the server has the next move, not the client

# For the pipeline: all stages at the headers have passed; or one has refused.
cdef void begin_body(State server, Stream *s) noexcept
cdef void refuse_call(State server, Stream *s, Verdict *v) noexcept
