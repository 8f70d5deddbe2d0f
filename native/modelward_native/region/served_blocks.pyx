"""Blocks of the region whose names come and go: those that no process counts in are kept for a while, then given away."""
from libc.stdint cimport uint64_t
from libc.string cimport memset

from modelward_native.region.region cimport NAME_BYTES, Named, Region

cdef enum:
    KEPT = 16                     # of a prefix, that no process counts in: they may come back


cdef uint64_t *served_at(Region region, const Named *entry, int slot) noexcept:
    return <uint64_t *>region.at(entry, slot)


cdef void *serve_block(Region region, bytes prefix, bytes name, size_t size) except NULL:
    cdef Named *entry
    if region.own == NULL:
        raise ValueError("only a worker has blocks of its own")
    if len(name) > NAME_BYTES:
        raise MemoryError(f"no room in the shared memory for {name!r}: the names in it are too long together")
    region.hold()
    try:
        entry = region.find(name)
        if entry == NULL:
            entry = new_block(region, prefix, name, size)
        elif not is_served(region, entry):
            region.rename(entry, name)  # it is the newest again
        served_at(region, entry, region.slot)[0] += 1
    finally:
        region.let_go()
    return region.at(entry, region.slot)


cdef Named *new_block(Region region, bytes prefix, bytes name, size_t size) except NULL:
    """Under the lock: a zeroed block for a name that has none, which may be the oldest that no process counts in."""
    cdef Named *entry
    cdef int slot
    gone = [one for one in oldest_first(region, prefix) if not is_served(region, region.find(one))]
    if len(gone) < KEPT:
        try:
            return region.named(name, size, False)
        except MemoryError:
            if not gone:
                raise
    entry = region.find(gone[0])
    for slot in range(<int>region.header.opened):
        memset(region.at(entry, slot), 0, size)
    region.rename(entry, name)
    return entry


cdef list oldest_first(Region region, bytes prefix):
    return [name for _, name in sorted([(region.find(name).order, name) for name in region.names() if name.startswith(prefix)])]


cdef bint is_served(Region region, const Named *entry) noexcept:
    cdef int slot
    for slot in range(<int>region.header.opened):
        if served_at(region, entry, slot)[0]:
            return True
    return False


cdef int vacate_blocks(Region region, bytes prefix, int slot) except -1:
    region.check(slot)
    region.hold()
    try:
        for name in oldest_first(region, prefix):
            served_at(region, region.find(name), slot)[0] = 0
    finally:
        region.let_go()
    return 0
