# What an upstream's status says of it, and of the request.
from libc.stdint cimport uint8_t, uint32_t

from modelward_native.backend.client cimport mw_client_stream
from modelward_native.backend.pool cimport Endpoint

cdef enum:
    TEXT_BYTES = 8192             # of grpc-message and of the status details


cdef inline bint blameless(int status) noexcept:
    """Statuses that say nothing against the endpoint: the answer itself, and what the request is to blame for."""
    return status in (0, 1, 3, 5, 6, 7, 9, 11, 16)


# An HTTP 401 or 403 without a gRPC status becomes that status. message: the caller's, set where it is NULL.
cdef void read_http_refusal(mw_client_stream *stream, char **message) noexcept
# A failure, for the log. error: HTTP/2's, or MW_CLIENT_LOST.
cdef void note_failure(Endpoint endpoint, const mw_client_stream *stream, uint32_t error, const char *message) noexcept
cdef char *copied(const uint8_t *value, size_t size) noexcept  # a C string that the caller owns; NULL: no memory
