# Requests that have ended, sampled, copied into this worker's ring. Who reads it is observe/reader.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.observe.observed cimport Observed, mw_ring
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.region.region cimport Region
from modelward_native.stages.stage cimport Result

cdef struct Observer:             # of one process
    mw_ring *ring                 # borrowed: the region's; NULL: nothing is observed
    uint64_t random               # state of the choice: not 0

# The ring of this process in the region, made with so many bytes where there is none yet. MemoryError without room.
cdef int begin_observing(Observer *observer, Region region, uint64_t size) except -1
# share: of the requests, above 0. most: bytes of a request's inputs that are kept, and of its answer.
cdef Observed *new_observed(
    const Model *m, double share, bytes description, bint tensors, uint32_t most) except NULL
cdef void free_observed(Observed *o) noexcept
# x has been chosen: what there is to say of it goes into the ring, or is dropped and counted.
cdef void keep_observation(Observer *observer, const Exchange *x, const Result *r, uint32_t chance, int64_t now) noexcept
