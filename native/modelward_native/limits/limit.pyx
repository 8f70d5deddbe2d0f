"""GCRA limits of a server: the memory, the key and the rates around the kernel in modelward_native/limits/gcra.c."""
import os

from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap

cdef bytes CELL = b"limit\0"
cdef tuple PERIODS = (("s", 1), ("m", 60), ("h", 3600))


cdef str per_period(double per_second, str what):
    """In the first unit of which it is a whole number, else of which there is one: `2 requests/m`."""
    counts = [(per_second * seconds, unit) for unit, seconds in PERIODS]
    whole = [(count, unit) for count, unit in counts if count >= 0.5 and abs(count - round(count)) <= 1e-6]
    some = [(count, unit) for count, unit in counts if count >= 1]
    count, unit = (some if per_second >= 1 else whole or some or counts[-1:])[0]
    return f"{count:.6g} {what}/{unit}"


cdef str time_per_second(double seconds):
    """In the largest unit of which there is one: `10 us of backend time/s`."""
    count, unit = next(((seconds * n, unit) for n, unit in ((1, "s"), (1e3, "ms")) if seconds * n >= 1), (seconds * 1e6, "us"))
    return f"{count:.6g} {unit} of backend time/s"


cdef int make_limit(Limit *limit, double rate, int64_t burst, bint timed) except -1:
    cdef int made
    if rate == 0:
        memset(limit, 0, sizeof(Limit))
        return 0
    made = mw_rate_make_timed(rate, burst, &limit.rate) if timed else mw_rate_make(rate, burst, &limit.rate)
    if made != 0:
        raise ValueError(
            f"{rate} s of backend time per second with a burst of {burst} ns cannot be held: "
            "it is 1 us/s to 2**20 s/s, the burst more than nothing" if timed else
            f"a rate of {rate}/s with a burst of {burst} cannot be held: "
            "the rate is a finite number above 0 and at least one request in 2.28 years, the burst at least 1")
    cdef bytes text = (time_per_second(rate) if timed else per_period(rate, "requests")).encode()
    snprintf(limit.text, LIMIT_TEXT, "%s", <const char *>text)
    return 0


cdef class Limiter:
    """Limits per peer, per identity, per model and in total; a request is checked against all before any is charged.

    keys: how many peers and identities together may owe at the same time, 1 to 2**32; every key costs 32 bytes of address
    space, and pages that no key touches cost no memory. key: 16 bytes for SipHash, random unless a test fixes them.
    region: where the table lies that this process shares with others, under `name`; the hash key is the region's then.
    Rates are each process's own. Times are nanoseconds of a monotonic clock. Algorithm and behaviour when the table is
    full: modelward_native/limits/gcra.h.
    """

    def __cinit__(self, uint64_t keys=1 << 20, bytes key=None, Region region=None, str name="limits"):
        cdef uint64_t[2] sip_key
        cdef void *memory
        if key is None:
            key = os.urandom(16)
        if len(key) != 16:
            raise ValueError("the hash key has 16 bytes")
        memcpy(sip_key, <const char *>key, 16)
        self.size = mw_gcra_size(keys)
        if self.size == 0:
            raise ValueError("keys lies between 1 and 2**32")
        if region is not None:
            self.region = region
            memcpy(sip_key, region.header.sip_key, 16)
            memcpy(self.sticky_key, region.header.sticky_key, 16)
            memory = region.common(name.encode(), sizeof(mw_gcra_shared) + self.size)
        else:
            memory = mmap(NULL, sizeof(mw_gcra_shared) + self.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            if memory == MAP_FAILED:
                raise MemoryError(f"a limit table of {self.size} bytes")
            self.mapped = memory
        mw_gcra_init(&self.table, <mw_gcra_shared *>memory, <char *>memory + sizeof(mw_gcra_shared), self.size, sip_key)
        self.total_meter.tat_ns = &self.table.shared.total_tat_ns

    def __dealloc__(self):
        free(self.overrides)
        if self.mapped != NULL:
            munmap(self.mapped, sizeof(mw_gcra_shared) + self.size)

    cdef uint64_t hash(self, mw_level level, const void *key, size_t size) noexcept nogil:
        return mw_gcra_hash(self.table.sip_key, level, key, size)

    cdef uint64_t sticky(self, const void *key, size_t size) noexcept nogil:
        return mw_gcra_hash(self.sticky_key, MW_LEVEL_IDENTITY, key, size)

    cdef uint64_t shared_key(self, const void *key, size_t size) noexcept nogil:
        return 0 if self.shared == NULL else mw_gcra_hash(self.shared_hash_key, MW_LEVEL_IDENTITY, key, size)

    cdef void follow(self, const mw_account *account, int64_t *tat_ns, int64_t ahead_ns, int64_t at_ns, int64_t now_ns) noexcept:
        mw_gcra_follow(&self.table, account, tat_ns, ahead_ns, at_ns, now_ns)

    def share(self, bytes key not None):
        """From now on, limits of identities, models and in total are shared with other servers. Called before the first request.

        key: 16 bytes for SipHash, the same in all of these servers. A SharedAccounts passes on what is booked.
        """
        if self.region is None or len(key) != 16:
            raise ValueError("a limiter over a region and a key of 16 bytes")
        memcpy(self.shared_hash_key, <const char *>key, 16)
        self.shared = <mw_shared_limits *>self.region.common(b"shared limits", sizeof(mw_shared_limits))
        self.total_meter.account = &self.shared.total

    cdef int64_t peek_peer(self, uint64_t peer, uint32_t limit, int64_t now_ns) noexcept nogil:
        return mw_gcra_peek(&self.table, self.limit_of(MW_LEVEL_PEER, limit).rate, peer, MW_LEVEL_PEER, now_ns)

    cdef int claims_of(self, const Payers *payers, int64_t requests, int64_t backend_ns, bint timed_only,
                       mw_claim *claims) noexcept nogil:
        cdef int count = 0
        cdef const Limit *peer = self.limit_of(MW_LEVEL_PEER, payers.peer_limit)
        cdef const Limit *identity = self.limit_of(MW_LEVEL_IDENTITY, payers.identity_limit)
        if peer.rate.interval_ns != 0 and peer.rate.timed >= timed_only:
            claims[count].level, claims[count].meter, claims[count].account = MW_LEVEL_PEER, NULL, NULL
            claims[count].rate, claims[count].hash = peer.rate, payers.peer
            claims[count].cost = backend_ns if peer.rate.timed else requests
            count += 1
        if identity.rate.interval_ns != 0 and payers.identity != 0 and identity.rate.timed >= timed_only:
            claims[count].level, claims[count].meter = MW_LEVEL_IDENTITY, NULL
            claims[count].rate, claims[count].hash = identity.rate, payers.identity
            claims[count].account = NULL
            if self.shared != NULL and payers.shared_key:
                claims[count].account = mw_shared_account(self.shared, payers.shared_key, payers.identity)
            claims[count].cost = backend_ns if identity.rate.timed else requests
            count += 1
        if payers.model != NULL and payers.model.rate.interval_ns != 0 and payers.model.rate.timed >= timed_only:
            claims[count].level, claims[count].meter = MW_LEVEL_MODEL, payers.model
            claims[count].account = payers.model.account
            claims[count].cost = backend_ns if payers.model.rate.timed else requests
            count += 1
        if self.total_meter.rate.interval_ns != 0 and self.total_meter.rate.timed >= timed_only:
            claims[count].level, claims[count].meter = MW_LEVEL_TOTAL, &self.total_meter
            claims[count].account = self.total_meter.account
            claims[count].cost = backend_ns if self.total_meter.rate.timed else requests
            count += 1
        return count

    cdef int admit(self, const Payers *payers, int64_t requests, int64_t backend_ns, int64_t now_ns,
                   int64_t *retry_ns) noexcept nogil:
        cdef mw_claim[4] claims
        cdef int count = self.claims_of(payers, requests, backend_ns, False, claims), refused_by
        if count == 0:
            return MW_ADMITTED
        refused_by = mw_gcra_admit(&self.table, claims, count, now_ns, retry_ns)
        return refused_by if refused_by == MW_ADMITTED else claims[refused_by].level

    cdef int would_admit(self, const Payers *payers, int64_t requests, int64_t backend_ns, int64_t now_ns,
                         int64_t *retry_ns) noexcept nogil:
        cdef mw_claim[4] claims
        cdef int count = self.claims_of(payers, requests, backend_ns, False, claims), refused_by
        if count == 0:
            return MW_ADMITTED
        refused_by = mw_gcra_would_admit(&self.table, claims, count, now_ns, retry_ns)
        return refused_by if refused_by == MW_ADMITTED else claims[refused_by].level

    cdef int admit_peer(self, uint64_t peer, int64_t requests, int64_t now_ns, int64_t *retry_ns) noexcept nogil:
        cdef Payers payers
        payers.peer, payers.identity, payers.shared_key, payers.model = peer, 0, 0, NULL
        payers.peer_limit = payers.identity_limit = 0
        return self.admit(&payers, requests, MW_COST_LEAST_NS, now_ns, retry_ns)

    cdef void settle(self, const Payers *payers, int64_t charged_ns, int64_t took_ns, int64_t now_ns) noexcept nogil:
        cdef mw_claim[4] claims
        cdef int count = self.claims_of(payers, 0, charged_ns, True, claims), i
        for i in range(count):
            mw_gcra_settle(&self.table, &claims[i], max(took_ns, MW_COST_LEAST_NS), now_ns)

    def set_peer(self, double rate, int64_t burst, bint timed=False):
        """Every peer's own limit from now on; debts run up before are kept, cut to what the new rate allows.

        rate: requests per second, 0 for no limit; burst: requests that may come at once. Where timed, backend seconds per
        second, and nanoseconds of it at once. ValueError if it cannot be held.
        """
        make_limit(&self.peer, rate, burst, timed)
        self.note()

    def set_identity(self, double rate, int64_t burst, bint timed=False):
        """Every identity's own limit; as set_peer."""
        make_limit(&self.identity, rate, burst, timed)
        self.note()

    def set_total(self, double rate, int64_t burst, bint timed=False):
        """The limit of all requests together; as set_peer."""
        make_limit(&self.total, rate, burst, timed)
        self.total_meter.rate = self.total.rate
        self.note()

    def set_overrides(self, list limits not None):
        """Limits of peers and identities that the level's own does not hold for: (rate, burst, timed) each, numbered from 1."""
        cdef Limit *overrides = <Limit *>calloc(max(len(limits), 1), sizeof(Limit))
        cdef uint32_t i
        if overrides == NULL:
            raise MemoryError
        try:
            for i, (rate, burst, timed) in enumerate(limits):
                make_limit(&overrides[i], rate, burst, timed)
        except BaseException:
            free(overrides)
            raise
        free(self.overrides)
        self.overrides = overrides
        self.override_count = <uint32_t>len(limits)
        self.note()

    cdef int note(self) except -1:
        cdef uint32_t i
        self.timed = self.peer.rate.timed or self.identity.rate.timed or self.total.rate.timed
        self.limiting = (self.override_count or self.peer.rate.interval_ns or self.identity.rate.interval_ns or
                         self.total.rate.interval_ns)
        for i in range(self.override_count):
            self.timed = self.timed or self.overrides[i].rate.timed
        return 0

    cdef const Limit *limit_of(self, mw_level level, uint32_t number) noexcept nogil:
        if 0 < number <= self.override_count:
            return &self.overrides[number - 1]
        return &self.peer if level == MW_LEVEL_PEER else &self.identity if level == MW_LEVEL_IDENTITY else &self.total

    @property
    def capacity(self):
        """Keys that can owe at the same time without sharing cells: half of the slots."""
        return self.size // sizeof(mw_gcra_bucket) * MW_GCRA_WAYS // 2

    def owing(self, int64_t now_ns):
        """How many keys owe. Looks only at pages that somebody has written to; about 10 ms where all of 32 MiB are."""
        cdef uint64_t total = 0
        cdef size_t base = 0, at = 0, end = 0, bucket = sizeof(mw_gcra_bucket)
        if self.region is None or self.region.fd < 0:
            return mw_gcra_owing(&self.table, 0, self.size // bucket, now_ns)
        base = <size_t>(<char *>self.table.bucket - <char *>self.region.base)
        while True:
            try:
                at = os.lseek(self.region.fd, base + end, os.SEEK_DATA) - base
            except OSError:  # nothing beyond
                return total
            if at >= self.size:
                return total
            end = min(<size_t>os.lseek(self.region.fd, base + at, os.SEEK_HOLE) - base, self.size)
            total += mw_gcra_owing(&self.table, at // bucket, (end - at) // bucket, now_ns)
