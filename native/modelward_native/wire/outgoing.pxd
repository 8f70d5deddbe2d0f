# The headers of a request to an upstream.
from libc.stdint cimport int64_t, uint8_t

from modelward_native.access.identity cimport Identity
from modelward_native.wire.buffer cimport Buffer

cdef enum:
    FIELDS = 20480                # bytes; the client's metadata are 16384 at most, with 32 for every field, its name 1536

cdef struct Outgoing:             # what they are made of
    const Buffer *metadata        # borrowed; the client's, as h2 kept it; NULL for none
    const Identity *caller        # borrowed; whose request it is, as far as the upstream is told; NULL for no one
    bint shadow                   # nobody waits for the answer: it is only compared
    int64_t due                   # ns; the call's deadline; 0 for none
    const void *who               # with the next two, what the ids are made of where the client has none
    int64_t entered               # ns
    int64_t attempt

# What goes beyond the constant fields, encoded, at most FIELDS bytes; returns how many.
cdef size_t request_fields(const Outgoing *o, int64_t now, uint8_t *to) noexcept
