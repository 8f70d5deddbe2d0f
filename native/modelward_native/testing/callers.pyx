"""A table of callers by itself: for tests."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset

from modelward_native.limits.callers cimport MW_CALLERS, mw_caller, mw_callers, mw_callers_note, mw_callers_read


cdef class Table:
    """limits/callers.h."""

    cdef mw_callers table

    def __cinit__(self):
        memset(&self.table, 0, sizeof(mw_callers))

    def note(self, uint64_t key, uint64_t weight=1):
        """True where it has an entry."""
        cdef uint64_t times
        cdef mw_caller *entry = mw_callers_note(&self.table, key, weight, &times)
        if entry == NULL:
            return False
        entry.name_size = 1
        entry.requests += times
        return True

    def weights(self) -> dict:
        """By key: weight, and how much too high it may be."""
        cdef mw_caller entry
        cdef uint64_t key
        cdef uint32_t i
        found = {}
        for i in range(<uint32_t>MW_CALLERS):
            if mw_callers_read(&self.table, i, &entry, &key):
                found[key] = entry.weight, entry.error
        return found
