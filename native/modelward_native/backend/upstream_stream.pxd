# One call on a stream of an upstream. backend/upstream decides which are made, and what becomes of them.
from libc.stdint cimport int64_t, uint8_t, uint32_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.backend.pool cimport Endpoint
from modelward_native.backend.upstream_call cimport UpstreamCall
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Wire

# One more request on its way for the exchange's present attempt; NULL for want of memory.
cdef UpstreamCall *send_call(Exchange *x, Endpoint endpoint, int64_t now) noexcept
cdef void reset_call(UpstreamCall *call) noexcept
# Appended to a request for a model that `names_version`, so that the version chosen here answers: at most VERSION_SUFFIX bytes,
# none where the client has named it.
cdef size_t version_suffix(const Exchange *x, uint8_t *to) noexcept
cdef UpstreamCall *call_on(const mw_client_stream *stream) noexcept   # NULL where a relay is on it

cdef bint complete(const UpstreamCall *call) noexcept         # its answer is exactly one uncompressed message
# The upstream says that it has done nothing, or has not been sent a byte of the message.
cdef bint unprocessed(const UpstreamCall *call, uint32_t error) noexcept
# That the upstream refuses us is evidence against it.
cdef bint is_our_fault(const Wire *wire, int status) noexcept
# The deadline has passed unanswered.
cdef void judge_overdue(UpstreamCall *call, int64_t now) noexcept


cdef inline int64_t time_share(int64_t span, uint32_t before, uint32_t beside) noexcept:
    """See share_of. before, beside: others there at its beginning, and now."""
    return 2 * span // (<int64_t>before + beside + 2)


cdef inline int64_t share_of(const UpstreamCall *call, uint32_t beside, int64_t now) noexcept:
    """What of its endpoint's time a call has taken: its time there, shared with those who were there too.

    In a queue of equals that comes to what one of them takes, however long it was: waiting costs nothing. How many they were is
    the mean of those at its beginning and those now, `beside` it.
    """
    return time_share(now - call.started, call.beside, beside)
