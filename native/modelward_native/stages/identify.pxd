# At the headers: who calls.
from libc.stdint cimport int64_t

from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, STOP

cdef int identify(State server, Stream *s, Verdict *v, int64_t now) noexcept
