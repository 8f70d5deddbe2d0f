# One HTTP/2 connection, server side, over libnghttp2.
from libc.stdint cimport uint64_t, uint8_t

from native.deadline cimport Wheel
from native.exchange cimport Conn, Wire
from native.limit cimport Limiter
from native.region cimport Region

cdef class Listener:
    cdef Wire wire
    cdef readonly Wheel wheel
    cdef readonly Limiter limiter
    cdef Region region
    cdef Limiter arrivals                 # new connections per peer; None for no limit
    cdef Limiter resets                   # streams reset before their time, per peer
    cdef readonly object connections      # OrderedDict of Connection, the next to be looked at for idleness first
    cdef dict peers                       # key -> likewise, of one peer
    cdef list last_peers                  # by enum Parting: the last peer that it happened to
    cdef public int max_connections
    cdef public int max_per_peer          # over all processes, as is max_connections
    cdef bint trusts_unix                 # whoever reaches our Unix socket is a trusted proxy
    cdef uint8_t *read_buffer             # owned; shared by all connections: filled and consumed within one callback
    cdef object read_view                 # memoryview of read_buffer
    cdef uint8_t *write_buffer            # owned; shared likewise
    cdef int admit(self, Connection connection, bytes key) except -1
    cdef uint64_t hash_of(self, bytes key) noexcept
    cdef bint has_place(self, uint64_t peer, int own) noexcept
    cdef bint make_room(self, object connections) except -1
    cdef int note(self, Connection connection, int why) except -1
    cdef int forget(self, Connection connection) except -1

cdef class Connection:
    cdef Conn conn
    cdef Listener listener                # keeps conn.wire alive
    cdef object transport                 # None after connection_lost
    cdef bint arrived                     # counted in the listener's limits, which forget gives back
    cdef str peer_name
    cdef public object handshake          # task of the TLS handshake under way; None for none
    cdef int make_way(self) except -1
    cdef void take_no_more(self) noexcept
    cdef bytes peer_key                   # of the peer's budgets: its address, or its network where it has many

cdef void flush_all(Wire *wire) noexcept
cdef void close_soon(Conn *c) noexcept
