"""The table of checked credentials as Python sees it, and what a look-up costs: for tests and tools."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from modelward_native.access.tokens cimport Tokens as Base, mw_token
from modelward_native.timer.clock cimport mw_now_ns


cdef class Tokens(Base):
    """The Tokens of the data plane, which itself only hands over hashes."""

    def digest(self, uint64_t kind, bytes credential not None) -> bytes:
        """The hash, 16 bytes."""
        cdef uint64_t[2] hash
        self.hash(kind, credential, len(credential), hash)
        return (<char *>hash)[:16]

    def remember(self, bytes credential not None, uint32_t owner, int64_t expires_ns, int64_t now_ns):
        """Puts one of kind 0."""
        cdef uint64_t[2] hash
        self.hash(0, credential, len(credential), hash)
        self.put(hash, owner, 0, expires_ns, now_ns)

    def owner(self, bytes credential not None, int64_t now_ns):
        """Whose it is, None where that is not known."""
        cdef uint64_t[2] hash
        cdef mw_token *token
        self.hash(0, credential, len(credential), hash)
        token = self.find(hash, now_ns)
        return None if token == NULL else token.owner


def measure_hit(Tokens tokens not None, bytes credential not None, int64_t rounds) -> float:
    """Nanoseconds per hash and look-up of one credential that is known."""
    cdef uint64_t[2] hash
    cdef const char *data = credential
    cdef size_t size = len(credential)
    cdef int64_t start, _round, found = 0
    tokens.remember(credential, 1, 1 << 62, 0)
    start = mw_now_ns()
    with nogil:
        for _round in range(rounds):
            tokens.hash(0, <const uint8_t *>data, size, hash)
            found += tokens.find(hash, _round) != NULL
    if found != rounds:
        raise AssertionError("a credential that is known was not found")
    return (mw_now_ns() - start) / <double>rounds
