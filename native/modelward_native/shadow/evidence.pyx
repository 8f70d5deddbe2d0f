"""What the requests of a version say of it, by caller: what promotions are judged by (modelward/promotion).

A client chooses what it sends, so that what it sends is evidence within bounds alone: a version that was asked for by its
number says nothing, nor does a deadline that the model does not usually keep, a request that its client gave up, or one that
never reached its backend. The rest is counted apart for each part of the callers, so that no caller's requests hide or
outnumber those of the others.
"""
import os

from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.backend.random cimport next_random
from modelward_native.request.caller cimport part_of
from modelward_native.shadow.compare cimport mw_compare_scratch
from modelward_native.shadow.sketch cimport mw_sketch_add
from modelward_native.telemetry.histogram cimport mw_histogram_cell
from modelward_native.telemetry.percentile cimport estimated
from modelward_native.region.region cimport Named
from modelward_native.region.served_blocks cimport serve_block, vacate_blocks
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport (
    CODE_OK, REASON_ANOMALY, REASON_BACKEND_FAILED, REASON_CANARY, REASON_DEADLINE, REASON_NONE, REASON_NO_UPSTREAM,
    REASON_OUTPUT_GUARD, REASON_UPSTREAM_LOST, is_failure)

cdef enum:
    FRAME = 5                     # of gRPC, before the message
    SAMPLE_BITS = 4               # one answer of 16 is looked at

CALLER_PARTS = <int>CALLERS
CHANCE, KEY = 0, 1                # how requests got their version: the first index of what `counted` tells

cdef bytes PREFIX = b"evidence\0"

# random: no client can know which of its answers is looked at
cdef uint64_t STATE = 1


def _draw():
    global STATE
    STATE = int.from_bytes(os.urandom(8), "little") | 1


_draw()
os.register_at_fork(after_in_child=_draw)

cdef mw_compare_scratch SCRATCH   # one for the module, under the GIL; what an answer does not fill is never touched


# ---- one request

cdef uint64_t *testify(const Exchange *x, int code, int64_t now) noexcept:
    cdef Evidence *e = x.asked.evidence
    cdef uint32_t caller = part_of(x.payers.identity), way = x.assigned - 1
    cdef uint64_t *count = NULL
    cdef int64_t took
    if x.fallback_reason == REASON_NONE:
        if code != CODE_OK:
            return NULL           # the request is to blame
        if x.faulty:
            return against(&e.tally[way][caller].replaced, x) if x.assigned <= ASSIGNED_BY_KEY else NULL
        took = max(now - x.launched, <int64_t>0)    # what a deadline of this caller has to be enough for
        e.usual[caller] = estimated(e.usual[caller], <double>took)
        e.usual_all = estimated(e.usual_all, <double>took)
        if x.assigned <= ASSIGNED_BY_KEY:
            e.tally[way][caller].good += 1
            # in a queue it waits for what others ask
            if x.ran:
                took = x.ran
            if not x.crowded and not x.hurried:    # of the hurried those would be missing that took longer
                e.latency[way][caller][mw_histogram_cell(<uint64_t>took)] += 1
    elif x.assigned > ASSIGNED_BY_KEY or (x.hurried and x.fallback_reason == REASON_DEADLINE):
        return NULL
    elif x.fallback_reason in (
            REASON_BACKEND_FAILED, REASON_UPSTREAM_LOST, REASON_DEADLINE, REASON_NO_UPSTREAM, REASON_CANARY, REASON_OUTPUT_GUARD):
        if code == CODE_OK:
            count = &e.tally[way][caller].replaced
        elif is_failure(code):
            count = &e.tally[way][caller].failed
        if count != NULL and x.fallback_reason in (REASON_BACKEND_FAILED, REASON_UPSTREAM_LOST, REASON_OUTPUT_GUARD):
            return against(count, x)
        if count != NULL:
            count[0] += 1
    elif x.fallback_reason == REASON_ANOMALY and code == CODE_OK and x.assigned == ASSIGNED_BY_CHANCE:
        # where chance decides, unusual inputs come to all versions alike; a client that can aim at one would decide
        e.tally[way][caller].replaced += 1
    return NULL


cdef inline uint64_t *against(uint64_t *count, const Exchange *x) noexcept:
    if x.assigned == ASSIGNED_BY_KEY:
        return count              # a client can send a version inputs that fail on every other too
    count[0] += 1
    return NULL


cdef inline bint drawn() noexcept:
    return next_random(&STATE) >> (64 - SAMPLE_BITS) == 0


cdef void sketch(const Exchange *x, const Buffer *reply) noexcept:
    """A sample of the version's own answers, one in 16 of each caller's."""
    cdef Evidence *e = x.asked.evidence
    cdef uint32_t caller = part_of(x.payers.identity), way = x.assigned - 1
    cdef mw_span message
    if x.assigned > ASSIGNED_BY_KEY or not drawn():
        return
    if x.fallback_reason != REASON_NONE or x.streaming or x.asked.pool != NULL:
        return
    message.data = reply.data + FRAME
    message.size = reply.size - FRAME
    if mw_sketch_add(e.outputs[way][caller], message, &SCRATCH):
        e.tally[way][caller].sampled += 1


# ---- blocks of the region

cdef Evidence *evidence_of(Region region, bytes model, bytes version) except NULL:
    return <Evidence *>serve_block(region, PREFIX, PREFIX + model + b"\0" + version, sizeof(Evidence))


cdef inline const Evidence *evidence_at(Region region, const Named *entry, int slot) noexcept:
    return <const Evidence *>region.at(entry, slot)


def vacate(Region region not None, int slot) -> None:
    vacate_blocks(region, PREFIX, slot)


# ---- what has been counted

cdef object empty(int size):
    return bytearray(WAYS * CALLERS * size * sizeof(uint64_t))


def counted(Region region not None, str model not None, str version not None) -> tuple:
    cdef Named *entry
    cdef const Evidence *e
    cdef int slot, way, caller
    tallies, latency, outputs = empty(TALLY), empty(<int>MW_CELLS), empty(<int>MW_SCORE_CELLS)
    cdef unsigned char[::1] tallies_view = tallies, latency_view = latency, outputs_view = outputs
    cdef uint64_t *to_tally = <uint64_t *>&tallies_view[0]
    cdef uint64_t *to_latency = <uint64_t *>&latency_view[0]
    cdef uint64_t *to_outputs = <uint64_t *>&outputs_view[0]
    region.hold()
    try:
        entry = region.find(PREFIX + model.encode() + b"\0" + version.encode())
        for slot in range(<int>region.header.opened if entry != NULL else 0):
            e = evidence_at(region, entry, slot)
            for way in range(WAYS):
                for caller in range(CALLERS):
                    if add(to_tally, <const uint64_t *>&e.tally[way][caller], way * CALLERS + caller, TALLY):
                        # only then: to read an untouched page takes memory as well
                        add(to_latency, e.latency[way][caller], way * CALLERS + caller, <int>MW_CELLS)
                        add(to_outputs, e.outputs[way][caller], way * CALLERS + caller, <int>MW_SCORE_CELLS)
    finally:
        region.let_go()
    return bytes(tallies), bytes(latency), bytes(outputs)


cdef enum:
    TALLY = 4                     # fields of a Tally


cdef bint add(uint64_t *to, const uint64_t *given, int part, int size) noexcept:
    """Whether there was anything to add."""
    cdef uint64_t any_bit = 0
    cdef int i
    to += part * size
    for i in range(size):
        to[i] += given[i]
        any_bit |= given[i]
    return any_bit != 0
