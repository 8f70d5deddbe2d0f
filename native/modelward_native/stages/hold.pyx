"""At completion: the answer to a caller at the step `delay` is held for a random time, by the exchange's own timer.

After `record`, so that the model's times are as they are without. A place is taken before the request costs anything
(`restrict`), so that held answers are bounded, in all and for each caller; their bytes count as in flight. Refusals go at once.
"""
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from modelward_native.backend.random cimport next_random
from modelward_native.detect.held cimport mw_held_take
from modelward_native.detect.suspicion cimport MW_STEP_DELAY
from modelward_native.request.exchange cimport Exchange, exchange_unref
from modelward_native.request.state cimport State, server_of
from modelward_native.stages.deadline cimport clear_deadline
from modelward_native.stages.send cimport send
from modelward_native.stages.stage cimport Result
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init, mw_timer_pending, timer_add
from modelward_native.wire.parking cimport promise


cdef bint hold(State server, Exchange *x, Result *r, int64_t now) noexcept:
    """False: it is held."""
    cdef int64_t half
    if x.step != MW_STEP_DELAY or x.mirrors != NULL or x.stream == NULL or r.gone or r.sent_up or r.answer == NULL:
        return True
    if x.held == NULL:            # it has come to this step by its own rows
        x.held = mw_held_take(&server.held, x.payers.identity)
        if x.held == NULL:
            return True
    clear_deadline(server, x)
    half = x.policy.delay // 2
    promise(x, x.reply.size)
    server.gauges.inflight += 1   # a drain waits for it
    x.references += 1
    mw_timer_init(&x.deadline, <void (*)(mw_timer *, int64_t) noexcept nogil>on_held)
    timer_add(server.listener.wheel, &x.deadline, now + half + <int64_t>(next_random(&server.random) % <uint64_t>(half + 1)))
    return False


cdef void on_held(mw_timer *timer, int64_t now) noexcept:
    cdef Exchange *x = <Exchange *>timer
    cdef State server = server_of(x.wire)
    cdef Result r
    memset(&r, 0, sizeof(r))
    x.wire.now = now
    server.gauges.inflight -= 1
    if x.stream != NULL:
        send(server, x, &r, now)
    exchange_unref(x)


cdef void let_go_held(State server, Exchange *x) noexcept:
    if x.held != NULL and mw_timer_pending(&x.deadline):
        server.gauges.inflight -= 1
        clear_deadline(server, x)
