# Blocks of the region whose names come and go. Each begins with a uint64_t: how many of its process count there.
from libc.stdint cimport uint64_t

from modelward_native.region.region cimport Named, Region

# This process's block of that name, for one more that counts there, until it takes that one away again. Where none has the
# name: one that is zeroed, or the oldest of the prefix that no process counts in, zeroed. MemoryError without room.
cdef void *serve_block(Region region, bytes prefix, bytes name, size_t size) except NULL
# All under the lock. Whether any process counts there.
cdef bint is_served(Region region, const Named *entry) noexcept
# Names that begin so, by when they were last given or taken up again.
cdef list oldest_first(Region region, bytes prefix)
# The process of this slot has gone: it counts nowhere any more.
cdef int vacate_blocks(Region region, bytes prefix, int slot) except -1
