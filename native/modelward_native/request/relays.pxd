# Calls that an upstream answers: streams of its models, and methods that are not known here.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.packed cimport Packed

# Up the upstream's stream that the client's is bound to: an enum Step.
cdef int relay(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# A method that is not known here is bound to an upstream's stream; path: the method.
cdef int begin_relay(State server, Stream *s, bytes path) except -1
# A message of such a call. Takes the buffer.
cdef void pass_through(State server, Stream *s, Buffer *message, int64_t now) noexcept
cdef void send_unpacked(Stream *s, Packed *packed) noexcept
