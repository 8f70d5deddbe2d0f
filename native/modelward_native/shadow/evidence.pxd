# What the requests of a version say of it, by caller: what promotions are judged by.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.shadow.sketch cimport MW_SCORE_CELLS
from modelward_native.wire.buffer cimport Buffer
from modelward_native.request.caller cimport CALLERS
from modelward_native.request.exchange cimport Exchange
from modelward_native.telemetry.histogram cimport MW_CELLS
from modelward_native.region.region cimport Region

cdef enum Assigned:               # who gave a request its version, where it is evidence for or against that version
    ASSIGNED_NONE = 0             # no promotion judges this model's versions
    ASSIGNED_BY_CHANCE            # a draw by weight, or one version has all requests
    ASSIGNED_BY_KEY               # the hash of a header or of the caller's name: a client may try until it gets a version
    ASSIGNED_NAMED                # its client chose the version: no evidence but of how long the version takes

cdef enum:
    WAYS = 2                      # ASSIGNED_BY_CHANCE - 1 and ASSIGNED_BY_KEY - 1

cdef struct Tally:                # requests of one part of the callers
    uint64_t good                 # answered by the version itself
    uint64_t failed
    uint64_t replaced             # the version failed, and the fallback answered
    uint64_t sampled              # of the good ones, answers that are in `outputs`

# One process's, in its slot of the region: 450 KB of address space; pages of callers that never come stay untouched. One writer.
cdef struct Evidence:
    uint64_t served               # gauge: engines of this process that count here
    double usual[CALLERS]         # ns; 95th percentile of what this version takes for such a caller, estimated; 0: not known
    double usual_all              # of all callers
    Tally tally[WAYS][CALLERS]
    uint64_t latency[WAYS][CALLERS][MW_CELLS]         # of good ones, not crowded: ns, by cell of telemetry.histogram
    uint64_t outputs[WAYS][CALLERS][MW_SCORE_CELLS]   # cells of the scores of a sample of them (shadow/sketch.h)

# This process's evidence of a version, zeroed when it is first asked for; the caller's until `served` is one less again.
# MemoryError without room.
cdef Evidence *evidence_of(Region region, bytes model, bytes version) except NULL
# x has its outcome: a gRPC status. Only of exchanges whose `assigned` is not ASSIGNED_NONE. Where that is a failure which
# counts only if another version does better: where it is counted then; else NULL.
cdef uint64_t *testify(const Exchange *x, int code, int64_t now) noexcept
# Its version has answered, framed. Likewise.
cdef void sketch(const Exchange *x, const Buffer *reply) noexcept
