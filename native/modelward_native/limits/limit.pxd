"""GCRA limits of four levels: peer and identity in one table, model and total in cells of their own."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from modelward_native.region.region cimport Region


cdef extern from "shared_limits.h" nogil:
    enum:
        MW_SHARED_ACCOUNTS

    const double MW_DEMAND_NS

    ctypedef struct mw_account:
        uint64_t key
        uint64_t hash
        int64_t spent_ns
        int64_t wanted_ns
        int64_t most_ns
        double demand
        int64_t demand_at_ns

    ctypedef struct mw_shared_limits:
        uint64_t unbooked
        mw_account total
        mw_account identity[MW_SHARED_ACCOUNTS]

    ctypedef struct mw_cell:
        mw_account account
        int64_t tat_ns

    mw_account *mw_shared_account(mw_shared_limits *limits, uint64_t key, uint64_t hash)
    bint mw_account_is_due(mw_account *account)
    void mw_account_take(mw_account *account, int64_t elapsed_ns, double decay, int64_t now_ns, int64_t *spent_ns,
                         double *changed)
    void mw_account_share(mw_account *account, double demand)
    void mw_account_forget(mw_account *account)


cdef extern from "gcra.h" nogil:
    ctypedef enum mw_level:
        MW_LEVEL_PEER
        MW_LEVEL_IDENTITY
        MW_LEVEL_MODEL
        MW_LEVEL_TOTAL
        MW_LEVELS

    enum:
        MW_ADMITTED
        MW_GCRA_MAX_CLAIMS
        MW_GCRA_WAYS

    const int64_t MW_RETRY_NEVER

    ctypedef struct mw_rate:
        int64_t interval_ns
        int64_t tolerance_ns
        bint timed

    ctypedef struct mw_meter:
        mw_rate rate
        int64_t *tat_ns
        mw_account *account

    ctypedef struct mw_gcra_shared:
        int64_t total_tat_ns
        uint64_t overflowed

    ctypedef struct mw_gcra_bucket:
        pass

    ctypedef struct mw_gcra:
        mw_gcra_shared *shared
        mw_gcra_bucket *bucket
        uint64_t sip_key[2]

    ctypedef struct mw_claim:
        mw_rate rate
        uint64_t hash
        mw_meter *meter
        mw_account *account
        int64_t cost
        mw_level level

    int mw_rate_make(double requests_per_second, int64_t burst, mw_rate *out)
    int mw_rate_make_timed(double share, int64_t burst_ns, mw_rate *out)
    size_t mw_gcra_size(uint64_t keys)
    void mw_gcra_init(mw_gcra *table, mw_gcra_shared *shared, void *buckets, size_t size, const uint64_t *sip_key)
    uint64_t mw_gcra_hash(const uint64_t *sip_key, mw_level level, const void *key, size_t size)
    int64_t mw_gcra_peek(mw_gcra *table, mw_rate rate, uint64_t hash, mw_level level, int64_t now_ns)
    int mw_gcra_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns)
    int mw_gcra_would_admit(mw_gcra *table, const mw_claim *claims, int count, int64_t now_ns, int64_t *retry_ns)
    void mw_gcra_settle(mw_gcra *table, const mw_claim *claim, int64_t cost, int64_t now_ns)
    void mw_gcra_follow(mw_gcra *table, const mw_account *account, int64_t *tat_ns, int64_t ahead_ns, int64_t at_ns,
                        int64_t now_ns)
    uint64_t mw_gcra_owing(const mw_gcra *table, size_t first, size_t count, int64_t now_ns)
    void mw_gcra_prefetch(const mw_gcra *table, uint64_t hash)


cdef extern from "cost.h" nogil:
    const int64_t MW_COST_LEAST_NS

    ctypedef struct mw_costs:
        pass

    int64_t mw_cost_predict(const mw_costs *c, uint64_t bytes)
    void mw_cost_learn(mw_costs *c, uint64_t bytes, int64_t took_ns)

cdef enum:
    LIMIT_TEXT = 48

cdef struct Limit:                # one limit as it was set
    mw_rate rate                  # interval 0 (the start): unlimited
    char text[LIMIT_TEXT]         # for clients: "1000 requests/s"

cdef struct Payers:               # whose budgets pay for a request
    uint64_t peer                 # hashes of keys
    uint64_t identity             # 0: not known, the level is skipped
    uint64_t shared_key           # the identity's in all servers: Limiter.shared_key; 0 where nothing is shared
    mw_meter *model               # the model's own meter; NULL: the level is skipped
    uint32_t peer_limit           # numbers of overrides; 0: the level's own limit holds
    uint32_t identity_limit

cdef class Limiter:
    # The kernel is linked into limit alone: other modules reach it through these methods (one indirect call, ~1 ns).
    cdef mw_gcra table
    cdef void *mapped          # by this object, unmapped with it; NULL where the memory is the region's
    cdef Region region         # keeps the memory alive; None where it is ours
    cdef size_t size           # bytes of the buckets
    cdef Limit peer
    cdef Limit identity
    cdef Limit total
    cdef mw_meter total_meter
    cdef mw_shared_limits *shared     # the region's; NULL where no limit is shared
    cdef uint64_t[2] shared_hash_key
    cdef uint64_t[2] sticky_key   # the region's
    cdef Limit *overrides      # owned: of peers and identities that have limits of their own
    cdef uint32_t override_count
    cdef bint limiting         # there is any of these limits
    cdef bint timed            # some of them are of backend time

    # key: for PEER the address bytes (one IPv6 peer owns a whole /64: pass 8 bytes), for IDENTITY its name.
    cdef uint64_t hash(self, mw_level level, const void *key, size_t size) noexcept nogil

    # What the choice of a version sticks to, never 0: the same for equal bytes in every process, and where the key is kept,
    # after a restart.
    cdef uint64_t sticky(self, const void *key, size_t size) noexcept nogil
    # The same name's in all servers that share limits; 0 where none is shared. A name that clients choose must be a digest.
    cdef uint64_t shared_key(self, const void *key, size_t size) noexcept nogil
    cdef void follow(self, const mw_account *account, int64_t *tat_ns, int64_t ahead_ns, int64_t at_ns, int64_t now_ns) noexcept

    # 0, or nanoseconds until this peer's next request conforms.
    cdef int64_t peek_peer(self, uint64_t peer, uint32_t limit, int64_t now_ns) noexcept nogil

    # Charges all four levels or none: a request, or the backend time that it will take, whichever a level counts.
    # Returns MW_ADMITTED or the mw_level that refuses, with its wait in retry_ns.
    cdef int admit(self, const Payers *payers, int64_t requests, int64_t backend_ns, int64_t now_ns,
                   int64_t *retry_ns) noexcept nogil
    # The same judgement, and nothing is charged.
    cdef int would_admit(self, const Payers *payers, int64_t requests, int64_t backend_ns, int64_t now_ns,
                         int64_t *retry_ns) noexcept nogil
    # As admit, of one peer, who alone pays.
    cdef int admit_peer(self, uint64_t peer, int64_t requests, int64_t now_ns, int64_t *retry_ns) noexcept nogil
    # What was charged as so much backend time has taken another.
    cdef void settle(self, const Payers *payers, int64_t charged_ns, int64_t took_ns, int64_t now_ns) noexcept nogil
    cdef int claims_of(self, const Payers *payers, int64_t requests, int64_t backend_ns, bint timed_only,
                       mw_claim *claims) noexcept nogil
    cdef const Limit *limit_of(self, mw_level level, uint32_t number) noexcept nogil
    cdef int note(self) except -1

cdef bytes CELL                # what the name of a model's cell in the region begins with: the cell is a mw_cell

# Fills a limit from configuration: requests per second and requests at once, or where `timed` backend seconds per second
# and ns at once. A rate of 0: none. ValueError says what is wrong.
cdef int make_limit(Limit *limit, double rate, int64_t burst, bint timed) except -1
