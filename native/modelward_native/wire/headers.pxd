# What the headers of a request say.
from libc.stdint cimport uint8_t

from modelward_native.wire.types cimport Stream
from modelward_native.wire.buffer cimport Buffer

# One header into the stream. keep: those that an upstream shall see are kept too. -1 for want of memory.
cdef int read_header(
    Stream *s, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size, bint keep) noexcept

cdef bint passed_on(const uint8_t *name, size_t size) noexcept
# Whether upstreams would see a credential of the client, had it sent one.
cdef bint may_prove_itself(const Stream *s) noexcept
# Whether an upstream that answers with this status refuses us, and not the client: it has seen no credential of the client,
# and one of ours (proven), or the client's is not passed on. s: whose request it was.
cdef bint refuses_us(const Stream *s, int status, bint proven) noexcept

cdef extern from "client.h" nogil:
    enum:
        IGNORED "MW_CLIENT_IGNORED"

# Keeps a field of an upstream's answer for the client, where it is to see it and there is room. IGNORED where it is never to see
# a field of this name; -1 for want of memory.
cdef int keep_passed_back(
    Buffer *kept, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept
# Appends two lengths, name and value; modelward_native.wire.send.kept_headers reads them. -1 for want of memory.
cdef int keep_header(
    Buffer *kept, const uint8_t *name, size_t name_size, const uint8_t *value, size_t value_size) noexcept
