# Whose budget pays for a request that a trusted proxy has passed on.
from libc.stdint cimport uint8_t, uint32_t

from modelward_native.wire.sites cimport mw_network
from modelward_native.wire.types cimport Stream, Wire

cdef extern from "forwarded.h" nogil:
    int mw_address_read(const uint8_t *text, size_t size, uint8_t *address)
    size_t mw_address_budget(const uint8_t *address, unsigned bits, uint8_t *key)
    bint mw_address_within(const uint8_t *address, const mw_network *networks, size_t count)
    int mw_forwarded_peer(const uint8_t *value, size_t size, const mw_network *trusted, size_t count, uint8_t *address)

# One x-forwarded-for header of a trusted proxy. Of several the last counts, unless it names trusted proxies alone.
cdef void read_forwarded(Stream *s, const uint8_t *value, size_t size) noexcept
# Once the headers are complete: the peer that counts takes its place in its IPv6 network, or shares the others' budget. Earlier
# headers take none: a client may have written them.
cdef void enter_network(Stream *s) noexcept
# The number of the limit that peers of this address (16 bytes) have; 0: none of their own.
cdef uint32_t limit_of(const Wire *wire, const uint8_t *address) noexcept
cdef mw_network *networks_of(list networks) except? NULL
