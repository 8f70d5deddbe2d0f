"""At the message: a compressed message is inflated, which costs more than all stages before.

A short one is inflated on the loop. A longer one waits for its turn in a thread, and goes on to `decode` when it is done.
"""
from libc.stdint cimport int64_t
from libc.stdio cimport snprintf

from modelward_native.access.identity cimport PERMIT_INFER, PERMIT_STREAM
from modelward_native.access.permissions cimport permit_model
from modelward_native.request.exchange cimport PHASE_NEW, PHASE_PACKED, Exchange
from modelward_native.wire.receive cimport inflation_verdict, proceed
from modelward_native.wire.types cimport Stream
from modelward_native.request.oip cimport mw_oip_first_names, mw_oip_names
from modelward_native.request.pipeline cimport go_on_decoding, refused
from modelward_native.request.relays cimport send_unpacked
from modelward_native.request.state cimport State, server_of
from modelward_native.request.streams cimport on_refused
from modelward_native.request.tensor cimport mw_span
from modelward_native.request.verdict cimport (
    REASON_DEADLINE, REASON_MALFORMED_MESSAGE, REASON_QUEUE_FULL, RETRY_NS, VERDICT_TEXT, Verdict, refusal)
from modelward_native.stages.limit cimport charge_unread, may_ask
from modelward_native.stages.resolve cimport NAME_FIRST, not_found
from modelward_native.wire.buffer cimport Buffer
from modelward_native.wire.compression cimport INFLATED_PART, INFLATED_WHOLE
from modelward_native.wire.inflater cimport packed_free, take_unpacked
from modelward_native.wire.packed cimport Packed
from modelward_native.wire.stream cimport refuse


cdef bint open_packed(State server, Stream *s, Exchange *x, Buffer *message, Verdict *v, int64_t now) noexcept:
    cdef Packed *packed
    cdef int state = INFLATED_WHOLE
    if x != NULL and not may_ask(server, s, v, now):
        return False
    packed = server.inflater.open(s, x, message, &state)
    if packed == NULL:
        inflation_verdict(v, state, s.conn.wire.message_size)
        if x != NULL:
            charge_unread(server, s, now)
        return False
    if x != NULL and packed.state == INFLATED_WHOLE:
        take_unpacked(packed, &x.body)
        packed_free(packed)
    return True


cdef int inflate(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef Packed *packed = x.stream.packed
    cdef mw_span piece, name, version
    cdef bint good
    if packed == NULL:
        return GO_ON
    if x.asked == NULL or x.unknown_version:
        piece.data = packed.work.out.data
        piece.size = packed.work.out.size
        mw_oip_first_names(piece, &name, &version)    # as `resolve` read them
        not_found(server, x, name, version, v, now)
        return REFUSE
    if server.inflater.unpack(packed) != INFLATED_PART:
        good = inflated(x, packed, v)
        packed_free(packed)
        return GO_ON if good else REFUSE
    x.phase = PHASE_PACKED
    if server.inflater.queue(packed):
        return STOP
    x.phase = PHASE_NEW
    packed_free(packed)
    busy(v)
    return REFUSE


cdef void busy(Verdict *v) noexcept:
    refusal(v, REASON_QUEUE_FULL, "too many compressed messages wait to be inflated; retry shortly, or send them uncompressed")
    v.retry_ns = RETRY_NS         # a thread is free soon: other queues are longer


cdef inline bint same(mw_span a, mw_span b) noexcept:
    return a.size == b.size and (a.size == 0 or a.data == b.data)


cdef bint inflated(Exchange *x, Packed *packed, Verdict *v) noexcept:
    """Gives the exchange its inflated message. False, with a verdict: something is wrong with it."""
    cdef mw_span message, piece, name, version, last_name, last_version
    x.inflating = packed.took
    if packed.state != INFLATED_WHOLE:
        inflation_verdict(v, packed.state, x.wire.message_size)
        return False
    take_unpacked(packed, &x.body)
    message.data = piece.data = x.body.data
    message.size = piece.size = x.body.size
    # the request was admitted by the first names in the message, and protobuf counts the last ones: they must be the same
    if mw_oip_first_names(piece, &name, &version) and mw_oip_names(message, &last_name, &last_version) and (
            same(name, last_name) and same(version, last_version) and (version.size == 0 or x.named or x.asked.undecoded)):
        return True
    refusal(v, REASON_MALFORMED_MESSAGE, NAME_FIRST)
    return False


cdef void on_unpacked(Packed *packed, int64_t now) noexcept:
    """The message was queued, and is inflated or refused. Its stream no longer refers to it, and does not free it."""
    cdef State server = server_of(packed.wire)
    cdef Stream *s = packed.stream
    cdef Exchange *x = packed.exchange
    cdef Verdict v
    cdef bint good
    if s.finished:
        return                    # its exchange ends with the stream, which is about to close
    if packed.refused:
        # the stream ends here: reading on would queue its next message before those that it was refused in favour of
        busy(&v)
        if x == NULL:
            on_refused(s, &v)
        refuse(s, &v)
        if x != NULL:
            refused(server, x, &v, now)
        return
    if x == NULL:
        send_unpacked(s, packed)
    else:
        x.phase = PHASE_NEW
        good = inflated(x, packed, &v)
        if s.timeout and now >= s.entered + s.timeout:
            refusal(&v, REASON_DEADLINE, NULL)
            snprintf(v.text, VERDICT_TEXT, "deadline exceeded after %.1f ms", (now - x.entered) / 1e6)
            good = False
        # the caller may have lost its permission while the message waited
        if good and server.access is not None:
            good = permit_model(s, x.number, PERMIT_STREAM if x.streaming else PERMIT_INFER, &v)
        if good:
            go_on_decoding(server, x, now)
        else:
            refused(server, x, &v, now)
    proceed(s)
