"""To the backend: into the queue of a model that runs here, or on the way to an upstream."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.admit cimport mw_concurrency_enter
from modelward_native.backend.contain cimport contained
from modelward_native.backend.pool cimport pool_of
from modelward_native.backend.relay cimport relay_request
from modelward_native.backend.upstream cimport forward
from modelward_native.request.empty cimport bears
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport Model
from modelward_native.request.pipeline cimport sent_up
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport (
    REASON_BACKEND_FAILED, REASON_CRASH, REASON_NO_UPSTREAM, REASON_NONE, REASON_QUEUE_FULL)
from modelward_native.stages.release cimport leave


cdef int launch(State server, Exchange *x, Model *m, int64_t now) noexcept:
    cdef int reason = REASON_NONE
    cdef uint32_t input, dim
    if m.gate.shut:
        return m.gate.shut
    if m.gate.contained and contained(x, m):
        if x.stream != NULL:
            server.callers.note_spent(x.stream, 0, 1)    # so that operators see which caller it is
        return REASON_CRASH
    # decode has asked only the model of the request
    if x.empty and (x.tried or x.mirrors != NULL) and not bears(x, m, x.mirrors != NULL, &input, &dim):
        return REASON_BACKEND_FAILED
    x.launched = now
    x.ran = 0
    x.crowded = False
    if m.gate.on:
        mw_concurrency_enter(&m.gate.concurrency)
        x.admitted = m
    if m.pool == NULL:
        if not server.scheduler.enqueue(x, m):
            reason = REASON_QUEUE_FULL
    elif is_relayed(x):
        reason = relay_request(x, now)
        if reason == REASON_NONE:
            sent_up(server, x, now)
            return reason
    elif not forward(server, x, pool_of(m.pool), None, now):
        reason = REASON_NO_UPSTREAM
    if reason != REASON_NONE:
        leave(server, x, -1, now)
    return reason
