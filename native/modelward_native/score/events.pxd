# Anomalous requests, kept until the control plane logs them.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.score.profile cimport mw_score

cdef struct Event:
    Model *model                  # borrowed: lives as long as the server
    int64_t at                    # monotonic ns
    double score
    double p_value
    uint32_t flags
    int64_t row                   # of the request
    int32_t feature[3]
    float deviation[3]
    char id[64]                   # the request's, cut

cdef enum:
    EVENTS = 256                  # ring: an event that is not fetched in time is overwritten, and counted as lost

cdef class Events:
    cdef Event ring[EVENTS]
    cdef uint64_t written
    cdef uint64_t read
    cdef void note(self, Model *m, Exchange *x, const mw_score *score, int64_t row, int64_t now) noexcept
