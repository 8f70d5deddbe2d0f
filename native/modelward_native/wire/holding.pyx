"""Memory for bytes in flight, within the holder's share. Where it is used up, senders that have stopped give theirs back."""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from modelward_native.request.verdict cimport REASON_INFLIGHT_BYTES
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.grpc cimport buffer_free, buffer_reserve
from modelward_native.wire.holders cimport mw_holder, mw_holder_held
from modelward_native.wire.stream cimport refuse_size
from modelward_native.wire.types cimport Stream, Wire

cdef enum:
    SENDERS_SEEN = 64             # of those in the middle of a message, that are looked at to make room for another

cdef const char *INFLIGHT_TEXT = "requests in flight hold %zu bytes already; retry shortly"
cdef const char *SHARE_TEXT = "your requests in flight hold their share of %zu bytes already; retry shortly"
cdef const char *GIVEN_UP_TEXT = (
    "the request came too slowly while requests in flight held %zu bytes, and others needed the room; retry shortly")


cdef int grow(Wire *wire, Buffer *b, size_t capacity) noexcept:
    return reserve(wire, b, capacity, wire.message_size)


cdef int grow_beside(Wire *wire, Buffer *b, size_t capacity) noexcept:
    return reserve(wire, b, capacity, 2 * wire.message_size)


cdef int reserve(Wire *wire, Buffer *b, size_t capacity, size_t least) noexcept:
    cdef size_t before = b.capacity
    if capacity <= before:
        return 0
    if (not may_take(wire, b.holder, capacity - before, least)
            and not make_way(wire, b.holder, capacity - before, least)):
        return -1
    if buffer_reserve(b, capacity) < 0:
        return -2
    count_bytes(wire, b.holder, <int64_t>(capacity - before))
    return 0


cdef void give_back(Wire *wire, Buffer *b) noexcept:
    cdef size_t size = b.capacity
    buffer_free(b)
    count_bytes(wire, b.holder, -<int64_t>size)


cdef bint make_room(Wire *wire, Buffer *out, size_t *sent, size_t size) noexcept:
    """What is sent already makes room, or a stream that is never idle would grow."""
    cdef size_t left = out.size - sent[0]
    if sent[0] > left:
        memcpy(out.data, out.data + sent[0], left)
        out.size = left
        sent[0] = 0
    return out.size + size <= out.capacity or grow(
        wire, out, max(out.size + size, out.capacity + out.capacity // 2)) == 0


cdef bint make_way(Wire *wire, const mw_holder *holder, size_t more, size_t least) noexcept:
    """Ends requests that have stopped in the middle of their message, of callers who hold more than this one would."""
    cdef Stream *s = wire.stalest
    cdef Stream *after
    cdef int _
    if holder == NULL:
        return False
    for _ in range(<int>SENDERS_SEEN):
        if s == NULL:
            break
        after = s.fresher
        if s.message.holder != NULL and mw_holder_held(s.message.holder) > mw_holder_held(holder) + more:
            refuse_size(s, REASON_INFLIGHT_BYTES, GIVEN_UP_TEXT, wire.inflight_limit)
            if may_take(wire, holder, more, least):
                return True
        s = after
    return False


cdef void refuse_bytes(Stream *s, const mw_holder *holder) noexcept:
    """There is no room for what it sends: of all, or of its caller's share."""
    cdef Wire *wire = s.conn.wire
    if holder == NULL or mw_holder_held(holder) < wire.message_size:
        refuse_size(s, REASON_INFLIGHT_BYTES, INFLIGHT_TEXT, wire.inflight_limit)
    else:
        refuse_size(s, REASON_INFLIGHT_BYTES, SHARE_TEXT, mw_holder_held(holder))
