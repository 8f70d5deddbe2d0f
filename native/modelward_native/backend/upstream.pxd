# The upstream side: one HTTP/2 connection to a model server, and the requests on it.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.h2 cimport Connection
from modelward_native.backend.pool cimport Endpoint, Pool
from modelward_native.request.state cimport State

cdef class Upstream(Connection):
    cdef readonly Endpoint endpoint
    cdef uint32_t calls           # Upcalls under way
    cdef int64_t began            # ns; when a request was sent while none was under way
    cdef int64_t heard            # ns; when an answer's bytes last came
    cdef int64_t pinged           # ns; when the PING that is not answered yet was sent; 0 for none
    cdef int pings                # answered ones since anything else came: each doubles the pause
    cdef bint doubted             # silent for too long, and what the socket holds is still to be read
    cdef bint mute                # its PING has gone unanswered for long enough to be counted, once
    cdef int64_t resent           # ns; in this silence: when it was last seen to what waits, or the PING was sent
    cdef void join(self) noexcept
    cdef void leave(self) noexcept

# False where no endpoint can take the request now.
cdef bint forward(State server, Exchange *x, Pool pool, Endpoint avoid, int64_t now) noexcept
cdef void cancel_call(Exchange *x) noexcept

# for modelward_native.backend.relay
cdef int64_t time_share(int64_t span, uint32_t before, uint32_t beside) noexcept    # see share_of; beside, before: others
cdef bint blameless(int status) noexcept
cdef void hear(Upstream upstream) noexcept                        # a frame of an answer has come
cdef void note_failure(Endpoint endpoint, const mw_client_stream *stream, uint32_t error, const char *message) noexcept
# An HTTP 401 or 403 without a gRPC status becomes that status. message: the caller's, set where it is NULL.
cdef void read_http_refusal(mw_client_stream *stream, char **message) noexcept
cdef char *copied(const uint8_t *value, size_t size) noexcept      # a C string that the caller owns; NULL for want of memory
