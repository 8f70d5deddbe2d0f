"""W3C traceparent (https://www.w3.org/TR/trace-context/, section 3.2) and x-request-id for requests that bring none.

Nothing is kept per request: the ids follow from the exchange and from secrets of this process, mixed by SplitMix64's
finalizer (Steele, Lea and Flood 2014). About 10 ns for both.
"""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import os

cdef extern from "<endian.h>" nogil:
    uint64_t htobe64(uint64_t x)

cdef uint64_t[3] SECRETS


def _draw():
    for i in range(3):
        SECRETS[i] = int.from_bytes(os.urandom(8), "little")


_draw()
os.register_at_fork(after_in_child=_draw)    # workers that share them could give two requests one id

cdef uint64_t mixed(uint64_t x) noexcept:
    x = (x ^ (x >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    x = (x ^ (x >> 27)) * <uint64_t>0x94D049BB133111EB
    x ^= x >> 31
    return x if x else 1          # all zeros is no id


cdef inline void write_hex_half(char *to, uint64_t x) noexcept:
    """Eight digits of 32 bits, all at once: each moves into a byte of its own, and is made a character there."""
    cdef uint64_t above_nine
    x = (x | x << 16) & <uint64_t>0x0000FFFF0000FFFF
    x = (x | x << 8) & <uint64_t>0x00FF00FF00FF00FF
    x = (x | x << 4) & <uint64_t>0x0F0F0F0F0F0F0F0F
    above_nine = ((x + <uint64_t>0x0606060606060606) >> 4) & <uint64_t>0x0101010101010101
    x = htobe64(x + <uint64_t>0x3030303030303030 + above_nine * 39)    # "0", and from "9" + 1 to "a"
    memcpy(to, &x, 8)


cdef void write_hex(char *to, uint64_t x) noexcept:
    write_hex_half(to, x >> 32)
    write_hex_half(to + 8, x & <uint64_t>0xFFFFFFFF)


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


cdef inline int digit(uint8_t c) noexcept:
    """Of hexadecimal digits in lower case; below 0 for another character."""
    if 48 <= c <= 57:             # 0 to 9
        return c - 48
    return c - 87 if 97 <= c <= 102 else -1    # a to f


cdef bint parse_hex(uint8_t *to, const uint8_t *text, size_t bytes) noexcept:
    """False also for zeros alone."""
    cdef uint8_t any = 0
    cdef int high, low
    cdef size_t i
    for i in range(bytes):
        high = digit(text[2 * i])
        low = digit(text[2 * i + 1])
        if high < 0 or low < 0:
            return False
        to[i] = <uint8_t>(high << 4 | low)
        any |= to[i]
    return any != 0


cdef bint parse_traceparent(uint8_t *to, const uint8_t *value, size_t size) noexcept:
    # a later version may have more behind it; ff is none
    if size < TRACEPARENT or (size > TRACEPARENT and (value[TRACEPARENT] != 45 or value[0] == 48 and value[1] == 48)):
        return False
    if digit(value[0]) < 0 or digit(value[1]) < 0 or (value[0] == 102 and value[1] == 102):
        return False
    if value[2] != 45 or value[35] != 45 or value[52] != 45 or digit(value[53]) < 0 or digit(value[54]) < 0:
        return False
    return parse_hex(to, value + 3, 16) and parse_hex(to + 16, value + 36, 8)
