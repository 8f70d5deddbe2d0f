"""At the headers: who calls. Python checks an unknown credential; the stream waits for that, and is not read meanwhile."""
from libc.stdint cimport int64_t

from modelward_native.access.credentials cimport IDENTIFIED, find_caller
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict


cdef int identify(State server, Stream *s, Verdict *v, int64_t now) noexcept:
    # health checks of an orchestrator carry no credential
    if server.access is None or server.cold_calls.is_open(s) or find_caller(server.access, s, now) == IDENTIFIED:
        return GO_ON
    return STOP                   # it waits, or access has refused it
