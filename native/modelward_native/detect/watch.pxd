# Evidence against identities, of one version of a model in one process: what the kernel (watch.h) needs, and the requests' rows.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.detect.kernel cimport MW_WATCH_CELLS, mw_watch, mw_watch_shared, mw_watched
from modelward_native.region.region cimport Region
from modelward_native.score.profile cimport mw_profile, mw_score

cdef struct Watching:             # owned by a Watcher
    mw_watch kernel
    int64_t wall_ns               # of the wall clock less the monotonic one, the same in all processes of the region

cdef class Watcher:
    cdef Watching watching        # its pointers are into the region, and into what this object owns
    cdef uint8_t[<int>MW_WATCH_CELLS] group
    cdef int32_t *feature
    cdef float *projection
    cdef Region region            # keeps the memory alive
    cdef readonly str name
    cdef int take_memory(self, uint64_t key, int64_t now_ns) except -1

# Of a model's name and a profile, which outlives it. MemoryError where the region has no room.
cdef Watcher watcher_of(Region region, str name, const mw_profile *profile)


cdef inline int32_t cell_of(const mw_score *score) noexcept:
    """The cell of its profile that a row lies in; -1: in none, its values are not plausible."""
    return score.cell


cdef inline uint32_t day_of(const Watching *w, int64_t now_ns) noexcept:
    """Of the wall clock (UTC): budgets begin again at midnight, and so does one of the resolutions' secrets."""
    return <uint32_t>((now_ns + w.wall_ns) // 86400000000000LL)    # without LL the number is a Python object
