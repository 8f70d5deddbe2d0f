"""Peers behind trusted proxies, and the places that they take in their networks: for tests."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free

from modelward_native.wire.forwarded cimport mw_forwarded_peer, networks_of
from modelward_native.wire.sites cimport MW_SITE_BUCKETS, MW_SITE_WAYS, mw_network, mw_sites, mw_sites_enter, mw_sites_new


def peer(bytes value not None, list trusted not None):
    """The address (16 bytes) that one x-forwarded-for tells; None where only proxies or nothing can be believed."""
    cdef mw_network *networks = networks_of(trusted)
    cdef uint8_t[16] address
    cdef int found = mw_forwarded_peer(value, len(value), networks, len(trusted), address)
    free(networks)
    return address[:16] if found == 1 else None


SITE_WAYS, SITE_BUCKETS = MW_SITE_WAYS, MW_SITE_BUCKETS


cdef class Sites:
    """The table of IPv6 networks and their members, both named by hashes."""
    cdef mw_sites *sites          # owned

    def __cinit__(self, uint32_t most):
        self.sites = mw_sites_new(most)
        if self.sites == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.sites)

    def enter(self, uint64_t network, uint64_t member, uint32_t most, int64_t now_ns) -> bool:
        """Whether `member` has one of the first `most` places of `network`."""
        return mw_sites_enter(self.sites, network, member, most, now_ns)
