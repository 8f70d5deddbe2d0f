"""Peers behind trusted proxies: x-forwarded-for read in place."""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from modelward_native.wire.sites cimport mw_network, mw_sites_enter
from modelward_native.wire.types cimport Conn, Stream, Wire
from modelward_native.wire.holding cimport forget_holder
from modelward_native.wire.listener cimport limiter_of
from modelward_native.limits.limit cimport MW_LEVEL_IDENTITY, MW_LEVEL_PEER, Limiter


cdef void read_forwarded(Stream *s, const uint8_t *value, size_t size) noexcept:
    cdef Conn *c = s.conn
    cdef uint8_t[16] address
    cdef uint8_t[16] key
    cdef size_t length
    cdef int found = mw_forwarded_peer(value, size, s.conn.wire.proxies, s.conn.wire.proxy_count, address)
    forget_holder(s)
    if found == 1:
        length = mw_address_budget(address, s.conn.wire.peer_bits, key)
        charge(limiter_of(c.wire), s, key, length)
        if length > 4:
            memcpy(c.told, key, 16)
            c.told_size = length
            c.told_peer = s.peer
        s.peer_limit = limit_of(s.conn.wire, address)
    elif found < 0:
        s.peer = s.conn.peer
        s.budget = s.conn.identity
        s.shared_key = s.conn.shared_key
        s.peer_limit = s.conn.peer_limit


cdef inline void charge(Limiter limiter, Stream *s, const uint8_t *key, size_t length) noexcept:
    s.peer = limiter.hash(MW_LEVEL_PEER, key, length)
    s.budget = limiter.hash(MW_LEVEL_IDENTITY, key, length)
    s.shared_key = limiter.shared_key(key, length)


cdef void enter_network(Stream *s) noexcept:
    cdef Conn *c = s.conn
    cdef Limiter limiter
    cdef size_t length
    if c.told_size == 0 or s.peer != c.told_peer or s.peer == c.peer or c.wire.sites == NULL:
        return
    limiter = limiter_of(c.wire)
    length = shared_budget(c.wire, limiter, c.told, c.told_size)
    if length < c.told_size:
        forget_holder(s)
        charge(limiter, s, c.told, length)


cdef size_t shared_budget(Wire *wire, Limiter limiter, const uint8_t *key, size_t length) noexcept:
    """How many bytes of the key of an IPv6 peer its budgets go by: fewer where others have the places of its /56 or /48."""
    cdef uint64_t network
    cdef size_t size
    cdef uint32_t most = max(wire.sites.most // 4, 1)
    for size in range(7, 5, -1):  # as Networks does for connections
        if length > size:
            network = limiter.hash(MW_LEVEL_PEER, key, size)
            if not mw_sites_enter(wire.sites, network, limiter.hash(MW_LEVEL_PEER, key, length), most, wire.now):
                length = size
        most = wire.sites.most
    return length


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
