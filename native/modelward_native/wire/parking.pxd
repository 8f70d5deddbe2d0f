# Requests that wait until their client has read earlier answers. A request that has not begun costs nothing.
from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Conn
from modelward_native.wire.holders cimport mw_holder_room
from modelward_native.region.region cimport bytes_held

cdef enum:
    # Bytes of answers that may wait for one connection's client; at this limit no more requests are begun. The last one may go
    # beyond, so at least one is always in flight. It is what a socket and one run need to keep going.
    PENDING_CAP = 2097152
    # Bytes that closed windows hold back and that do not count here: on a connection that a proxy shares among its clients, one
    # of them must not delay the others so easily. At most a part of what all may still hold, and of what the caller may.
    STUCK_CAP = 25165824
    STUCK_PART = 8
    CALLER_PART = 4


cdef inline size_t pending_bytes(const Conn *c) noexcept:
    return c.unsent + c.promised - min(c.stuck, c.unsent)


cdef inline void note_stuck(Conn *c) noexcept:
    """After all that could be written has been: the client's windows hold back the rest."""
    cdef size_t left, used, room
    c.stuck = 0
    if c.unsent:
        used = bytes_held(c.wire.slots)
        left = c.wire.inflight_limit - min(used, c.wire.inflight_limit)
        c.stuck = min(c.unsent, min(<size_t>STUCK_CAP, left // STUCK_PART))
        if c.holder != NULL:
            room = mw_holder_room(c.holder, used, c.wire.inflight_limit, c.wire.share_factor)
            c.stuck = min(c.stuck, room // CALLER_PART)


cdef inline bint must_park(const Conn *c) noexcept:
    return c.parked_first != NULL or pending_bytes(c) >= PENDING_CAP


cdef inline void promise(Exchange *x, size_t size) noexcept:
    """Reserves the bytes of its answer, in place of what was promised before. Only while it has a stream."""
    x.stream.conn.promised += size - x.promised
    x.promised = size


cdef void park(Exchange *x) noexcept      # behind its connection's others
cdef void unpark(Exchange *x) noexcept
