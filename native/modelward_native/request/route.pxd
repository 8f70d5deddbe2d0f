# Which model answers: names and versions.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport Verdict

cdef struct Entry:                # a model's name and its versions
    mw_span name                  # borrowed from the first version
    Model **versions              # owned array, ascending
    uint32_t count
    uint32_t *weight              # owned: of each version, where no version is asked for; sum at least 1
    uint32_t total                # their sum
    uint64_t salt                 # hash of the name
    bint by_request               # no caller is tied to a version
    uint32_t primary              # the version of most weight, of several the newest
    uint32_t number               # of the name in modelward_native.access.access.Access

cdef int order(mw_span a, mw_span b) noexcept

cdef class Directory:
    cdef Entry *entries           # owned; sorted by name
    cdef uint32_t count
    cdef readonly list served     # Served objects that the entries point into
    cdef list names               # bytes of models that cannot be served, sorted
    cdef mw_span *refused         # owned; borrows from `names`
    cdef uint32_t refused_count
    cdef bytes sticky_header
    cdef public object explain
    cdef int64_t suggested        # when it was last called
    cdef uint64_t requests        # without a key; begins at a random number: else all workers had one sequence
    cdef Entry *find(self, mw_span name) noexcept
    # Where no version is asked for. sticky: the caller's key, 0 for none: then every request is one by itself.
    cdef Model *choose(self, const Entry *entry, uint64_t sticky) noexcept
    cdef Model *version(self, Entry *entry, mw_span version) noexcept
    cdef bint is_refused(self, mw_span name) noexcept
    # The verdicts of names that are not there.
    cdef void unknown_model(self, mw_span name, int64_t now, Verdict *v) noexcept
    cdef void unknown_version(self, Entry *entry, mw_span version, Verdict *v) noexcept

# enum modelward_native.shadow.evidence.Assigned, of a request whose deadline is known and whose model is judged.
cdef uint8_t assigned_by(const Entry *entry, const Exchange *x) noexcept
# ns that the quickest of its versions usually takes for its caller; 0: not known
cdef double usual_of(const Entry *entry, const Exchange *x) noexcept
