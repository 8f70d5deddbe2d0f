"""Which messages of a relayed stream the upstream still has to answer: until then they hold their permits and are not settled.

A model may answer a message once, many times or never. An answer belongs to the message whose id it names, else to the oldest.
`triton_final_response` says whether it is the message's last. A server that does not say so answers once, until a stream has had
more answers than messages: then no answer counts as the last. A message without a last answer gives its permit back when
nothing has come for it for twice as long as its upstream's answers usually take.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from modelward_native.timer.deadline cimport Wheel, mw_timer, mw_timer_init, timer_add, timer_cancel
from modelward_native.request.exchange cimport Exchange, exchange_unref, settle
from modelward_native.wire.receive cimport open_window
from modelward_native.wire.types cimport Stream
from modelward_native.limits.limit cimport mw_cost_learn
from modelward_native.request.oip cimport mw_oip_stream_answer, mw_stream_answer
from modelward_native.stages.release cimport leave
from modelward_native.backend.connection cimport upstream_of
from modelward_native.backend.pool cimport Endpoint, Pool, pool_of
from modelward_native.telemetry.percentile cimport estimated
from modelward_native.backend.relayed cimport Relay, Sent
from modelward_native.request.state cimport server_of
from modelward_native.wire.stream cimport RELAYED_DEPTH
from modelward_native.request.tensor cimport mw_span
from modelward_native.backend.upstream_stream cimport time_share
from modelward_native.wire.transport cimport wheel_of

cdef uint64_t OFFSET = 0xcbf29ce484222325   # of FNV-1a, as the next
cdef uint64_t PRIME = 0x100000001b3
cdef int64_t TIMEOUT_LEAST = 100000000       # ns
cdef int64_t TIMEOUT_MOST = 5000000000       # ns


cdef inline Wheel wheel_for(Relay *r):
    return wheel_of(upstream_of(r.upstream).transport.wire)


cdef inline Endpoint endpoint_of(Relay *r):
    return upstream_of(r.upstream).endpoint


cdef uint64_t hash_id(mw_span id) noexcept:
    """FNV-1a; 0 for no id. A client that makes its own ids collide mixes up its own messages alone."""
    cdef uint64_t h = OFFSET
    cdef size_t i
    if id.size == 0:
        return 0
    for i in range(id.size):
        h = (h ^ id.data[i]) * PRIME
    return h | 1


cdef int64_t answer_timeout(const Relay *r) noexcept:
    """ns without an answer after which a message gives its permit back."""
    cdef double usual = pool_of(r.pool).answer_ns
    if usual == 0:
        usual = r.model.gate.concurrency.latency
    return <int64_t>min(max(2 * usual, <double>TIMEOUT_LEAST), <double>TIMEOUT_MOST)


cdef bint note_sent(Relay *r, Exchange *x, int64_t now) noexcept:
    cdef Endpoint endpoint = endpoint_of(r)
    cdef Sent *sent
    if r.sent_count >= RELAYED_DEPTH:
        forget_oldest(r)
    sent = <Sent *>calloc(1, sizeof(Sent))
    if sent == NULL:
        return False
    mw_timer_init(&sent.timer, on_silence)
    sent.relay = r
    sent.exchange = x
    x.references += 1
    sent.id = hash_id(x.id)
    sent.size = x.body.size
    sent.at = now
    sent.beside = endpoint.to_answer()
    sent.previous = r.sent_last
    if r.sent_last != NULL:
        r.sent_last.next = sent
    else:
        r.sent_first = sent
    r.sent_last = sent
    r.sent_count += 1
    r.messages += 1
    r.down.unanswered += 1
    endpoint.messages += 1
    timer_add(wheel_for(r), &sent.timer, now + answer_timeout(r))
    return True


cdef void undo_sent(Relay *r) noexcept:
    cdef Sent *sent = r.sent_last
    cdef Exchange *x = sent.exchange
    cdef Endpoint endpoint = endpoint_of(r)
    r.messages -= 1
    sent.exchange = NULL
    r.down.unanswered -= 1
    endpoint.messages -= 1
    exchange_unref(x)
    drop(r, sent)


cdef void drop(Relay *r, Sent *sent) noexcept:
    """Off the list; its permit is back."""
    timer_cancel(wheel_for(r), &sent.timer)
    if sent.previous != NULL:
        sent.previous.next = sent.next
    else:
        r.sent_first = sent.next
    if sent.next != NULL:
        sent.next.previous = sent.previous
    else:
        r.sent_last = sent.previous
    r.sent_count -= 1
    free(sent)


cdef void forget_oldest(Relay *r) noexcept:
    """Forgets the oldest message whose permit is back. There is one: the stream is congested while too many hold permits."""
    cdef Sent *sent = r.sent_first
    while sent.exchange != NULL and sent.next != NULL:
        sent = sent.next
    if sent.exchange == NULL:
        drop(r, sent)


cdef void give_back(Relay *r, Sent *sent, int64_t took, int64_t latency, int64_t now) noexcept:
    """The permit. took: ns of its endpoint's time; latency: until its last answer, negative where that is not known. Who waits
    for the permit gets it when the tick ends."""
    cdef Exchange *x = sent.exchange
    cdef Endpoint endpoint = endpoint_of(r)
    sent.exchange = NULL
    r.down.unanswered -= 1
    endpoint.messages -= 1
    settle(x, took)
    leave(server_of(x.wire), x, latency, now)
    exchange_unref(x)


cdef inline int64_t share_until(Relay *r, const Sent *sent, int64_t end) noexcept:
    return time_share(end - sent.at, sent.beside, endpoint_of(r).to_answer() - 1)


cdef void on_silence(mw_timer *timer, int64_t now) noexcept:
    """Its permit is back, and its answer may still come: that says how long such answers take."""
    cdef Sent *sent = <Sent *>timer
    cdef Relay *r = sent.relay
    cdef Stream *s = r.down
    cdef int64_t took = sent.exchange.predicted
    s.conn.wire.now = now
    if sent.last_answer:
        took = max(took, share_until(r, sent, sent.last_answer))
    give_back(r, sent, took, sent.last_answer - sent.at if sent.last_answer else -1, now)
    open_window(s)                # may send more, or end the call: r is not looked at any more


cdef Sent *answered_by(const Relay *r, const mw_stream_answer *answer, bint last) noexcept:
    cdef uint64_t id = hash_id(answer.id)
    cdef Sent *sent = r.sent_first
    while id and sent != NULL:
        if sent.id == id:
            return sent
        sent = sent.next
    sent = r.sent_first
    while not last and sent != NULL and sent.exchange == NULL:
        sent = sent.next          # that one may have been over for long
    return sent


cdef void hear_answer(Relay *r, mw_span message, int64_t now) noexcept:
    cdef Pool pool = pool_of(r.pool)
    cdef mw_stream_answer answer
    cdef bint last
    cdef int64_t span
    cdef Sent *sent
    mw_oip_stream_answer(message, &answer)
    if answer.final < 0:
        r.answers += 1
        if r.answers > r.messages:
            pool.decoupled = True
    last = answer.final > 0 or answer.final < 0 and not pool.decoupled
    sent = answered_by(r, &answer, last)
    if sent == NULL:
        return
    span = now - max(sent.at, sent.last_answer)
    pool.answer_ns = max(pool.answer_ns, <double>span) if sent.exchange == NULL else estimated(pool.answer_ns, <double>span)
    sent.last_answer = now
    if not last:
        if sent.exchange != NULL:
            timer_cancel(wheel_for(r), &sent.timer)
            timer_add(wheel_for(r), &sent.timer, now + answer_timeout(r))
        return
    if sent.exchange != NULL:
        span = share_until(r, sent, now)
        mw_cost_learn(sent.exchange.asked.costs, sent.size, span)
        give_back(r, sent, span, now - sent.at, now)
    drop(r, sent)


cdef void forget_sent(Relay *r, int64_t now) noexcept:
    cdef Sent *sent
    while r.sent_first != NULL:
        sent = r.sent_first
        # whether the upstream has stopped is not known: giving up is no way to a refund
        if sent.exchange != NULL:
            give_back(r, sent, max(sent.exchange.predicted, share_until(r, sent, now)), -1, now)
        drop(r, sent)
