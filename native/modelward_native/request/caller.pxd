# Parts that callers are counted in.
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    CALLERS = 64                  # parts of a keyed hash: a client does not know its part


cdef inline uint32_t part_of(uint64_t budget) noexcept:
    """The identity's part of the callers, or the peer's where there is no identity: by the keyed hash that its budget has."""
    return <uint32_t>(budget >> 32) % <uint32_t>CALLERS
