# What the connections of one listening socket share, and which of them there may be.
from libc.stdint cimport int64_t, uint8_t, uint64_t

cdef class Listener               # a connection refers to it

from modelward_native.limits.callers cimport Callers
from modelward_native.limits.limit cimport Limiter, Payers
from modelward_native.region.region cimport Region
from modelward_native.timer.deadline cimport Wheel
from modelward_native.wire.connection cimport Connection
from modelward_native.wire.networks cimport Networks
from modelward_native.wire.peer_index cimport PeerIndex
from modelward_native.wire.types cimport Wire

cdef class Listener:
    cdef Wire wire
    cdef readonly Wheel wheel
    cdef readonly Limiter limiter
    cdef Callers callers
    cdef Region region
    cdef Limiter arrivals                 # new connections per peer; None for no limit
    cdef Limiter resets                   # streams reset before their time, per peer
    cdef readonly object connections      # OrderedDict of Connection, the next to be looked at for idleness first
    cdef PeerIndex peers                  # the same connections by peer
    cdef Networks networks                # of the peers that come by IPv6
    cdef list last_peers                  # by enum CloseReason: the last peer that it happened to
    cdef public int max_connections
    cdef public int max_per_peer          # over all processes, as is max_connections
    cdef int sockets                      # of connections that were admitted and are not closed yet
    cdef public int max_here              # most connections of this process, by its descriptors
    cdef bint trusts_unix                 # every client on our Unix socket is a trusted proxy
    cdef object read_view                 # wire.read_view
    cdef int admit(self, Connection connection, bytes key) except -1
    cdef uint64_t hash_of(self, bytes key) noexcept
    cdef bint has_place(self, uint64_t peer, int own) noexcept
    cdef bint make_room(self, object connections) except -1
    cdef bint make_room_for_all(self) except -1
    cdef Connection idlest(self, object connections)
    cdef int dismiss(self, Connection connection) except -1
    cdef int make_sites(self) except -1
    cdef int note(self, Connection connection, int why) except -1
    cdef int forget(self, Connection connection) except -1


cdef inline Limiter limiter_of(const Wire *wire):
    return <Limiter>wire.limiter


# Its methods for what happens with each request, which takes no reference to it.
cdef inline void settle_charge(const Wire *wire, const Payers *payers, int64_t charged_ns, int64_t took_ns) noexcept:
    (<Limiter>wire.limiter).settle(payers, charged_ns, took_ns, wire.now)


cdef inline uint64_t sticky_hash(const Wire *wire, const uint8_t *value, size_t size) noexcept:
    return (<Limiter>wire.limiter).sticky(value, size)
