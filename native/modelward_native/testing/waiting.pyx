"""The queue before a backend as Python sees it, for tests and tools; the data plane uses backend/waiting.h itself."""
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from modelward_native.backend.admit cimport *


cdef class Waiting:
    """Requests by number, 0 to 65535; each may wait once at a time. Order and shedding: modelward_native/backend/waiting.h."""

    cdef mw_waiting queue
    cdef uint32_t *where

    def __cinit__(self, uint32_t capacity):
        cdef uint32_t i
        mw_waiting_init(&self.queue, capacity)
        self.where = <uint32_t *>calloc(65536, sizeof(uint32_t))
        if self.where == NULL:
            raise MemoryError
        for i in range(65536):
            self.where[i] = MW_NOT_WAITING

    def __dealloc__(self):
        mw_waiting_free(&self.queue)
        free(self.where)

    def __len__(self):
        return self.queue.count

    def push(self, uint32_t number, uint16_t own, uint64_t key, double cost=1.0, uint16_t band=0):
        """(waits, number that was shed for it or None)"""
        cdef void *shed
        if number >= 65536 or self.where[number] != MW_NOT_WAITING:
            raise ValueError("a number is 0 to 65535, and waits once")
        waits = mw_waiting_push(
            &self.queue, band, own, key, cost, <void *>(<size_t>number + 1), &self.where[number], &shed)
        return waits, None if shed == NULL else <size_t>shed - 1

    def pop(self):
        """The next number, None where none waits."""
        cdef void *owner = mw_waiting_pop(&self.queue)
        return None if owner == NULL else <size_t>owner - 1

    def remove(self, uint32_t number):
        """One that gives up; nothing where it does not wait."""
        mw_waiting_remove(&self.queue, &self.where[number & 65535])

    def correct(self, uint64_t key, double more):
        """One of that key that was let in has cost so much more."""
        mw_waiting_correct(&self.queue, key, more)

    def pass_by(self, uint64_t key, double cost=1.0):
        """One that is let in without waiting."""
        mw_waiting_pass(&self.queue, key, cost)

    def ahead(self, uint64_t key) -> float:
        """How many go before a newcomer of that key, at most about."""
        return mw_waiting_ahead(&self.queue, key)


cdef class Concurrency:
    """The adaptive limit of one backend; times are nanoseconds."""

    cdef mw_concurrency state

    def __init__(self, double initial, double floor, double ceiling):
        mw_concurrency_init(&self.state, initial, floor, ceiling)

    @property
    def limit(self) -> int:
        return mw_concurrency_limit(&self.state)

    @property
    def inflight(self) -> int:
        return self.state.inflight

    @property
    def probing(self) -> bool:
        return bool(self.state.probing)

    @property
    def interval(self) -> float:
        """Between two completions while the limit is reached; 0 before that is known."""
        return self.state.interval

    @property
    def free(self) -> bool:
        return mw_concurrency_free(&self.state)

    def enter(self):
        mw_concurrency_enter(&self.state)

    def leave(self, latency_ns, now_ns):
        """latency_ns: negative where it says nothing."""
        mw_concurrency_leave(&self.state, latency_ns, now_ns)
