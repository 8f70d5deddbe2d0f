# Pseudo-random numbers that no client can guess, as long as the first state is random and not 0.
from libc.stdint cimport uint64_t

# xorshift64: Marsaglia, "Xorshift RNGs", 2003.
cdef inline uint64_t next_random(uint64_t *state) noexcept nogil:
    cdef uint64_t r = state[0]
    r ^= r << 13
    r ^= r >> 7
    r ^= r << 17
    state[0] = r
    return r
