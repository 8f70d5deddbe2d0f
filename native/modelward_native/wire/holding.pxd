# Bytes in flight: memory for them, whose they are, and which senders have not moved for longest.
from libc.stdint cimport int64_t, uint64_t

from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.holders cimport (
    mw_holder, mw_holder_count, mw_holder_enter, mw_holder_key, mw_holder_leave, mw_holder_may
)
from modelward_native.region.region cimport bytes_held
from modelward_native.wire.types cimport Stream, Wire


cdef inline mw_holder *holder_of(Stream *s) noexcept:
    """Who pays for what the stream holds from now on. A connection keeps the last one: its streams are mostly of one caller."""
    cdef uint64_t identity, key
    if s.holder == NULL:
        identity = 0 if s.caller == NULL or s.caller.budget == 0 else s.budget
        key = mw_holder_key(s.peer, identity)
        if s.conn.holder == NULL or s.conn.holder.key != key:
            if s.conn.holder != NULL:
                mw_holder_leave(s.conn.wire.holders, s.conn.holder)
            s.conn.holder = mw_holder_enter(s.conn.wire.holders, s.peer, identity)
        s.holder = s.conn.holder
        s.holder.users += 1
    return s.holder


cdef inline void forget_holder(Stream *s) noexcept:
    """Its peer or its caller has become known: what it has taken before stays with whom it was of."""
    if s.holder != NULL:
        mw_holder_leave(s.conn.wire.holders, s.holder)
        s.holder = NULL


cdef inline void pay_for(Buffer *b, mw_holder *holder) noexcept:
    """Before a buffer takes memory: whose it is, which it stays until it has none."""
    if b.capacity == 0:
        b.holder = holder


cdef inline void count_bytes(Wire *wire, mw_holder *holder, int64_t more) noexcept:
    """Counts bytes that are in flight from now on, or no longer (negative). holder: NULL where they are of no caller."""
    wire.gauges.bytes += <uint64_t>more
    if holder != NULL and more:
        mw_holder_count(wire.holders, holder, more)


cdef inline bint may_take(const Wire *wire, const mw_holder *holder, size_t more, size_t least) noexcept:
    """least: what the holder may have in any case, where there is room. At the same instant each of several processes may
    take one message too many."""
    cdef uint64_t used = bytes_held(wire.slots)
    if holder == NULL:
        return used + more <= wire.inflight_limit
    return mw_holder_may(holder, more, used, wire.inflight_limit, wire.share_factor, least)


# Room for `capacity` bytes in all in a buffer that counts as in flight. 0; -1 over the budget of all, or of its holder; -2 no
# memory.
cdef int grow(Wire *wire, Buffer *b, size_t capacity) noexcept
# The same for what a message that has come needs beside itself: its contents made raw, and its answer.
cdef int grow_beside(Wire *wire, Buffer *b, size_t capacity) noexcept
# Room for size more bytes behind those of out that wait from *sent on; False over the budget of all.
cdef bint make_room(Wire *wire, Buffer *out, size_t *sent, size_t size) noexcept
cdef void give_back(Wire *wire, Buffer *b) noexcept
cdef void refuse_bytes(Stream *s, const mw_holder *holder) noexcept   # there is no room for what it sends


cdef inline void release(Wire *wire, Buffer *b) noexcept:
    """Frees a buffer that counts as in flight. Most have nothing: a request has buffers for all that some requests need."""
    if b.capacity:
        give_back(wire, b)
    else:
        b.size = 0


# ---- senders in the middle of a message, the one that has not moved for longest first

cdef inline void unlink_sender(Stream *s) noexcept:
    cdef Wire *wire = s.conn.wire
    if not s.sending:
        return
    s.sending = False
    if s.staler != NULL:
        s.staler.fresher = s.fresher
    else:
        wire.stalest = s.fresher
    if s.fresher != NULL:
        s.fresher.staler = s.staler
    else:
        wire.freshest = s.staler
    s.staler = s.fresher = NULL


cdef inline void note_sender(Stream *s) noexcept:
    """Bytes of its message have come, and more are to come."""
    cdef Wire *wire = s.conn.wire
    if wire.freshest == s:
        return
    unlink_sender(s)
    s.sending = True
    s.staler = wire.freshest
    if wire.freshest != NULL:
        wire.freshest.fresher = s
    else:
        wire.stalest = s
    wire.freshest = s
