"""At completion: where the service is to blame, the model's fallback chain answers: a constant, a last good answer, a model."""
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.model cimport MODE_FALLBACK, Fallback
from modelward_native.request.last_good cimport find_answer
from modelward_native.request.reply cimport reply_from_constants, reply_from_upstream
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_ANOMALY, REASON_NONE, may_fall_back
from modelward_native.stages.admit cimport start
from modelward_native.stages.deadline cimport set_deadline
from modelward_native.stages.stage cimport Result
from modelward_native.wire.holding cimport release as release_buffer


cdef bint fallback(State server, Exchange *x, Result *r, int64_t now) noexcept:
    if r.reason == REASON_NONE or not x.decoded or x.mirrors != NULL or not may_fall_back(r.reason):
        return True
    if r.reason == REASON_ANOMALY and x.asked.mode != MODE_FALLBACK:
        return True
    if x.fallback_reason == REASON_NONE:
        x.fallback_reason = <unsigned char>r.reason
    while x.tried < x.asked.fallback_count:
        x.tried += 1
        if ask_next(server, x, &x.asked.fallbacks[x.tried - 1], r, now):
            return r.answer != NULL
    return True


cdef bint ask_next(State server, Exchange *x, Fallback *next, Result *r, int64_t now) noexcept:
    """Takes the answer of the next fallback, or starts its model. False: it has no answer."""
    cdef bint answers
    if next.model != NULL:
        if x.opaque and next.model.pool == NULL:
            return False          # a model that runs here cannot read the inputs, or write such outputs
        if x.client_due and x.client_due <= now:
            return False
        x.due = x.client_due
        if x.due:
            set_deadline(server, x)
        x.alone = x.rows == 0
        return start(server, x, next.model, now) == REASON_NONE
    if next.last_good != NULL:
        answers = find_answer(next.last_good, server.listener.limiter, x, &r.made, now)
        if answers and not reply_from_upstream(x, next, &r.made):
            release_buffer(x.wire, &r.made)
            answers = False
    else:
        answers = not x.opaque and reply_from_constants(x, next, &r.made)
    if answers:
        r.answer = &r.made
        r.reason = REASON_NONE
        r.initial = NULL          # the failed upstream's
        r.ending = NULL
    return answers
