# A client's connection.
from libc.stdint cimport int64_t, uint32_t

from modelward_native.wire.transport cimport Protocol

cdef class Connection(Protocol)   # the listener refers to it

from modelward_native.wire.listener cimport Listener
from modelward_native.wire.types cimport Conn, Wire

cdef class Connection(Protocol):
    cdef Conn conn
    cdef Listener listener                # keeps conn.wire alive
    cdef bint arrived                     # counted in the listener's limits, which forget gives back, and its sockets
    cdef bint dismissed                   # it made way before it was set up: it is to be closed as soon as it is
    cdef str peer_name
    cdef public object shut               # called without arguments: ends its socket before there is a transport; else None
    cdef readonly bytes peer_key          # of the peer's budgets: its address, or its network where it has many
    cdef tuple networks                   # what Networks.leave is to be told
    cdef int make_way(self) except -1
    cdef int leave_networks(self) except -1
    cdef int end(self) except -1
    cdef void take_no_more(self) noexcept


cdef inline Connection connection_of(const Conn *c):
    return <Connection>c.transport.owner


cdef inline int64_t patrol(const Wire *wire) noexcept:
    """Between two looks at open streams. What lets their callers in may end: they follow within a second."""
    return 1000000000 if wire.access == NULL else 500000000


cdef inline void settle(Conn *c) noexcept:
    if not c.settled:
        c.settled = True
        c.wire.traffic.settled += 1


# GOAWAY, and the end of the connection once that is written. why: enum CloseReason; the first one counts.
cdef void go_away(Conn *c, int why, uint32_t error) noexcept
# asyncio writes what it holds and closes.
cdef void close_connection(Conn *c) noexcept
