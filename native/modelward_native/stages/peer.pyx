"""At the headers: a peer that is over its limit is refused before a credential is checked or a byte of the body is read.

Nothing is charged here: `limit` charges the message.
"""
from libc.stdint cimport int64_t

from modelward_native.limits.limit cimport MW_LEVEL_PEER
from modelward_native.wire.types cimport Stream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.limit cimport over


cdef int peer(State server, Stream *s, Verdict *v, int64_t now) noexcept:
    cdef int64_t retry
    if not server.limited or server.cold_calls.is_open(s):
        return GO_ON
    retry = server.listener.limiter.peek_peer(s.peer, s.peer_limit, now)
    if retry <= 0:
        return GO_ON
    over(server, v, MW_LEVEL_PEER, s, NULL, retry)
    return REFUSE
