# At the headers: whether the peer is over its limit.
from libc.stdint cimport int64_t

from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef int peer(State server, Stream *s, Verdict *v, int64_t now) noexcept
