"""How the answers of a version are distributed: a promotion is judged by that too."""
from libc.stdint cimport uint64_t

from native.compare cimport mw_compare_room, mw_sketch_add
from native.exchange cimport Buffer, Exchange, sticky_of
from native.model cimport CALLERS, Model
from native.tensor cimport mw_span
from native.verdict cimport REASON_NONE

cdef enum:
    FRAME = 5                     # of gRPC, before the message
    SAMPLE_BITS = 4               # one answer of 16 is looked at

# a multiple of the golden ratio spreads a count's multiples evenly, so that no rhythm of a client's requests is met again
cdef uint64_t SPREAD = 0x9E3779B97F4A7C15

cdef mw_compare_room ROOM         # one for the module, under the GIL; what an answer does not fill is never touched


cdef void sketch(const Exchange *x, Model *asked, const Buffer *reply) noexcept:
    """A sample of the version's own answers, to requests that left the version to us: who names one may send others."""
    cdef mw_span message
    cdef uint64_t caller
    if asked.counters.success * SPREAD >> (64 - SAMPLE_BITS):
        return
    if x.fallback_reason != REASON_NONE or x.named or x.streaming or asked.pool != NULL:
        return
    message.data = reply.data + FRAME
    message.size = reply.size - FRAME
    if mw_sketch_add(asked.counters.outputs, message, &ROOM):
        caller = sticky_of(x.stream) if x.stream != NULL else 0
        asked.counters.callers[(caller if caller else asked.counters.success >> SAMPLE_BITS) % <uint64_t>CALLERS] += 1
