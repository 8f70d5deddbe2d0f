# Failed requests that another version is asked too: they are evidence only where that one answers them.
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.request.caller cimport CALLERS
from modelward_native.request.exchange cimport Exchange
from modelward_native.shadow.mirror cimport Mirrors
from modelward_native.request.model cimport Model
from modelward_native.request.route cimport Directory

cdef struct Checks:               # of one server
    uint32_t inflight
    uint32_t inflight_of[CALLERS]  # by part of the callers
    int64_t asked                 # ns; when one was last sent that had no permit free

# The heaviest other version with the same signature, or NULL.
cdef Model *other_version(Directory directory, const Exchange *x) noexcept
# x failed: the same request to the other version, with one reference, the caller's, who gives it to a backend. NULL where
# it is not to be asked now. count: one more where it answers; of the evidence of the version that x asked for.
cdef Exchange *crosscheck(
    Checks *checks, Mirrors *mirrors, Exchange *x, Model *other, uint64_t *count, int64_t now) noexcept
# Its end. answered: by that version.
cdef void end_crosscheck(Checks *checks, Mirrors *mirrors, Exchange *y, bint answered) noexcept
