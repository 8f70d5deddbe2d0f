# The memory that the processes of one server have in common.
#
# Every worker has a slot: an area that it alone writes, and that outlives it, so that the process that takes its slot goes on
# counting where it stopped. Beside the slots lies an area that all write, for what must be one truth; what lies there is
# changed by atomic operations alone. Blocks of both are found by name; a name has the same place in every slot.
from libc.stdint cimport int64_t, uint32_t, uint64_t, uint8_t

cdef enum:
    NAME_BYTES = 1000
    SLOT_BYTES = 64 << 20         # counters of one version are 25 KiB

cdef struct Named:                # one entry of the directory
    uint64_t offset               # of the block, within a slot or within the common area
    uint64_t size
    uint64_t order                # of names, by when they were given
    uint32_t common
    uint32_t name_size
    char name[NAME_BYTES]

cdef struct Header:
    uint64_t layout
    uint32_t slots
    uint32_t opened               # slots that ever had a process: no others are looked at, for that would cost memory
    uint32_t count                # entries; written last, so that a reader sees whole entries
    uint64_t slot_used            # bytes
    uint64_t common_used
    uint64_t names                # that were ever given
    uint64_t first_slot           # bytes from here to slot 0; the others follow, SLOT_BYTES apart
    uint8_t sip_key[16]           # of every hash that processes must agree on
    uint8_t sticky_key[16]        # of those that choose a version: the same after a restart where it is kept

cdef struct Gauges:                # what a slot begins with: one worker's gauges, zeroed when it has gone
    int64_t beat                  # ns, monotonic: its loop's last sign of life
    uint64_t inflight             # exchanges between message and outcome
    uint64_t connections
    uint64_t accepting            # 1: takes new ones
    uint64_t bytes                # of requests, and of answers until they are on their way

cdef extern from "peers.h" nogil:
    ctypedef struct mw_peers:
        pass
    uint32_t mw_peers_count(const mw_peers *, uint64_t)
    int mw_peers_has_room(const mw_peers *, uint64_t)
    void mw_peers_set(mw_peers *, uint64_t, uint32_t)

cdef enum:
    PEERS_AT = 4096               # in a slot, behind its gauges: its connections by peer, pages of their own

cdef inline mw_peers *peers_of(Gauges *slot) noexcept nogil:
    return <mw_peers *>(<uint8_t *>slot + PEERS_AT)

cdef inline Gauges *slot_of(const Header *header, uint32_t slot) noexcept nogil:
    return <Gauges *>(<uint8_t *>header + header.first_slot + slot * <size_t>SLOT_BYTES)

# Bytes in flight over all processes. One load for each that there ever was: nothing is to be put right when one dies.
cdef inline uint64_t bytes_held(const Header *header) noexcept nogil:
    cdef uint64_t held = 0
    cdef uint32_t i
    for i in range(header.opened):
        held += slot_of(header, i).bytes
    return held

cdef class Region:
    cdef uint8_t *base            # mapped by this object, unmapped with it
    cdef size_t size
    cdef readonly int fd          # owned; -1 where the memory is private
    cdef readonly int slot        # of this process; -1: it only reads (the supervisor)
    cdef Header *header
    cdef Gauges *own                # NULL without a slot
    cdef int holds                # how often `hold` was called
    # This process's own block, or the one that all share: zeroed when it is first asked for. ValueError where another size
    # was, MemoryError where there is no room. They live as long as the region.
    cdef void *block(self, bytes name, size_t size) except NULL
    cdef void *common(self, bytes name, size_t size) except NULL
    cdef Named *find(self, bytes name)
    cdef Named *name_block(self, bytes name, size_t size, bint common) except NULL
    cdef Named *named(self, bytes name, size_t size, bint common) except NULL
    # The lock under which names are given, and blocks that get another one; it may be held several times over.
    cdef int hold(self) except -1
    cdef int let_go(self) except -1
    cdef void rename(self, Named *entry, bytes name) noexcept    # under the lock; what the block holds is the caller's
    cdef int check(self, int slot) except -1
    cdef uint64_t connections(self) noexcept    # of all processes
    # Connections by peer, by a hash under `sip_key`.
    cpdef uint32_t peer_in_other_workers(self, uint64_t peer) noexcept
    cpdef bint sees_peer(self, uint64_t peer) noexcept
    cpdef int count_peer(self, uint64_t peer, uint32_t count) except -1
    cdef Gauges *slot_at(self, int slot) noexcept
    # A slot's block. Each struct that lies in blocks has one function over this that gives it its type.
    cdef void *at(self, const Named *entry, int slot) noexcept
    # The blocks that stand at the same place as `own`, this process's block, one per slot.
    cdef const void *same_in(self, const void *own, int slot) noexcept
