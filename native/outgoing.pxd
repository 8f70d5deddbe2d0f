# The headers of a request to an upstream.
from libc.stdint cimport int64_t

from native.exchange cimport Buffer
from native.nghttp2 cimport nghttp2_nv
from native.trace cimport Trace

cdef enum:
    OWN_FIELDS = 9                # :method, :scheme, :path, :authority, content-type, te, grpc-timeout, and two ids

cdef struct Outgoing:             # what they are made of
    bint secure                   # over TLS
    const char *path
    size_t path_size
    const Buffer *metadata        # borrowed; the client's, as h2 kept it; NULL for none
    int64_t due                   # ns; the call's deadline; 0 for none
    const void *who               # with the next two, what the ids are made of where the client has none
    int64_t entered               # ns
    int64_t attempt

cdef struct Text:                 # that the headers point into until they are submitted
    char timeout[24]
    Trace trace

# Writes at most OWN_FIELDS + native.stream.HEADERS fields; returns how many.
cdef size_t request_headers(const Outgoing *o, bytes authority, int64_t now, nghttp2_nv *nv, Text *text) noexcept
