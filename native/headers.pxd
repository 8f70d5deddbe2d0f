# What the headers of a request say.
from libc.stdint cimport uint8_t

from native.exchange cimport Stream

# One header into the stream. keep: those that an upstream shall see are kept too. -1 for want of memory.
cdef int read_header(
    Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size, bint keep) noexcept
