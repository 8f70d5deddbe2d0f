# The order of the rooms, and the server that they belong to.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from modelward_native.wire.call cimport Call
from modelward_native.request.exchange cimport Stream
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.packed cimport Packed
from modelward_native.limits.limit cimport Limiter
from modelward_native.backend.pool cimport Pool
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict

# What the wire reports of a stream.
cdef void on_headers(Stream *s, int64_t now) noexcept
cdef void on_identified(Stream *s, int64_t now) noexcept   # its caller is known, or needs not be
cdef void on_message(Stream *s, Buffer *message, int64_t now) noexcept  # takes the buffer
cdef void on_ended(Stream *s, int64_t now) noexcept
cdef void on_gone(Stream *s) noexcept                 # the client let go; the stream is freed on return
cdef void on_drained(Stream *s) noexcept              # everything queued has been handed to nghttp2
cdef void on_refused(Stream *s, Verdict *verdict) noexcept              # the wire itself refuses
cdef bint on_check(Stream *s, int64_t now) noexcept   # while access is on; False: its caller may not go on
cdef bint on_working(Stream *s) noexcept              # it is for us to go on with it; False: for its client
# A message that was queued is inflated, or not worth it; it is freed behind that.
cdef void on_unpacked(PyObject *server, Packed *packed, int64_t now) noexcept

cdef class Server(State):
    cdef object dispatch          # coroutine function of cold calls
    cdef object methods           # path -> Permit bits; 0: open to everybody
    cdef object streaming         # paths of those that are answered with a stream
    cdef object client_streaming  # paths of those whose requests are a stream
    cdef dict probes              # path -> {message: framed answer}: what needs no coroutine
    cdef Limiter probe_rate       # of each peer
    cdef dict tasks               # of open cold calls that answer once -> keys of cold_of
    cdef dict streams             # likewise of those that answer a stream
    cdef dict cold_of             # (whether it answers a stream, peer's or identity's budget) -> open cold calls
    cdef object loop
    cdef readonly Pool passthrough  # answers the methods that are not known here; None: they are refused
    cdef void begin_cold(self, Stream *s) noexcept
    cdef bint pays_for_call(self, Stream *s, bint probe) noexcept
    cdef Call open_call(self, Stream *s)
    cdef void take_cold(self, Stream *s, Buffer *message) noexcept
    cdef void end_messages(self, Stream *s) noexcept
    cdef int begin_relay(self, Stream *s, bytes path) except -1
