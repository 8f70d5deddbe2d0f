# Who is over which limit, who spends most, and who does what is not wanted: per process, in its slot of the region.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.wire.types cimport Conn, Stream
from modelward_native.limits.limit cimport mw_level
from modelward_native.region.region cimport Region

cdef extern from "callers.h" nogil:
    enum:
        MW_CALLERS
        MW_CALLER_NAME
    ctypedef struct mw_caller:
        uint64_t weight
        uint64_t error
        uint64_t *refused
        uint64_t requests
        uint64_t spent_ns
        int64_t refused_at
        uint8_t kind
        uint8_t name_size
        char *name
    ctypedef struct mw_callers:
        pass
    mw_caller *mw_callers_note(mw_callers *, uint64_t key, uint64_t weight, uint64_t *times)
    bint mw_callers_read(const mw_callers *, uint32_t i, mw_caller *out, uint64_t *key)

cdef struct Tables:               # a block of the region
    mw_callers refused            # by refusals
    mw_callers spending           # by backend time
    mw_callers denied             # by calls without the right or a credential
    mw_callers anomalous          # by anomalous requests
    mw_callers closed             # peers, by connections that were refused or closed for what they did

# Kind and name of a stream's caller; by_address: of its peer.
cdef void name_caller(mw_caller *entry, const Stream *s, bint by_address) noexcept

cdef class Callers:
    cdef Region region            # keeps the tables
    cdef Tables *tables
    cdef void note_refusal(self, const Stream *s, mw_level level, int64_t now) noexcept
    # Of requests that a sample stands for.
    cdef void note_spent(self, const Stream *s, uint64_t requests, uint64_t ns) noexcept
    cdef void note_denied(self, const Stream *s) noexcept
    cdef void note_anomaly(self, const Stream *s) noexcept
    cdef void note_closed(self, const Conn *c, uint64_t peer) noexcept
