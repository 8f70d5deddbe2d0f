# Which requests a shadow is asked too, and the copy that asks it.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport ShadowLink
from modelward_native.request.tensor cimport mw_span
from modelward_native.shadow.samples cimport Samples
from modelward_native.wire.buffer cimport Buffer

cdef struct Mirrors:              # of one server
    double share                  # of what would be mirrored that there is time for: 0 to 1
    int64_t busy                  # ns; when there last was none to spare
    uint64_t random               # state of the choice: not 0
    Exchange *first               # copies that are in flight: next_in_stream, previous_mirror
    Samples samples

# x has its outcome from the version it asked for: reply, framed, or NULL where that failed, after `took` ns. The request to
# the link's shadow, with one reference, the caller's, who gives it to a backend; or NULL where it is not to be mirrored now.
cdef Exchange *mirrored(
    Mirrors *mirrors, ShadowLink *link, Exchange *x, const Buffer *reply, int64_t took, int64_t now) noexcept
cdef void link_mirror(Mirrors *mirrors, Exchange *y) noexcept
cdef void unlink_mirror(Mirrors *mirrors, Exchange *y) noexcept
# The inputs of the model that y asks, in its order, and of the outputs asked for those that it has; they point into x's.
# inputs, outputs: as of ShadowLink; NULL where the signatures are the same.
cdef bint lend_tensors(Exchange *y, const Exchange *x, const uint32_t *inputs, const uint32_t *outputs) noexcept
# busy: there was no time to spare lately.
cdef void pace(Mirrors *mirrors, bint busy, int64_t now) noexcept

# The ModelInferResponse in x's framed answer; in a stream it is the only field of another message.
cdef inline mw_span message_of(const Exchange *x, const Buffer *reply) noexcept:
    cdef mw_span message
    cdef size_t at = 5              # of gRPC, before the message
    if x.streaming:
        at += 1
        while at < reply.size and reply.data[at] & 128:
            at += 1
        at += 1
    message.data = reply.data + at
    message.size = reply.size - at if at < reply.size else 0
    return message
