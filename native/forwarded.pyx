"""Peers behind trusted proxies: x-forwarded-for read in place."""
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from native.exchange cimport Stream, Wire, mw_network
from native.holding cimport forget_holder
from native.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_PEER, Limiter


cdef void read_forwarded(Stream *s, const uint8_t *value, size_t size) noexcept:
    cdef uint8_t[16] address
    cdef uint8_t[16] key
    cdef size_t length
    cdef Limiter limiter = <Limiter>s.conn.wire.limiter
    cdef int found = mw_forwarded_peer(value, size, s.conn.wire.proxies, s.conn.wire.proxy_count, address)
    forget_holder(s)
    if found == 1:
        length = mw_address_budget(address, s.conn.wire.peer_bits, key)
        s.peer = limiter.hash(MW_LEVEL_PEER, key, length)
        s.budget = limiter.hash(MW_LEVEL_IDENTITY, key, length)
        s.fleet = limiter.fleet(key, length)
        s.peer_limit = limit_of(s.conn.wire, address)
    elif found < 0:
        s.peer = s.conn.peer
        s.budget = s.conn.identity
        s.fleet = s.conn.fleet
        s.peer_limit = s.conn.peer_limit


cdef uint32_t limit_of(const Wire *wire, const uint8_t *address) noexcept:
    cdef uint32_t i
    for i in range(wire.limited_count):
        if mw_address_within(address, &wire.limited[i], 1):
            return i + 1
    return 0


cdef mw_network *networks_of(list networks) except? NULL:
    """(address of 16 bytes, bits) for each network; freed by the caller."""
    cdef mw_network *array = <mw_network *>calloc(max(len(networks), 1), sizeof(mw_network))
    cdef bytes address
    if array == NULL:
        raise MemoryError
    for i, (address, bits) in enumerate(networks):
        if len(address) != 16 or not 0 <= bits <= 128:
            free(array)
            raise ValueError("a network has 16 bytes and 0 to 128 bits")
        memcpy(array[<int>i].address, <const char *>address, 16)
        array[<int>i].bits = bits
    return array


def peer(bytes value not None, list trusted not None):
    """For tests: the address (16 bytes) that one x-forwarded-for tells; None where only proxies or nothing can be believed."""
    cdef mw_network *networks = networks_of(trusted)
    cdef uint8_t[16] address
    cdef int found = mw_forwarded_peer(value, len(value), networks, len(trusted), address)
    free(networks)
    return address[:16] if found == 1 else None
