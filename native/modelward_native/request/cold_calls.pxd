# Calls that a coroutine of Python answers: everything but inference.
from modelward_native.limits.limit cimport Limiter
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.call cimport Call
from libc.stdint cimport uint8_t

cdef class ColdCalls:
    cdef object loop
    cdef object dispatch          # coroutine function
    cdef dict methods             # path -> Permit bits; 0: open to everybody
    cdef frozenset streaming      # paths of those that are answered with a stream
    cdef frozenset client_streaming   # paths of those whose requests are a stream
    cdef dict probes              # path -> {message: framed answer}: what needs no coroutine
    cdef Limiter probe_rate       # of each peer
    cdef dict tasks               # of open calls that answer once -> keys of `held`
    cdef dict streams             # likewise of those that answer a stream
    cdef dict held                # (whether it answers a stream, peer's or identity's budget) -> open calls
    # Health is for everybody: an orchestrator has no credentials, and comes from the address that it looks after.
    cdef bint is_open(self, const Stream *s) noexcept
    cdef uint8_t permits_of(self, State server, const Stream *s) noexcept
    cdef void begin(self, State server, Stream *s) noexcept
    cdef bint charge_call(self, State server, Stream *s, bint probe) noexcept
    cdef Call open(self, State server, Stream *s)
    cdef void take(self, State server, Stream *s, Buffer *message) noexcept     # a message; takes the buffer
    cdef void end_messages(self, State server, Stream *s) noexcept              # the client sends no more
    cdef int stop(self) except -1
