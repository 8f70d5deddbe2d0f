# Credentials that were checked not long ago, by their keyed hash.
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef extern from "tokens.h" nogil:
    ctypedef struct mw_token:
        int64_t expires_ns
        uint32_t owner
        uint32_t stamp

    ctypedef struct mw_tokens:
        mw_token *token

    size_t mw_tokens_size(uint64_t tokens)
    void mw_tokens_init(mw_tokens *table, void *memory, size_t size, const uint64_t *sip_key)
    void mw_tokens_hash(const mw_tokens *table, uint64_t kind, const void *credential, size_t size, uint64_t *hash)
    mw_token *mw_tokens_find(const mw_tokens *table, const uint64_t *hash, int64_t now_ns)
    void mw_tokens_put(mw_tokens *table, const uint64_t *hash, uint32_t owner, uint32_t stamp, int64_t expires_ns,
                       int64_t now_ns)
    void mw_tokens_clear(mw_tokens *table)
    size_t mw_tokens_count(const mw_tokens *table, int64_t now_ns)


cdef class Tokens:
    # The kernel is linked into tokens alone: other modules reach it through these methods.
    cdef mw_tokens table           # its memory is owned by this object

    # kind: of credential; the same bytes of another kind are another one.
    cdef void hash(self, uint64_t kind, const uint8_t *credential, size_t size, uint64_t *hash) noexcept nogil
    cdef mw_token *find(self, const uint64_t *hash, int64_t now) noexcept nogil
    cdef void put(self, const uint64_t *hash, uint32_t owner, uint32_t stamp, int64_t expires, int64_t now) noexcept nogil
