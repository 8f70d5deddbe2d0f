# At completion: out to the client, in the order of its stream.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result

cdef bint send(State server, Exchange *x, Result *r, int64_t now) noexcept
# The client has ended its side: the stream ends once all its messages are answered.
cdef void end_stream(Stream *s) noexcept
