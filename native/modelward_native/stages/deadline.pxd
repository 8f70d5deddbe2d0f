# At the message: the timer by which it must be answered.
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport GO_ON, REFUSE

cdef int deadline(State server, Exchange *x, Verdict *v, int64_t now) noexcept
cdef void watch_deadline(Exchange *x) noexcept        # once per exchange, before anything may set its deadline
cdef void set_deadline(State server, Exchange *x) noexcept
cdef void clear_deadline(State server, Exchange *x) noexcept


cdef inline int64_t margin(int64_t timeout) noexcept:
    """How long before the client's own deadline an answer must leave: it has to travel, and the wheel ticks in ms."""
    return min(max(timeout // 10, <int64_t>2000000), min(<int64_t>20000000, timeout // 2))
