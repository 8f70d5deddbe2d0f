"""Memory that a supervisor and its workers have in common: slots of one writer each, and an area for what is one truth."""
import fcntl
import os

from libc.stdint cimport uint32_t, uint64_t, uint8_t
from libc.string cimport memcmp, memcpy, memset
from posix.mman cimport (
    MAP_ANONYMOUS, MAP_FAILED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap)

cdef extern from *:
    """
    #define mw_count_read(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define mw_count_write(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    """
    uint32_t mw_count_read(const uint32_t *)
    void mw_count_write(uint32_t *, uint32_t)

cdef extern from "<sys/mman.h>" nogil:
    enum:
        MADV_REMOVE
    int madvise(void *, size_t, int)

cdef enum:
    ENTRIES = 4096                # names
    COMMON_BYTES = 1024 << 20     # address space: of a million keys a limit table is 32 MiB, the table of suspects 64 MiB
    ALIGNMENT = 64

MOST_SLOTS = 256

cdef uint64_t LAYOUT = (0x6d7772656730 ^ (<uint64_t>sizeof(Named) << 40) ^ (<uint64_t>sizeof(mw_peers) << 16)
                        ^ (<uint64_t>sizeof(Gauges) << 8) ^ (<uint64_t>sizeof(Header) << 28))
cdef size_t DIRECTORY_BYTES = (sizeof(Header) + ENTRIES * sizeof(Named) + 4095) // 4096 * 4096


cdef Named *entries_of(Header *header) noexcept:
    return <Named *>(<uint8_t *>header + sizeof(Header))


cdef class Region:
    """Private memory with one slot, this process's: what a server that runs by itself has.

    `shared` makes one for several processes, `joined` is how another process gets at it. Memory that no process has touched
    costs nothing.
    """

    def __cinit__(self, int slots=1, int fd=-1, int slot=0):
        cdef void *base
        cdef int flags = MAP_NORESERVE | (MAP_SHARED if fd >= 0 else MAP_PRIVATE | MAP_ANONYMOUS)
        self.fd = fd
        self.slot = slot
        if not 1 <= slots <= MOST_SLOTS or not -1 <= slot < slots:
            raise ValueError(f"slot {slot} of {slots}; there may be 1 to {MOST_SLOTS}")
        self.size = DIRECTORY_BYTES + COMMON_BYTES + <size_t>slots * SLOT_BYTES
        if fd >= 0 and os.fstat(fd).st_size != self.size:
            raise ValueError("the shared memory is of another version of this program; restart the server")
        base = mmap(NULL, self.size, PROT_READ | PROT_WRITE, flags, fd, 0)
        if base == MAP_FAILED:
            raise MemoryError(f"{self.size} bytes of address space")
        self.base = <uint8_t *>base
        self.header = <Header *>base
        if self.header.layout == 0:
            self.header.slots = slots
            self.header.first_slot = DIRECTORY_BYTES + COMMON_BYTES
            self.header.slot_used = PEERS_AT + sizeof(mw_peers)
            key = os.urandom(16)
            memcpy(self.header.sip_key, <const char *>key, 16)
            key = os.urandom(16)
            memcpy(self.header.sticky_key, <const char *>key, 16)
            self.header.opened = slot + 1
            self.header.layout = LAYOUT
        if self.header.layout != LAYOUT:
            raise ValueError("the shared memory is of another version of this program; restart the server")
        self.own = NULL if slot < 0 else self.slot_at(slot)

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self.size)
        if self.fd >= 0:
            os.close(self.fd)

    @staticmethod
    def shared(int slots):
        """Memory with that many slots, none of them this process's; `fd` is to be inherited."""
        fd = os.memfd_create("modelward", os.MFD_CLOEXEC)
        os.ftruncate(fd, DIRECTORY_BYTES + COMMON_BYTES + <size_t>slots * SLOT_BYTES)
        return Region(slots, fd, -1)

    @staticmethod
    def joined(int fd, int slot):
        """The memory behind an inherited descriptor, which is the region's from now on, with a slot of it."""
        slots = (os.fstat(fd).st_size - DIRECTORY_BYTES - COMMON_BYTES) // SLOT_BYTES
        return Region(slots, fd, slot)

    @property
    def sticky_key(self) -> bytes:
        """16 bytes, random unless they were set: of the hashes that choose a version for a caller."""
        return self.header.sticky_key[:16]

    @sticky_key.setter
    def sticky_key(self, bytes key not None):
        """Before any process joins: what callers are hashed with stays as it is."""
        if len(key) != 16:
            raise ValueError("the key has 16 bytes")
        memcpy(self.header.sticky_key, <const char *>key, 16)

    # ---- blocks

    cdef Named *find(self, bytes name):
        cdef Named *entries = entries_of(self.header)
        cdef uint32_t i, count = mw_count_read(&self.header.count)
        cdef size_t size = min(<size_t>len(name), <size_t>NAME_BYTES)
        for i in range(count):
            if entries[i].name_size == size and memcmp(entries[i].name, <const char *>name, size) == 0:
                return &entries[i]
        return NULL

    cdef Named *name_block(self, bytes name, size_t size, bint common) except NULL:
        """Under the lock. An entry that its writer did not live to finish was never counted, and is written over."""
        cdef Named *entry = self.find(name)
        cdef uint64_t *used = &self.header.common_used if common else &self.header.slot_used
        cdef uint64_t most = COMMON_BYTES if common else SLOT_BYTES
        cdef uint64_t room = (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        if entry != NULL:
            if entry.size != size or entry.common != common:
                raise ValueError("the shared memory is of another version of this program; restart the server")
            return entry
        if self.header.count >= ENTRIES or used[0] + room > most:
            raise MemoryError(f"no room in the shared memory for {name!r}")
        entry = entries_of(self.header) + self.header.count
        entry.offset = used[0]
        entry.size = size
        entry.common = common
        self.rename(entry, name)
        used[0] += room
        mw_count_write(&self.header.count, self.header.count + 1)
        return entry

    cdef Named *named(self, bytes name, size_t size, bint common) except NULL:
        self.hold()
        try:
            return self.name_block(name, size, common)
        finally:
            self.let_go()

    cdef int hold(self) except -1:
        # a lock that a dying process lets go of; within a process the GIL is held
        if self.fd >= 0 and self.holds == 0:
            fcntl.lockf(self.fd, fcntl.LOCK_EX)
        self.holds += 1
        return 0

    cdef int let_go(self) except -1:
        self.holds -= 1
        if self.fd >= 0 and self.holds == 0:
            fcntl.lockf(self.fd, fcntl.LOCK_UN)
        return 0

    cdef void rename(self, Named *entry, bytes name) noexcept:
        entry.name_size = <uint32_t>min(<size_t>len(name), <size_t>NAME_BYTES)
        memcpy(entry.name, <const char *>name, entry.name_size)
        self.header.names += 1
        entry.order = self.header.names

    cdef void *block(self, bytes name, size_t size) except NULL:
        if self.own == NULL:
            raise ValueError("only a worker has blocks of its own")
        return <uint8_t *>self.own + self.named(name, size, False).offset

    cdef void *common(self, bytes name, size_t size) except NULL:
        return self.base + DIRECTORY_BYTES + self.named(name, size, True).offset

    cdef Gauges *slot_at(self, int slot) noexcept:
        return slot_of(self.header, slot)

    cdef void *at(self, const Named *entry, int slot) noexcept:
        return <uint8_t *>self.slot_at(slot) + entry.offset

    cdef const void *same_in(self, const void *own, int slot) noexcept:
        return <const uint8_t *>self.slot_at(slot) + (<const uint8_t *>own - <const uint8_t *>self.own)

    def names(self) -> list:
        """Of every block, in the order in which they were first asked for."""
        cdef Named *entries = entries_of(self.header)
        return [entries[i].name[:entries[i].name_size] for i in range(mw_count_read(&self.header.count))]

    # ---- gauges

    @property
    def slots(self) -> int:
        return self.header.slots

    def open(self, int slot):
        """A process is about to join with this slot."""
        self.check(slot)
        self.header.opened = max(self.header.opened, <uint32_t>slot + 1)

    def beat(self, int64_t now):
        """This process's loop is alive, at `now` (ns, monotonic)."""
        self.own.beat = now

    def accept(self, bint accepting):
        """Whether this process takes new connections."""
        self.own.accepting = accepting

    def has_less_busy(self) -> bool:
        """Another process takes new connections and has fewer."""
        cdef Gauges *other
        cdef uint32_t i
        for i in range(self.header.opened):
            other = self.slot_at(i)
            if other.accepting and other.connections < self.own.connections:
                return True
        return False

    cpdef uint32_t peer_in_other_workers(self, uint64_t peer) noexcept:
        """A peer's connections to the other processes that accept new ones. Those of a draining process will end soon."""
        cdef Gauges *other
        cdef uint32_t i, count = 0
        for i in range(self.header.opened):
            other = self.slot_at(i)
            if other != self.own and other.accepting:
                count += mw_peers_count(peers_of(other), peer)
        return count

    cpdef bint sees_peer(self, uint64_t peer) noexcept:
        """Whether others see, or would see, this process's connections of a peer: the table has a place for it."""
        return mw_peers_has_room(peers_of(self.own), peer)

    cpdef int count_peer(self, uint64_t peer, uint32_t count) except -1:
        """A peer has that many connections with this process now."""
        mw_peers_set(peers_of(self.own), peer, count)
        return 0

    def last_beat(self, int slot) -> int:
        """ns, monotonic; 0 before the first."""
        self.check(slot)
        return self.slot_at(slot).beat

    cdef uint64_t connections(self) noexcept:
        cdef uint64_t connections = 0
        cdef uint32_t i
        for i in range(self.header.opened):
            connections += self.slot_at(i).connections
        return connections

    def gauges(self) -> tuple:
        """Requests in flight, their bytes and those of answers not taken yet, and open connections, over all slots."""
        cdef uint64_t inflight = 0
        cdef uint32_t i
        for i in range(self.header.opened):
            inflight += self.slot_at(i).inflight
        return inflight, bytes_held(self.header), self.connections()

    def gauges_of(self, int slot) -> tuple:
        """Requests in flight and open connections of the process of one slot."""
        self.check(slot)
        return self.slot_at(slot).inflight, self.slot_at(slot).connections

    def vacate(self, int slot):
        """The process of this slot has gone: nothing is in flight there, no client connected. What it has counted stays."""
        cdef mw_peers *peers
        self.check(slot)
        memset(self.slot_at(slot), 0, sizeof(Gauges))
        peers = peers_of(self.slot_at(slot))
        # pages that are given back read as zeros, and need not be had to be cleared
        if madvise(peers, sizeof(mw_peers), MADV_REMOVE) != 0:
            memset(peers, 0, sizeof(mw_peers))

    cdef int check(self, int slot) except -1:
        if not 0 <= slot < <int>self.header.slots:
            raise ValueError(f"no slot {slot}")
        return 0
