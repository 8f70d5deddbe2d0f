"""At completion: its backend is free of it. The permit goes back, and what the backend took is learned."""
from libc.stdint cimport int64_t

from modelward_native.backend.admit cimport mw_concurrency_leave, mw_concurrency_limit
from modelward_native.backend.queue cimport withdraw
from modelward_native.backend.engine cimport engine_of
from modelward_native.backend.upstream cimport cancel_call
from modelward_native.request.caller cimport part_of
from modelward_native.request.exchange cimport (
    PHASE_NEW, PHASE_PACKED, PHASE_PARKED, PHASE_RUNNING, PHASE_UPSTREAM, PHASE_WAITING, Exchange)
from modelward_native.request.model cimport CROWDED, Gate, Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_DEADLINE, REASON_NONE
from modelward_native.shadow.evidence cimport ASSIGNED_NONE
from modelward_native.stages.admit cimport stop_waiting
from modelward_native.stages.stage cimport Result
from modelward_native.wire.parking cimport unpark


cdef bint release(State server, Exchange *x, Result *r, int64_t now) noexcept:
    if r.sent_up:
        return True               # backend.unanswered gives the permit back when the upstream has answered
    if r.answer != NULL:
        if x.admitted != NULL and x.mirrors == NULL:
            learn_usual(x, x.admitted.gate, now, False)
        leave(server, x, now - x.launched, now)
    elif r.ending != NULL and r.reason == REASON_NONE:
        # the upstream refused the request itself: how long that took tells nothing about the backend
        leave(server, x, -1, now)
    elif x.phase != PHASE_NEW:
        give_up(server, x, r, now)
    elif r.reason == REASON_DEADLINE and x.fallback_reason == REASON_NONE:
        x.assigned = ASSIGNED_NONE    # it never reached its version: no evidence against it
    return True


cdef void give_up(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef bint late = r.reason == REASON_DEADLINE and r.ending == NULL and x.mirrors == NULL
    if late and x.fallback_reason == REASON_NONE and not had_its_time(x):
        x.assigned = ASSIGNED_NONE    # its time passed in the queue: no evidence against the version
    r.begun = x.phase == PHASE_RUNNING or x.phase == PHASE_UPSTREAM
    if r.begun and late and x.admitted != NULL:
        learn_usual(x, x.admitted.gate, now, True)
    # a failure says nothing about the backend's latency; a missed deadline says that it is at least this long
    abandon(server, x, at_least(x, now) if late else -1, now)
    x.phase = PHASE_NEW


cdef bint had_its_time(const Exchange *x) noexcept:
    """Whether its version worked on it. A run counts only where the request was at least 1/CROWDED of its rows."""
    if x.phase == PHASE_RUNNING:
        return engine_of(x.model).run_rows <= CROWDED * x.rows
    return x.phase == PHASE_UPSTREAM


cdef inline int64_t at_least(const Exchange *x, int64_t now) noexcept:
    """Lower bound of the backend's latency, ns. Negative (unknown) where the client's deadline was below the usual latency: such
    bounds would make the backend look fast."""
    cdef const Model *asked = x.asked
    cdef int64_t took = now - x.launched
    if x.admitted == NULL or (asked.deadline and x.client_due >= x.entered + asked.deadline):
        return took
    return took if took > x.admitted.gate.concurrency.latency else -1


cdef inline void learn_usual(const Exchange *x, Gate *gate, int64_t now, bint missed) noexcept:
    """What its backend has taken; where its deadline was missed, it may have needed twice as long."""
    cdef double *usual = &gate.usual[part_of(x.payers.identity)]
    cdef double took = <double>(now - x.launched)
    if usual[0] == 0:
        usual[0] = took
    elif took < usual[0] and not missed:
        usual[0] -= (usual[0] - took) / 2
    elif 2 * took > usual[0]:
        usual[0] += ((2 * took if missed else took) - usual[0]) / 4


cdef void abandon(State server, Exchange *x, int64_t latency, int64_t now) noexcept:
    if x.phase == PHASE_PARKED:
        unpark(x)
    elif x.phase == PHASE_PACKED:
        server.inflater.drop(x.stream)
    elif x.phase == PHASE_WAITING:
        stop_waiting(x)
    elif x.phase == PHASE_UPSTREAM:
        x.attempt += 1
        cancel_call(x)
    else:
        withdraw(x)
    leave(server, x, latency, now)


cdef void leave(State server, Exchange *x, int64_t latency, int64_t now) noexcept:
    """Waiting requests are launched at the end of the tick: callers up the stack expect no other exchange to end now."""
    cdef Model *m = x.admitted
    if m == NULL:
        return
    x.admitted = NULL
    mw_concurrency_leave(&m.gate.concurrency, latency, now)
    m.counters.concurrency = mw_concurrency_limit(&m.gate.concurrency)
    if m.gate.waiting.count and not m.gate.ready:
        m.gate.ready = True
        m.gate.next_ready = server.ready
        server.ready = m.gate
        x.wire.permits = True
