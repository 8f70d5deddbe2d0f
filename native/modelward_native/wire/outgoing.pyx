"""The headers of a request to an upstream: the client's metadata, what is left of its deadline, ids for its traces."""
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy, strlen

from modelward_native.wire.trace cimport REQUEST_ID, TRACEPARENT, Trace, make_trace

cdef extern from "hpack.h" nogil:
    size_t mw_hpack_field(uint8_t *to, const void *name, size_t name_size, const void *value, size_t value_size)


cdef size_t put_timeout(uint8_t *to, int64_t left_ns) noexcept:
    cdef char text[9]
    cdef int64_t left = min(max(left_ns // 1000, <int64_t>1), <int64_t>99999999)   # 8 digits are what gRPC allows
    cdef int at = 8
    text[8] = 117                 # "u"
    while left:
        at -= 1
        text[at] = 48 + left % 10
        left //= 10
    return mw_hpack_field(to, b"grpc-timeout", 12, text + at, 9 - at)


cdef size_t request_fields(const Outgoing *o, int64_t now, uint8_t *to) noexcept:
    cdef size_t n = 0, at = 0
    cdef uint32_t sizes[2]
    cdef const uint8_t *name
    cdef bint traced = False, numbered = False
    cdef Trace trace
    if o.due:
        n = put_timeout(to, o.due - now)
    if o.shadow:
        n += mw_hpack_field(to + n, b"modelward-shadow", 16, b"1", 1)
    # not from the metadata: those of a call that began while no model had upstreams are not kept
    if o.caller != NULL and o.caller.name_size:
        n += mw_hpack_field(to + n, b"modelward-identity", 18, o.caller.name, o.caller.name_size)
        n += mw_hpack_field(to + n, b"modelward-identity-kind", 23, o.caller.kind, strlen(o.caller.kind))
    if o.metadata != NULL:
        while at + 8 <= o.metadata.size:
            memcpy(sizes, o.metadata.data + at, 8)
            name = o.metadata.data + at + 8
            n += mw_hpack_field(to + n, name, sizes[0], name + sizes[0], sizes[1])
            traced |= sizes[0] == 11 and memcmp(name, b"traceparent", 11) == 0
            numbered |= sizes[0] == 12 and memcmp(name, b"x-request-id", 12) == 0
            at += 8 + sizes[0] + sizes[1]
    if traced and numbered:
        return n
    # ids of our own tie the upstream's records to others', where the client brings none
    make_trace(&trace, o.who, o.entered, o.attempt)
    if not traced:
        n += mw_hpack_field(to + n, b"traceparent", 11, trace.parent, TRACEPARENT)
    if not numbered:
        n += mw_hpack_field(to + n, b"x-request-id", 12, trace.request_id, REQUEST_ID)
    return n
