"""The table of checked credentials: its memory and its key around the kernel in modelward_native/access/tokens.c."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy


cdef class Tokens:
    """Room for at least so many tokens, 1 to 2**24, at 32 bytes each. key: 16 bytes, secret.

    Times are nanoseconds of a monotonic clock. What is found and what gives way to what: modelward_native/access/tokens.h.
    """

    def __cinit__(self, uint64_t tokens, bytes key not None):
        cdef uint64_t[2] sip_key
        cdef const char *secret = key
        cdef size_t size = mw_tokens_size(tokens)
        cdef void *memory
        if size == 0:
            raise ValueError("a table has room for 1 to 2**24 tokens")
        if len(key) != 16:
            raise ValueError("the hash key has 16 bytes")
        memory = calloc(1, size)
        if memory == NULL:
            raise MemoryError
        memcpy(sip_key, secret, 16)
        mw_tokens_init(&self.table, memory, size, sip_key)

    def __dealloc__(self):
        free(self.table.token)

    cdef void hash(self, uint64_t kind, const uint8_t *credential, size_t size, uint64_t *hash) noexcept nogil:
        mw_tokens_hash(&self.table, kind, credential, size, hash)

    cdef mw_token *find(self, const uint64_t *hash, int64_t now) noexcept nogil:
        return mw_tokens_find(&self.table, hash, now)

    cdef void put(self, const uint64_t *hash, uint32_t owner, uint32_t stamp, int64_t expires, int64_t now) noexcept nogil:
        mw_tokens_put(&self.table, hash, owner, stamp, expires, now)

    def clear(self):
        """Forgets everything."""
        mw_tokens_clear(&self.table)

    def count(self, int64_t now_ns) -> int:
        """How many have not expired. Reads the whole table."""
        return mw_tokens_count(&self.table, now_ns)
