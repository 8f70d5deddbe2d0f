"""The table of who is how suspicious, in the memory of a region: for the data plane, and for what operators see and set."""
import os
import time
from heapq import heappop, heappush

from libc.stdint cimport int64_t, uint16_t, uint64_t, uint8_t

from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_MODEL, mw_gcra_hash
from modelward_native.region.region cimport Named, Region

STEPS = ("observe", "tag", "round", "top_class", "delay", "fallback", "block")    # by mw_step
SIGNALS = ("unlike", "near", "walk")    # by mw_signal
CAUSES = (*SIGNALS, "budget")     # of a step (detect/steps.h)
MOST_IDENTITIES = 1 << 22
assert len(STEPS) == MW_STEPS and len(SIGNALS) == MW_SIGNALS and sizeof(mw_suspect) == 64

cdef bytes BLOCK = b"suspicion"


cdef class Suspicion:
    """Records of identities and models, 64 bytes each; memory that no record was in costs nothing.

    identities: how many records there are, rounded up to a power of two. Where the region has the table already, its size
    stays. ValueError for none, or more than MOST_IDENTITIES.
    """

    def __cinit__(self, Region region not None, uint64_t identities=1 << 20):
        cdef size_t size = mw_suspicion_size(identities)
        cdef Named *entry
        if size == 0:
            raise ValueError(f"1 to {MOST_IDENTITIES} identities, not {identities}")
        region.hold()
        try:
            entry = region.find(BLOCK)
            if entry != NULL:
                size = entry.size
            mw_suspicion_init(&self.table, region.common(BLOCK, size), size)
        finally:
            region.let_go()
        self.region = region

    cdef uint64_t model_number(self, bytes name) noexcept:
        return mw_gcra_hash(<const uint64_t *>self.region.header.sip_key, MW_LEVEL_MODEL, <const char *>name, len(name))

    @property
    def capacity(self) -> int:
        return self.table.lines * MW_SUSPECT_WAYS

    @property
    def evicted(self) -> int:
        """Records that were given to another key."""
        return self.table.shared.evicted

    def key(self, bytes caller not None, str model not None) -> int:
        """The key of a caller and a model. caller: the text under which its budget is held: an address, or as
        modelward_native.access.identities composes it."""
        cdef uint64_t identity = mw_gcra_hash(
            <const uint64_t *>self.region.header.sip_key, MW_LEVEL_IDENTITY, <const char *>caller, len(caller))
        return mw_suspect_key(identity, self.model_number(model.encode()))

    def key_of(self, uint64_t identity, str model not None) -> int:
        """The same where the hash of that text is known."""
        return mw_suspect_key(identity, self.model_number(model.encode()))

    def read(self, uint64_t key, int64_t now_ns) -> dict | None:
        """The key's record as `as_dict` tells it; None where it has none."""
        cdef const mw_suspect *s = mw_suspect_find(&self.table, key)
        return None if s == NULL else as_dict(s, now_ns)

    def pin(self, uint64_t key, str step not None, int64_t now_ns, int64_t until_ns=0) -> bool:
        """Holds the key's caller at this step, whatever its evidence says; "observe" lets it go. until_ns: what a blocked caller
        is told; who holds it lets it go then. False: operators hold all records of the key's line."""
        cdef mw_suspect *s = mw_suspect_get(&self.table, key, now_ns)
        cdef int number = STEPS.index(step)
        if s != NULL:
            if number == MW_STEP_BLOCK:
                s.until = mw_suspect_time(until_ns)
            elif s.pinned == MW_STEP_BLOCK:
                s.until = 0
            mw_suspect_pin(s, <mw_step>number, now_ns)
        return s != NULL

    def pardon(self, uint64_t key, int64_t now_ns) -> bool:
        """Forgets its evidence and its blocks, and lets it go where an operator held it. False: the key has no record."""
        cdef mw_suspect *s = mw_suspect_find(&self.table, key)
        if s != NULL:
            mw_suspect_pardon(s, now_ns)
        return s != NULL

    def pardon_all(self, int64_t now_ns) -> int:
        """As `pardon`, of all records but those that operators hold; how many had something to forgive."""
        cdef uint64_t i, first, end
        cdef mw_suspect *s
        cdef int count = 0
        for first, end in written(self):
            for i in range(first, end):
                s = &self.table.record[i]
                if s.key == 0 or s.pinned:
                    continue
                count += mw_suspect_step(s, now_ns) != MW_STEP_OBSERVE or s.spends != MW_STEP_OBSERVE
                mw_suspect_pardon(s, now_ns)
        return count

    def suspects(self, str least, int64_t now_ns, size_t most) -> tuple[list, dict]:
        """Records whose step is at least this, as `as_dict` tells them, the most suspicious first, at most so many; and of all
        records how many are at which step. What is spent of today's budget counts as evidence does. Records that operators
        hold and of which no row was seen are left out. Reads only pages that hold records: 20 ms for a million."""
        cdef int floor = STEPS.index(least), step
        cdef uint16_t day = <uint16_t>(<int64_t>time.time() // 86400)
        cdef uint64_t[<int>MW_STEPS] of_step
        cdef uint64_t i, first, end
        cdef const mw_suspect *s
        cdef mw_signal signal
        cdef double rank, worst = -1
        found = []                # a heap of the most suspicious so far: (rank, record)
        for step in range(<int>MW_STEPS):
            of_step[step] = 0
        for first, end in written(self):
            for i in range(first, end):
                s = &self.table.record[i]
                if s.key == 0 or (s.pinned and s.distinct == 0):
                    continue      # none of its rows was seen: one of the records that an operator's word has made
                step = mw_suspect_step(s, now_ns)
                if not s.pinned and s.day == day:
                    step = max(step, <int>min(s.spends, <uint8_t>MW_STEP_BLOCK))
                of_step[step] += 1
                rank = 2 * MW_EVIDENCE_MOST * step + mw_suspect_evidence(s, now_ns, &signal)
                if step < floor or most == 0 or (rank <= worst and <size_t>len(found) >= most):
                    continue
                heappush(found, (rank, i))
                if <size_t>len(found) > most:
                    heappop(found)
                worst = found[0][0]
        counted = {STEPS[step]: of_step[step] for step in range(<int>MW_STEPS)}
        return [as_dict(&self.table.record[<uint64_t>i], now_ns) for _, i in sorted(found, reverse=True)], counted


cdef dict as_dict(const mw_suspect *s, int64_t now_ns):
    """step: as it is now; pinned: the step that an operator holds it at, or None; evidence: nats by signal; blocked_ns: until
    its block ends; since_ns: since its step changed; last_ns: since its last row; distinct, spent: as mw_suspect."""
    cdef int i
    cdef int64_t faded = max(0, now_ns // 100000000 - s.last)
    nats = [max(s.evidence[2 * i], s.evidence[2 * i + 1]) / <double>MW_NAT for i in range(<int>MW_SIGNALS)]
    return {
        "key": s.key, "step": STEPS[<int>mw_suspect_step(s, now_ns)],
        "pinned": STEPS[min(s.pinned, <uint8_t>MW_STEP_BLOCK)] if s.pinned else None,
        "evidence": {name: max(0.0, one - faded / 3000) for name, one in zip(SIGNALS, nats)},
        "blocked_ns": mw_suspect_blocked_ns(s, now_ns), "strikes": s.strikes,
        "since_ns": max(0, now_ns - 100000000 * <int64_t>s.since), "last_ns": max(0, now_ns - 100000000 * <int64_t>s.last),
        "distinct": s.distinct, "spent": s.spent, "day": s.day,
    }


cdef list written(Suspicion self):
    """Ranges of records in pages that somebody has written to."""
    cdef size_t records = self.table.lines * MW_SUSPECT_WAYS, base, size, at, end = 0
    if self.region.fd < 0:
        return [(0, records)]
    base = <size_t>(<char *>self.table.record - <char *>self.region.base)
    size = records * sizeof(mw_suspect)
    ranges = []
    while end < size:
        try:
            at = os.lseek(self.region.fd, base + end, os.SEEK_DATA) - base
        except OSError:  # nothing beyond
            break
        if at >= size:
            break
        end = min(<size_t>os.lseek(self.region.fd, base + at, os.SEEK_HOLE) - base, size)
        ranges.append((at // sizeof(mw_suspect), end // sizeof(mw_suspect)))
    return ranges
