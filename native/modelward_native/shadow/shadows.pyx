"""What the processes of one server have counted of their shadows, added up over their slots of the region."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy

from modelward_native.shadow.stats cimport MW_SHADOW_WINDOW, Stats, mw_shadow_add, mw_shadow_stats, mw_shadow_window
from modelward_native.telemetry.stats cimport folded
from modelward_native.region.region cimport Named, Region
from modelward_native.region.served_blocks cimport is_served, oldest_first, serve_block, vacate_blocks

cdef extern from *:
    """
    #define mw_names_read(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define mw_names_write(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    """
    uint32_t mw_names_read(const uint32_t *) noexcept
    void mw_names_write(uint32_t *, uint32_t) noexcept

cdef bytes PREFIX = b"shadow\0"
MOST_IDENTITIES = <int>IDENTITIES
cdef dict KINDS = {ord(kind[0]): kind for kind in ("certificate", "token", "key")}


cdef ShadowBlock *shadow_block(Region region, bytes model, bytes primary, bytes name, bytes fingerprint) except NULL:
    full = PREFIX + b"\0".join((model, primary, name, fingerprint))
    return <ShadowBlock *>serve_block(region, PREFIX, full, sizeof(ShadowBlock))


cdef inline ShadowBlock *block_at(Region region, const Named *entry, int slot) noexcept:
    return <ShadowBlock *>region.at(entry, slot)


cdef mw_shadow_stats *identity_slice(ShadowBlock *block, const char *kind, const char *name, size_t size) noexcept:
    cdef uint32_t i
    if kind == NULL or size == 0 or size > IDENTITY_BYTES:
        return &block.of_identity[<int>IDENTITIES]
    for i in range(block.names):
        if block.kind[i] == kind[0] and memcmp(block.name[i], name, size) == 0 and (
                size == IDENTITY_BYTES or block.name[i][size] == 0):
            return &block.of_identity[i]
    if block.names < IDENTITIES:
        block.kind[block.names] = kind[0]
        memcpy(block.name[block.names], name, size)
        mw_names_write(&block.names, block.names + 1)
        return &block.of_identity[block.names - 1]
    return &block.of_identity[<int>IDENTITIES]


# ---- what has been counted

cdef class Slices:
    cdef readonly Stats normal, anomalous, total, others
    cdef readonly dict identities, parts
    cdef readonly list scores
    cdef readonly uint64_t warmed

    def __cinit__(self):
        self.normal, self.anomalous, self.total, self.others = Stats(), Stats(), Stats(), Stats()
        self.identities, self.parts, self.scores = {}, {}, []

    cdef int add(self, const ShadowBlock *block) except -1:
        cdef Stats stats
        cdef uint32_t i
        self.warmed += block.warmed
        mw_shadow_add(&self.normal.stats, &block.side[<int>SIDE_NORMAL])
        mw_shadow_add(&self.anomalous.stats, &block.side[<int>SIDE_ANOMALOUS])
        for i in range(min(mw_names_read(&block.names), <uint32_t>IDENTITIES)):
            name = (<bytes>block.name[i][:<int>IDENTITY_BYTES]).rstrip(b"\0").decode("utf-8", "replace")
            caller = KINDS.get(block.kind[i], ""), name
            stats = self.identities.get(caller)
            if stats is None:
                stats = self.identities[caller] = Stats()
            mw_shadow_add(&stats.stats, &block.of_identity[i])
        mw_shadow_add(&self.others.stats, &block.of_identity[<int>IDENTITIES])
        add_parts(self.parts, block)
        self.scores += scores_of(&block.window)
        return 0

    cdef int finish(self) except -1:
        """All blocks have been added."""
        self.total.add(self.normal)
        self.total.add(self.anomalous)
        by_pairs = sorted([(-<int64_t>pairs(stats), caller) for caller, stats in self.identities.items()])
        for _, caller in by_pairs[<int>IDENTITIES:]:
            self.others.add(self.identities.pop(caller))
        return 0


cdef uint64_t pairs(Stats f) noexcept:
    return f.stats.compared + f.stats.primary_failed + f.stats.shadow_failed + f.stats.both_failed


cdef list scores_of(const mw_shadow_window *w):
    cdef uint64_t i, written = w.written
    cdef uint64_t count = min(written, <uint64_t>MW_SHADOW_WINDOW)
    return [(w.primary[i % MW_SHADOW_WINDOW], w.shadow[i % MW_SHADOW_WINDOW]) for i in range(written - count, written)]


cdef dict served(Region region):
    """Under the lock: names of blocks by the shadow's name. Two blocks of one are two fingerprints: the newer one counts."""
    found = {}
    for name in oldest_first(region, PREFIX):
        if is_served(region, region.find(name)):
            _, model, primary, shadow, _ = name.decode().split("\0")
            found[model, primary, shadow] = name
    return found


def shadows(Region region not None, str model=None) -> dict:
    cdef Slices slices
    cdef Named *entry
    cdef int slot
    found = {}
    region.hold()
    try:
        for key, name in served(region).items():
            if model is not None and key[0] != model:
                continue
            entry = region.find(name)
            slices = found[key] = Slices()
            for slot in range(<int>region.header.opened):
                slices.add(block_at(region, entry, slot))
    finally:
        region.let_go()
    for slices in found.values():
        slices.finish()
    return found


def totals(Region region not None) -> dict:
    cdef Stats total
    cdef Named *entry
    cdef int slot, side
    found = {}
    region.hold()
    try:
        for key, name in served(region).items():
            entry = region.find(name)
            total = found[key] = Stats()
            for slot in range(<int>region.header.opened):
                for side in range(<int>SIDES):
                    mw_shadow_add(&total.stats, &block_at(region, entry, slot).side[side])
    finally:
        region.let_go()
    return found


cdef int add_parts(dict parts, const ShadowBlock *block) except -1:
    cdef Stats stats
    cdef uint32_t i
    for i in range(<uint32_t>CALLERS):
        if block.of_part[i]:      # only then: to read an untouched page takes memory as well
            stats = parts.get(i)
            if stats is None:
                stats = parts[i] = Stats()
            mw_shadow_add(&stats.stats, &block.part[i])
    return 0


def callers(Region region not None, str model not None, str primary not None, str name not None) -> list:
    cdef Named *entry
    cdef int slot
    parts = {}
    region.hold()
    try:
        full = served(region).get((model, primary, name))
        if full is not None:
            entry = region.find(full)
            for slot in range(<int>region.header.opened):
                add_parts(parts, block_at(region, entry, slot))
    finally:
        region.let_go()
    return list(parts.values())


def latencies(Stats stats not None) -> tuple:
    return folded(&stats.stats.latency_primary), folded(&stats.stats.latency_shadow)


def vacate(Region region not None, int slot) -> None:
    vacate_blocks(region, PREFIX, slot)


cdef class Block:
    cdef Region region            # holds the memory that `block` is in
    cdef ShadowBlock *block       # NULL once it was left

    def __cinit__(self, Region region not None, str model not None, str primary not None, str name not None,
                  str fingerprint not None=""):
        self.region = region
        self.block = shadow_block(region, model.encode(), primary.encode(), name.encode(), fingerprint.encode())

    def add(self, Stats stats not None, *, bint anomalous=False, str identity not None="", str kind not None="key",
            uint32_t part=0):
        cdef bytes name = identity.encode(), proof = kind.encode()
        cdef mw_shadow_window *w = &self.block.window
        mw_shadow_add(&self.block.side[<int>SIDE_ANOMALOUS if anomalous else <int>SIDE_NORMAL], &stats.stats)
        mw_shadow_add(identity_slice(self.block, proof, name, len(name)), &stats.stats)
        mw_shadow_add(&self.block.part[part % <uint32_t>CALLERS], &stats.stats)
        self.block.of_part[part % <uint32_t>CALLERS] += 1
        for primary, shadow in stats.scores():
            w.primary[w.written % MW_SHADOW_WINDOW] = primary
            w.shadow[w.written % MW_SHADOW_WINDOW] = shadow
            w.written += 1

    def warm(self, uint64_t pairs=1):
        self.block.warmed += pairs

    def leave(self):
        self.block.served -= 1
        self.block = NULL
