"""At completion: once the version asked for has answered or failed, its shadows get a copy. The client waits for none."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.request.exchange cimport Exchange, exchange_unref
from modelward_native.request.pipeline cimport failed
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport REASON_BACKEND_FAILED, REASON_DEADLINE, REASON_NONE, REASON_UPSTREAM_LOST
from modelward_native.shadow.crosscheck cimport end_crosscheck
from modelward_native.shadow.mirror cimport mirrored
from modelward_native.shadow.pair cimport drop
from modelward_native.shadow.samples cimport drop_samples
from modelward_native.stages.deadline cimport clear_deadline, set_deadline, watch_deadline
from modelward_native.stages.launch cimport launch
from modelward_native.stages.release cimport abandon
from modelward_native.stages.stage cimport Result


cdef bint mirror(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef Exchange *y
    cdef uint32_t i
    if x.asked == NULL or x.asked.shadow_link_count == 0 or x.fallback_reason != REASON_NONE or x.mirrors != NULL:
        return True
    if x.mirrored or x.opaque or r.gone or r.sent_up:
        return True
    if r.answer == NULL and not (r.begun and r.reason in (REASON_DEADLINE, REASON_BACKEND_FAILED, REASON_UPSTREAM_LOST)):
        return True
    for i in range(x.asked.shadow_link_count):
        y = mirrored(&server.mirrors, &x.asked.shadow_links[i], x, r.answer, now - x.launched, now)
        if y != NULL:
            send_copy(server, y, now)
    return True


cdef void send_copy(State server, Exchange *y, int64_t now) noexcept:
    cdef int reason
    y.references += 1             # until its fate is known here
    watch_deadline(y)
    set_deadline(server, y)
    reason = launch(server, y, y.model, now)
    if reason != REASON_NONE:
        failed(server, y, reason, NULL, now)
    exchange_unref(y)


cdef void end_copies(State server) noexcept:
    cdef Exchange *y
    while server.mirrors.first != NULL:
        y = server.mirrors.first
        abandon(server, y, -1, y.wire.now)
        if y.shadow_link == NULL:
            end_crosscheck(&server.checks, &server.mirrors, y, False)
        else:
            drop(&server.mirrors, y)
        clear_deadline(server, y)
        exchange_unref(y)
    drop_samples(&server.mirrors.samples)
