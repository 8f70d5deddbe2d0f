# A connection to an upstream, which the requests of all clients go over.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint32_t

from modelward_native.wire.transport cimport Protocol

cdef class UpstreamConnection(Protocol)   # its endpoint refers to it

from modelward_native.backend.client cimport mw_client
from modelward_native.backend.pool cimport Endpoint
from modelward_native.wire.listener cimport Listener
from modelward_native.wire.types cimport Transport

cdef class UpstreamConnection(Protocol):
    cdef Transport own            # what `transport` points to; its timer looks into silence
    cdef Listener listener        # keeps its wire alive
    cdef readonly Endpoint endpoint
    cdef mw_client *client        # owned; NULL before there is one, and after the connection has gone
    cdef uint32_t calls           # UpstreamCalls under way
    cdef int64_t began            # ns; when a request was sent while none was under way
    cdef int64_t last_frame       # ns; when an answer's bytes last came
    cdef int64_t ping_sent        # ns; when the PING that is not answered yet was sent; 0 for none
    cdef int ping_answers         # since anything else came: each doubles the pause
    cdef bint looked_again        # silent for too long, and what the socket holds is still to be read
    cdef bint counted_silent      # its PING has gone unanswered for long enough to be counted, once
    cdef int64_t last_resend      # ns; in this silence: when it was last seen to what waits, or the PING was sent
    cdef void join(self) noexcept
    cdef void leave(self) noexcept
    cdef void end_pause(self) noexcept


cdef inline UpstreamConnection upstream_of(const PyObject *owner):
    """Of a call, a relay or a transport."""
    return <UpstreamConnection>owner


cdef inline void note_frame(UpstreamConnection upstream) noexcept:
    """A frame of an answer has come. A pause ends with the first one that a read event brings."""
    if upstream.last_frame != upstream.transport.active:
        upstream.end_pause()


# A request is on its way: whether anything comes is looked at in time.
cdef void listen_for(UpstreamConnection upstream, int64_t now) noexcept
