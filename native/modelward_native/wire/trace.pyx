"""W3C traceparent (https://www.w3.org/TR/trace-context/, section 3.2) and x-request-id for requests that bring none.

Nothing is kept per request: the ids follow from the exchange and from secrets of this process, mixed by SplitMix64's
finalizer (Steele, Lea and Flood 2014). About 10 ns for both.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

import os

cdef uint64_t[3] SECRETS
for i in range(3):
    SECRETS[i] = int.from_bytes(os.urandom(8), "little")

cdef const char *DIGITS = "0123456789abcdef"


cdef uint64_t mixed(uint64_t x) noexcept:
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    x ^= x >> 31
    return x if x else 1          # all zeros is no id


cdef void write_hex(char *to, uint64_t x) noexcept:
    cdef int i
    for i in range(16):
        to[15 - i] = DIGITS[x & 15]
        x >>= 4


cdef void make_trace(Trace *to, const void *exchange, int64_t entered, int64_t attempt) noexcept:
    cdef uint64_t key = mixed(<uint64_t>entered ^ SECRETS[0]) + <uint64_t><size_t>exchange
    cdef uint64_t high = mixed(key ^ SECRETS[1])
    cdef uint64_t low = mixed(key ^ SECRETS[2])
    # not sampled: nothing is recorded here, and whether the upstream records is its own decision
    memcpy(to.parent, b"00-", 3)
    write_hex(to.parent + 3, high)
    write_hex(to.parent + 19, low)
    to.parent[35] = 45           # "-"
    write_hex(to.parent + 36, mixed(high + <uint64_t>attempt))
    memcpy(to.parent + 52, b"-00", 3)
    memcpy(to.request_id, to.parent + 3, REQUEST_ID)


def made(size_t exchange, int64_t entered, int64_t attempt) -> tuple[str, str]:
    """(traceparent, x-request-id) as an upstream would see them: for tests."""
    cdef Trace t
    make_trace(&t, <const void *>exchange, entered, attempt)
    return t.parent[:TRACEPARENT].decode(), t.request_id[:REQUEST_ID].decode()
