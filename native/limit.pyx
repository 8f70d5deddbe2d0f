"""GCRA limits of a server: the memory, the key and the rates around the kernel in csrc/gcra.c."""
import os

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_READ, PROT_WRITE, mmap, munmap
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

LEVELS = ("peer", "identity", "model", "total")  # by mw_level


cdef int make_rate(double requests_per_second, int64_t burst, mw_rate *out) except -1:
    if mw_rate_make(requests_per_second, burst, out) != 0:
        raise ValueError(
            f"a rate of {requests_per_second}/s with a burst of {burst} cannot be held: "
            "the rate is a finite number above 0 and at least one request in 2.28 years, the burst at least 1")
    return 0


cdef int set_rate(mw_rate *rate, double requests_per_second, int64_t burst) except -1:
    if requests_per_second == 0:
        rate.interval_ns = rate.tolerance_ns = 0
        return 0
    return make_rate(requests_per_second, burst, rate)


cdef class Meter:
    """The limit of one model where set-up or a test needs it as an object; models of the data plane embed theirs."""

    cdef mw_meter meter
    cdef int64_t tat_ns

    def __init__(self, double requests_per_second, int64_t burst):
        self.meter.tat_ns = &self.tat_ns
        make_rate(requests_per_second, burst, &self.meter.rate)


cdef class Limiter:
    """Limits per peer, per identity, per model and in total; a request is checked against all before any is charged.

    keys: how many peers and identities together may owe at the same time, 1 to 2**32; every key costs 32 bytes of address
    space, and pages that no key touches cost no memory. key: 16 bytes for SipHash, random unless a test fixes them.
    region: where the table lies that this process shares with others, under `name`; the hash key is the region's then.
    Rates are each process's own. Times are nanoseconds of a monotonic clock. Algorithm and behaviour when the table is
    full: csrc/gcra.h.
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
            memory = region.common(name.encode(), sizeof(mw_gcra_shared) + self.size)
        else:
            memory = mmap(NULL, sizeof(mw_gcra_shared) + self.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
            if memory == MAP_FAILED:
                raise MemoryError(f"a limit table of {self.size} bytes")
            self.mapped = memory
        mw_gcra_init(&self.table, <mw_gcra_shared *>memory, <char *>memory + sizeof(mw_gcra_shared), self.size, sip_key)
        self.total.tat_ns = &self.table.shared.total_tat_ns

    def __dealloc__(self):
        if self.mapped != NULL:
            munmap(self.mapped, sizeof(mw_gcra_shared) + self.size)

    cdef uint64_t hash(self, mw_level level, const void *key, size_t size) noexcept nogil:
        return mw_gcra_hash(&self.table, level, key, size)

    cdef int64_t peek_peer(self, uint64_t peer, int64_t now_ns) noexcept nogil:
        return mw_gcra_peek(&self.table, self.peer, peer, MW_LEVEL_PEER, now_ns)

    cdef int admit(self, uint64_t peer, uint64_t identity, mw_meter *model, int64_t cost, int64_t now_ns,
                   int64_t *retry_ns) noexcept nogil:
        cdef mw_claim[4] claims
        cdef int count = 0, refused_by
        if self.peer.interval_ns != 0:
            claims[count].level, claims[count].meter = MW_LEVEL_PEER, NULL
            claims[count].rate, claims[count].hash = self.peer, peer
            count += 1
        if self.identity.interval_ns != 0 and identity != 0:
            claims[count].level, claims[count].meter = MW_LEVEL_IDENTITY, NULL
            claims[count].rate, claims[count].hash = self.identity, identity
            count += 1
        if model != NULL and model.rate.interval_ns != 0:
            claims[count].level, claims[count].meter = MW_LEVEL_MODEL, model
            count += 1
        if self.total.rate.interval_ns != 0:
            claims[count].level, claims[count].meter = MW_LEVEL_TOTAL, &self.total
            count += 1
        if count == 0:
            return MW_ADMITTED
        refused_by = mw_gcra_admit(&self.table, claims, count, cost, now_ns, retry_ns)
        return refused_by if refused_by == MW_ADMITTED else claims[refused_by].level

    def set_peer(self, double requests_per_second, int64_t burst):
        """Every peer's own limit from now on; debts run up before are kept, cut to what the new rate allows.

        burst: requests that may come at once. 0 requests per second: no limit. ValueError if it cannot be held.
        """
        set_rate(&self.peer, requests_per_second, burst)

    def set_identity(self, double requests_per_second, int64_t burst):
        """Every identity's own limit; as set_peer."""
        set_rate(&self.identity, requests_per_second, burst)

    def set_total(self, double requests_per_second, int64_t burst):
        """The limit of all requests together; as set_peer."""
        set_rate(&self.total.rate, requests_per_second, burst)

    def key(self, level, bytes name not None):
        """The hash of a peer's or an identity's name: level is "peer" or "identity"."""
        cdef const char *data = name
        return self.hash(<mw_level><int>LEVELS.index(level), data, len(name))

    def check(self, peer, int64_t now_ns):
        """Nanoseconds until this peer (bytes) may send one request; 0 if it may now. Charges nothing."""
        return self.peek_peer(self.key("peer", peer), now_ns)

    def request(self, now_ns, peer, identity=None, Meter model=None, int64_t cost=1):
        """One request of a peer (bytes) and an identity (bytes), if known.

        None if it is admitted and charged; else (level, ns until a retry may succeed, or None if cost is above the burst).
        """
        cdef int64_t retry_ns = 0
        cdef uint64_t peer_hash = self.key("peer", peer)
        cdef uint64_t identity_hash = 0 if identity is None else self.key("identity", identity)
        cdef mw_meter *meter = NULL if model is None else &model.meter
        if cost < 1:
            raise ValueError("a request costs at least 1")
        cdef int level = self.admit(peer_hash, identity_hash, meter, cost, now_ns, &retry_ns)
        if level == MW_ADMITTED:
            return None
        return LEVELS[level], None if retry_ns == MW_RETRY_NEVER else retry_ns

    @property
    def bytes(self):
        """Size of the table."""
        return self.size

    @property
    def overflowed(self):
        """Times that a level shared its overflow cell because only debtors were in reach of a key."""
        return self.table.shared.overflowed


cdef int64_t clock_ns() noexcept nogil:
    cdef timespec t
    clock_gettime(CLOCK_MONOTONIC, &t)
    return <int64_t>t.tv_sec * 1000000000 + t.tv_nsec


def request_many(Limiter limiter not None, uint64_t first, uint64_t count, int64_t now_ns):
    """One request each of the peers named by the 8-byte little-endian numbers from `first` on. Returns how many passed."""
    cdef uint64_t name, passed = 0
    cdef int64_t retry_ns
    with nogil:
        for name in range(first, first + count):
            passed += limiter.admit(limiter.hash(MW_LEVEL_PEER, &name, 8), 0, NULL, 1, now_ns, &retry_ns) == MW_ADMITTED
    return passed


def measure_admit(Limiter limiter not None, Meter model not None, uint64_t peers, int64_t rounds, int64_t step_ns):
    """Nanoseconds per admit of one peer and identity after the other among `peers`, time going on by step_ns a request.

    Returns (ns per request, share admitted). Hashes are made before, as they are once per connection.
    """
    cdef int64_t _round, retry_ns, start, now_ns = 1000000000, passed = 0
    cdef uint64_t peer
    cdef uint64_t[4096] peer_hash, identity_hash
    if not 1 <= peers <= 4096:
        raise ValueError("1 to 4096 peers")
    for peer in range(peers):
        peer_hash[peer] = limiter.hash(MW_LEVEL_PEER, &peer, 8)
        identity_hash[peer] = limiter.hash(MW_LEVEL_IDENTITY, &peer, 8)
    for peer in range(peers):  # what is measured is a warm table: its pages mapped, every key in its slot
        limiter.admit(peer_hash[peer], identity_hash[peer], &model.meter, 1, now_ns, &retry_ns)
    start = clock_ns()
    with nogil:
        peer = 0
        for _round in range(rounds):
            now_ns += step_ns
            passed += limiter.admit(peer_hash[peer], identity_hash[peer], &model.meter, 1, now_ns, &retry_ns) == MW_ADMITTED
            peer = peer + 1 if peer + 1 < peers else 0
    return (clock_ns() - start) / <double>rounds, passed / <double>rounds


def measure_hash(Limiter limiter not None, bytes name not None, int64_t rounds):
    """Nanoseconds per hash of one key; each round's key depends on the hash before."""
    cdef char[64] key
    cdef size_t size = len(name)
    cdef const char *data = name
    cdef uint64_t h = 0
    cdef int64_t _round, start
    if not 8 <= size <= 64:
        raise ValueError("8 to 64 bytes")
    memcpy(key, data, size)
    start = clock_ns()
    for _round in range(rounds):
        h = limiter.hash(MW_LEVEL_PEER, key, size)
        memcpy(key, &h, 8)
    return (clock_ns() - start) / <double>rounds
