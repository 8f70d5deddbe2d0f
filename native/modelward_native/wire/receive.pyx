"""The messages of a stream as they arrive: checked before memory is taken, and read only while there is room for answers."""
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy

from modelward_native.request.streams cimport on_ended, on_message, on_refused
from modelward_native.request.verdict cimport (
    REASON_INFLATED_TOO_LARGE, REASON_MALFORMED_FRAMING, REASON_MESSAGE_TOO_LARGE, REASON_OUT_OF_MEMORY, VERDICT_TEXT, Verdict,
    refusal, set_reason)
from modelward_native.wire.compression cimport (
    ENCODING_IDENTITY, INFLATED_MALFORMED, INFLATED_OVER_RATIO, INFLATED_TOO_LARGE, INFLATED_WHOLE, RATIO, RATIO_FREE,
    inflate_message)
from modelward_native.wire.flood cimport mw_flood_message
from modelward_native.wire.grpc cimport PREFIX, size_in
from modelward_native.wire.holders cimport mw_holder
from modelward_native.wire.holding cimport (
    count_bytes, grow, holder_of, note_sender, pay_for, refuse_bytes, release, unlink_sender)
from modelward_native.wire.nghttp2 cimport nghttp2_session_consume
from modelward_native.wire.stream cimport congested, refuse, refuse_for, refuse_second, refuse_size
from modelward_native.wire.transport cimport mark
from modelward_native.wire.types cimport METHOD_COLD, METHOD_INFER, METHOD_REFUSED, Stream, Wire

cdef enum:
    FIRST_BYTES = 1024            # reserved for a message before its bytes have come, whatever length its prefix says
    COLD_BYTES = 65536            # most bytes of a message to a cold method, which holds names only


cdef void receive(Stream *s, const uint8_t *data, size_t size) noexcept:
    """Reads the bytes. What a congested stream must not read yet is held: at most one window, which stays closed meanwhile.

    A window full of small requests may ask for gigabytes of answers. So even bytes that have arrived wait until there is room.
    """
    cdef size_t n = 0
    if s.held.size == 0:
        n = feed(s, data, size)
    if n == size:
        return
    pay_for(&s.held, holder_of(s))
    if grow(s.conn.wire, &s.held, s.held.size + (size - n)) < 0:
        refuse_bytes(s, s.held.holder)
        return
    memcpy(s.held.data + s.held.size, data + n, size - n)
    s.held.size += size - n


cdef void resume(Stream *s) noexcept:
    """Reads the held bytes, as far as there is room again."""
    if s.resuming:
        return
    s.resuming = True
    s.held_at += feed(s, s.held.data + s.held_at, s.held.size - s.held_at)
    s.resuming = False
    if s.held_at < s.held.size:
        return
    release(s.conn.wire, &s.held)
    s.held_at = 0
    if s.held_end:
        s.held_end = False
        end_request(s)


cdef void open_window(Stream *s) noexcept:
    if s.conn.session == NULL or congested(s):
        return
    if s.held.size:
        resume(s)
    if s.withheld and s.held.size == 0 and not congested(s):
        nghttp2_session_consume(s.conn.session, s.id, s.withheld)
        s.withheld = 0
        mark(&s.conn.transport)


cdef void proceed(Stream *s) noexcept:
    open_window(s)
    if s.held_end and s.held.size == 0:
        s.held_end = False
        end_request(s)


cdef size_t feed(Stream *s, const uint8_t *data, size_t size) noexcept:
    """Reads messages. Returns the number of bytes read: fewer than size only where the stream has become congested."""
    cdef Wire *wire = s.conn.wire
    cdef const uint8_t *end = data + size
    cdef size_t n
    cdef int bad
    while data < end:
        if s.prefix_size < PREFIX:
            if s.prefix_size == 0:
                if congested(s):
                    break
                s.begun = wire.now
            n = min(<size_t>(end - data), <size_t>(PREFIX - s.prefix_size))
            memcpy(s.prefix + s.prefix_size, data, n)
            s.prefix_size += n
            data += n
            if s.prefix_size < PREFIX:
                break
            if not begin_message(s):
                return size
            pay_for(&s.message, holder_of(s))
            if s.expected and grow(wire, &s.message, min(<size_t>s.expected, max(<size_t>(end - data), <size_t>FIRST_BYTES))) < 0:
                refuse_bytes(s, s.holder)
                return size
        n = min(<size_t>(end - data), s.expected - s.message.size)
        if s.message.size + n > s.message.capacity:
            bad = grow(wire, &s.message, min(<size_t>s.expected, max(2 * s.message.capacity, s.message.size + n)))
            if bad < 0:
                refuse_bytes(s, s.message.holder)
                return size
        if n:
            memcpy(s.message.data + s.message.size, data, n)
            s.message.size += n
            data += n
        if s.message.size == s.expected and not end_message(s):
            return size
    if s.prefix_size == PREFIX:
        note_sender(s)
    return size - (end - data)


cdef bint begin_message(Stream *s) noexcept:
    """The five bytes before a message are complete. False: the message is refused."""
    cdef Wire *wire = s.conn.wire
    s.expected = size_in(s.prefix)
    s.compressed = s.prefix[0] == 1
    if s.prefix[0] > 1:
        refuse_for(s, REASON_MALFORMED_FRAMING, "message prefix: the first byte must be 0 or 1 (is the body gRPC-framed?)")
    elif s.compressed and s.encoding == ENCODING_IDENTITY:
        refuse_for(s, REASON_MALFORMED_FRAMING, "a message is marked as compressed, but the call has no grpc-encoding header")
    elif s.expected > wire.message_size:
        refuse_size(s, REASON_MESSAGE_TOO_LARGE,
                    "message is larger than the limit of %zu bytes; send smaller batches or raise limits.message_size",
                    wire.message_size)
    elif s.method == METHOD_COLD and s.expected > COLD_BYTES:
        refuse_size(s, REASON_MESSAGE_TOO_LARGE, "message is larger than the %zu bytes that this method takes", COLD_BYTES)
    elif s.whole and s.method == METHOD_COLD:
        refuse_second(s)
    elif s.whole:
        refuse_for(s, REASON_MALFORMED_FRAMING, "a unary call carries more than one message")
    else:
        return True
    return False


cdef bint end_message(Stream *s) noexcept:
    """All bytes of a message are here. False: the stream has been refused."""
    cdef Wire *wire = s.conn.wire
    cdef Verdict v
    cdef size_t before = s.message.capacity, limit = min(wire.message_size, <size_t>COLD_BYTES)
    cdef mw_holder *holder = s.message.holder
    cdef int state
    s.prefix_size = 0
    unlink_sender(s)
    if s.compressed and s.method == METHOD_COLD:
        # messages of inferences are inflated after `limit` (stages/inflate); these are small, and charged with the headers
        state = inflate_message(&s.message, s.encoding, limit)
        s.message.holder = holder
        count_bytes(wire, holder, <int64_t>s.message.capacity - <int64_t>before)
        if state != INFLATED_WHOLE:
            inflation_verdict(&v, state, limit)
            on_refused(s, &v)
            refuse(s, &v)
            return False
    s.messages += 1
    s.conn.progress = wire.now
    mw_flood_message(&s.conn.flood)
    if s.unary:
        s.whole = True
    else:
        on_message(s, &s.message, wire.now)
    return s.method != METHOD_REFUSED


cdef void inflation_verdict(Verdict *v, int state, size_t limit) noexcept:
    if state == INFLATED_MALFORMED:
        refusal(v, REASON_MALFORMED_FRAMING, "a message is marked as compressed, and is not what grpc-encoding says")
    elif state == INFLATED_TOO_LARGE:
        set_reason(v, REASON_INFLATED_TOO_LARGE)
        snprintf(v.text, VERDICT_TEXT,
                 "compressed message inflates beyond the limit of %zu bytes", limit)
    elif state == INFLATED_OVER_RATIO:
        set_reason(v, REASON_INFLATED_TOO_LARGE)
        snprintf(v.text, VERDICT_TEXT,
                 "compressed message inflates to more than %d times its size and %d bytes; send it uncompressed",
                 RATIO, RATIO_FREE)
    else:
        refusal(v, REASON_OUT_OF_MEMORY, "no room to inflate the message; retry shortly")


cdef void end_request(Stream *s) noexcept:
    cdef Wire *wire = s.conn.wire
    if s.held.size or s.attempt != NULL or s.packed != NULL:
        s.held_end = True
        return
    s.remote_ended = True
    if s.method == METHOD_REFUSED:
        return
    if s.prefix_size:
        refuse_for(s, REASON_MALFORMED_FRAMING, "the request ended in the middle of a message")
    elif s.method == METHOD_INFER:
        if s.whole:
            on_message(s, &s.message, wire.now)
        else:
            refuse_for(s, REASON_MALFORMED_FRAMING, "a unary call without a message")
    else:
        if s.whole:
            on_message(s, &s.message, wire.now)
        on_ended(s, wire.now)
