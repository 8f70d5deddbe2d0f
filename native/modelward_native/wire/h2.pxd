# One HTTP/2 connection, server side, over libnghttp2.
from libc.stdint cimport uint64_t, uint8_t

from modelward_native.timer.deadline cimport Wheel
from modelward_native.request.exchange cimport Conn, Wire
from modelward_native.limits.limit cimport Limiter
from modelward_native.wire.networks cimport Networks
from modelward_native.wire.peer_index cimport PeerIndex
from modelward_native.region.region cimport Region

cdef class Listener:
    cdef Wire wire
    cdef readonly Wheel wheel
    cdef readonly Limiter limiter
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
    cdef public int max_here              # connections of this process: it has so many descriptors for them
    cdef bint trusts_unix                 # whoever reaches our Unix socket is a trusted proxy
    cdef uint8_t *read_buffer             # owned; shared by all connections: filled and consumed within one callback
    cdef object read_view                 # memoryview of read_buffer
    cdef uint8_t *write_buffer            # owned; shared likewise
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

cdef class Connection:
    cdef Conn conn
    cdef Listener listener                # keeps conn.wire alive
    cdef object transport                 # None after connection_lost
    cdef bint arrived                     # counted in the listener's limits, which forget gives back, and its sockets
    cdef bint dismissed                   # it made way before it was set up: it is to be closed as soon as it is
    cdef str peer_name
    cdef public object shut               # called without arguments: ends its socket before there is a transport; else None
    cdef int make_way(self) except -1
    cdef int leave_networks(self) except -1
    cdef int end(self) except -1
    cdef void take_no_more(self) noexcept
    cdef readonly bytes peer_key          # of the peer's budgets: its address, or its network where it has many
    cdef tuple networks                   # what Networks.leave is to be told

cdef void flush_all(Wire *wire) noexcept
cdef void close_soon(Conn *c) noexcept
