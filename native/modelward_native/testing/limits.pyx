"""A limiter that Python asks and charges, and what that costs: for tests and tools."""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

from modelward_native.limits.limit cimport (
    MW_ADMITTED, MW_LEVEL_IDENTITY, MW_LEVEL_PEER, MW_RETRY_NEVER, Limit, Limiter as Base, Payers, make_limit, mw_level, mw_meter)
from modelward_native.timer.clock cimport mw_now_ns

LEVELS = ("peer", "identity", "model", "total")  # by mw_level


cdef class Meter:
    """The limit of one model; models of the data plane embed theirs."""

    cdef mw_meter meter
    cdef int64_t tat_ns

    def __init__(self, double rate, int64_t burst, bint timed=False):
        cdef Limit limit
        make_limit(&limit, rate, burst, timed)
        self.meter.tat_ns = &self.tat_ns
        self.meter.rate = limit.rate


cdef class Limiter(Base):
    """The Limiter of the data plane, with methods that do one at a time what stages do with each request."""

    def key(self, level, bytes name not None):
        """The hash of a peer's or an identity's name: level is "peer" or "identity"."""
        cdef const char *data = name
        return self.hash(<mw_level><int>LEVELS.index(level), data, len(name))

    def check(self, peer, int64_t now_ns):
        """Nanoseconds until this peer (bytes) may send one request; 0 if it may now. Charges nothing."""
        return self.peek_peer(self.key("peer", peer), 0, now_ns)

    def request(self, now_ns, peer, identity=None, Meter model=None, int64_t cost=1, int64_t backend_ns=1):
        """One request of a peer (bytes) and an identity (bytes), if known; backend_ns: what it will take.

        None if it is admitted and charged; else (level, ns until a retry may succeed, or None if cost is above the burst).
        """
        cdef int64_t retry_ns = 0
        cdef Payers payers
        name_payers(self, &payers, peer, identity, model)
        if cost < 1 or backend_ns < 1:
            raise ValueError("a request costs at least 1")
        cdef int level = self.admit(&payers, cost, backend_ns, now_ns, &retry_ns)
        if level == MW_ADMITTED:
            return None
        return LEVELS[level], None if retry_ns == MW_RETRY_NEVER else retry_ns

    def correct(self, now_ns, int64_t charged_ns, int64_t took_ns, peer, identity=None, Meter model=None):
        """A request that was charged as taking charged_ns of backend time took another."""
        cdef Payers payers
        name_payers(self, &payers, peer, identity, model)
        self.settle(&payers, charged_ns, took_ns, now_ns)

    @property
    def bytes(self):
        """Size of the table."""
        return self.size

    @property
    def overflowed(self):
        """Times that a level shared its overflow cell because only debtors were in reach of a key."""
        return self.table.shared.overflowed


cdef int name_payers(Limiter limiter, Payers *payers, peer, identity, Meter model) except -1:
    payers.peer = limiter.key("peer", peer)
    payers.identity = 0 if identity is None else limiter.key("identity", identity)
    payers.shared_key = 0 if identity is None else limiter.shared_key(<const char *>(<bytes>identity), len(<bytes>identity))
    payers.model = NULL if model is None else &model.meter
    payers.peer_limit = payers.identity_limit = 0
    return 0


def request_many(Base limiter not None, uint64_t first, uint64_t count, int64_t now_ns):
    """One request each of the peers named by the 8-byte little-endian numbers from `first` on. Returns how many passed."""
    cdef uint64_t name, passed = 0
    cdef int64_t retry_ns
    with nogil:
        for name in range(first, first + count):
            passed += limiter.admit_peer(limiter.hash(MW_LEVEL_PEER, &name, 8), 1, now_ns, &retry_ns) == MW_ADMITTED
    return passed


def measure_admit(Base limiter not None, Meter model not None, uint64_t peers, int64_t rounds, int64_t step_ns,
                  int64_t backend_ns=1):
    """Nanoseconds per admit of one peer and identity after the other among `peers`, time going on by step_ns a request.

    Returns (ns per request, share admitted). Hashes are made before, as they are once per connection.
    """
    cdef int64_t _round, retry_ns, start, now_ns = 1000000000, passed = 0
    cdef uint64_t peer
    cdef Payers[4096] payers
    if not 1 <= peers <= 4096:
        raise ValueError("1 to 4096 peers")
    for peer in range(peers):
        payers[peer].peer = limiter.hash(MW_LEVEL_PEER, &peer, 8)
        payers[peer].identity = limiter.hash(MW_LEVEL_IDENTITY, &peer, 8)
        payers[peer].shared_key = limiter.shared_key(&peer, 8)
        payers[peer].model = &model.meter
        payers[peer].peer_limit = payers[peer].identity_limit = 0
    for peer in range(peers):  # what is measured is a warm table: its pages mapped, every key in its slot
        limiter.admit(&payers[peer], 1, backend_ns, now_ns, &retry_ns)
    start = mw_now_ns()
    with nogil:
        peer = 0
        for _round in range(rounds):
            now_ns += step_ns
            passed += limiter.admit(&payers[peer], 1, backend_ns, now_ns, &retry_ns) == MW_ADMITTED
            peer = peer + 1 if peer + 1 < peers else 0
    return (mw_now_ns() - start) / <double>rounds, passed / <double>rounds


def measure_hash(Base limiter not None, bytes name not None, int64_t rounds):
    """Nanoseconds per hash of one key; each round's key depends on the hash before."""
    cdef char[64] key
    cdef size_t size = len(name)
    cdef const char *data = name
    cdef uint64_t h = 0
    cdef int64_t _round, start
    if not 8 <= size <= 64:
        raise ValueError("8 to 64 bytes")
    memcpy(key, data, size)
    start = mw_now_ns()
    for _round in range(rounds):
        h = limiter.hash(MW_LEVEL_PEER, key, size)
        memcpy(key, &h, 8)
    return (mw_now_ns() - start) / <double>rounds
