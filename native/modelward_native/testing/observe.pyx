"""The ring of observations and what an observation costs: for tests and tools."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset

from modelward_native.observe.observed cimport *
from modelward_native.observe.writer cimport Observer, begin_observing, keep_observation
from modelward_native.region.region cimport Region
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.served cimport Served
from modelward_native.request.tensor cimport mw_view
from modelward_native.stages.stage cimport Result
from modelward_native.timer.clock cimport mw_now_ns


cdef class Ring:
    """A process's own ring. `put` writes any bytes as a record, the next one where `mw_ring_reserve` has it."""
    cdef Observer observer
    cdef Region region

    def __cinit__(self, Region region not None, uint64_t size):
        self.region = region
        begin_observing(&self.observer, region, size)

    def put(self, bytes record not None):
        """False where there is no room. len(record) is a multiple of 8; its first 8 bytes are size and kind."""
        cdef uint8_t *at = mw_ring_reserve(self.observer.ring, len(record))
        if at == NULL:
            self.observer.ring.dropped += 1
            return False
        memcpy(at, <const char *>record, len(record))
        mw_ring_commit(self.observer.ring, at, len(record))
        return True

    def overtake(self, uint64_t by):
        """What a writer must not do: `written` moves where it will."""
        self.observer.ring.written += by

    @property
    def held(self) -> int:
        return self.observer.ring.written - self.observer.ring.read

    def measure(self, Served served not None, bytes row not None, int64_t rounds):
        """Nanoseconds to observe a request of one row of the only input, without an answer. served: with set_observed."""
        cdef Exchange x
        cdef Result r
        cdef mw_view view
        cdef int64_t[2] dims
        cdef int64_t _round, start
        memset(&x, 0, sizeof(x))
        memset(&r, 0, sizeof(r))
        dims[0] = 1
        dims[1] = len(row) // 4
        view.dtype = served.model.inputs[0].dtype
        view.elements = dims[1]
        view.raw.data = <const uint8_t *><const char *>row
        view.raw.size = len(row)
        x.asked = &served.model
        x.view = &view
        x.dims = dims
        x.rows = 1
        start = mw_now_ns()
        for _round in range(rounds):
            keep_observation(&self.observer, &x, &r, 1, start)
            self.observer.ring.read = self.observer.ring.written
        return (mw_now_ns() - start) / <double>rounds
