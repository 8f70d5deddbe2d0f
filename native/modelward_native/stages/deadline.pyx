"""At the message: sets the timer of its deadline, before the request may wait for anything."""
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport PHASE_DONE, Exchange, exchange_unref
from modelward_native.request.pipeline cimport failed
from modelward_native.request.state cimport State, server_of
from modelward_native.request.verdict cimport REASON_DEADLINE, Verdict, refusal
from modelward_native.timer.deadline cimport mw_timer, mw_timer_init, mw_timer_pending, timer_add, timer_cancel


cdef int deadline(State server, Exchange *x, Verdict *v, int64_t now) noexcept:
    if x.due == 0:
        return GO_ON
    if x.due <= now:
        refusal(v, REASON_DEADLINE, NULL)
        return REFUSE
    # a message for an upstream's stream gets its timer once it may go there (backend/relay)
    if not x.streaming or x.asked.pool == NULL:
        set_deadline(server, x)
    return GO_ON


cdef void watch_deadline(Exchange *x) noexcept:
    mw_timer_init(&x.deadline, <void (*)(mw_timer *, int64_t) noexcept nogil>on_deadline)


cdef void set_deadline(State server, Exchange *x) noexcept:
    if not mw_timer_pending(&x.deadline):
        x.references += 1
    else:
        timer_cancel(server.listener.wheel, &x.deadline)
    timer_add(server.listener.wheel, &x.deadline, x.due)


cdef void clear_deadline(State server, Exchange *x) noexcept:
    if mw_timer_pending(&x.deadline):
        timer_cancel(server.listener.wheel, &x.deadline)
        exchange_unref(x)


cdef void on_deadline(mw_timer *timer, int64_t now) noexcept:
    cdef Exchange *x = <Exchange *>timer
    x.wire.now = now
    if x.phase != PHASE_DONE:
        failed(server_of(x.wire), x, REASON_DEADLINE, NULL, now)
    exchange_unref(x)
