"""At completion: a sample of the requests goes where capture and drift see it. Where nothing is observed, a branch."""
from libc.stdint cimport int64_t, uint32_t

from modelward_native.backend.random cimport next_random
from modelward_native.observe.observed cimport Observed
from modelward_native.observe.writer cimport keep_observation
from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.stages.stage cimport Result


cdef bint observe(State server, Exchange *x, Result *r, int64_t now) noexcept:
    cdef const Observed *o
    cdef uint32_t chance
    if x.asked == NULL or x.asked.observed == NULL:
        return True
    o = x.asked.observed
    chance = <uint32_t>(next_random(&server.observer.random) >> 32)
    # what was refused before its tensors were read, has gone, or has its answers come later, shows nothing
    if chance > o.chosen or server.observer.ring == NULL or not x.decoded or x.mirrors != NULL or r.gone or r.sent_up:
        return True
    keep_observation(&server.observer, x, r, chance, now)
    return True
