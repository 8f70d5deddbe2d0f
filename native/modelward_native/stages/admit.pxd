# At the message: a permit of its backend, or a place in the queue before it.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from modelward_native.request.exchange cimport Exchange
from modelward_native.wire.types cimport Conn
from modelward_native.request.model cimport Model
from modelward_native.request.state cimport State
from modelward_native.request.verdict cimport Verdict
from modelward_native.stages.stage cimport ELSEWHERE, REFUSE

cdef int admit(State server, Exchange *x, Verdict *v, int64_t now) noexcept
# The same for any model of its fallback chain, behind its connection's other requests: REASON_NONE, or why not.
cdef int start(State server, Exchange *x, Model *m, int64_t now) noexcept
# The same of a message whose stream is bound to the model's upstream.
cdef int admit_to(State server, Exchange *x, Model *m, int64_t now) noexcept
cdef void stop_waiting(Exchange *x) noexcept          # it has been let in, or shed, or has given up
# For the wire: the tick ends, and a backend that somebody may wait for has a permit; has been written, and something is parked.
cdef void on_permits(PyObject *server, int64_t now) noexcept
cdef void on_room(Conn *c, int64_t now) noexcept
