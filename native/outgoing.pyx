"""The headers of a request to an upstream: the client's metadata, what is left of its deadline, ids for its traces."""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf
from libc.string cimport memcmp

from native.nghttp2 cimport NGHTTP2_NV_FLAG_NO_INDEX, nghttp2_nv
from native.stream cimport HEADERS, STATIC, STATIC_NAME, header, kept_headers
from native.trace cimport REQUEST_ID, TRACEPARENT, Trace, make_trace


cdef size_t missing_ids(const Outgoing *o, nghttp2_nv *nv, size_t count, Trace *trace) noexcept:
    """Appends what ties the upstream's records to others', where the client's metadata (nv, count) has none of it."""
    cdef bint traced = False, numbered = False
    cdef size_t i, n = count
    for i in range(count):
        if nv[i].namelen == 11:
            traced |= memcmp(nv[i].name, b"traceparent", 11) == 0
        elif nv[i].namelen == 12:
            numbered |= memcmp(nv[i].name, b"x-request-id", 12) == 0
    if traced and numbered:
        return 0
    make_trace(trace, o.who, o.entered, o.attempt)
    if not traced:
        nv[n] = header("traceparent", 11, trace.parent, TRACEPARENT, STATIC_NAME | NGHTTP2_NV_FLAG_NO_INDEX)
        n += 1
    if not numbered:
        nv[n] = header("x-request-id", 12, trace.request_id, REQUEST_ID, STATIC_NAME | NGHTTP2_NV_FLAG_NO_INDEX)
        n += 1
    return n - count


cdef size_t request_headers(const Outgoing *o, bytes authority, int64_t now, nghttp2_nv *nv, Text *text) noexcept:
    cdef size_t n = 6, own
    cdef int64_t left
    cdef int size
    nv[0] = header(":method", 7, <const char *>"POST", 4, STATIC)
    nv[1] = header(":scheme", 7, <const char *>"https", 5 if o.secure else 4, STATIC)
    nv[2] = header(":path", 5, o.path, o.path_size, STATIC_NAME)
    nv[3] = header(":authority", 10, <const char *>authority, len(authority), STATIC_NAME)
    nv[4] = header("content-type", 12, <const char *>"application/grpc", 16, STATIC)
    nv[5] = header("te", 2, <const char *>"trailers", 8, STATIC)
    if o.due:
        left = min(max((o.due - now) // 1000, <int64_t>1), <int64_t>99999999)  # 8 digits are what gRPC allows
        size = snprintf(text.timeout, sizeof(text.timeout), "%lldu", <long long>left)
        nv[n] = header("grpc-timeout", 12, text.timeout, size, STATIC_NAME | NGHTTP2_NV_FLAG_NO_INDEX)
        n += 1
    own = n
    if o.metadata != NULL:
        n += kept_headers(o.metadata, nv + n, HEADERS)
    return n + missing_ids(o, nv + own, n - own, &text.trace)
