# Which model answers: names and versions.
from libc.stdint cimport int64_t, uint32_t

from native.model cimport Model
from native.tensor cimport mw_span
from native.verdict cimport Verdict

cdef struct Entry:                # a model's name and its versions
    mw_span name                  # borrowed from the first version
    Model **versions              # owned array, ascending; the last answers where no version is asked for
    uint32_t count
    uint32_t number               # of the name in native.access.Access

cdef class Directory:
    cdef Entry *entries           # owned; sorted by name
    cdef uint32_t count
    cdef readonly list served     # Served objects that the entries point into
    cdef public object explain
    cdef int64_t suggested        # when it was last called
    cdef Entry *find(self, mw_span name) noexcept
    cdef Model *version(self, Entry *entry, mw_span version) noexcept
    # The verdicts of names that are not there.
    cdef void unknown_model(self, mw_span name, int64_t now, Verdict *v) noexcept
    cdef void unknown_version(self, Entry *entry, mw_span version, Verdict *v) noexcept
