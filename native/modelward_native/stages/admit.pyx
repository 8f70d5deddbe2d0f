"""At the message: a permit of its backend, or a place in the fair queue before it. Behind all that could refuse the request."""
from libc.stdint cimport int64_t, uint64_t

from modelward_native.backend.admit cimport (
    mw_concurrency_free, mw_concurrency_limit, mw_waiting_ahead, mw_waiting_pass, mw_waiting_pop, mw_waiting_push,
    mw_waiting_remove)
from modelward_native.request.answer cimport mw_answer_predict
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport PHASE_NEW, PHASE_WAITING, Exchange, exchange_unref
from modelward_native.wire.types cimport Conn, Wire
from modelward_native.request.model cimport Gate, Model
from modelward_native.request.pipeline cimport failed
from modelward_native.request.relays cimport relay
from modelward_native.request.state cimport State, server_of
from modelward_native.request.verdict cimport (
    REASON_INFEASIBLE, REASON_NONE, REASON_QUEUE_FULL, REASON_SHED, Verdict, refusal)
from modelward_native.stages.launch cimport is_relayed, launch
from modelward_native.wire.parking cimport PENDING_CAP, must_park, pending_bytes, park, promise, unpark


cdef int admit(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    cdef int reason
    if x.streaming and x.asked.pool != NULL:
        return relay(server, x, v, now)
    reason = start(server, x, x.asked, now)
    if reason == REASON_NONE:
        return STOP
    refusal(v, reason, NULL)
    return REFUSE


cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept:
    x.model = m
    if not x.promised:            # for a fallback, room for the answer is reserved already
        if must_park(x.stream.conn):
            park(x)
            return REASON_NONE
        promise(x, mw_answer_predict(m.answers, x.rows))
    return admit_to(server, x, m, now)


cdef void on_room(Conn *c, int64_t now) noexcept:
    """Begins parked requests, as far as the client has read the answers before them."""
    cdef State server = server_of(c.wire)
    cdef Exchange *x
    cdef Model *m
    cdef int reason
    while c.parked_first != NULL and pending_bytes(c) < PENDING_CAP:
        x = c.parked_first
        x.references += 1
        unpark(x)
        m = x.model
        promise(x, mw_answer_predict(m.answers, x.rows))
        reason = admit_to(server, x, m, now)
        if reason != REASON_NONE:
            failed(server, x, reason, NULL, now)
        exchange_unref(x)


cdef int admit_to(State server, Exchange *x, Model *m, int64_t now) noexcept:
    cdef Gate *gate = m.gate
    if gate.on:
        if gate.waiting.count or not mw_concurrency_free(&gate.concurrency):
            return wait(server, x, m, now)
        mw_waiting_pass(&gate.waiting, x.payers.identity, x.share)
        x.stamped = True
    return launch(server, x, m, now)


cdef int wait(State server, Exchange *x, Model *m, int64_t now) noexcept:
    """Queues the request for a permit. Returns REASON_NONE, or why it cannot wait."""
    cdef Gate *gate = m.gate
    cdef uint64_t identity = x.payers.identity
    cdef void *shed = NULL
    cdef double turn = (mw_waiting_ahead(&gate.waiting, identity) + 1) * gate.concurrency.interval
    if hopeless(x, gate, now + <int64_t>turn):
        return REASON_INFEASIBLE
    # a flagged request comes last among those of its identity, not among all: else other identities could keep it out
    if not mw_waiting_push(
            &gate.waiting, x.priority if gate.across else x.band, 2 * x.priority + x.flagged, identity, x.share, x, &x.waiting,
            &shed):
        return REASON_QUEUE_FULL
    x.phase = PHASE_WAITING
    x.references += 1
    m.counters.waiting += 1
    m.counters.concurrency = mw_concurrency_limit(&gate.concurrency)  # also of a backend that has never answered
    if is_relayed(x):
        x.stream.waiting = x      # later messages of its stream wait behind it
    if shed != NULL:
        stop_waiting(<Exchange *>shed)
        failed(server, <Exchange *>shed, REASON_SHED, NULL, now)
    return REASON_NONE


cdef bint hopeless(const Exchange *x, Gate *gate, int64_t begun) noexcept:
    """Whether the request would miss its deadline if its backend began it at `begun` and took as long as is usual for its caller.

    Each refusal for that reason lowers the estimate, so that a request is tried now and then.
    """
    cdef double *usual = &gate.usual[part_of(x.payers.identity)]
    if x.due == 0 or begun + min(gate.concurrency.latency, <int64_t>usual[0]) < x.due:
        return False
    if begun < x.due:
        usual[0] -= usual[0] / 32
    return True


cdef void stop_waiting(Exchange *x) noexcept:
    cdef Model *m = x.model
    mw_waiting_remove(&m.gate.waiting, &x.waiting)
    m.counters.waiting -= 1
    x.phase = PHASE_NEW
    if x.stream != NULL and x.stream.waiting == x:
        x.stream.waiting = NULL
    exchange_unref(x)             # not the last reference: the stream or the timer holds one


cdef void on_permits(const Wire *wire) noexcept:
    """Launches waiting requests, as far as there are permits."""
    cdef State server = server_of(wire)
    cdef int64_t now = wire.now
    cdef Gate *gate
    cdef Exchange *x
    cdef int reason
    while server.ready != NULL:
        gate = server.ready
        server.ready = gate.next_ready
        gate.ready = False
        while gate.waiting.count and mw_concurrency_free(&gate.concurrency):
            x = <Exchange *>mw_waiting_pop(&gate.waiting)
            x.references += 1
            stop_waiting(x)
            x.stamped = True
            reason = REASON_INFEASIBLE if hopeless(x, gate, now) else launch(server, x, x.model, now)
            if reason != REASON_NONE:
                failed(server, x, reason, NULL, now)
            exchange_unref(x)
